# A stopped cluster is backed up by itself, without a server and without an archive: what is restored starts as
# it was stopped, unlogged tables and all. Each tool lists, verifies and restores the offline backups of the
# other and goes on with them. A cluster that runs, or that was started meanwhile, is refused.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('source');
$node->init(extra => ['--data-checksums']);
my $data = $node->data_dir;
my $conf = write_config("$base/chronos.conf",
	path => "$base/repo", pg => $data, port => $node->port, socket => $node->host);
mkdir $_ or die "$_: $!" for "$base/repo", "$base/space";
$node->start;
$node->safe_psql('postgres', $_)
  for "CREATE TABLESPACE space LOCATION '$base/space'",
  'CREATE TABLE t AS SELECT i AS id, md5(i::text) AS m FROM generate_series(1, 5000) i',
  'CREATE TABLE elsewhere TABLESPACE space AS SELECT i, repeat(md5(i::text), 9) AS m FROM generate_series(1, 3000) i',
  'CREATE UNLOGGED TABLE unlogged AS SELECT i FROM generate_series(1, 777) i';
my @tables = qw(t elsewhere unlogged);

my ($status, $out, $err) = chronos($conf, '--no-online', 'backup');
is($status, 38, 'a running server is refused') or diag("$out$err");
like("$out$err", qr/postmaster\.pid exists - looks like PostgreSQL is running/, 'as pgBackRest says it');
ok(!-e "$base/repo/backup/main/latest", 'and nothing is listed');
my %state = map { $_ => table_state($node, $_) } @tables;
$node->stop('fast');

is((chronos($conf, '--no-online', 'stanza-create'))[0], 0, 'stanza-create needs no server');
my $full = backup_by('chronos', 'full');
($status, $out, $err) = chronos($conf, '--no-online', '--type=incr', 'backup');
is($status, 55, 'a second one without a change is refused');
like("$out$err", qr/no files have changed since the last backup/, 'as pgBackRest refuses it');
look_at($full);
restored($_, 'of a full backup') for 'chronos', 'pgbackrest';

# Chains of both tools, in turn, on top of each other.
my @chain;
for my $step (1 .. 4)
{
	change($step);
	my $tool = $step % 2 ? 'pgbackrest' : 'chronos';
	push @chain, backup_by($tool, $step == 3 ? 'diff' : 'incr');
	restored($_, "of step $step, by $tool") for 'chronos', 'pgbackrest';
}
verified("a chain of both tools");

# An online backup in between, and one of the cluster as a crash has left it.
$node->append_conf('postgresql.conf', <<"C");
archive_mode = on
archive_command = 'pgbackrest --config=$conf --stanza=main archive-push %p'
wal_level = replica
max_wal_senders = 2
C
$node->start;
is((chronos($conf, '--type=incr', 'backup'))[0], 0, 'an online backup rests on offline ones');
$node->safe_psql('postgres', 'INSERT INTO t SELECT i, md5(i::text) FROM generate_series(6001, 7000) i; CHECKPOINT');
$node->safe_psql('postgres', 'UPDATE t SET m = m || m WHERE id % 7 = 0');
$state{$_} = table_state($node, $_) for 't', 'elsewhere';
$state{unlogged} = '0,-';
$node->stop('immediate');
is((chronos($conf, '--no-online', 'backup'))[0], 38, 'a file that a killed server left behind is a server, too') if -e "$data/postmaster.pid";
unlink "$data/postmaster.pid";
($status, $out, $err) = chronos($conf, '--no-online', '--type=incr', 'backup');
is($status, 0, 'a cluster that was not shut down is backed up') or diag("$out$err");
like("$out$err", qr/WARN: the cluster was not shut down cleanly/, 'with a warning');
like("$out$err", qr/the online option has changed since the/, 'and read whole on top of an online one');
restored($_, 'of a crashed cluster') for 'chronos', 'pgbackrest';
verified('all of them');

# A server that is started while files are copied.
$node->start;
$node->stop('fast');
{
	my $slow = write_config("$base/slow.conf",
		path => "$base/repo", pg => $data, port => $node->port, socket => $node->host, 'process-max' => 1,
		'compress-type' => 'bz2', 'compress-level' => 9, 'repo1-bundle' => 'n');
	my $before = () = labels();
	my $log = "$base/slow.log";
	my $run = IPC::Run::start([ $chronos, "--config=$slow", '--stanza=main', '--no-online', '--type=full', 'backup' ],
		'<', \undef, '>', $log, '2>&1', IPC::Run::timeout(300));
	poll_until(sub { grep { m{/base/} } glob "$base/repo/backup/main/2*F/pg_data/base/*/*.bz2" }, 'files are copied', 60);
	$node->start;
	$run->finish;
	is($? >> 8, 38, 'a server that was started meanwhile is noticed') or diag(slurp_file($log));
	like(slurp_file($log), qr/PostgreSQL was started while its files were copied/, 'and told');
	is(scalar(() = labels()), $before, 'nothing is listed');
	$node->stop('fast');
}
is((chronos($conf, '--no-online', '--type=full', 'backup'))[0], 0, 'the next one is whole');
is((chronos($conf, '--no-online', 'stanza-upgrade'))[0], 0, 'stanza-upgrade needs no server');
done_testing();

