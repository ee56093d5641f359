# A standby is backed up by its own session, while the primary is written to: what is restored, by either tool, is
# consistent and goes on with the archive. A primary that is idle is asked to end its segment where it lets itself be
# asked; where not, the backup ends with what to do. A promotion in the middle, WAL without full pages and a wrong role
# are errors, after which nothing is listed; a paused replay is none. What comes after it, by whichever tool and of
# whichever server, reads every file.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = chronos_node('primary', conf => <<C, options => { 'archive-timeout' => 20 });
archive_timeout = 0
autovacuum = off
C
my $repo = $primary->{chronos_repo};
my $base = PostgreSQL::Test::Utils::tempdir();
my $rows = 2000;
$primary->safe_psql('postgres', $_)
  for "CREATE TABLE accounts AS SELECT i, 100 AS amount, repeat('x', 200) AS filler FROM generate_series(1, $rows) i",
  'CREATE INDEX ON accounts (i)', 'CREATE TABLE t AS SELECT 1 AS id', 'CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS i',
  'CREATE ROLE follower REPLICATION LOGIN';
is((chronos($primary->{chronos_conf}, 'stanza-create'))[0], 0, 'the primary has a stanza');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
my $conf = write_config("$base/standby.conf",
	path => $repo, pg => $standby->data_dir, port => $standby->port, socket => $standby->host, 'archive-timeout' => 20);
$standby->start;

my ($status, $out, $err) = chronos($conf, '--type=full', 'backup');
is($status, 56, 'a standby is refused where nobody has asked for one') or diag("$out$err");
like("$out$err", qr/server is in recovery.*backup-standby=y/s, 'with the way to have it');
($status, $out, $err) = chronos($primary->{chronos_conf}, '--type=full', '--backup-standby=y', 'backup');
is($status, 56, 'a primary is, where a standby is asked for') or diag("$out$err");
like("$out$err", qr/unable to find a standby to perform the backup/, 'as pgBackRest says it');
is(scalar(() = labels()), 0, 'neither has made one');

subtest 'under load' => sub {
	my $load = start_load();
	for my $type ('full', 'incr', 'diff')
	{
		my $label = backup_of_standby($type);
		my $manifest = slurp_file("$repo/backup/main/$label/backup.manifest");
		like($manifest, qr/^option-backup-standby=true$/m, 'the manifest says whose it is');
		my $entry = (grep { /^\Q$label\E=/ } split /\n/, slurp_file("$repo/backup/main/backup.info"))[0];
		like($entry, qr/"option-backup-standby":true/, 'and so does the list');
		consistent("$type by $_", $_, '--type=immediate', "--set=$label") for 'chronos', 'pgbackrest';
	}
	stop_load($load);
	wait_archived($primary);
	my $state = table_state($primary, 'accounts');
	is(() = (chronos($conf, 'info'))[1] =~ /^ +copied from: a standby$/mg, 3, 'info says whose they are');
	for my $tool ('chronos', 'pgbackrest')
	{
		my $copy = restored("all that is archived, by $tool", $tool);
		is(table_state($copy, 'accounts'), $state, 'is the state of the primary');
		is($copy->safe_psql('postgres', 'SELECT count(*) FROM unlogged'), '0', 'an unlogged table is empty');
		$copy->stop('immediate');
	}
	verified();
};

