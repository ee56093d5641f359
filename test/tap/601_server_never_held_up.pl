# Whatever an engine does - hang, crash, talk nonsense - the server does not wait for it, does not
# restart, and no job stays "running". The engine here is one that misbehaves on demand.
use strict;
use warnings;
use FindBin;
use IPC::Run ();
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $base = PostgreSQL::Test::Utils::tempdir();
my $script = "$base/script";

# What the engine is to do, by role; read by it at each request.
sub engine_does
{
	my (%behaviour) = @_;
	open my $out, '>', "$script.new" or die "$script: $!";
	print $out "$_=$behaviour{$_}\n" for sort keys %behaviour;
	close $out;
	rename "$script.new", $script or die "$script: $!";
}

sub engine_log { return -e "$script.log" ? slurp_file("$script.log") : '' }
sub wait_for_engine_log
{
	my ($pattern, $since, $what) = @_;
	poll_until(sub { substr(engine_log(), $since) =~ $pattern }, $what, 60);
}

engine_does();
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<"C");
shared_preload_libraries = 'chronos_backup'
archive_mode = on
archive_library = 'chronos_backup'
chronos.executable = '$FindBin::RealBin/../support/fake_engine.py'
chronos.config_file = '$script'
max_worker_processes = 16
restart_after_crash = on
C
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION chronos_backup; CREATE TABLE t (n int)');

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub error_of
{
	my ($query) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', $query, stdout => \$out, stderr => \$err);
	return $err;
}
sub failed_count { return sql('SELECT failed_count FROM pg_stat_archiver') }
sub archiver_pid { return sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'archiver'") }
# A WAL file that an engine with the given behaviour is asked to push; returns once it has been.
sub push_while_engine
{
	my ($behaviour) = @_;
	my $since = length engine_log();
	engine_does(archive => $behaviour);
	sql('INSERT INTO t VALUES (1); SELECT pg_switch_wal()');
	wait_for_engine_log(qr/^push /m, $since, "push while engine does $behaviour");
}
sub archiving_recovers
{
	my ($name) = @_;
	engine_does();
	my $segment = sql('INSERT INTO t VALUES (1); SELECT pg_walfile_name(pg_switch_wal())');
	# The archiver's own retry is a minute away unless something wakes it.
	my $archived = 0;
	for (1 .. 90)
	{
		$archived = sql("SELECT coalesce(last_archived_wal >= '$segment', false) FROM pg_stat_archiver") eq 't';
		last if $archived;
		sql('INSERT INTO t VALUES (1); SELECT pg_switch_wal()');
		usleep(500_000);
	}
	ok($archived, "$name: archiving goes on afterwards");
}
# The hanging engine is not given up before its third deadline.
sub end_engine
{
	my ($pid) = (engine_log() =~ /^start archive (\d+)/mg)[-1];
	kill 'KILL', $pid;
}
sub seconds_of
{
	my ($code) = @_;
	my $begin = time;
	$code->();
	return time - $begin;
}
sub no_restart
{
	my ($name) = @_;
	my $log = slurp_file($node->logfile);
	unlike($log, qr/terminating any other active server processes|all server processes terminated/,
		"$name: the server did not restart");
}

# --- An upload that hangs.
archiving_recovers('at first');
push_while_engine('hang');
my $drop = seconds_of(sub { sql('CREATE DATABASE doomed'); sql('DROP DATABASE doomed') });
my $plain = do {
	end_engine();
	archiving_recovers('after DROP DATABASE');
	seconds_of(sub { sql('CREATE DATABASE doomed'); sql('DROP DATABASE doomed') });
};
cmp_ok($drop, '<', $plain + 2, "DROP DATABASE does not wait for a hanging upload ($drop s, else $plain s)");

push_while_engine('hang');
$node->append_conf('postgresql.conf', "chronos.archive_timeout = '61s'");
my $reloads = () = engine_log() =~ /^start archive/mg;
my $reload = seconds_of(sub {
	$node->reload;
	engine_does();
	poll_until(sub { (() = engine_log() =~ /^start archive/mg) > $reloads }, 'engine with new settings', 60);
});
cmp_ok($reload, '<', 3.5, "a reload reaches the archiver in the middle of a hanging upload ($reload s)");
archiving_recovers('after reload');

for my $kind ('hang', 'deaf')
{
	my $quiet = seconds_of(sub { $node->stop('fast') });
	$node->start;
	push_while_engine($kind);
	my $offset = -s $node->logfile;
	my $busy = seconds_of(sub { $node->stop('fast') });
	cmp_ok($busy, '<', $quiet + 2, "fast stop with an upload that is $kind: $busy s, else $quiet s");
	is(join(' ', grep { kill 0, $_ } engine_log() =~ /^start \S+ (\d+)/mg), '',
		"no engine is left after the stop ($kind)");
	ok($node->log_contains(qr/does not wait for "\w+" any longer\n.*after the next start\.\n.*not started again, push what has a \.ready/, $offset),
		"and the log says what a server that is not started again leaves ($kind)");
	engine_does();
	$node->start;
	archiving_recovers("after a stop with an upload that is $kind");
}

# --- The deadline of a push: it fails and is counted, the archiver lives on.
$node->append_conf('postgresql.conf', "chronos.archive_timeout = '1s'");
$node->reload;
my $archiver = archiver_pid();
my $failed = failed_count();
push_while_engine('hang');
ok($node->poll_query_until('postgres', "SELECT failed_count > $failed FROM pg_stat_archiver"),
	'a push without an answer counts as failed');
ok($node->log_contains(qr/could not archive "\w+": no answer within 1 s/), 'and the log says so');
archiving_recovers('after a deadline');
$node->append_conf('postgresql.conf', "chronos.archive_timeout = '60s'");
$node->reload;

# --- An engine that dies or talks nonsense: the push fails, another engine takes over.
my %nonsense = (
	'crash:9' => qr/engine was killed by signal 9/, 'crash:11' => qr/engine was killed by signal 11/,
	'exit:3' => qr/engine ended with exit status 3/, 'garbage' => qr/engine sent what is not a message/,
	'long' => qr/engine sent a line that is too long/);
for my $kind (sort keys %nonsense)
{
	$failed = failed_count();
	my $offset = -s $node->logfile;
	push_while_engine($kind);
	ok($node->poll_query_until('postgres', "SELECT failed_count > $failed FROM pg_stat_archiver"),
		"$kind: the push counts as failed");
	ok($node->log_contains($nonsense{$kind}, $offset), "$kind: the log says why");
	archiving_recovers($kind);
}
push_while_engine('fail');
ok($node->poll_query_until('postgres', 'SELECT last_failed_time > now() - interval \'10 s\' FROM pg_stat_archiver'),
	'the engine\'s own failure counts');
like(slurp_file($node->logfile), qr/could not archive "\w+": storage said no\n.*HINT:  Ask it nicely\./,
	'its message and its hint are in the log');
archiving_recovers('after a failed push');
for my $kind ('flood', 'chatter')
{
	push_while_engine($kind);
	archiving_recovers($kind);
}
is(archiver_pid(), $archiver, 'the archiver is still the same process');

# --- The start of an engine.
for my $hello (['99', qr/protocol 99.*Restart PostgreSQL/], ['0', qr/protocol 0.*Upgrade chronos/], ['none', qr/did not begin with hello/])
{
	engine_does(hello => $hello->[0]);
	like(error_of('SELECT chronos.stanza_create()'), $hello->[1], "hello '$hello->[0]' is refused");
}

# --- An engine of another release that speaks the same protocol.
my $other_release = q{SELECT message, hint FROM chronos.check() WHERE test = 'version'};
engine_does();
is(sql($other_release), '', 'an engine of the same release is nothing to be told of');
for my $other (['99.0.0', qr/^Restart PostgreSQL/], ['0.0.9', qr/^Upgrade chronos/])
{
	my ($version, $remedy) = @$other;
	engine_does(version => $version);
	my ($message, $hint) = split /\|/, sql($other_release);
	like($message, qr/^chronos is version \Q$version\E, the module .* \d+\.\d+\.\d+$/, "chronos.check() tells of engine $version");
	like($hint, $remedy, 'and what to do');
	sql('SELECT chronos.stanza_create()');
	engine_does(version => $version, unknown => 31);
	like(error_of('SELECT chronos.stanza_create()'), qr/what is that\?\nHINT:  But chronos is version \Q$version\E/,
		'a word that one of them does not know is explained by that');
	engine_does(version => $version, unknown => 55);
	unlike(error_of('SELECT chronos.stanza_create()'), qr/But chronos is version/, 'and nothing else is');
}

engine_does(inheritance => 'note');
sql('SELECT chronos.stanza_create()');
my $inherited = engine_log();
like($inherited, qr/^inherits fds 0,1,2$/m, 'an engine has no descriptor of the server');
like($inherited, qr/^inherits SigBlk 0+$/m, 'no signal is blocked in it');
# Python ignores SIGPIPE (bit 13) and SIGXFSZ (bit 25) by itself.
like($inherited, qr/^inherits SigIgn 0+1001000$/m, 'no signal is ignored in it');
like($inherited, qr/^inherits core 0$/m, 'it leaves no core file');
like($inherited, qr/^inherits own-group True$/m, 'it has a process group of its own');
unlike($inherited, qr/^inherits environment .*(?:PGDATA|LC_MESSAGES|PGPORT|PGLOCALEDIR)/m, 'its environment is not the server\'s');

# --- Jobs.
sub start_job_while_engine
{
	my (%behaviour) = @_;
	my $since = length engine_log();
	engine_does(%behaviour);
	my $job = sql('SELECT chronos.start_backup()');
	wait_for_engine_log(qr/^answer row/m, $since, 'backup has begun');
	return $job;
}
sub outcome { return sql("SELECT state || ': ' || coalesce(error, '') FROM chronos.jobs WHERE id = $_[0]") }

for my $kind (sort keys %nonsense)
{
	my $job = start_job_while_engine(backup => $kind);
	is(sql("SELECT chronos.wait($job, '60 s')"), 'failed', "$kind: the job has failed");
	like(outcome($job), $nonsense{$kind}, "$kind: with the reason");
}
is(error_of("SELECT chronos.backup_now('full')") =~ /ERROR:  backup failed: engine/ ? 1 : 0, 1,
	'backup_now raises the reason');
engine_does(backup => 'fail');
like(error_of('SELECT chronos.backup_now()'),
	qr/ERROR:  backup failed: it did not work\nHINT:  Try something else\./,
	'message and hint of the engine are those of the error');

my $job = start_job_while_engine(backup => 'hang');
is(sql('SELECT phase, bytes_done, bytes_total, percent FROM chronos.progress'), 'copy|250|1000|25.0',
	'progress is that of the running engine');
is(sql("SELECT chronos.wait($job, '100 ms')"), 'running', 'wait gives up after its time');
my $cancel = seconds_of(sub { sql("SELECT chronos.cancel($job), chronos.wait($job)") });
like(outcome($job), qr/^cancelled/, 'a running job can be cancelled');
cmp_ok($cancel, '<', 3, "cancelling takes no time ($cancel s)");
is(sql("SELECT chronos.cancel($job)"), 'f', 'a finished job is not cancelled again');

engine_does(backup => 'hang');
like(error_of("SET statement_timeout = '2 s'; SELECT chronos.backup_now()"), qr/statement timeout/,
	'a query that waits for a backup can be cancelled');
ok($node->poll_query_until('postgres', "SELECT state = 'cancelled' FROM chronos.jobs ORDER BY id DESC LIMIT 1"),
	'and the backup with it');

# The end of the session that waits is no less.
my $caller = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT chronos.backup_now()' ],
	'<', \undef, '>', \my $caller_out, '2>', \my $caller_err);
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM chronos.progress WHERE phase = 'copy'"),
	'a session waits for its backup');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT chronos.backup_now()'");
