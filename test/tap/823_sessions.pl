# Whatever an administrator sets for sessions - of all, of a database, of a role - and whoever does not
# answer - a synchronous standby, somebody with a lock - the sessions of the module and of the command do
# what they are there for; and a job can be cancelled wherever it waits, and is over when its engine is.
use strict;
use warnings;
use ChronosTest;
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = chronos_node('primary', conf => "chronos.health_interval = 1\nchronos.heartbeat_timeout = 30\nhot_standby = on\n",
	options => { 'health-disk-free' => '0' });
my $conf = $node->{chronos_conf};
# Those who test are not who is tested.
$ENV{PGOPTIONS} = '-c default_transaction_isolation=read\\ committed -c default_transaction_read_only=off -c default_transaction_deferrable=off '
  . '-c statement_timeout=0 -c lock_timeout=0 -c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0 -c work_mem=16MB -c temp_file_limit=-1 -c datestyle=iso -c synchronous_commit=local -c transform_null_equals=off -c search_path=public -c role=none -c session_replication_role=origin';
sub sql { return $node->safe_psql('postgres', $_[0]) }
sub until_true
{
	my ($query, $name) = @_;
	return ok(eval { poll_until(sub { sql("SELECT $query") eq 't' }, $name, 60); 1 }, $name);
}
sub state_of { return "(SELECT state FROM chronos.jobs WHERE id = $_[0])" }
# The command, without what stands in our environment.
sub command { local $ENV{PGOPTIONS}; delete $ENV{PGOPTIONS}; return chronos(@_) }

sql('CREATE TABLE t AS SELECT generate_series(1, 1000) AS i');
my $version = sql(q{SELECT current_setting('server_version_num')::int / 10000});
$ENV{PGOPTIONS} .= ' -c transaction_timeout=0' if $version >= 17;
# Minor releases brought it.
my $views_shown = sql(q{SELECT current_setting('restrict_nonsystem_relation_kind', true) IS NOT NULL}) eq 't' ? ' -c restrict_nonsystem_relation_kind=' : '';
$ENV{PGOPTIONS} .= ' -c exit_on_error=off' . $views_shown;
my @hostile = ('default_transaction_isolation = serializable', 'default_transaction_read_only = on',
	'default_transaction_deferrable = on', q{statement_timeout = '1ms'}, q{lock_timeout = '1ms'},
	q{idle_in_transaction_session_timeout = '1ms'}, q{idle_session_timeout = '1ms'}, q{search_path = 'nowhere'}, q{DateStyle = 'German, DMY'},
	'IntervalStyle = iso_8601', q{TimeZone = 'Pacific/Chatham'}, 'bytea_output = escape', 'extra_float_digits = -15',
	'row_security = off', 'quote_all_identifiers = on', 'transform_null_equals = on',
	'synchronous_commit = remote_apply', 'session_replication_role = replica', 'client_min_messages = error',
	'xmloption = document', 'array_nulls = off', q{work_mem = '64kB'}, 'temp_file_limit = 0', q{default_table_access_method = 'heap'}, 'jit_above_cost = 0', 'exit_on_error = on');
