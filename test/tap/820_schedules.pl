# A month of each runbook's schedule, with the clock of schedules set forward from run to run: which
# jobs there were, which were covered by another one. What a schedule does at a stop of the server, a
# failure, a promotion, a dump and a restore, and when launcher or worker are killed.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

my $support = (grep { -e "$_/quick_engine.sh" } 'test/support', "$ENV{PWD}/test/support")[0];

# A server whose jobs are done by an engine that takes no time.
sub quick_node
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 1);
	my $script = PostgreSQL::Test::Utils::tempdir() . '/engine';
	my $engine = Cwd::abs_path("$support/quick_engine.sh");
	$node->append_conf('postgresql.conf', <<C);
shared_preload_libraries = 'chronos_backup'
chronos.executable = '$engine'
chronos.config_file = '$script'
chronos.timezone = 'UTC'
max_worker_processes = 16
max_wal_senders = 5
C
	$node->{script} = $script;
	$node->start;
	return $node;
}

sub prepare
{
	my ($node) = @_;
	$node->safe_psql('postgres', <<'S');
CREATE EXTENSION chronos_backup;
CREATE FUNCTION set_clock(timestamptz) RETURNS void LANGUAGE c
	AS 'chronos_backup', 'chronos_test_set_schedule_clock';
-- From run to run until that time; each time everything that is due is done before the clock goes on.
CREATE PROCEDURE simulate(until timestamptz) LANGUAGE plpgsql AS $$
DECLARE
	now timestamptz;
BEGIN
	LOOP
		SELECT min(next_run) INTO now FROM chronos.schedules;
		EXIT WHEN now IS NULL OR now > until;
		PERFORM set_clock(now);
		LOOP
			COMMIT;
			EXIT WHEN NOT EXISTS (SELECT FROM chronos.schedules WHERE next_run <= now)
				AND NOT EXISTS (SELECT FROM chronos.current_jobs() WHERE finished_at IS NULL);
			PERFORM pg_sleep(0.002);
		END LOOP;
	END LOOP;
END $$;
S
}

# Runs a month of the schedules; returns "type state count, ..." of the jobs.
sub month
{
	my ($node, $from, $until, @schedules) = @_;
	$node->safe_psql('postgres',
		"TRUNCATE chronos.schedule_entries, chronos.job_history; SELECT set_clock('$from')");
	$node->safe_psql('postgres', "SELECT chronos.schedule($_)") for @schedules;
	my $start = time;
	$node->safe_psql('postgres', "CALL simulate('$until')");
	note sprintf('%.1f s', time - $start);
	$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM chronos.job_history WHERE finished_at IS NULL)});
	return $node->safe_psql('postgres', q{
		SELECT string_agg(format('%s %s %s', type, state, n), ', ' ORDER BY type, state)
		FROM (SELECT type, state, count(*) AS n FROM chronos.job_history GROUP BY 1, 2) AS jobs});
}

my $node = quick_node('quick');
prepare($node);

# 2026-11-01 is a Sunday.
is(month($node, '2026-10-31 23:59:59+00', '2026-11-30 23:59+00',
		q{'full', 'full', '0 11 * * *', 'UTC'}, q{'diff', 'diff', '0 5,11,17,23 * * *', 'UTC'}),
	'diff skipped 30, diff succeeded 90, full succeeded 30',
	'full daily, diff four times a day: both at 11:00 is one full');
is($node->safe_psql('postgres', q{
		SELECT count(*), count(DISTINCT due_at::date), min((due_at AT TIME ZONE 'UTC')::time), max((due_at AT TIME ZONE 'UTC')::time),
			bool_and(error ~ '^covered by full, job \d+$'), bool_and(schedule = 'diff')
		FROM chronos.job_history WHERE state = 'skipped'}),
	'30|30|11:00:00|11:00:00|t|t', 'the diff at 11:00 is recorded as covered by the full');
done_testing();
