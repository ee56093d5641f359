# What somebody else has made beforehand under our names is refused with the way out, and what was
# granted on purpose is left alone; the command's role needs no superuser, and what it lacks is named.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = chronos_node('primary', options => { 'health-disk-free' => '0' });
my $conf = $node->{chronos_conf};
PostgreSQL::Test::Utils::append_to_file($conf, "pg1-user=backup\n");
sub sql { return $node->safe_psql('postgres', $_[0]) }
sub in_db { my ($database, $sql) = @_; return $node->safe_psql($database, $sql) }
my $count = 0;
# A database in which a stranger has prepared something; what CREATE EXTENSION says there.
sub refused
{
	my ($name, $prepared, $message, $mended, %how) = @_;
	my $database = 'stranger' . ++$count;
	sql("CREATE DATABASE $database; GRANT CREATE ON DATABASE $database TO stranger");
	in_db($database, $prepared);
	my ($status, $out, $err) = $node->psql($database, 'CREATE EXTENSION chronos_backup');
	isnt($status, 0, "$name: refused");
	like($err, $message, 'by name');
	like($err, qr/HINT: /, 'with what to do');
	in_db($database, $mended);
	($status, $out, $err) = $node->psql($database, 'CREATE EXTENSION chronos_backup');
	is($status, 0, 'which helps') or diag($err);
	in_db($database, 'DROP EXTENSION chronos_backup') if $status == 0;
	return;
}

sql('CREATE ROLE stranger LOGIN CREATEROLE');
refused('a schema', 'SET ROLE stranger; CREATE SCHEMA chronos', qr/schema "chronos" belongs to stranger, who is no superuser/, 'DROP SCHEMA chronos');
refused('a schema given back', 'CREATE SCHEMA chronos; GRANT CREATE ON SCHEMA chronos TO stranger', qr/stranger may create objects in schema "chronos"/,
	'REVOKE CREATE ON SCHEMA chronos FROM stranger');
refused('a function', q{CREATE SCHEMA chronos; CREATE FUNCTION chronos.backup_now(text) RETURNS text LANGUAGE sql AS 'SELECT $1'; ALTER FUNCTION chronos.backup_now(text) OWNER TO stranger},
	qr/backup_now\(text\) in schema "chronos" is not of chronos_backup/, 'DROP FUNCTION chronos.backup_now(text)');
refused('a type', 'CREATE SCHEMA chronos; CREATE DOMAIN chronos.label AS text', qr/label in schema/, 'DROP DOMAIN chronos.label');

# Roles, as the cluster would be without ours.
sub without_roles
{
	sql('DROP EXTENSION IF EXISTS chronos_backup; DROP SCHEMA IF EXISTS chronos');
	for my $n (1 .. $count) { in_db("stranger$n", 'DROP SCHEMA IF EXISTS chronos') }
	sql('DROP ROLE IF EXISTS chronos_driller, chronos_operator, chronos_monitor');
	return;
}
my $version = sql(q{SELECT current_setting('server_version_num')::int / 10000});
without_roles();
refused('a role that can log in', 'SET ROLE stranger; CREATE ROLE chronos_operator LOGIN', qr/role "chronos_operator" is there already, with attributes/,
	'ALTER ROLE chronos_operator NOLOGIN; REVOKE chronos_operator FROM stranger');
without_roles();
refused('a role with its maker in it', 'SET ROLE stranger; CREATE ROLE chronos_operator' . ($version >= 16 ? '' : '; GRANT chronos_operator TO stranger'),
	qr/role "chronos_operator" is there already, and no superuser has decided that stranger is a member/,
	'DROP ROLE chronos_operator');
without_roles();