push @hostile, q{transaction_timeout = '1ms'} if $version >= 17;
push @hostile, q{restrict_nonsystem_relation_kind = 'view, foreign-table'} if $views_shown ne '';
push @hostile, 'standard_conforming_strings = off' if $version < 19;    # 19 has no other than on
sql("ALTER ROLE ALL SET $_") for @hostile;
sql("ALTER DATABASE postgres SET $_") for @hostile;
sql("ALTER ROLE current_user SET $_") for @hostile;
sql("ALTER SYSTEM SET $_") for grep { !/^(?:search_path|session_replication_role|xmloption|transaction_timeout|idle_session)/ } @hostile;
sql('CREATE ROLE unprivileged; ALTER DATABASE postgres SET role = unprivileged');
if ($version >= 17)
{
	sql('CREATE FUNCTION on_login() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.2); END $$');
	sql('CREATE EVENT TRIGGER slow_login ON login EXECUTE FUNCTION on_login(); ALTER EVENT TRIGGER slow_login ENABLE ALWAYS');
}
# Nobody answers: each commit that waits for it waits for ever.
sql(q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
$node->reload;
poll_until(sub { sql('SHOW synchronous_standby_names') eq 'nobody' }, 'the setting', 10);

# --- The module.
my $label = sql(q{SELECT chronos.backup_now('full')});
like($label, qr/F$/, 'a backup');
until_true(q{(SELECT count(*) = 1 FROM chronos.job_history WHERE state = 'succeeded')}, 'is recorded');
until_true(q{(SELECT count(*) > 0 FROM chronos.audit_log WHERE operation = 'backup_now')}, 'and who asked for it');
# One that cannot be used - of zones that the system does not have any more - keeps no other from being looked at.
sql(q{SELECT chronos.schedule('lost', 'incr', '* * * * *')});
sql(q{UPDATE chronos.schedule_entries SET timezone = 'Nowhere/Land'});
until_true(q{(SELECT state = 'late' AND message = 'schedule "lost" cannot be used: there is no time zone "Nowhere/Land"' FROM chronos.heartbeats WHERE subject = 'scheduler')},
	'a schedule that cannot be used is told of');
like(sql(q{SELECT state || ' ' || message FROM chronos.health WHERE rule = 'heartbeat'}), qr/^critical scheduler .*schedule "lost" cannot be used/, 'by health too');
sql(q{SELECT chronos.schedule('often', 'incr', '* * * * *')});
is(sql(q{SELECT string_agg(concat_ws(' ', name, next_run IS NOT NULL, last_error), ', ' ORDER BY name) FROM chronos.schedules}),
	'lost f there is no time zone "Nowhere/Land", often t', 'and is seen beside the others');
sql(q{UPDATE chronos.schedule_entries SET considered_until = now() - interval '1 hour' WHERE name = 'often'});
sql(q{UPDATE chronos.schedule_entries SET cron = '*/2 * * * *' WHERE name = 'often'});
until_true(q{(SELECT count(*) > 0 FROM chronos.jobs WHERE schedule = 'often' AND state = 'succeeded')}, 'a schedule runs');
sql(qq{SELECT chronos.unschedule('$_')}) for qw(often lost);
until_true(q{(SELECT count(*) > 5 FROM chronos.health_state)}, 'health is checked and recorded');
until_true(q{NOT EXISTS (SELECT FROM chronos.heartbeats WHERE state = 'late')}, 'nothing stands still');
sql('ALTER DATABASE postgres RESET role');
# In the session of somebody who has all of these settings.
{
	my %keep = %ENV;
	local %ENV = %keep;
	$ENV{PGOPTIONS} = '-c statement_timeout=0 -c lock_timeout=0 -c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0'
	  . ($version >= 17 ? ' -c transaction_timeout=0' : '') . $views_shown;
	is(sql(q{SELECT count(*) FROM chronos."check"() WHERE NOT ok}), '0', 'check finds nothing wrong in such a session')
	  or diag(sql(q{SELECT * FROM chronos."check"()}));
	# Little memory and no temporary files: more rows than fit in that are no reason to show none.
	sql(q{SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE; SET synchronous_commit = local; INSERT INTO chronos.job_history (id, type, state, requested_by, requested_at, started_at, finished_at, error)
		SELECT -i, 'full', 'failed', 'somebody', now() - interval '1 year', now() - interval '1 year', now() - interval '1 year', repeat('x', 200) FROM (SELECT generate_series(1, 2000) AS i) AS s});
	is(join(' ', map { "$_->[0]=$_->[1]" } grep { $_->[1] ne $_->[2] } ([ 'work_mem', sql('SHOW work_mem'), '64kB' ], [ 'temp_file_limit', sql('SHOW temp_file_limit'), '0' ])), '', 'the session has them');
	for my $object (split /\n/, sql(q{SELECT format('chronos.%I', relname) FROM pg_class WHERE relnamespace = 'chronos'::regnamespace AND relkind = 'v'
		UNION ALL SELECT p.oid::regproc || '()' FROM pg_proc p WHERE pronamespace = 'chronos'::regnamespace AND proretset AND pronargs = pronargdefaults ORDER BY 1}))
	{
		my (undef, undef, $complaint) = $node->psql('postgres', "SELECT * FROM $object");
		unlike($complaint, qr/temporary file size|ERROR/, "$object shows all rows");
	}
	is(sql(q{SELECT count(*) FROM chronos.health WHERE rule IN ('backup_age', 'wal_lag', 'rpo', 'heartbeat', 'disk_pg_wal') AND state = 'unknown'}), '0',
		'and health knows what there is to know') or diag(sql('SELECT * FROM chronos.health'));
}

# --- The command.
my ($status, $out, $err) = command($conf, '--type=incr', 'backup');
is($status, 0, 'the command takes a backup') or diag($out . $err);
($status, $out, $err) = command($conf, 'check');
is($status, 0, 'checks') or diag($out . $err);
($status, $out, $err) = command($conf, 'health');
unlike($out . $err, qr/unable to ask the server/, 'and asks about health');

# --- On a standby.
my $copy = PostgreSQL::Test::Cluster->new('standby');
$node->backup('copy');
$copy->init_from_backup($node, 'copy', has_streaming => 1);
my $there = write_config(PostgreSQL::Test::Utils::tempdir() . '/standby.conf', path => $node->{chronos_repo},
	pg => $copy->data_dir, port => $copy->port, socket => $copy->host, 'health-disk-free' => '0');
$copy->append_conf('postgresql.conf', "chronos.config_file = '$there'\nsynchronous_standby_names = ''\n");
$copy->start;
$node->wait_for_catchup($copy);
($status, $out, $err) = command($there, 'health');
unlike($out . $err, qr/unable to ask the server/, 'on a standby the command asks about health') or diag($out . $err);
unlike($out, qr/unknown +wal_lag/, 'and knows');
($status, $out, $err) = command($there, '--no-archive-check', 'check');
unlike($out . $err, qr/serializable|SQLSTATE/, 'check is not in the way of its isolation');
is($copy->safe_psql('postgres', q{SELECT count(*) FROM chronos.health WHERE rule IN ('backup_age', 'wal_lag') AND state = 'unknown'}), '0', 'nor is health in SQL');
$copy->stop;

# --- Cancelled where it waits: a worker whose session cannot begin.
my $locker = $node->background_psql('postgres');
my $asker = $node->background_psql('postgres');
$asker->query_safe(q{SELECT chronos.cancel(1)});
$asker->query_safe(q{SELECT state FROM chronos.current_jobs()});
if ($version >= 17)
{
	sql(q{ALTER SYSTEM SET transaction_timeout = '5s'});
	$node->reload;
	poll_until(sub { sql(q{SELECT setting FROM pg_file_settings WHERE name = 'transaction_timeout' AND applied}) eq '5s' }, 'the setting', 10);
}
$locker->query_safe('BEGIN');
$locker->query_safe('LOCK TABLE pg_catalog.pg_database IN ACCESS EXCLUSIVE MODE');
my $stuck = $asker->query_safe(q{SELECT chronos.start_backup('incr')});
poll_until(sub { $asker->query_safe("SELECT state FROM chronos.current_jobs() WHERE id = $stuck") eq 'running' }, 'the worker is there', 30);
if ($version >= 17)
{
	sleep 6;    # what must not happen cannot be waited for
	is($asker->query_safe("SELECT state FROM chronos.current_jobs() WHERE id = $stuck"), 'running', 'a session that begins is no transaction of others');
}
is($asker->query_safe("SELECT chronos.cancel($stuck)"), 't', 'a job that waits for a lock is cancelled');
ok(eval { poll_until(sub { $asker->query_safe("SELECT state FROM chronos.current_jobs() WHERE id = $stuck") eq 'cancelled' }, 'and ends', 15); 1 },
	'and ends');
$locker->query_safe('ROLLBACK');
# A record that cannot be written holds up no job.
$locker->query_safe('BEGIN');
$locker->query_safe('LOCK TABLE chronos.job_history IN ACCESS EXCLUSIVE MODE');
my $unrecorded = $asker->query_safe(q{SELECT chronos.start_backup('incr')});
ok(eval { poll_until(sub { $asker->query_safe("SELECT state FROM chronos.current_jobs() WHERE id = $unrecorded") eq 'succeeded' }, 'goes on', 60); 1 },
	'a history that is locked holds up no job');
$locker->query_safe('ROLLBACK');
$_->quit for $locker, $asker;
$node->stop;

# --- What a cancelled job leaves: its engine has ten seconds to tidy up, and until it has gone the job is
# not over, so that no other begins.
my $base = PostgreSQL::Test::Utils::tempdir();
my $script = "$base/engine.sh";
PostgreSQL::Test::Utils::append_to_file($script, <<'S');
#!/bin/sh
dir=${0%/*}
echo "hello protocol=1 version=0.1.0 role=$2 pid=$$"
[ "$2" = backup ] || { echo 'done status=0'; exit 0; }
mkdir "$dir/lock" 2>/dev/null || { echo "$$" >>"$dir/overlaps"; echo 'failed code=50 message=locked'; exit 1; }
trap 'sleep 2; rmdir "$dir/lock"; echo tidy >>"$dir/tidied"; exit 0' TERM
echo 'progress phase=copy'
i=0; while [ $i -lt 300 ]; do sleep 0.1; i=$((i + 1)); done
S
chmod 0755, $script;
my $slow = PostgreSQL::Test::Cluster->new('slow');
$slow->init;
$slow->append_conf('postgresql.conf', <<C);
shared_preload_libraries = 'chronos_backup'
chronos.executable = '$script'
chronos.health_interval = 0
max_worker_processes = 16
C
$slow->start;
$node = $slow;
sql('CREATE EXTENSION chronos_backup');
my $job = sql('SELECT chronos.start_backup()');
until_true("EXISTS (SELECT FROM chronos.progress WHERE id = $job AND phase = 'copy')", 'a job runs');
sql("SELECT chronos.cancel($job)");
until_true(state_of($job) . " = 'cancelled'", 'it is cancelled');
ok(-e "$base/tidied" && !-e "$base/lock", 'and over only when its engine has tidied up');
# At every moment of its beginning.
for my $round (1 .. 12)
{
	my $id = sql('SELECT chronos.start_backup()');
	sleep($round * 0.02);
	sql("SELECT chronos.cancel($id)");
	poll_until(sub { sql('SELECT ' . state_of($id)) eq 'cancelled' }, "job $id ends", 20);
}
ok(!-e "$base/lock", 'none has left its engine behind');
ok(!-e "$base/overlaps", 'and none met the engine of another') or diag(slurp_file("$base/overlaps"));
$slow->stop;
done_testing();
