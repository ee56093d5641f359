# A month of each runbook's schedule, with the clock of schedules set forward from run to run: which
# jobs there were, and which were covered by another one. What becomes of a schedule when the server
# stops, a job fails, launcher or worker are killed, the database is dumped, dropped and restored, and
# a standby is promoted. The engine takes no time and does nothing; 821 has a real one.
use strict;
use warnings;
use ChronosTest;
use FindBin;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ScheduleClock;
use Test::More;
use Time::HiRes qw(usleep time);

my $base = PostgreSQL::Test::Utils::tempdir();
# What the engine does: nothing, 'fail' or 'hang'.
sub engine_does
{
	my ($what) = @_;
	unlink "$base/engine.fail", "$base/engine.hang";
	PostgreSQL::Test::Utils::append_to_file("$base/engine.$what", '') if defined $what;
}

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<C);
shared_preload_libraries = 'chronos_backup'
chronos.executable = '$FindBin::RealBin/../support/quick_engine.sh'
chronos.config_file = '$base/engine'
chronos.timezone = 'UTC'
max_worker_processes = 16
C
$node->start;
my $at = $node;
sub sql { return $at->safe_psql('postgres', $_[0]) }
# Waits until the query is true.
sub until_true
{
	my ($query, $name) = @_;
	my $good = $at->poll_query_until('postgres', $query);
	ok($good, $name) if defined $name || !$good;
}

sql(<<'S');
CREATE EXTENSION chronos_backup;
-- "type state count, ..." of all jobs.
CREATE FUNCTION outcome() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s %s', type, state, n), ', ' ORDER BY type, state)
	FROM (SELECT type, state, count(*) AS n FROM chronos.jobs GROUP BY 1, 2) AS jobs $$;
S
install_schedule_clock($node);

# Far from any time this may be run at; 2048-11-01 is a Sunday as 2026-11-01 is.
sub begin_at
{
	my ($clock, @schedules) = @_;
	until_true('SELECT NOT EXISTS (SELECT FROM chronos.current_jobs() WHERE finished_at IS NULL)');
	sql("DELETE FROM chronos.schedule_entries; DELETE FROM chronos.job_history; SELECT set_clock('$clock')");
	sql("SELECT chronos.schedule($_)") for @schedules;
}
# Counts what the history has alone: shared memory still knows jobs of the month before.
sub month
{
	my ($until, @schedules) = @_;
	begin_at('2048-10-31 23:59:30+00', @schedules);
	my $start = time;
	sql("CALL simulate('$until')");
	note sprintf '%.1f s', time - $start;
	return sql(q{SELECT string_agg(format('%s %s %s', type, state, n), ', ' ORDER BY type, state)
		FROM (SELECT type, state, count(*) AS n FROM chronos.job_history GROUP BY 1, 2) AS jobs});
}

# --- The runbooks.
is(month('2048-11-30 23:59+00',
		q{'full', 'full', '0 11 * * *', 'UTC'}, q{'diff', 'diff', '0 5,11,17,23 * * *', 'UTC'}),
	'diff skipped 30, diff succeeded 90, full succeeded 30',
	'full daily, diff four times a day: both at 11:00 is one full');
is(sql(q{SELECT count(DISTINCT due_at::date), min((due_at AT TIME ZONE 'UTC')::time), max((due_at AT TIME ZONE 'UTC')::time),
		bool_and(error ~ '^covered by full, job \d+$'), bool_and(schedule = 'diff')
	FROM chronos.job_history WHERE state = 'skipped'}),
	'30|11:00:00|11:00:00|t|t', 'the diff at 11:00 is recorded as covered by the full');

is(month('2048-11-30 23:59+00', q{'full', 'full', '0 2 * * sun', 'Europe/Berlin'},
		q{'diff', 'diff', '0 2 * * mon-sat', 'Europe/Berlin'}),
	'diff succeeded 25, full succeeded 5', 'full on Sundays, diff on other days, at 02:00 of Berlin');
is(sql(q{SELECT string_agg(DISTINCT to_char(due_at AT TIME ZONE 'UTC', 'HH24:MI'), ',') FROM chronos.job_history}),
	'01:00', 'which is 01:00 UTC in November');

