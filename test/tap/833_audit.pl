# chronos.audit_log says who asked for what, when and from where, and how it ended: also of what was
# refused, failed, was rolled back or lost its session. Rows are added and never changed, and go by
# retention alone, which leaves a row itself. No passphrase comes into it.
use strict;
use warnings;
use ChronosTest;
use FindBin;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<C);
shared_preload_libraries = 'chronos_backup'
chronos.executable = '$FindBin::RealBin/../support/quick_engine.sh'
chronos.config_file = '$base/engine'
max_worker_processes = 16
C
$node->start;
# What the engine does: nothing, 'fail' or 'hang'.
sub engine_does
{
	my ($what) = @_;
	unlink "$base/engine.fail", "$base/engine.hang";
	PostgreSQL::Test::Utils::append_to_file("$base/engine.$what", '') if defined $what;
}
sub sql { return $node->safe_psql('postgres', $_[0]) }
# The error of a statement that fails.
sub refused
{
	my ($statement, %options) = @_;
	my ($status, $out, $error) = $node->psql('postgres', $statement, %options);
	isnt($status, 0, "refused: $statement");
	return $error;
}
# Waits for the row, and returns the columns of it.
sub recorded
{
	my ($where, $columns) = @_;
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM chronos.audit_log WHERE $where"),
		"recorded once: $where");
	return sql("SELECT $columns FROM chronos.audit_log WHERE $where");
}

sql('CREATE EXTENSION chronos_backup; CREATE ROLE alice LOGIN IN ROLE chronos_operator; '
	. 'CREATE ROLE deputy IN ROLE chronos_operator; GRANT deputy TO alice; '
	. 'CREATE ROLE eve LOGIN IN ROLE chronos_monitor');

# --- Who, what, from where, and how it ended.
$node->safe_psql('postgres', q{SET ROLE deputy; SET application_name = 'runbook 7';
	SELECT chronos.hold('20260101-000000F', 'lawyers')}, extra_params => [ '-U', 'alice' ]);
is(recorded(q{operation = 'hold'}, q{concat_ws('|', requested_by, role, requested_from, application, database,
	arguments->>'label', arguments->>'reason', outcome, sqlstate, started_at <= finished_at, pid > 0)}),
	'alice|deputy|local|runbook 7|postgres|20260101-000000F|lawyers|succeeded|t|t', 'a call by an operator in a role');
