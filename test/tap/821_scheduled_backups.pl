# Schedules with a real engine and a real repository, days in seconds: which backups and expirations
# there were. And the commands before and after a job, which are the engine's business too.
# CHECK_LONG: a whole month.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use ScheduleClock;
use Test::More;
use Time::HiRes qw(time);

my $node = chronos_node('primary', options => { 'repo1-retention-full' => 2, 'repo1-retention-diff' => 2 });
my $base = PostgreSQL::Test::Utils::tempdir();
sub sql { return $node->safe_psql('postgres', $_[0]) }

# --- Commands before and after a job.
my $said = "$base/said";
$node->append_conf('postgresql.conf', <<C);
chronos.job_start_command = 'echo start %i %t %c "\$JOB_STATE" >> $said'
chronos.job_end_command = 'echo end %i %t %s [%l] "[\$JOB_ERROR]" %% >> $said; echo told'
C
$node->reload;
$node->poll_query_until('postgres', q{SELECT setting <> '' FROM pg_settings WHERE name = 'chronos.job_end_command'});
my $label = sql(q{SELECT chronos.backup_now('full')});
is(slurp_file($said), "start 1 full main starting\nend 1 full succeeded [$label] [] %\n", 'both commands know the job');
like(slurp_file($node->logfile), qr/chronos: job_end_command: told/, 'what they print is in the server log');
unlink $said;
is(sql(q{SELECT chronos.wait(chronos.start_job('expire', '{"repo": 7}'))}), 'failed');
is(slurp_file($said), "start 2 expire main starting\nend 2 expire failed [] [key '7' is not valid for 'repo' option] %\n",
	'the command after a failed job knows why');

sub with
{
	my (%setting) = @_;
	$node->append_conf('postgresql.conf', "chronos.$_ = '$setting{$_}'") for sort keys %setting;
	$node->reload;
	my ($name) = sort keys %setting;
	$node->poll_query_until('postgres', sprintf(q{SELECT setting = $$%s$$ FROM pg_settings WHERE name = 'chronos.%s'}, $setting{$name} =~ s/s$//r, $name))
	  or die "no $name";
}
with(job_start_command => 'echo disk is not mounted; exit 3');
with(job_end_command => '');
is(sql(q{SELECT chronos.wait(chronos.start_job('maintenance'))}), 'failed', 'no job without what it needs');
is(sql('SELECT error FROM chronos.jobs ORDER BY id DESC LIMIT 1'), 'job_start_command failed with exit status 3', 'and the reason is on record');
with(job_command_timeout => '1s');
with(job_start_command => '');
with(job_end_command => 'sleep 60');
my $start = time;
is(sql(q{SELECT chronos.wait(chronos.start_job('maintenance'))}), 'succeeded', 'a command that hangs is no failure of the job');
cmp_ok(time - $start, '<', 10, 'and is killed in time');
like(slurp_file($node->logfile), qr/WARNING:  chronos: job_end_command failed: the command did not end within 1 s/, 'with a warning');
is(sql(q{SELECT phases ? 'end-command' FROM chronos.jobs ORDER BY id DESC LIMIT 1}), 't', 'its time is on record');
with(job_end_command => '');
is(sql(q{SELECT phases ?& '{start,copy,stop}' AND requested_from = 'local' AND bytes > 1000000 FROM chronos.jobs WHERE id = 1}), 't',
	'so are the phases of a backup, where it was asked from, and its size');

# --- Days, or a month: full daily, diff four times a day.
install_schedule_clock($node);
sql(<<'S');
SELECT set_clock('2048-10-31 23:59:30+00');
SELECT chronos.schedule('full', 'full', '0 11 * * *', 'UTC');
SELECT chronos.schedule('diff', 'diff', '0 5,11,17,23 * * *', 'UTC');
S
my $days = $ENV{CHECK_LONG} ? 30 : 3;
my $last = sql('SELECT max(id) FROM chronos.job_history');
$start = time;
sql("CALL simulate('2048-11-01 00:00+00'::timestamptz + interval '$days days' - interval '1 minute', 0.01)");
note sprintf '%.1f s', time - $start;
is(sql("SELECT string_agg(format('%s %s %s', type, state, n), ', ' ORDER BY type, state)
		FROM (SELECT type, state, count(*) AS n FROM chronos.job_history WHERE id > $last GROUP BY 1, 2) AS jobs"),
	sprintf('diff skipped %d, diff succeeded %d, full succeeded %d', $days, 3 * $days, $days), "backups of $days days");
is(sql(q{SELECT string_agg(type, ' ' ORDER BY label) FROM chronos.backups}),
	'full full diff diff', 'what retention leaves: two full ones and two diffs')
  or note sql(q{SELECT string_agg(label, ' ' ORDER BY label) FROM chronos.backups});
is(sql(q{SELECT count(*) FROM chronos.backups AS b JOIN chronos.job_history AS j ON j.label = b.label AND j.state = 'succeeded' AND j.schedule IS NOT NULL}),
	'4', 'and each is the work of a job of the history');
my ($status) = pgbackrest($node->{chronos_conf}, 'verify');
is($status, 0, 'pgBackRest finds nothing wrong with them');
$node->stop;
done_testing();