# 2048-12-01 is a Tuesday.
is(month('2048-12-01 23:59+00', q{'full', 'full', '0 2 1 * *', 'UTC'}, q{'diff', 'diff', '0 2 * * 0', 'UTC'},
		q{'incr', 'incr', '0 2 * * 1-6', 'UTC'}, q{'verify', 'verify', '0 4 * * *', 'UTC'}),
	'diff skipped 1, diff succeeded 4, full succeeded 2, incr skipped 1, incr succeeded 25, verify succeeded 31',
	'full on the first, diff on Sundays, incr on other days, all at 02:00; verify daily');
is(sql(q{SELECT string_agg(type || to_char(due_at AT TIME ZONE 'UTC', ' MM-DD'), ', ' ORDER BY due_at)
		FROM chronos.job_history WHERE state = 'skipped'}),
	'diff 11-01, incr 12-01', 'the first of a month is the full one\'s alone');

# As the container's environment has it; an hourly job for a month only where there is time.
begin_at('2048-10-31 23:59:30+00');
local %ENV = (%ENV, BACKUP_SCHEDULE_FULL => '0 2 * * 0', BACKUP_SCHEDULE_DIFF => '0 2 * * 1-6',
	BACKUP_SCHEDULE_INCR => '0 */6 * * *', RETENTION_DAYS => 30,
	($ENV{CHECK_LONG} ? (BACKUP_SCHEDULE_MAINTENANCE => '0 * * * *') : ()),
	PGHOST => $node->host, PGPORT => $node->port, POSTGRES_USER => $node->safe_psql('postgres', 'SELECT user'));
$node->command_ok(["$FindBin::RealBin/../../contrib/docker/50-chronos.sh"], 'schedules from the environment of a container');
is(sql(q{SELECT string_agg(format('%s %s', name, cron), ', ' ORDER BY name) FROM chronos.schedules WHERE type <> 'maintenance'}),
	'diff 0 2 * * 1-6, full 0 2 * * 0, incr 0 */6 * * *', 'as they stand there');
until_true(q{SELECT setting::int = 30 * 1440 FROM pg_settings WHERE name = 'chronos.job_history_retention'},
	'RETENTION_DAYS is how long the history is kept');
sql("CALL simulate('2048-11-30 23:59+00')");
is(sql(q{SELECT string_agg(format('%s %s %s', type, state, n), ', ' ORDER BY type, state)
		FROM (SELECT type, state, count(*) AS n FROM chronos.job_history GROUP BY 1, 2) AS jobs}),
	'diff succeeded 25, full succeeded 5, incr succeeded 120' . ($ENV{CHECK_LONG} ? ', maintenance succeeded 720' : ''),
	'full and diff at 02:00, incr every six hours');
if (!$ENV{CHECK_LONG})
{
	begin_at('2048-10-31 23:59:30+00', q{'maintenance', 'maintenance', '@hourly'});
	sql("CALL simulate('2048-11-02 23:59+00')");
	is(sql('SELECT count(*) FROM chronos.job_history'), '48', 'maintenance every hour');
}

is(month('2048-11-30 23:59+00', q{'full', 'full', '0 1 * * 0'}, q{'incr', 'incr', '0 1 * * 1-6'}),
	'full succeeded 5, incr succeeded 25', 'full on Sundays, incr on other days');