# What superusers have decided stays, also for another database, and over an update.
sql('CREATE EXTENSION chronos_backup; CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; GRANT chronos_operator TO alice; GRANT chronos_operator TO bob WITH ADMIN OPTION');
sql('CREATE DATABASE second');
my ($status, $out, $err) = $node->psql('second', 'CREATE EXTENSION chronos_backup');
like($err, qr/no superuser has decided that bob is a member/, 'who may pass it on is asked about');
sql('REVOKE ADMIN OPTION FOR chronos_operator FROM bob');
in_db('second', 'CREATE EXTENSION chronos_backup');
pass('members that a superuser has made are taken as they are');
sql('CREATE DATABASE third');
sql('GRANT chronos_operator TO bob WITH ADMIN OPTION; CREATE ROLE carol; SET ROLE bob; GRANT chronos_operator TO carol; RESET ROLE');
$node->psql('third', 'CREATE EXTENSION chronos_backup');
sql(q{DROP EXTENSION chronos_backup});
sql(q{REVOKE ADMIN OPTION FOR chronos_operator FROM bob CASCADE; CREATE EXTENSION chronos_backup VERSION '0.1.0'});
# Until the update everything says that it is to be done.
my $old = q{SELECT message || ' ' || hint FROM chronos.check() WHERE test = 'version' AND status = 'note'};
like(sql($old), qr/SQL objects of chronos_backup are of version 0\.1\.0, .*ALTER EXTENSION chronos_backup UPDATE/, 'check() names the command that SQL objects of an old release need');
like(sql(q{SELECT message || ' ' || hint FROM chronos.health WHERE rule = 'heartbeat'}), qr/of version 0\.1\.0, .*ALTER EXTENSION chronos_backup UPDATE/, 'so does health');
$node->restart;
poll_until(sub { $node->log_contains(qr/WARNING:  chronos: in database "postgres", the SQL objects of chronos_backup are of version 0\.1\.0/) }, 'the log has it', 60);
ok($node->log_contains(qr/HINT:  In this database: ALTER EXTENSION chronos_backup UPDATE/), 'and the server log');
sql('GRANT chronos_operator TO bob WITH ADMIN OPTION; SET ROLE bob; GRANT chronos_operator TO carol; RESET ROLE; CREATE VIEW chronos.mine AS SELECT 1 AS one');
($status, $out, $err) = $node->psql('postgres', 'ALTER EXTENSION chronos_backup UPDATE');
is($status, 0, 'an update refuses nothing that was granted, nor the view of an administrator') or diag($err);
is(sql($old), '', 'and there is nothing left to say of the version');
is(sql(q{SELECT pg_has_role('carol', 'chronos_operator', 'MEMBER') AND pg_has_role('alice', 'chronos_operator', 'MEMBER')}), 't', 'members are members');
is(sql('SELECT one FROM chronos.mine'), '1', 'and it is there');

# Nor does an update call what a stranger has put into the schema, whatever it is: here an operator that fits the operands of
# the update better than the system's own.
sql(q{DROP VIEW chronos.mine; DROP EXTENSION chronos_backup; CREATE EXTENSION chronos_backup VERSION '0.1.0'; CREATE ROLE digger LOGIN; GRANT ALL ON SCHEMA chronos TO digger});
sql(<<'S');
SET ROLE digger;
CREATE FUNCTION chronos.dig(oid, regclass) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
		EXECUTE 'ALTER ROLE digger SUPERUSER';
	END IF;
	RETURN $1 OPERATOR(pg_catalog.=) $2::oid;
END $$;
CREATE OPERATOR chronos.= (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = chronos.dig);
S
($status, $out, $err) = $node->psql('postgres', 'ALTER EXTENSION chronos_backup UPDATE');
isnt($status, 0, 'an update refuses what a stranger has put into the schema');
is(sql(q{SELECT rolsuper FROM pg_roles WHERE rolname = 'digger'}), 'f', 'and has not called it');
sql('DROP OPERATOR chronos.= (oid, regclass); DROP FUNCTION chronos.dig(oid, regclass); REVOKE ALL ON SCHEMA chronos FROM digger');
sql('ALTER FUNCTION chronos.schedules_changed() OWNER TO digger');
($status, $out, $err) = $node->psql('postgres', 'ALTER EXTENSION chronos_backup UPDATE');
like($err, qr/ERROR:  chronos.schedules_changed\(\) of chronos_backup belongs to digger, who is no superuser/, 'what was given away is told of');
like($err, qr/HINT: /, 'with what to do');
sql(sprintf 'ALTER FUNCTION chronos.schedules_changed() OWNER TO %s', sql('SELECT quote_ident(current_user)'));
is(($node->psql('postgres', 'ALTER EXTENSION chronos_backup UPDATE'))[0], 0, 'which helps');

# Between updates they are used as they are: what a trigger of theirs does is done by whom they were given to.
sql(<<'S');
CREATE FUNCTION public.dig() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.seen VALUES (TG_TABLE_NAME, current_user);
	IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
		EXECUTE 'ALTER ROLE digger SUPERUSER';
	END IF;
	RETURN NULL;
