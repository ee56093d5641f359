# A postmaster that is PID 1, as in a container, adopts the children of its dead children and takes
# one that dies by a signal for a crashed server process: it restarts the whole cluster. Engines that
# lose their server process must not do that to it, and neither may what engines leave behind.
#
# The server runs in a process namespace of its own; that needs root or user namespaces.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

my $node = chronos_node('inside', start => 0, conf => "restart_after_crash = on\n");
my $log = $node->logfile;

sub start_as_pid_1
{
	my @unshare = ('unshare', $< == 0 ? () : ('--user', '--map-current-user'), '--pid', '--fork');
	my ($status) = run_tool(@unshare, 'true');
	BAIL_OUT('no process namespace can be made here: run as root, or allow user namespaces')
	  if $status != 0;
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		open STDOUT, '>>', $log or die "$log: $!";
		open STDERR, '>&', \*STDOUT;
		exec @unshare, 'postgres', '-D', $node->data_dir, '-k', $node->host, '-c', 'listen_addresses=';
	}
	wait_for_server($node, 'server is up', 60);
	return $pid;
}
sub sql { return $node->safe_psql('postgres', $_[0]) }
# The process ids as this test sees them, below the unshare process.
sub children_of
{
	my ($parent) = @_;
	my @children;
	for my $stat (glob '/proc/[0-9]*/stat')
	{
		open my $in, '<', $stat or next;
		my $line = <$in> // next;
		push @children, $1 if $line =~ /^(\d+) \(.*\) \S $parent /;
	}
	return @children;
}
sub title_of
{
	my ($pid) = @_;
	open my $in, '<', "/proc/$pid/cmdline" or return '';
	my $title = <$in> // '';
	return $title =~ tr/\0/ /r;
}
sub server_process
{
	my ($postmaster, $pattern) = @_;
	my ($pid) = grep { title_of($_) =~ $pattern } children_of($postmaster);
	return $pid;
}
sub restarts { return () = slurp_file($log) =~ /all server processes terminated; reinitializing/g }

my $unshare = start_as_pid_1();
my ($postmaster) = children_of($unshare);
like(title_of($postmaster), qr/postgres -D/, 'found the postmaster');
open my $status, '<', "/proc/$postmaster/status" or die $!;
my ($inside) = grep { /^NSpid:/ } <$status>;
like($inside, qr/\t1$/, 'which is PID 1 of its namespace');
sql('CREATE EXTENSION chronos_backup');
sql('CREATE TABLE t AS SELECT n, repeat(md5(n::text), 30) AS text FROM generate_series(1, 200000) AS n');
wait_archived($node);

# --- The data process of an engine dies: its guard takes note, nobody else.
for my $signal ('KILL', 'SEGV', 'TERM')
{
	my $archiver = server_process($postmaster, qr/archiver/);
	my @engines = engines_below($archiver);
	cmp_ok(scalar @engines, '>=', 2, 'the archiver has an engine and its guard');
	kill $signal, $engines[-1];
	sql("INSERT INTO t VALUES (0, '$signal')");
	wait_archived($node);
	is(restarts(), 0, "the archive engine dies by SIG$signal: the cluster stays up");
	is(server_process($postmaster, qr/archiver/), $archiver, 'and so does the archiver');
}

# --- A guard that does not answer has to be killed, and its killed child must not become the
# postmaster's.
{
	my $archiver = server_process($postmaster, qr/archiver/);
	my @engines = engines_below($archiver);
	kill 'STOP', @engines;
	sql('SELECT pg_reload_conf()');
	sql("INSERT INTO t VALUES (0, 'stopped')");
	wait_archived($node);
	is(scalar(grep { kill 0, $_ } @engines), 0, 'a stopped guard and its engine are replaced');
	is(restarts(), 0, 'and the cluster stays up');
}

# --- Server processes go first and leave their engines behind, in the middle of their work.
sub backup_under_way
{
	my $job = sql("SELECT chronos.start_backup('full')");
	my @engines;
	my $worker;
	poll_until(sub {
		$worker = server_process($postmaster, qr/chronos job/) or return 0;
		@engines = engines_below($worker);
		return @engines >= 2;
	}, 'engine of the backup', 30);
	return ($job, $worker, @engines);
}

for my $round (1 .. 3)
{
	my ($job, $worker, @engines) = backup_under_way();
	kill 'TERM', $worker;
	poll_until(sub { !grep { kill 0, $_ } @engines }, 'engines of a terminated worker end', 30);
	is(sql("SELECT chronos.wait($job)"), 'failed', 'a terminated job worker: the job has failed');
	is(restarts(), 0, 'and its engine brings nobody down');
}
for my $signal ('KILL', 'SEGV')
{
	my ($job, $worker, @engines) = backup_under_way();
	kill $signal, $engines[-1];
	is(sql("SELECT chronos.wait($job)"), 'failed', "the backup engine dies by SIG$signal: the job has failed");
	like(sql("SELECT error FROM chronos.jobs WHERE id = $job"), qr/killed by signal/, 'with the reason');
	is(restarts(), 0, 'and the cluster stays up');
}

# The worst: a server process is killed without a chance to say goodbye. That restarts the cluster,
# as for any server process - once, and not a second time for the engine that it orphans.
for my $victim (qr/archiver/, qr/chronos job/)
{
	my $before = restarts();
	my ($job, $worker, @engines) = backup_under_way();
	my $pid = server_process($postmaster, $victim);
	push @engines, engines_below($pid);
	kill 'KILL', $pid;
	poll_until(sub { restarts() > $before }, 'restart after a killed server process', 60);
	wait_for_server($node, 'server is up again', 60);
	poll_until(sub { !grep { kill 0, $_ } @engines }, 'orphaned engines end', 30);
	usleep(1_500_000);
	is(restarts(), $before + 1, "killed $victim: one restart, none for the orphans");
}

# The postmaster starts an archiver every 10 seconds at most, and looks once a minute.
poll_until(sub { server_process($postmaster, qr/archiver/) }, 'archiver is back', 90);
my $label = sql("SELECT chronos.backup_now('full')");
like($label, qr/^\d{8}-\d{6}F$/, 'and the next backup works');
wait_archived($node);

# --- The real engine hangs, as it would in a dead network file system: it does not answer signals.
my $archiver = server_process($postmaster, qr/archiver/);
my @engines = engines_below($archiver);
kill 'STOP', $engines[-1];
sql("INSERT INTO t VALUES (0, 'hang'); SELECT pg_switch_wal()");
usleep(500_000);
my $begin = time;
sql('CREATE DATABASE doomed');
sql('DROP DATABASE doomed');
my $took = time - $begin;
cmp_ok($took, '<', 3, "DROP DATABASE while the engine hangs ($took s)");

$begin = time;
kill 'INT', $postmaster;
usleep(50_000) while kill(0, $postmaster) && waitpid($unshare, 1) == 0 && time < $begin + 30;
$took = time - $begin;
ok(!kill(0, $postmaster), 'the server stops');
cmp_ok($took, '<', 3, "in time ($took s)");
is(scalar(grep { kill 0, $_ } @engines), 0, 'and leaves no engine');
done_testing();