subtest 'an idle primary' => sub {
	wait_archived($primary);
	$primary->wait_for_catchup($standby, 'replay');
	$primary->safe_psql('postgres', 'INSERT INTO t VALUES (2); CHECKPOINT');
	$primary->wait_for_catchup($standby, 'replay');
	my $label = backup_of_standby('incr', '--archive-timeout=10');
	consistent('of an idle primary', 'pgbackrest', '--type=immediate', "--set=$label");
	# One that may follow, and no more.
	my $conninfo = $standby->safe_psql('postgres', 'SHOW primary_conninfo');
	$standby->safe_psql('postgres', "ALTER SYSTEM SET primary_conninfo = '"
		  . join(' ', map { "$_=" . ($_ eq 'host' ? $primary->host : $primary->port) } 'host', 'port') . " user=follower'");
	$standby->reload;
	$primary->safe_psql('postgres', 'INSERT INTO t VALUES (3); CHECKPOINT');
	wait_replayed();
	my $before = () = labels();
	my ($status, $out, $err) = chronos($conf, '--type=incr', '--backup-standby=y', '--archive-timeout=2', 'backup');
	is($status, 82, 'WAL that does not come is told') or diag("$out$err");
	like("$out$err", qr/idle primary does not end its segment, and the primary cannot be asked: .*permission denied.*archive_timeout/s,
		'and why, and what to do');
	is(scalar(() = labels()), $before, 'nothing is listed');
	$primary->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION pg_switch_wal() TO follower');
	backup_of_standby('incr', '--archive-timeout=10');
	$standby->safe_psql('postgres', 'ALTER SYSTEM RESET primary_conninfo');
	$standby->reload;
};

subtest 'replay is paused' => sub {
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
	$primary->safe_psql('postgres', 'INSERT INTO t VALUES (4); SELECT pg_switch_wal(); INSERT INTO t VALUES (5)');
	my $label = backup_of_standby('incr');
	consistent('of a standby that has stopped', 'chronos', '--type=immediate', "--set=$label");
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
	wait_replayed();
};

subtest 'who comes after' => sub {
	my $reason = qr/enabling delta checksum/;
	my ($status, $out, $err) = chronos($primary->{chronos_conf}, '--type=incr', 'backup');
	is($status, 0, 'a backup of the primary rests on that of the standby') or diag("$out$err");
	like("$out$err", $reason, 'and reads every file');
	($status, $out, $err) = chronos($primary->{chronos_conf}, '--type=incr', 'backup');
	unlike("$out$err", $reason, 'the next one need not');
	($status, $out, $err) = chronos($conf, '--type=incr', '--backup-standby=prefer', 'backup');
	is($status, 0, 'one of the standby rests on that of the primary') or diag("$out$err");
	like("$out$err", $reason, 'and reads every file');
	($status, $out, $err) = pgbackrest($primary->{chronos_conf}, '--type=incr', '--no-archive-check', 'backup');
	is($status, 0, 'pgBackRest goes on with it on the primary') or diag("$out$err");
	like("$out$err", $reason, 'and reads every file, too');
	wait_archived($primary);
	for my $tool ('chronos', 'pgbackrest')
	{
		my $copy = restored("the chain, by $tool", $tool);
		is(table_state($copy, $_), table_state($primary, $_), "table $_") for 'accounts', 't';
		$copy->stop('immediate');
	}
	verified();
};

subtest 'WAL without full pages' => sub {
	$primary->append_conf('postgresql.conf', 'full_page_writes = off');
	$primary->reload;
	$primary->safe_psql('postgres', 'CHECKPOINT; INSERT INTO t VALUES (6); SELECT pg_switch_wal()');
	wait_replayed();
	refused('--type=full', qr/full_page_writes/);
	$primary->append_conf('postgresql.conf', 'full_page_writes = on');
	$primary->reload;
	poll_until(sub { $primary->safe_psql('postgres', 'SHOW full_page_writes') eq 'on' }, 'full pages are back');
	$primary->safe_psql('postgres', 'INSERT INTO t VALUES (7); CHECKPOINT');
	wait_replayed();
	backup_of_standby('incr');
};

subtest 'a promotion in the middle' => sub {
	my $before = () = labels();
	my $log = "$base/promoted.log";
	my $run = IPC::Run::start(
		[ $chronos, "--config=$conf", '--stanza=main', '--backup-standby=y', '--type=full', '--compress-type=bz2',
			'--compress-level=9', '--no-repo1-bundle', '--process-max=1', 'backup' ],
		'<', \undef, '>', $log, '2>&1', IPC::Run::timeout(300));
	poll_until(sub { grep { m{/base/} } glob "$repo/backup/main/2*F/pg_data/base/*/*.bz2" }, 'files are copied', 120);
	$standby->promote;
	$run->finish;
	isnt($? >> 8, 0, 'fails the backup') or diag(slurp_file($log));
	like(slurp_file($log), qr/the standby was promoted during/, 'and is told');
	is(scalar(() = labels()), $before, 'nothing is listed');
};
$standby->stop('immediate');
$primary->stop('immediate');
done_testing();

