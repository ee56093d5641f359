# Whatever happens to an engine, the database keeps serving: 50 times at random moments, under load,
# an engine that backs up or pushes WAL is killed with SIGKILL. The server never restarts, no segment
# is lost, no lock or temporary file is left that blocks what comes next, and what was backed up
# after it restores.
use strict;
use warnings;
use ChronosTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

seed();
my $kills = campaign(50, short => 20, long => 200);
# 2.45, which verifies the result, cannot read block-incremental files.
my $node = chronos_node('primary', conf => "archive_timeout = 1\nwal_level = replica\n",
	options => { 'repo1-bundle' => 'n' });
my $conf = $node->{chronos_conf};
$node->command_ok([ 'pgbench', '-i', '-q', '-s', '5', '-h', $node->host, '-p', $node->port, 'postgres' ], 'load');
$node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
my $postmaster = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $pid = PostgreSQL::Test::Utils::slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/ ? $1 : die;
my $first = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn())');

my $bench = IPC::Run::start(
	[ 'pgbench', '-n', '-c', '2', '-T', '600', '-R', '200', '-h', $node->host, '-p', $node->port, 'postgres' ],
	'<', \undef, '>', '/dev/null', '2>', '/dev/null');
my ($killed, %job) = (0);
while ($killed < $kills)
{
	if (!grep { $_ eq 'running' || $_ eq 'queued' }
		split /\n/, $node->safe_psql('postgres', 'SELECT state FROM chronos.jobs'))
	{
		$node->safe_psql('postgres', q{SELECT chronos.start_backup('full')});
	}
	$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
	usleep(int rand 300_000);
	my @engines = engines_below($pid) or next;
	my $victim = $engines[ rand @engines ];
	++$killed if kill 'KILL', $victim;
}
$bench->kill_kill;

is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $postmaster,
	"the server was not restarted by $killed kills");
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
unlike($log, qr/terminating any other active server processes|reinitializing|all server processes terminated/,
	'no crash recovery happened');
$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM chronos.jobs WHERE state IN ('queued', 'running'))})
  or die 'jobs do not end';
like($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT state, ',' ORDER BY state) FROM chronos.jobs}),
	qr/failed/, 'jobs whose engine was killed are recorded as failed');

# The next backup works, and every segment since the first backup is in the repository once.
my $label = $node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
like($label, qr/F$/, 'the next backup works');
my $last = wait_archived($node);
my %stored;
for my $file (glob "$node->{chronos_repo}/archive/main/*-1/*/*")
{
	++$stored{$1} if $file =~ /\/([0-9A-F]{24})-[0-9a-f]{40}(?:\.\w+)?$/;
}
my @all = sort keys %stored;
my @missing;
for (my $segment = $first; $segment le $last; $segment = sprintf('%s%08X', substr($segment, 0, 16), 1 + hex substr($segment, 16)))
{
	push @missing, $segment if !$stored{$segment};
}
is("@missing", '', 'no segment is missing');
is(join(' ', grep { $stored{$_} > 1 } @all), '', 'no segment is there twice');
my ($status, $out, $err) = pgbackrest($conf, 'verify', '--log-level-console=info');
unlike($out . $err, qr/invalid checksum|missing|invalid size|manifest missing/i, 'pgBackRest finds nothing wrong')
  or diag($out . $err);

my $state = table_state($node, 'pgbench_history');
wait_archived($node);
$node->stop;
my $dir = PostgreSQL::Test::Utils::tempdir();
chmod 0700, $dir;
($status, $out, $err) = chronos($conf, "--pg1-path=$dir", '--archive-mode=off', 'restore');
is($status, 0, 'the backup restores') or diag($out . $err);
my $again = restored_node('again', $dir);
is(table_state($again, 'pgbench_history'), $state, 'and holds every transaction');
$again->stop;

done_testing();
