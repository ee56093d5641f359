# A stanza goes on with another cluster, as after pg_upgrade: the former one's backups stay restorable
# by both tools, the next backup is a full one, and when retention takes the last backup of the former
# cluster, its WAL goes with it.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my %options = ('lock-path' => "$base/lock", 'spool-path' => "$base/spool", 'log-level-console' => 'off',
	'log-level-stderr' => 'off', 'compress-type' => 'gz', 'repo1-bundle' => 'n', 'repo1-retention-full' => 2);

my $former = cluster('former');
is((chronos($former->{conf}, 'stanza-create'))[0], 0, 'a stanza');
$former->safe_psql('postgres', 'CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i');
is((chronos($former->{conf}, 'backup', '--type=full'))[0], 0, 'a backup of the first cluster');
my $state = table_state($former, 't');
my ($label) = glob "$base/repo/backup/main/2*F";
$label =~ s{.*/}{};
$former->stop;

my $next = cluster('next');
my ($status, $out, $err) = chronos($next->{conf}, qw(backup --type=full --log-level-stderr=error));
is($status, 51, 'the second one may not go on with the stanza');
is(states_of($next), 'backup_age critical, rpo unknown, stanza_owner critical, timelines_diverge unknown, wal_conflict unknown, wal_gap unknown',
	'health says nothing good of a stanza that is of another cluster');
like((chronos($next->{conf}, 'health'))[1], qr/stanza-upgrade/, 'and names the way out');
is((chronos($next->{conf}, 'stanza-upgrade'))[0], 0, 'until that is upgraded');
is(states_of($next), 'backup_age critical', 'then a backup is missing: those of the former cluster are none of this one');
is((chronos($next->{conf}, 'stanza-upgrade'))[0], 0, 'once or twice');
$next->safe_psql('postgres', 'SELECT pg_switch_wal()');
($status, $out, $err) = chronos($next->{conf}, qw(backup --type=incr));
is($status, 0, 'then it is backed up') or diag $err;
is(states_of($next), '', 'and health has nothing to say against it');
($status, $out) = pgbackrest($next->{conf}, 'info');
like($out, qr/db \(prior\).*full backup: \Q$label\E.*db \(current\).*full backup: (?!\Q$label\E)/s, 'in full, beside the former one');

for my $tool ('pgbackrest', $chronos)
{
	my $data = "$base/restored" . ($tool eq $chronos ? 1 : 2);
	mkdir $data, 0700;
	($status, $out, $err) = run_tool($tool, "--config=$next->{conf}", '--stanza=main', "--pg1-path=$data", 'restore',
		"--set=$label", '--type=immediate', '--target-action=promote');
	is($status, 0, "restored by $tool") or diag "$out$err";
	my $node = restored_node('old' . ($tool eq $chronos ? 1 : 2), $data);
	is(table_state($node, 't'), $state, 'to what it was');
	$node->stop;
}

my ($archive) = glob "$base/repo/archive/main/*-1";
ok(-d $archive, 'WAL of the former cluster');
($status) = chronos($next->{conf}, 'expire', '--repo1-retention-full=1');
is($status, 0, 'retention takes its last backup');
ok(!-e "$base/repo/backup/main/$label" && !-e $archive, 'and its WAL with it');
ok((glob "$base/repo/archive/main/*-2"), 'but not that of the current one');
($status, $out) = pgbackrest($next->{conf}, 'check');
is($status, 0, 'pgBackRest has nothing to say against that') or diag $out;
$next->stop;
done_testing();

# What health does not call ok, of the rules that a repository has to do with.
sub states_of
{
	my ($server) = @_;
	my (undef, $json) = chronos($server->{conf}, '--output=json', 'health');
	return join ', ', sort map { "$_->{rule} $_->{state}" }
	  grep { $_->{state} ne 'ok' && $_->{rule} =~ /^(backup_age|rpo|stanza_owner|timelines_diverge|wal_conflict|wal_gap)$/ }
	  @{ decode_json($json)->{rules} };
}

# A running server that archives into the stanza.
sub cluster
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 1);
	$node->{conf} = write_config("$base/$name.conf", path => "$base/repo", pg => $node->data_dir, port => $node->port,
		socket => $node->host, %options);
	$node->append_conf('postgresql.conf',
		"archive_mode = on\narchive_command = 'pgbackrest --config=$node->{conf} --stanza=main archive-push %p'\n");
	$node->start;
	return $node;
}