sub labels
{
	my ($status, $out, $err) = chronos($conf, '--output=json', 'info');
	my $stanza = decode_json($out)->[0] // { backup => [] };
	return map { $_->{label} } @{ $stanza->{backup} };
}

# Moves amounts between rows: their sum is always the same, and pages change all over the table.
sub start_load
{
	my $file = "$base/load.sql";
	open my $script, '>', $file or die $!;
	print $script "\\set a random(1, $rows)\n\\set b random(1, $rows)\n",
	  "BEGIN;\nUPDATE accounts SET amount = amount - 1 WHERE i = :a;\nUPDATE accounts SET amount = amount + 1 WHERE i = :b;\nCOMMIT;\n";
	close $script;
	my $run = IPC::Run::start(
		[ 'pgbench', '-n', '-c', '1', '-T', '600', '-R', '200', '-f', $file, $primary->connstr('postgres') ],
		'<', \undef, '>', "$base/load.out", '2>&1', IPC::Run::timeout(900));
	my $segments = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $primary->connstr('postgres'), '-c', 'SELECT 1', '-c', 'CHECKPOINT' ],
		'<', \undef, '>', "$base/load.out2", '2>&1', IPC::Run::timeout(300));
	$segments->finish;
	return $run;
}

sub stop_load
{
	my ($run) = @_;
	$run->signal('TERM');
	$run->finish;
	$primary->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pgbench'})
	  or die 'pgbench goes on';
}

sub wait_replayed
{
	my $lsn = $primary->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
	$standby->poll_query_until('postgres', "SELECT pg_last_wal_replay_lsn() >= '$lsn'") or die "$lsn is not replayed";
}

# Returns the label.
sub backup_of_standby
{
	my ($type, @options) = @_;
	my ($status, $out, $err) = chronos($conf, "--type=$type", '--backup-standby=y', @options, 'backup');
	is($status, 0, "$type backup of the standby") or diag("$out$err");
	return (labels())[-1];
}

sub refused
{
	my ($type, $why) = @_;
	my $before = () = labels();
	my ($status, $out, $err) = chronos($conf, $type, '--backup-standby=y', 'backup');
	isnt($status, 0, 'is refused');
	like("$out$err", $why, 'and why');
	is(scalar(() = labels()), $before, 'nothing is listed');
}

my $copies = 0;
# Returns the server, which has recovered.
sub restored
{
	my ($what, $tool, @options) = @_;
	my $directory = private_directory();
	my ($status, $out, $err) = run_tool($tool eq 'chronos' ? $chronos : $tool, "--config=$conf", '--stanza=main',
		"--pg1-path=$directory", '--archive-mode=off', @options,
		(grep { /immediate/ } @options) ? '--target-action=promote' : (), 'restore');
	is($status, 0, "restored: $what") or diag("$out$err");
	return restored_node('copy' . ++$copies, $directory, bare => 1);
}

sub consistent
{
	my ($what, $tool, @options) = @_;
	my $copy = restored($what, $tool, @options);
	is($copy->safe_psql('postgres', 'SELECT sum(amount), count(*) FROM accounts'), 100 * $rows . "|$rows", 'is consistent');
	is($copy->safe_psql('postgres', "SET enable_seqscan = off; SELECT sum(amount) FROM accounts WHERE i > 0"), 100 * $rows, 'index and all');
	$copy->stop('immediate');
	return;
}

sub verified
{
	my ($status, $out, $err) = chronos($conf, 'verify');
	is($status, 0, 'chronos verifies them') or diag("$out$err");
	($status, $out, $err) = pgbackrest($conf, '--log-level-console=info', 'verify');
	my @bad = grep { /(?:missing|invalid|mismatch|other): *[1-9]|ERROR|WARN/ } split /\n/, "$out\n$err";
	is("$status @bad", '0 ', 'and so does pgBackRest');
	return;
}