# --- Clocks that are set, in the zone of the schedule.
begin_at('2048-03-28 12:00+00', q{'night', 'incr', '30 2 * * *', 'Europe/Berlin'}, q{'interval', 'maintenance', '30 * * * *', 'Europe/Berlin'});
sql("CALL simulate('2048-03-30 06:00+00')");
is(sql(q{SELECT string_agg(to_char(due_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI'), ', ' ORDER BY due_at) FROM chronos.job_history WHERE type = 'incr'}),
	'03-29 01:00, 03-30 00:30', 'a time of day that is skipped comes after the gap');
is(sql(q{SELECT count(*) FROM chronos.job_history WHERE type = 'maintenance'}), '42', 'an interval goes on by the hour');

# --- What runs covers what is due, whoever has asked for it; another repository it does not cover.
begin_at('2048-11-01 00:00+00', q{'a', 'diff', '0 1 * * *', 'UTC'}, q{'b', 'incr', '0 2 * * *', 'UTC', '{"repo": 2}'},
	q{'c', 'verify', '0 3 * * *'});
engine_does('hang');
my $full = sql("SELECT chronos.start_job('full')");
until_true("SELECT state = 'running' FROM chronos.jobs WHERE id = $full");
sql("SELECT set_clock('2048-11-01 02:30+00')");
until_true(q{SELECT count(*) = 2 FROM chronos.schedules WHERE last_job IS NOT NULL});
is(sql(q{SELECT string_agg(concat_ws(' ', name, last_state, last_error), ', ' ORDER BY name) FROM chronos.schedules}),
	"a skipped covered by full, job $full, b queued, c", 'a full one by hand covers the diff, not what is for another repository');
engine_does();
sql("SELECT chronos.cancel($full)");
until_true(q{SELECT last_state = 'succeeded' FROM chronos.schedules WHERE name = 'b'}, 'what waited runs when the lock is free');
is(sql('SELECT min(next_run) FROM chronos.schedules'), '2048-11-01 03:00:00+00', 'next_run is what comes next');

# --- A change takes effect at commit, and one that is not committed holds up no other.
begin_at('2048-11-01 00:00+00', q{'old', 'expire', '0 1 * * *'});
my $session = $node->background_psql('postgres');
$session->query_safe(q{BEGIN; SELECT chronos.schedule('new', 'maintenance', '30 0 * * *'); SELECT chronos.schedule('old', 'verify', '0 1 * * *')});
sql(q{SELECT chronos.schedule('third', 'maintenance', '0 1 * * *'); SELECT set_clock('2048-11-01 01:00+00')});
until_true(q{SELECT last_state = 'succeeded' FROM chronos.schedules WHERE name = 'third'}, 'an uncommitted change holds up no other schedule');
is(sql(q{SELECT name || ' ' || type FROM chronos.schedules WHERE last_job IS NULL}), 'old expire', 'what is being changed waits');
$session->query_safe('ROLLBACK');
until_true(q{SELECT last_state = 'succeeded' FROM chronos.schedules WHERE name = 'old'}, 'and is looked at when the change is taken back');
$session->query_safe(q{BEGIN; SELECT chronos.schedule('new', 'maintenance', '1 1 * * *')});
sql(q{SELECT set_clock('2048-11-01 01:01+00')});
is(sql(q{SELECT count(*) FROM chronos.job_history WHERE schedule = 'new'}), '0', 'before commit nothing runs');
$session->query_safe('COMMIT');
until_true(q{SELECT last_state = 'succeeded' FROM chronos.schedules WHERE name = 'new'}, 'after commit it does, at once');
$session->quit;
is(sql(q{SELECT chronos.schedule('new', 'maintenance', '1 2 * * *', enabled => false)}), '', 'a schedule can be turned off');

# --- Who locks the history holds up no job.
$session = $node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE chronos.job_history');
my $unrecorded = sql(q{SELECT chronos.start_job('maintenance')});
until_true("SELECT state = 'succeeded' FROM chronos.current_jobs() WHERE id = $unrecorded", 'a locked history holds up no job');
$session->query_safe('ROLLBACK');
$session->quit;
sql(q{SELECT chronos.wait(chronos.start_job('maintenance'))});
until_true("SELECT state = 'succeeded' FROM chronos.job_history WHERE id = $unrecorded", 'and the next one brings its record');

# --- Failures.
engine_does('fail');
begin_at('2048-11-01 00:00+00', q{'again', 'full', '0 1 * * *', 'UTC', NULL, 2, '0.5 s'}, q{'never', 'verify', '0 1 * * *'});
sql(q{SELECT set_clock('2048-11-01 01:00+00')});
until_true(q{SELECT count(*) = 4 FROM chronos.job_history WHERE state = 'failed'}, 'a failed job is tried again as often as its schedule says');
usleep(1_500_000);
is(sql(q{SELECT schedule, string_agg(concat_ws(' ', attempt, error_code, error, hint), ', ' ORDER BY id), count(DISTINCT due_at)
		FROM chronos.job_history GROUP BY schedule ORDER BY schedule}),
	"again|1 56 it did not work Try again., 2 56 it did not work Try again., 3 56 it did not work Try again.|1\nnever|1 56 it did not work Try again.|1",
	'each attempt is on record, and no more');
cmp_ok(sql(q{SELECT min(next - finished_at) >= '0.5 s' FROM (SELECT finished_at, lead(requested_at) OVER (ORDER BY id) AS next
		FROM chronos.job_history WHERE schedule = 'again') AS attempts}), 'eq', 't', 'after the delay');
engine_does();
sql(q{SELECT set_clock('2048-11-02 01:00+00')});
until_true(q{SELECT bool_and(last_state = 'succeeded' AND attempt = 1) FROM chronos.schedules}, 'the next day begins anew');

# A job that runs is on record a moment later.
my $one_runs = q{SELECT count(*) = 1 FROM chronos.progress JOIN chronos.job_history USING (id)};

# --- Launcher and worker are killed.
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
my $started = sql('SELECT pg_postmaster_start_time()');
engine_does('hang');
begin_at('2048-11-01 00:00+00', q{'job', 'full', '0 * * * *'});
sql(q{SELECT set_clock('2048-11-01 01:00+00')});
until_true($one_runs);
my $launcher = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'chronos launcher'}) || `pgrep -P $postmaster -f 'chronos launcher'`;
kill 'TERM', $launcher =~ /(\d+)/;
sql(q{SELECT pg_terminate_backend(worker_pid) FROM chronos.progress});
engine_does();
until_true(q{SELECT state = 'failed' FROM chronos.job_history}, 'a job whose worker is killed is recorded as failed');
like(sql('SELECT error FROM chronos.job_history'), qr/terminating background worker "chronos job" due to administrator command/, 'with the reason');
sql(q{SELECT set_clock('2048-11-01 02:00+00')});
until_true(q{SELECT last_state = 'succeeded' FROM chronos.schedules}, 'and the schedule goes on, as soon as there is a launcher again');
is(sql('SELECT pg_postmaster_start_time()'), $started, 'the server was not restarted');

# --- SIGKILL for launcher or worker makes the server end all sessions, as for any of its processes.
# Then too the job is recorded as failed, and the schedule makes up for it.
# The test framework turns off what is on elsewhere.
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->reload;
for my $victim ('chronos job', 'chronos launcher')
{
	engine_does('hang');
	begin_at('2048-11-01 00:00+00', q{'job', 'full', '0 * * * *'});
	sql(q{SELECT set_clock('2048-11-01 01:00+00')});
	until_true($one_runs);
	my ($pid) = grep { $_ } `pgrep -P $postmaster -f '$victim'` =~ /(\d+)/;
	my $restarts = () = slurp_file($node->logfile) =~ /all server processes terminated; reinitializing/g;
	engine_does();
	kill 'KILL', $pid;
	poll_until(sub { (() = slurp_file($node->logfile) =~ /all server processes terminated; reinitializing/g) > $restarts },
		"the server restarts its processes after SIGKILL of the $victim", 60);
	wait_for_server($node, 'and takes connections again', 60);
	until_true(q{SELECT count(*) = 1 FROM chronos.job_history WHERE state = 'failed' AND error = 'the server stopped before the job was finished'},
		"SIGKILL of the $victim: the job is recorded as failed, with the reason");
	until_true(q{SELECT last_state = 'succeeded' AND last_due = '2048-11-01 01:00+00' FROM chronos.schedules}, 'and made up for');
	until_true(q{SELECT count(*) >= 1 FROM chronos.audit_log WHERE operation = 'job' AND message = 'the server stopped before the job was finished'});
	sql(q{SELECT set_clock('2048-11-01 02:00+00')});
	until_true(q{SELECT count(*) = 2 FROM chronos.job_history WHERE state = 'succeeded' AND schedule = 'job'}, 'and the schedule goes on');
}

# --- The server stops under a job, and is away for days.
engine_does('hang');
begin_at('2048-11-01 00:00+00', q{'full', 'full', '0 1 * * *'}, q{'diff', 'diff', '0 */6 * * *'}, q{'verify', 'verify', '0 2 1 * *'});
sql(q{SELECT set_clock('2048-11-01 01:00+00')});
until_true($one_runs);
my $by_hand = sql(q{SELECT chronos.start_job('maintenance')});
until_true($one_runs =~ s/= 1/= 2/r);
$node->stop('immediate');
engine_does();
$node->start;
until_true(q{SELECT count(*) = 2 FROM chronos.job_history WHERE state = 'failed' AND error = 'the server stopped before the job was finished'},
	'jobs that a crash has ended are recorded as failed, also those by hand');
until_true(q{SELECT last_state = 'succeeded' AND attempt = 2 FROM chronos.schedules WHERE name = 'full'}, 'what was scheduled is made up for');
is(sql(q{SELECT due_at FROM chronos.job_history ORDER BY id DESC LIMIT 1}), '2048-11-01 01:00:00+00', 'as what it was');
is(sql("SELECT count(*) FROM chronos.jobs WHERE type = 'maintenance'"), '1', 'what was by hand is not');
sql('DELETE FROM chronos.job_history');
$node->restart;
sql(q{SELECT set_clock('2048-11-05 12:00+00')});
until_true(q{SELECT min(next_run) > '2048-11-05 12:00+00' AND count(*) FILTER (WHERE last_state IN ('queued', 'running')) = 0 FROM chronos.schedules});
is(sql('SELECT outcome()'), 'diff skipped 1, full succeeded 1, verify succeeded 1', 'missed runs are caught up once, and one full for both');

# --- The database is dumped, dropped and restored.
begin_at('2048-10-31 23:30+00', q{'kept', 'incr', '0 1 * * *', 'Europe/Berlin', '{"repo": 1}', 3, '1 h'});
my $dump = "$base/dump.sql";
$node->command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f', $dump, 'postgres' ], 'pg_dump');
my $before = sql(q{SELECT * FROM chronos.schedules});
my $start = time;
$node->safe_psql('template1', 'DROP DATABASE postgres');
cmp_ok(time - $start, '<', 3, 'schedules do not hold up DROP DATABASE');
$node->safe_psql('template1', 'CREATE DATABASE postgres TEMPLATE template0');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-d', 'postgres', '-f', $dump ], 'restore');
is(sql(q{SELECT * FROM chronos.schedules}), $before, 'a dump has the schedules');
sql(q{SELECT set_clock('2048-11-01 00:00+00')});
until_true(q{SELECT last_state = 'succeeded' AND last_due = '2048-11-01 00:00+00' FROM chronos.schedules}, 'and where it is restored they go on');

# --- A standby runs none until it is promoted.
$node->append_conf('postgresql.conf', 'hot_standby_feedback = on');
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
begin_at('2048-11-01 00:30+00', q{'s', 'expire', '0 1 * * *', 'UTC'});
$node->wait_for_catchup($standby);
$at = $standby;
my $log = -s $standby->logfile;
sql(q{SELECT set_clock('2048-11-01 12:00+00')});
is((sql(q{SELECT next_run FROM chronos.schedules}))[0], '2048-11-01 01:00:00+00', 'a standby shows schedules');
my (undef, undef, $error) = $standby->psql('postgres', q{SELECT chronos.schedule('x', 'expire', '@daily')});
like($error, qr/schedules cannot be changed while the server is in recovery/, 'and refuses to change them');
usleep(6_000_000);
unlike(slurp_file($standby->logfile, $log), qr/schedule "s"|chronos scheduler/, 'and runs none');
$node->stop('immediate');
$standby->promote;
until_true(q{SELECT last_state = 'succeeded' FROM chronos.schedules}, 'promoted, it makes up for what was missed');
is(sql(q{SELECT count(*) FROM chronos.job_history}), '1', 'once');

# --- Retention of the history.
sql(q{UPDATE chronos.job_history SET finished_at = now() - interval '30 days 1 minute'});
sql(q{SELECT chronos.wait(chronos.start_job('maintenance'))});
until_true(q{SELECT string_agg(type, ',') = 'maintenance' FROM chronos.job_history}, 'records older than chronos.job_history_retention go');
$standby->stop;
done_testing();