$caller->finish;
ok($node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM chronos.jobs WHERE finished_at IS NULL"), 'terminated, its backup ends');
is(sql('SELECT state FROM chronos.jobs ORDER BY id DESC LIMIT 1'), 'cancelled', 'as cancelled');

# A statement of the engine that takes long is interrupted too.
engine_does(backup => 'sql:SELECT pg_sleep(600)');
$job = sql('SELECT chronos.start_backup()');
ok($node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'chronos job' AND query ~ 'sleep'"),
	'the job worker shows the statement it runs');
sql("SELECT chronos.cancel($job), chronos.wait($job, '10 s')");
like(outcome($job), qr/^cancelled/, 'a job in the middle of a statement can be cancelled');

$job = start_job_while_engine(backup => 'hang');
my $worker = sql("SELECT worker_pid FROM chronos.progress WHERE id = $job");
sql("SELECT pg_terminate_backend($worker)");
is(sql("SELECT chronos.wait($job, '30 s')"), 'failed', 'a job whose worker is terminated has failed');
like(outcome($job), qr/terminating background worker.*administrator command/, 'with the reason');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'chronos job'"), '0', 'nothing is left of it');

$node->append_conf('postgresql.conf', "chronos.database = 'nowhere'");
$node->reload;
usleep(500_000);
engine_does();
like(error_of('SELECT chronos.backup_now()'), qr/backup failed: database "nowhere" does not exist/,
	'a worker that cannot start names the reason');
ok($node->log_contains(qr/FATAL:  database "nowhere" does not exist.*\n.*CONTEXT:  while connecting to database "nowhere", which chronos\.database names/),
	'and in the log the setting');
$node->append_conf('postgresql.conf', "chronos.database = 'postgres'");
$node->reload;
usleep(500_000);

# Two at a time, the others wait their turn.
engine_does(job => 'slow:1');
sql(q{SELECT chronos.start_job('verify') FROM generate_series(1, 4)});
ok($node->poll_query_until('postgres',
		"SELECT count(*) FILTER (WHERE state = 'running') = 2 AND count(*) FILTER (WHERE state = 'queued') = 2 FROM chronos.jobs"),
	'no more than chronos.max_jobs run at a time');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM chronos.jobs WHERE finished_at IS NULL"),
	'and all get their turn');
