# What has to happen again and again leaves a sign of life, and that one is missing is told by somebody
# else: in SQL, as a health rule, as a metric, in the log.
use strict;
use warnings;
use ChronosTest;
use HttpTest;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $port = free_port();
my $node = chronos_node('primary', options => { 'health-disk-free' => '0' }, conf => <<C);
chronos.heartbeat_timeout = 5
chronos.max_jobs = 4
chronos.health_interval = 1
chronos.wal_stream = on
chronos.wal_stream_interval = 500ms
chronos.http_listen = 'localhost:$port'
C
sub sql { return $node->safe_psql('postgres', $_[0]) }
sub becomes_true
{
	my ($code, $name, $limit) = @_;
	return ok(eval { poll_until($code, $name, $limit // 40); 1 }, $name) || diag(sql('SELECT * FROM chronos.heartbeats'));
}
sub is_late { my ($subject) = @_; return sub { sql("SELECT state FROM chronos.heartbeats WHERE subject = '$subject'") eq 'late' } }
sub is_back { my ($subject) = @_; return sub { sql("SELECT state FROM chronos.heartbeats WHERE subject = '$subject'") =~ /^(?:ok|idle)$/ } }
my ($top) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
# Not all of them are in pg_stat_activity.
sub pid_of
{
	my ($title) = @_;
	for my $dir (glob '/proc/[0-9]*')
	{
		next if (eval { slurp_file("$dir/stat") } // '') !~ /\) \S $top /;
		return $1 if (eval { slurp_file("$dir/cmdline") } // '') =~ /^postgres: .*\b\Q$title\E/ && $dir =~ /(\d+)$/;
	}
	return;
}
sub engine { my ($role) = @_; return grep { (eval { slurp_file("/proc/$_/cmdline") } // '') =~ /\0engine\0$role\0/ } engines_below($top) }
# Stands still while the code runs, whatever that does.
sub while_stopped
{
	my ($pids, $code) = @_;
	ok(scalar @$pids, 'there is something to stop');
	kill 'STOP', @$pids;
	eval { $code->(); 1 } or fail("while stopped: $@");
	kill 'CONT', @$pids;
}
sub rule { return sql(q{SELECT state || ' ' || message FROM chronos.health WHERE rule = 'heartbeat'}) }

sql('CREATE TABLE t (i int); INSERT INTO t VALUES (1); SELECT pg_switch_wal()');
wait_archived($node);
becomes_true(sub { sql(q{SELECT count(*) FROM chronos.heartbeats WHERE last_seen IS NULL AND subject NOT IN ('audit', 'job')}) eq '0' }, 'all give signs');
is(sql(q{SELECT string_agg(subject, ' ' ORDER BY subject) FROM chronos.heartbeats}), 'archiver audit health job launcher scheduler serve stream', 'of these');
is(sql(q{SELECT count(*) FROM chronos.heartbeats WHERE state = 'late'}), '0', 'none is missing');
like(rule(), qr/^ok /, 'and so says health');

while_stopped([ pid_of('chronos launcher') ], sub {
	becomes_true(is_late('launcher'), 'the launcher stands still');
	like(rule(), qr/^critical launcher stands still/, 'a session that asks for health learns of it');
	is(sql(q{SELECT count(*) FROM chronos.metrics WHERE name = 'chronos_heartbeat_late_seconds' AND labels->>'subject' = 'launcher' AND value > 0}), '1', 'as a metric');
	becomes_true(sub { $node->log_contains(qr/WARNING: .*chronos: launcher stands still/) }, 'and the log has it from another process');
});
becomes_true(is_back('launcher'), 'it goes on');

while_stopped([ pid_of('archiver') ], sub {
	sql('INSERT INTO t VALUES (2); SELECT pg_switch_wal()');
	becomes_true(is_late('archiver'), 'the archiver stands still');
	becomes_true(sub { $node->log_contains(qr/WARNING: .*chronos: archiver stands still/) }, 'the launcher tells');
	becomes_true(sub { sql(q{SELECT state FROM chronos.health_state WHERE rule = 'heartbeat'}) eq 'critical' }, 'and the health worker, in an alert');
});
becomes_true(is_back('archiver'), 'it goes on');

while_stopped([ engine('archive') ], sub {
	sql('INSERT INTO t VALUES (3); SELECT pg_switch_wal()');
	sleep 1;
	is(sql(q{SELECT state FROM chronos.heartbeats WHERE subject = 'archiver'}), 'ok', 'an archiver that waits for its engine is alive: wal_lag is about that');
});

while_stopped([ engine('stream') ], sub {
	sql('INSERT INTO t VALUES (4)');
	becomes_true(is_late('stream'), 'streaming stands still');
	like(rule(), qr/^warning stream stands still/, 'a warning');
});
becomes_true(is_back('stream'), 'it goes on');

while_stopped([ pid_of('chronos serve') ], sub { becomes_true(is_late('serve'), 'the keeper of the dashboard stands still') });
becomes_true(is_back('serve'), 'it goes on');

# Jobs: a backup whose call to the file system does not come back (opening a file that another process has a lease on waits until that
# is given up), though its session is asked meanwhile, and a verify whose engine stands still; but not one that is slow, or waits.
sql(q{SELECT chronos.backup_now('full')});
my $hanging = $node->data_dir . '/base/1/hanging';
append_to_file($hanging, 'x' x 8192);
sub hold_lease
{
	my ($file) = @_;
	my $ready = "$file.held";
	my $pid = fork() // die "fork: $!";
	return ($pid, $ready) if $pid;
	local $SIG{IO} = 'IGNORE';
	open my $handle, '+<', $file or POSIX::_exit(1);
	fcntl($handle, 1024, 1) or POSIX::_exit(2);    # F_SETLEASE, F_WRLCK
	open my $mark, '>', $ready or POSIX::_exit(3);
	close $mark;
	sleep 120;
	POSIX::_exit(0);
}
my ($holder) = hold_lease($hanging);
poll_until(sub { -e "$hanging.held" }, 'lease', 10);
unlink "$hanging.held";
my $still = sql(q{SELECT chronos.start_job('verify', '{"rate-limit": "40KB"}')});
# The guard is there before the engine that works: once there is progress both are.
poll_until(sub { sql("SELECT phase IS NOT NULL FROM chronos.progress WHERE id = $still") eq 't' }, 'its work', 20);
my @still = grep { (eval { slurp_file("/proc/$_/cmdline") } // '') =~ /\0verify\0/ } engines_below($top);
cmp_ok(scalar @still, '>=', 2, 'its engine and its guard');
kill 'STOP', @still;
my $slow = sql(q{SELECT chronos.start_job('verify', '{"rate-limit": "40KB"}')});
my $backup = sql(q{SELECT chronos.start_job('full', '{"start-fast": "y", "process-max": "2"}')});
becomes_true(sub { rule() =~ /job $still \(verify/ && rule() =~ /job $backup \(full/ }, 'both stand still');
like(rule(), qr/^warning job stands still, a sign of it has been due for \d+s: no progress of job \d+ \([^)]*\), job \d+ \([^)]*\); chronos\.cancel\(\) ends it$/, 'they are named, and the slow one is not');
like(rule(), qr/job $backup \(full, phase copy\)/, 'with what they are at');
becomes_true(sub { $node->log_contains(qr/WARNING: .*chronos: job $backup \(full\) stands still/) }, 'the launcher tells');
becomes_true(sub { my (undef, $body) = get($port, '/api/status.json'); ($body // '') =~ /"id":$backup\b[^}]*"still_for":[1-9]|"still_for":[1-9][^}]*"id":$backup\b/ }, 'the dashboard has it');
kill 'KILL', $holder;
waitpid $holder, 0;
is(sql("SELECT chronos.wait($backup)"), 'succeeded', 'it ends well once it can go on');
kill 'CONT', @still;
becomes_true(is_back('job'), 'and nothing is late any more');
for my $job ($still, $slow)
{
	sql("SELECT chronos.cancel($job)");
	is(sql("SELECT chronos.wait($job)"), 'cancelled', 'the others were still at it');
}

# Sessions that wait for somebody's lock are given up, and told of.
my $locker = $node->background_psql('postgres');
for my $case ([ 'chronos.schedule_entries', 'scheduler' ], [ 'chronos.audit_log', 'audit' ], [ 'chronos.health_state', 'health' ])
{
	my ($table, $subject) = @$case;
	$locker->query_safe('BEGIN');
	$locker->query_safe("LOCK TABLE $table IN ACCESS EXCLUSIVE MODE");
	$node->psql('postgres', 'SELECT chronos.cancel(1)');
	$node->reload;
	becomes_true(is_late($subject), "with $table locked, $subject stands still");
	becomes_true(sub { $node->log_contains(qr/WARNING: .*chronos: $subject stands still/) }, 'the launcher tells');
	$locker->query_safe('ROLLBACK');
	$node->reload;
	becomes_true(is_back($subject), 'it goes on', 150);
}
$locker->quit;
my ($code, $metrics) = get($port, '/metrics');
like($metrics, qr/^chronos_heartbeat_late_seconds\{stanza="main",subject="archiver"\} 0$/m, 'the dashboard has them');
sql('CREATE ROLE watcher LOGIN; GRANT chronos_monitor TO watcher; CREATE ROLE nobody LOGIN');
is($node->safe_psql('postgres', 'SELECT count(*) FROM chronos.heartbeats', extra_params => [ '-U', 'watcher' ]), '8', 'a monitor sees them');
my ($status, undef, $err) = $node->psql('postgres', 'SELECT * FROM chronos.heartbeats', extra_params => [ '-U', 'nobody' ]);
like($err, qr/permission denied/, 'nobody else does');
$node->stop;
done_testing();