sub labels
{
	my ($status, $out, $err) = chronos($conf, '--output=json', 'info');
	return map { $_->{label} } @{ decode_json($out)->[0]{backup} };
}

sub change
{
	my ($step) = @_;
	$node->start;
	$node->safe_psql('postgres', "UPDATE t SET m = m || '$step' WHERE id % 5 = $step; INSERT INTO unlogged VALUES ($step)");
	$state{$_} = table_state($node, $_) for @tables;
	$node->stop('fast');
}

# Returns the label.
sub backup_by
{
	my ($tool, $type) = @_;
	my @command = ($tool eq 'chronos' ? $chronos : $tool, "--config=$conf", '--stanza=main');
	my ($status, $out, $err) = run_tool(@command, '--no-online', "--type=$type", 'backup');
	is($status, 0, "$type backup by $tool") or diag("$out$err");
	unlike("$out$err", qr/WARN/, 'without a warning') if $tool eq 'chronos';
	return (labels())[-1];
}

# What either tool says of a backup, and what the manifest says.
sub look_at
{
	my ($label) = @_;
	my $manifest = slurp_file("$base/repo/backup/main/$label/backup.manifest");
	like($manifest, qr/^option-online=false$/m, 'the manifest says so');
	like($manifest, qr/^option-archive-check=false$/m, 'and that no WAL was waited for');
	unlike($manifest, qr/^backup-(archive|lsn)-/m, 'no WAL of an archive belongs to it');
	like($manifest, qr{^pg_data/pg_wal/[0-9A-F]{24}=}m, 'it has WAL of its own');
	like($manifest, qr/"tablespace-name":"ts\d+"/, 'a tablespace is named as pgBackRest names it then');
	for my $tool ($chronos, 'pgbackrest')
	{
		my ($status, $out, $err) = run_tool($tool, "--config=$conf", '--stanza=main', 'info');
		is($status, 0, "$tool info") or diag($err);
		like($out, qr{backup: \Q$label\E.*?wal start/stop: n/a}s, 'says that it has no WAL in the archive');
	}
	my ($status, $out, $err) = chronos($conf, '--plan', "--pg1-path=$base/nowhere", "--tablespace-map-all=$base/spaces", 'restore');
	is($status, 0, 'a restore of it can be planned') or diag("$out$err");
}

sub verified
{
	my ($what) = @_;
	my ($status, $out, $err) = chronos($conf, 'verify');
	is($status, 0, "chronos verifies $what") or diag("$out$err");
	($status, $out, $err) = pgbackrest($conf, '--log-level-console=info', 'verify');
	my @bad = grep { /(?:missing|invalid|mismatch|other): *[1-9]|ERROR|WARN/ } split /\n/, "$out\n$err";
	is("$status @bad", '0 ', 'and so does pgBackRest');
}

my $copies = 0;
# The newest backup, restored by one of the tools, is what was stopped.
sub restored
{
	my ($tool, $what) = @_;
	my $name = 'copy' . ++$copies;
	my $directory = private_directory();
	my $space = private_directory();
	my ($status, $out, $err) = run_tool($tool eq 'chronos' ? $chronos : $tool, "--config=$conf", '--stanza=main',
		"--pg1-path=$directory", "--tablespace-map-all=$space", 'restore');
	is($status, 0, "a restore $what by $tool") or diag("$out$err");
	ok(!-e "$directory/recovery.signal", 'recovers from no archive');
	my $copy = restored_node($name, $directory);
	# pgBackRest leaves unlogged relations out of its own, and a server that was shut down makes none afresh.
	my ($unlogged, $error);
	$copy->psql('postgres', 'SELECT count(*) FROM unlogged', stdout => \$unlogged, stderr => \$error);
	is(table_state($copy, $_), $state{$_}, "table $_")
	  for grep { $_ ne 'unlogged' || $unlogged ne '' || $what !~ /pgbackrest/ } @tables;
	$copy->stop('immediate');
	return;
}