is(sql("SELECT count(*) FROM (SELECT state FROM chronos.jobs ORDER BY id DESC LIMIT 4) AS j WHERE state = 'succeeded'"),
	'4', 'with success');

# Jobs that lock the repository would fail, not wait: one at a time, and others pass by.
engine_does(backup => 'slow:2');
sql(q{SELECT chronos.start_job(type) FROM unnest('{full,incr,expire,verify}'::text[]) AS type});
ok($node->poll_query_until('postgres', "SELECT state = 'succeeded' FROM chronos.jobs ORDER BY id DESC LIMIT 1"),
	'a job that locks nothing passes by');
is(sql("SELECT string_agg(type || ' ' || state, ', ' ORDER BY id) FROM chronos.jobs WHERE finished_at IS NULL"),
	'full running, incr queued, expire queued', 'one that locks the repository at a time');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM chronos.jobs WHERE finished_at IS NULL"),
	'and all get their turn');
is(sql("SELECT count(*) FROM (SELECT state FROM chronos.jobs ORDER BY id DESC LIMIT 4) AS j WHERE state = 'succeeded'"),
	'4', 'with success');

# A command that has found something wrong has failed, and the first finding is the reason.
engine_does(job => 'findings');
is(sql("SELECT chronos.wait(chronos.start_job('verify'))"), 'failed', 'a job that finds something fails');
is(sql('SELECT error_code, error, hint FROM chronos.jobs ORDER BY id DESC LIMIT 1'),
	'65|2 failures, the first one: 20260101-000000F: file a is damaged|Restore it.', 'and says what and how many');