END $$;
CREATE TABLE public.seen (t text, role text);
GRANT ALL ON public.seen TO digger;
S
my $owner = sql('SELECT quote_ident(current_user)');
my @given = split /\n/, sql(q{SELECT CASE d.classid WHEN 'pg_class'::regclass THEN 'TABLE ' || d.objid::regclass ELSE 'ROUTINE ' || d.objid::regprocedure END FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
	WHERE e.extname = 'chronos_backup' AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass AND (d.classid = 'pg_proc'::regclass
		OR d.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class c WHERE c.oid = d.objid AND c.relkind IN ('r', 'v')))});
push @given, 'SCHEMA chronos';
sql("ALTER $_ OWNER TO digger") for @given;
sql("SET ROLE digger; CREATE TRIGGER dig AFTER INSERT OR UPDATE ON $_ FOR EACH ROW EXECUTE FUNCTION public.dig()") for 'chronos.job_history', 'chronos.audit_log';
sql(q{SET ROLE digger; CREATE CONSTRAINT TRIGGER later AFTER INSERT OR UPDATE ON chronos.schedule_entries INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.dig()});
my $job = sql(q{SELECT chronos.start_backup('full')});
poll_until(sub { sql("SELECT state FROM chronos.job_history WHERE id = $job") eq 'succeeded' }, 'jobs are recorded in tables that were given away', 120);
poll_until(sub { sql(q{SELECT count(*) > 0 FROM public.seen WHERE t = 'audit_log'}) eq 't' }, 'calls too', 60);
is(sql(q{SELECT string_agg(DISTINCT role, ' ') FROM public.seen WHERE t = 'job_history'}), 'digger', 'as who has got them');
is(sql(q{SELECT rolsuper FROM pg_roles WHERE rolname = 'digger'}), 'f', 'who gains nothing by it');
like(slurp_file($node->logfile), qr/belongs to "digger", who is no superuser: jobs and calls are recorded as that role/, 'the server log says so');
sql("ALTER $_ OWNER TO $owner") for @given;
sql('DROP TRIGGER dig ON chronos.job_history; DROP TRIGGER dig ON chronos.audit_log; DROP TRIGGER later ON chronos.schedule_entries');

# --- The role of the command.
sub lacks { my ($status, $out, $err) = chronos($conf, '--no-archive-check', 'check'); return $out . $err }
like(lacks(), qr/role "backup" does not exist/, 'a role that is not there');
sql('CREATE ROLE backup LOGIN');
my $said = lacks();
like($said, qr/lacks what backups and checks need: .*pg_backup_start\(text, boolean\).*pg_monitor/s, 'what it lacks is named');
unlike($said, qr/pg_backup_stop\(boolean\).*pg_backup_stop\(boolean\).*pg_backup_stop/s, 'once');
like(sql(q{SELECT message FROM chronos."check"() WHERE test = 'role'}), qr/^role 'backup' lacks .*pg_switch_wal\(\)/, 'in SQL too');
($status, $out, $err) = chronos($conf, '--type=full', 'backup');
isnt($status, 0, 'a backup fails');
like($out . $err, qr/GRANT pg_monitor.*pg_backup_start\(text, boolean\)/s, 'and says which grants it takes') or diag($out . $err);
sql('GRANT pg_monitor TO backup');
like(lacks(), qr/lacks .*pg_switch_wal/, 'half of them are not enough');
sql('GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean), pg_create_restore_point(text), pg_switch_wal() TO backup');
($status, $out, $err) = chronos($conf, 'check');
is($status, 0, 'with all of them check is content') or diag($out . $err);
($status, $out, $err) = chronos($conf, '--type=full', 'backup');
is($status, 0, 'and a backup is taken by a role that is no superuser') or diag($out . $err);
($status, $out, $err) = chronos($conf, 'health');
unlike($out . $err, qr/unable to ask the server/, 'which can ask about health') or diag($out . $err);
is(sql(q{SELECT ok FROM chronos."check"() WHERE test = 'role'}), 't', 'SQL agrees');

# On a server that was hardened.
sql('REVOKE EXECUTE ON FUNCTION pg_try_advisory_lock(bigint) FROM PUBLIC');
like(lacks(), qr/lacks .*pg_try_advisory_lock\(bigint\)/, 'what everybody had is named once it was taken');
sql('GRANT EXECUTE ON FUNCTION pg_try_advisory_lock(bigint) TO PUBLIC; ALTER ROLE backup NOLOGIN');
$said = lacks();
like($said, qr/not permitted to log in.*HINT: The server answered, and refused: pg_hba\.conf/s, 'a refusal is not taken for a server that is away');
unlike($said, qr/Is the server running/, 'in no word');
$node->stop;
done_testing();
