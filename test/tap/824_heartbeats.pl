# What has to happen again and again leaves a sign of life, and that one is missing is told by somebody
# else: in SQL, as a health rule, as a metric, in the log.
use strict;
use warnings;
use ChronosTest;
use HttpTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $port = free_port();
my $node = chronos_node('primary', options => { 'health-disk-free' => '0' }, conf => <<C);
chronos.heartbeat_timeout = 5
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
becomes_true(sub { sql(q{SELECT count(*) FROM chronos.heartbeats WHERE last_seen IS NULL AND subject <> 'audit'}) eq '0' }, 'all give signs');
is(sql(q{SELECT string_agg(subject, ' ' ORDER BY subject) FROM chronos.heartbeats}), 'archiver audit health launcher scheduler serve stream', 'of these');
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
is($node->safe_psql('postgres', 'SELECT count(*) FROM chronos.heartbeats', extra_params => [ '-U', 'watcher' ]), '7', 'a monitor sees them');
my ($status, undef, $err) = $node->psql('postgres', 'SELECT * FROM chronos.heartbeats', extra_params => [ '-U', 'nobody' ]);
like($err, qr/permission denied/, 'nobody else does');
$node->stop;
done_testing();
