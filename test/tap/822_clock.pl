# A wall clock that is set back by hours, or forward by days, under a running server: schedules, retries,
# health, the audit log, archiving and streaming go on at once, and nothing runs twice for it. The server's
# clock is set by a library that is loaded before all others; the clock of the machine stays.
use strict;
use warnings;
use ChronosTest;
use Fcntl;
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $base = PostgreSQL::Test::Utils::tempdir();
my $library = "$base/clock_shift.so";
my $compiler = $ENV{CC} // 'cc';
system("$compiler -shared -fPIC -O1 -o $library $FindBin::RealBin/../support/clock_shift.c >$base/cc.log 2>&1") == 0
  or die slurp_file("$base/cc.log");

my $shift = 0;
sub set_shift
{
	$shift = shift;
	sysopen my $file, "$base/shift", O_RDWR | O_CREAT or die $!;
	syswrite $file, pack 'q', $shift * 1e6;
	close $file;
}
# Ahead of the true time by about so many hours, a few seconds before a full minute.
sub set_clock
{
	my ($hours) = @_;
	my $wanted = time + $hours * 3600;
	set_shift($wanted - $wanted % 60 + 57 - time);
}
set_shift(0);
$ENV{CLOCK_SHIFT_FILE} = "$base/shift";
local $ENV{LD_PRELOAD} = $library;

# --- Schedules and their neighbours, with an engine that takes no time.
my $node = PostgreSQL::Test::Cluster->new('planner');
$node->init;
$node->append_conf('postgresql.conf', <<C);
shared_preload_libraries = 'chronos_backup'
chronos.executable = '$FindBin::RealBin/../support/quick_engine.sh'
chronos.config_file = '$base/engine'
chronos.timezone = 'UTC'
chronos.health_interval = 1
chronos.heartbeat_timeout = 5
max_worker_processes = 16
C
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]) }
sub until_true
{
	my ($query, $name) = @_;
	return ok(eval { poll_until(sub { sql("SELECT $query") eq 't' }, $name, 40); 1 }, $name)
	  || diag(sql('SELECT format(\'%s now %s\', s, now()) FROM chronos.schedules s') . "\n" . sql('SELECT * FROM chronos.heartbeats'));
}
sub jobs { return "(SELECT count(*) FROM chronos.jobs WHERE schedule = '$_[0]' AND state = '$_[1]')" }
sub health_checks { return scalar(() = slurp_file("$base/engine") =~ /^engine health /mg) }

sql('CREATE EXTENSION chronos_backup');
set_clock(0);
sql(q{SELECT chronos.schedule('every', 'incr', '* * * * *', 'UTC')});
until_true(jobs('every', 'succeeded') . ' = 1', 'a schedule runs');

# A failed one, whose retry is still to come when the clock is set.
PostgreSQL::Test::Utils::append_to_file("$base/engine.fail", '');
set_clock(1);
sql(q{SELECT chronos.schedule('again', 'verify', '* * * * *', 'UTC', retries => 9, retry_delay => '2 s')});
until_true(jobs('again', 'failed') . ' >= 1', 'one fails');
unlink "$base/engine.fail";
my $before = sql('SELECT ' . jobs('every', 'succeeded'));
my $asked = sql('SELECT count(*) FROM chronos.audit_log');
my $looked = health_checks();
set_clock(-4);
until_true(jobs('every', 'succeeded') . " > $before", 'five hours back, the schedule goes on with the next minute');
until_true(jobs('again', 'succeeded') . ' > 0', 'and so does the one that failed');
is(sql(q{SELECT count(*) FROM chronos.schedules WHERE next_run > now() + interval '2 minutes'}), '0', 'what comes next comes soon');
eval { sql('SELECT chronos.cancel(1)') };
until_true("(SELECT count(*) FROM chronos.audit_log) > $asked", 'a call is recorded');
poll_until(sub { health_checks() > $looked + 2 }, 'health goes on', 30);
pass('health is checked');
until_true("NOT EXISTS (SELECT FROM chronos.heartbeats WHERE state = 'late')", 'nothing stands still');
ok($node->log_contains(qr/the clock was set back by 1[78]\d{3} s/), 'and the log tells that the clock was set');

# Forward by three days: one run for all that were missed.
sql(q{SELECT chronos.unschedule('again')});
my $highest = sql('SELECT max(id) FROM chronos.jobs');
set_clock(72);
until_true("EXISTS (SELECT FROM chronos.jobs WHERE schedule = 'every' AND id > $highest)", 'three days forward, the schedule runs');
sleep 6;
cmp_ok(sql("SELECT count(*) FROM chronos.jobs WHERE schedule = 'every' AND id > $highest"), '<=', 2,
	'once for all that was missed, and once for the next minute');

# How long something has run does not depend on what the clock shows.
PostgreSQL::Test::Utils::append_to_file("$base/engine.hang", '');
my $hanging = sql(q{SELECT chronos.start_job('verify')});
until_true("EXISTS (SELECT FROM chronos.progress WHERE id = $hanging)", 'a job runs');
for my $hours (72 + 9, 72)
{
	set_clock($hours);
	is(sql("SELECT elapsed BETWEEN '0' AND interval '5 minutes' FROM chronos.progress WHERE id = $hanging"), 't', "with the clock at $hours hours it has run for some seconds");
}
sql("SELECT chronos.cancel($hanging)");
unlink "$base/engine.hang";
until_true("(SELECT finished_at IS NOT NULL FROM chronos.jobs WHERE id = $hanging)", 'it ends');

# Back by less than a minute is a correction: what ran a moment ago does not run again.
$highest = sql('SELECT max(id) FROM chronos.jobs');
set_shift($shift - 20);
sleep 6;
is(sql("SELECT count(*) FROM chronos.jobs WHERE schedule = 'every' AND id > $highest"), '0', 'a correction repeats nothing');
$node->stop;

# --- Archiving and streaming, with an engine of which the clock takes no notice.
set_shift(5 * 3600);
my $archiving = chronos_node('archiving', conf => <<C);
chronos.wal_stream = on
chronos.wal_stream_interval = 200ms
chronos.heartbeat_timeout = 5
archive_timeout = 0
C
wait_archived($archiving);
sub streamed { return $archiving->safe_psql('postgres', 'SELECT coalesce(streamed_lsn, \'0/0\') FROM chronos.wal_status') }
my $streams_to = sub {
	my ($name) = @_;
	$archiving->safe_psql('postgres', q{SELECT pg_logical_emit_message(false, 'x', repeat('x', 20000))});
	my $lsn = $archiving->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
	ok(eval { poll_until(sub { $archiving->safe_psql('postgres', "SELECT streamed_lsn >= '$lsn' FROM chronos.wal_status") eq 't' }, $name, 40); 1 }, $name)
	  or diag(streamed());
};
$streams_to->('WAL is streamed');
# Both engines are waiting for their next start when the clock goes back.
my ($top) = slurp_file($archiving->data_dir . '/postmaster.pid') =~ /^(\d+)/;
for (1 .. 2)
{
	kill 'KILL', engines_below($top);
	$archiving->safe_psql('postgres', 'CREATE TABLE IF NOT EXISTS t (i int); INSERT INTO t VALUES (1); SELECT pg_switch_wal()');
	sleep 0.5;
}
set_shift(0);
ok(eval { wait_archived($archiving); 1 }, 'five hours back, WAL is archived') or diag($@);
$streams_to->('and streamed');
$archiving->stop;
done_testing();