like(slurp_file($node->logfile), qr/WARNING:  chronos: 20260101-000000F: file b is missing/,
	'every failure is in the server log');
engine_does();

# --- The launcher.
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
my ($launcher) = `pgrep -P $postmaster -f 'chronos launcher'` =~ /(\d+)/;
kill 'TERM', $launcher;
poll_until(sub { !kill 0, $launcher }, 'launcher ends', 30);
like(error_of('SELECT chronos.start_backup()'), qr/launcher is not running/, 'without launcher no job is queued');
engine_does();
poll_until(sub { error_of('SELECT chronos.start_backup()') eq '' }, 'launcher is back', 60);
ok($node->poll_query_until('postgres', "SELECT state = 'succeeded' FROM chronos.jobs ORDER BY id DESC LIMIT 1"),
	'the launcher comes back and works on');

# --- Stopping while a job runs, and what is remembered.
$job = start_job_while_engine(backup => 'deaf');
my $stop = seconds_of(sub { $node->stop('fast') });
cmp_ok($stop, '<', 4, "fast stop ends a job whose engine does not listen ($stop s)");
no_restart('to the end');
engine_does();
$node->start;
my $last = sql('SELECT max(id) FROM chronos.jobs');
cmp_ok(sql('SELECT chronos.start_backup()'), '>', $last, 'job numbers go on after a restart');
is(sql("SELECT count(*) - count(DISTINCT (id, requested_at)) FROM chronos.jobs"), '0', 'no job is listed twice');
cmp_ok(sql('SELECT count(*) FROM chronos.job_history'), '>', 10, 'the history survives the restart');

# --- An engine that cannot be started.
$node->stop('fast');
$node->append_conf('postgresql.conf', "chronos.executable = '$base/missing'");
$node->start;
$archiver = archiver_pid();
$failed = failed_count();
sql('INSERT INTO t VALUES (1); SELECT pg_switch_wal()');
ok($node->poll_query_until('postgres', "SELECT failed_count > $failed FROM pg_stat_archiver"),
	'a missing executable is a failed push');
is(archiver_pid(), $archiver, 'which the archiver survives');
like(error_of('SELECT chronos.backup_now()'), qr{backup failed: start '\Q$base\E/missing': .*No such file},
	'and a failed job that names it');

# --- Both ways to archive at once: refused, because versions differ in which one wins.
$node->append_conf('postgresql.conf', "archive_command = 'true'");
$node->reload;
if ($node->pg_version < 16)
{
	sql('INSERT INTO t VALUES (1); SELECT pg_switch_wal()');
	ok($node->poll_query_until('postgres', 'SELECT true') && do {
			poll_until(sub { $node->log_contains(qr/archive_command is set beside archive_library/) }, 'warning', 90); 1 },
		'archive_command beside archive_library is pointed out');
}
$node->stop('fast');
no_restart('at the end');
done_testing();