like(slurp_file($node->logfile), qr/chronos: audit: hold \{.*"lawyers".* by alice as deputy from local, application "runbook 7": succeeded/,
	'and in the server log');
sql(qq{CREATE ROLE "ev\bil\e[2J" IN ROLE chronos_operator; GRANT "ev\bil\e[2J" TO alice});
$node->safe_psql('postgres', qq{SET ROLE "ev\bil\e[2J"; SELECT chronos.hold('20260101-000000F', 'x')}, extra_params => [ '-U', 'alice' ]);
like(slurp_file($node->logfile), qr/chronos: audit: hold .* by alice as ev\?il\?\[2J from local/, 'where the name of a role has no control character');
$node->psql('postgres', q{SELECT chronos.unhold('20260101-000000F')}, extra_params => [ '-U', 'alice' ]);
is(recorded(q{operation = 'unhold'}, 'role'), 'alice', 'without SET ROLE the role is the user');

engine_does('fail');
refused(q{SELECT chronos.annotate('20260101-000000F', 'a', 'b')});
is(recorded(q{operation = 'annotate'}, q{outcome || '|' || sqlstate || '|' || message}),
	'failed|38000|annotate failed: it did not work', 'a call that failed, with the reason');
engine_does();
refused(q{SELECT chronos.start_job('restore')});
is(recorded(q{operation = 'start_job' AND outcome = 'failed'}, q{arguments->>'type' || '|' || (job IS NULL)}),
	'restore|true', 'what was refused');
refused(q{SELECT chronos.stanza_create()}, extra_params => [ '-U', 'eve' ]);
is(sql(q{SELECT count(*) FROM chronos.audit_log WHERE operation = 'stanza_create'}), 0,
	'whom the server itself turns away is in its log only');
refused("BEGIN; SELECT chronos.maintenance(true); SELECT 1 / 0");
sql(q{BEGIN; SELECT chronos.stanza_upgrade(); ROLLBACK});
is(recorded(q{operation = 'stanza_upgrade'}, 'outcome'), 'succeeded',
	'what a rolled back transaction did to the repository');

# --- Jobs: the call and the end.
my $job = sql(q{SELECT chronos.start_backup('full', '{"for": "audit"}')});
is(recorded(qq{job = $job AND operation = 'start_backup'}, q{arguments #>> '{annotations,for}'}), 'audit', 'a backup is asked for');
is(recorded(qq{job = $job AND operation = 'job'}, q{concat_ws('|', requested_by, requested_from, outcome, arguments->>'type', arguments->>'label')}),
	(getpwuid($<))[0] . '|local|succeeded|full|20260101-000000F', 'and how it ended');
engine_does('fail');
refused('SELECT chronos.backup_now()');
is(recorded(q{operation = 'job' AND outcome = 'failed'}, 'message'), 'it did not work', 'a job that failed');
like(recorded(q{operation = 'backup_now'}, 'message'), qr/backup failed: it did not work/, 'and who waited for it');
engine_does('hang');
$job = sql(q{SELECT chronos.start_job('verify')});
sql("SELECT chronos.cancel($job)");
is(recorded(qq{job = $job AND operation = 'cancel'}, 'outcome'), 'succeeded', 'who cancelled a job');
is(recorded(qq{job = $job AND operation = 'job'}, 'outcome'), 'cancelled', 'and that it was');

# --- A session that is ended in the middle of a call.
my ($out, $err);
my $waiting = IPC::Run::start([ 'psql', '-XAtq', '-c', 'SELECT chronos.verify()', $node->connstr('postgres') ], '>', \$out, '2>', \$err);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE query LIKE 'SELECT chronos.verify%' AND wait_event_type = 'Extension'}), 'a session waits for its engine');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT chronos.verify%'});
is(recorded(q{operation = 'verify'}, q{outcome || '|' || sqlstate}), 'failed|57P01', 'a session that was ended');
$waiting->finish;
engine_does();

# --- Changes of tables are recorded in their transaction.
sql(q{SELECT chronos.schedule('nightly', 'full', '0 2 1 1 *')});
is(recorded(q{operation = 'schedule'}, q{arguments #>> '{new,cron}'}), '0 2 1 1 *', 'a schedule');
sql(q{UPDATE chronos.schedule_entries SET cron = '0 3 1 1 *'});
is(recorded(q{operation = 'schedule' AND arguments ? 'old'}, q{arguments #>> '{old,cron}' || ' ' || (arguments #>> '{new,cron}')}),
	'0 2 1 1 * 0 3 1 1 *', 'one that is changed by hand');
sql(q{BEGIN; SELECT chronos.unschedule('nightly'); ROLLBACK; BEGIN; SELECT chronos.schedule('no', 'full', '@daily'); ROLLBACK});
sql(q{SELECT chronos.unschedule('nightly')});
is(recorded(q{operation = 'unschedule'}, q{arguments #>> '{old,name}'}), 'nightly', 'and one that is removed, once it is');
refused(q{SELECT chronos.schedule('bad', 'full', '99 * * * *')});
is(recorded(q{operation = 'schedule' AND outcome = 'failed'}, q{arguments->>'name'}), 'bad', 'and one that is refused');
$node->safe_psql('postgres', q{INSERT INTO chronos.storage_prices VALUES (1, '', 'EUR', 3); DELETE FROM chronos.storage_prices},
	extra_params => [ '-U', 'alice' ]);
is(recorded(q{operation = 'set storage price'}, q{requested_by || ' ' || (arguments #>> '{new,per_gb_month}')}), 'alice 3', 'a price');
recorded(q{operation = 'remove storage price'}, '1');
sql('TRUNCATE chronos.storage_prices');
recorded(q{operation = 'remove all storage prices'}, '1');

# --- No secret: not where somebody takes the passphrase itself for the name of its file.
refused(q{SELECT chronos.rekey(1, new_passphrase_file => 'correct horse battery')});
is(recorded(q{operation = 'rekey'}, q{(arguments->>'new_passphrase_file') || '|' || message}),
	'<redacted>|new_passphrase_file must be the absolute path of a file', 'a passphrase is not recorded');
unlike(join('', grep { /chronos: / } split /^/, slurp_file($node->logfile)), qr/battery/, 'nor in what we write to the server log');

# --- Nothing is changed, by nobody.
for my $change (q{UPDATE chronos.audit_log SET requested_by = 'eve'}, 'DELETE FROM chronos.audit_log', 'TRUNCATE chronos.audit_log',
	q{SET session_replication_role = replica; DELETE FROM chronos.audit_log})
{
	like(refused($change), qr/chronos\.audit_log can only be added to/, 'also not by a superuser');
}
for my $change (q{INSERT INTO chronos.audit_log SELECT * FROM chronos.audit_log}, 'DELETE FROM chronos.audit_log',
	q{SELECT chronos.prune_audit_log('1 year')}, 'ALTER TABLE chronos.audit_log DISABLE TRIGGER ALL')
{
	like(refused($change, extra_params => [ '-U', 'alice' ]), qr/permission denied|must be owner/, 'nor does an operator add');
}
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM chronos.audit_log', extra_params => [ '-U', 'eve' ]), '>', 10,
	'monitors may look');

# --- The table cannot be written for a while: calls go on, and their entries wait.
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE chronos.audit_log');
sql(q{DO $$ BEGIN FOR i IN 1 .. 140 LOOP
	BEGIN PERFORM chronos.cancel(-i); EXCEPTION WHEN undefined_object THEN NULL; END;
	END LOOP; END $$});
ok($node->wait_for_log(qr/could not record calls in chronos\.audit_log: canceling statement due to lock timeout/),
	'a table that is locked holds nobody up');
ok($node->poll_query_until('postgres', q{SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_locks JOIN pg_stat_activity USING (pid)
	WHERE relation = 'chronos.audit_log'::regclass AND NOT granted}), 'who waits for it is ended, and leaves the entries to the next one');
$locker->query_safe('COMMIT');
$locker->quit;
refused(q{SELECT chronos.cancel(-1000)});
# There is room for 128; the last call may have come when they were written already.
ok($node->poll_query_until('postgres', q{SELECT count(*) = 141 - split_part(max(message) FILTER (WHERE operation = 'audit'), ' ', 1)::int
		+ 1 AND count(*) IN (129, 130) FROM chronos.audit_log
	WHERE operation = 'audit' OR operation = 'cancel' AND outcome = 'failed'}),
	'as many as there is room for are written when it is free, and a row tells how many there are in the server log only');

# --- Retention.
sql(q{INSERT INTO chronos.audit_log (finished_at, operation, arguments, requested_by, outcome)
	SELECT now() - i * interval '1 day', 'old', '{}', 'x', 'succeeded' FROM generate_series(10, 100, 10) AS i});
like(refused(q{SELECT chronos.prune_audit_log('23 hours')}), qr/younger than a day/, 'what is new cannot be removed');
is(sql(q{SELECT chronos.prune_audit_log('45 days')}), 6, 'what is older goes');
is(recorded(q{operation = 'prune_audit_log' AND outcome = 'succeeded'}, q{(arguments->>'older_than') || '|' || message}),
	'45 days|6 rows removed', 'and that is recorded');
sql(q{ALTER SYSTEM SET chronos.audit_log_retention = '15d'});
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT current_setting('chronos.audit_log_retention') = '15d'}), 'a retention is set');
sql(q{SELECT chronos.unhold('20260101-000000F')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM chronos.audit_log WHERE operation = 'old'}),
	'and applied by itself');
recorded(q{operation = 'prune_audit_log' AND message = '3 rows removed'}, '1');

# --- A dump of the database has it, and a restore brings it back.
my $before = sql('SELECT count(*) FROM chronos.audit_log');
$node->command_ok([ 'pg_dump', '-f', "$base/dump.sql", $node->connstr('postgres') ], 'pg_dump');
sql('CREATE DATABASE copy');
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', "$base/dump.sql", $node->connstr('copy') ], 'and its restore');
is($node->safe_psql('copy', 'SELECT count(*) FROM chronos.audit_log'), $before, 'the rows are there again');

$node->stop;
done_testing();
