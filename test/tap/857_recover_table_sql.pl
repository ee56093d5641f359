# Tables of the past by SQL: a job brings them back into the server that it was asked of, wherever the configuration
# says that is, tells how far it is and what came of it, and takes all back when it is cancelled or killed. A
# superuser may have every table; an operator those of an owner whose privileges he has, then and now, where he may make a
# schema himself, and without code of his own running in the past. Nobody else may have any.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Fcntl qw(O_RDWR);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

if (!sysopen my $device, '/dev/fuse', O_RDWR)
{
	pass('what needs /dev/fuse is not claimed here');
	done_testing();
	exit;
}
my $scratch = PostgreSQL::Test::Utils::tempdir_short();
my $node = chronos_node('primary', options => {
		'drill-path' => $scratch, 'repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'zst' });
sub sql { return $node->safe_psql('shop', @_) }
sub postgres { return $node->safe_psql('postgres', @_) }

postgres(q{
	CREATE ROLE app; CREATE ROLE secret; CREATE ROLE evil LOGIN; CREATE ROLE later;
	CREATE ROLE operator LOGIN IN ROLE chronos_operator, app;
	CREATE ROLE stranger LOGIN IN ROLE chronos_operator;
	CREATE ROLE placeless LOGIN IN ROLE chronos_operator, app;
	CREATE ROLE newcomer LOGIN IN ROLE chronos_operator, later;
	CREATE ROLE member LOGIN IN ROLE app;
	CREATE ROLE looker LOGIN IN ROLE chronos_monitor;
	CREATE ROLE between NOINHERIT IN ROLE app;
	CREATE ROLE heir LOGIN IN ROLE chronos_operator, between;
	CREATE ROLE ghost;
	GRANT chronos_operator TO evil;
	CREATE DATABASE shop;
	GRANT CREATE ON DATABASE shop TO operator, stranger, newcomer, heir, evil});
sql(q{
	CREATE EXTENSION chronos_backup;
	GRANT ALL ON SCHEMA public TO app, secret, evil;
	SET ROLE app;
	CREATE TABLE orders (id int PRIMARY KEY, note text);
	INSERT INTO orders SELECT i, 'n' || i FROM generate_series(1, 1000) i;
	CREATE TABLE "Mixed ""1""" (a int);
	INSERT INTO "Mixed ""1""" VALUES (1);
	CREATE TABLE parted (a int) PARTITION BY RANGE (a);
	CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
	CREATE TABLE gone (a int);
	INSERT INTO gone SELECT generate_series(1, 7);
	CREATE TABLE given_away AS SELECT 1 AS a;
	RESET ROLE;
	CREATE SCHEMA whole AUTHORIZATION app;
	SET ROLE app;
	CREATE TABLE whole.one AS SELECT 1 AS a;
	CREATE TABLE whole.two AS SELECT 2 AS a;
	GRANT USAGE ON SCHEMA whole TO looker;
	GRANT SELECT ON whole.one TO looker;
	RESET ROLE;
	CREATE TABLE haunted (a int);
	ALTER TABLE haunted OWNER TO ghost;
	SET ROLE secret;
	CREATE TABLE salaries (who text, amount int);
	INSERT INTO salaries VALUES ('alice', 1000);
	CREATE TABLE got (a int);
	SET ROLE evil;
	CREATE FUNCTION trap(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
		BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'RESET ROLE'; EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'ALTER ROLE evil SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
		RETURN $1; END $$;
	CREATE TABLE indexed (a int CHECK (trap(a) > 0));
	CREATE INDEX ON indexed (trap(a))});
$node->safe_psql('shop', 'INSERT INTO indexed SELECT generate_series(1, 20)', extra_params => [ '-U', 'evil' ]);
# Who may bring it back as a whole may not read a child that somebody else has.
sql('ALTER TABLE parted_1 OWNER TO secret; INSERT INTO parted VALUES (5)');

# From here on the configuration file leads to no server: the job knows where it was asked.
my $conf = $node->{chronos_conf};
my $text = slurp_file($conf);
$text =~ s/^pg1-port=.*$/pg1-port=1/m;
$text =~ s/^pg1-socket-path=.*$/pg1-socket-path=\/nowhere/m;
open my $file, '>', $conf or die $!;
print $file $text;
close $file;
like(postgres(q{SELECT chronos.backup_now('full')}), qr/F$/, 'full backup');
usleep(1_100_000);
sql(q{UPDATE orders SET note = 'changed' WHERE id <= 10});
my $moment = postgres('SELECT clock_timestamp()');
usleep(1_100_000);
sql(q{DELETE FROM orders WHERE id > 5; DROP TABLE gone; ALTER TABLE given_away OWNER TO secret; ALTER TABLE got OWNER TO later;
	ALTER ROLE later RENAME TO even_later; DROP TABLE haunted; DROP ROLE ghost; CREATE ROLE ghost; GRANT ghost TO operator});
wait_archived($node);

sub schemas { return sql(q{SELECT string_agg(nspname, ',' ORDER BY nspname) FROM pg_namespace WHERE oid >= 16384 AND nspname <> 'chronos'}) }
my $none = schemas();

sub no_trace
{
	my ($name) = @_;
	is(schemas(), $none, "$name: no schema is left");
	is(postgres(q{SELECT count(*) FROM pg_roles WHERE rolname LIKE 'chronos\_recover%'}), 0, "$name: no role is left");
	is(postgres(q{SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'chronos-recover%'}), 0, "$name: no session is left");
	is(join(' ', glob "$scratch/*"), '', "$name: no scratch directory is left");
	ok(!(grep { (readlink($_) // '') =~ /^\Q$scratch\E/ } glob '/proc/[0-9]*/cwd'), "$name: no server is left");
	return;
}
sub started
{
	my ($user, $arguments) = @_;
	return $node->safe_psql('shop', "SELECT chronos.recover_table($arguments)", extra_params => [ '-U', $user ]);
}
my $super = postgres('SELECT session_user');
sub outcome
{
	my ($job) = @_;
	postgres("SELECT chronos.wait($job, '5 minutes')");
	return postgres("SELECT state || coalesce(': ' || error, '') || coalesce(' HINT: ' || hint, '') FROM chronos.jobs WHERE id = $job ORDER BY requested_at DESC LIMIT 1");
}

subtest 'a table' => sub {
	my $begin = time;
	my $job = started($super, "'orders', '$moment', into_schema => 'rescue', reason => 'a test'");
	is(outcome($job), 'succeeded', 'a table is brought back') or diag(slurp_file($node->logfile));
	diag(sprintf 'after %.1f s', time - $begin);
	is(sql(q{SELECT count(*) || ' ' || count(*) FILTER (WHERE note = 'changed') FROM rescue.orders}), '1000 10', '... as it was');
	is(sql(q{SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'rescue.orders'::regclass}), 'app', '... and is its owner\'s');
	is(postgres("SELECT concat_ws('|', database, source, label IS NOT NULL, recovered, owner, rows, bytes > 5000, fetched_bytes > 0, recovery_time > '0', copy_time > '0', planned, left_out, missing, reason) FROM chronos.recovered_tables WHERE job = $job"),
		'shop|public.orders|t|"rescue"."orders"|app|1000|t|t|t|t|f|{}|{}|a test', 'what came of it is on record');
	is(postgres("SELECT target LIKE 'time %' FROM chronos.recovered_tables WHERE job = $job"), 't', '... with the moment');
	is(postgres("SELECT concat_ws(',', requested_by, type, label IS NOT NULL, files) FROM chronos.jobs WHERE id = $job"), "$super,recover_table,t,1", 'it is a job like others');
	is(postgres("SELECT array_agg(k ORDER BY k) FROM chronos.jobs, jsonb_object_keys(phases) AS k WHERE id = $job"), '{copy,index,mount,recover,wal}', '... with its phases');
	poll_until(sub { postgres("SELECT count(*) FROM chronos.audit_log WHERE job = $job") == 2 }, 'it is audited', 30);
	is(postgres("SELECT string_agg(operation || ' ' || outcome, ',' ORDER BY operation) FROM chronos.audit_log WHERE job = $job"), 'job succeeded,recover_table succeeded', 'call and job are audited');
	$job = started($super, "'public.orders', '$moment', into_schema => 'rescue'");
	like(outcome($job), qr/^failed: the live database has a schema "rescue" already/, 'nothing goes into a schema that exists');
	sql('DROP SCHEMA rescue CASCADE');
	no_trace('a table');
};

subtest 'names and moments' => sub {
	is(outcome(started($super, q{ARRAY['shop.public.ORDERS', '"Mixed ""1"""'], into_schema => 'Ärger "2"', filter => 'ctid IS NOT NULL -- all', target => '} . $moment . q{'})), 'succeeded', 'several');
	is(sql('SELECT count(*) FROM "Ärger ""2""".orders') . sql('SELECT count(*) FROM "Ärger ""2"""."Mixed ""1"""'), '10001', '... with their rows');
	sql('DROP SCHEMA "Ärger ""2""" CASCADE');
	is(outcome(started('operator', "'whole.*', '$moment', into_schema => 'all_of_it', privileges => true")), 'succeeded', 'a whole schema, with what was granted');
	is($node->safe_psql('shop', 'SELECT a FROM all_of_it.one', extra_params => [ '-U', 'looker' ]) . sql('SELECT a FROM all_of_it.two'), '12', '... is there');
	sql('DROP SCHEMA all_of_it CASCADE');
	is(outcome(postgres("SELECT chronos.recover_table('public.orders', database => 'shop', into_schema => 'other', filter => 'id <= 3')")), 'succeeded', 'of another database, of the end of the WAL');
	is(sql('SELECT count(*) FROM other.orders'), 3, '... with the rows that were asked for');
	sql('DROP SCHEMA other CASCADE');
	my $job = started($super, "'gone', before_drop => true, into_schema => 'back'");
	is(outcome($job), 'succeeded', 'a table that was dropped');
	is(sql('SELECT count(*) FROM back.gone'), 7, '... is back as it was right before');
	is(postgres("SELECT dropped_at BETWEEN '$moment' AND now() FROM chronos.recovered_tables WHERE job = $job"), 't', '... and when that was is on record');
	sql('DROP SCHEMA back CASCADE');
	sql('CREATE TABLE just_now AS SELECT 1 AS a; DROP TABLE just_now');
	is(outcome(started($super, "'just_now', before_drop => true, into_schema => 'back'")), 'succeeded', 'what was dropped a moment ago, without anybody having sent its WAL');
	is(sql('SELECT a FROM back.just_now'), 1, '... is back');
	sql('DROP SCHEMA back CASCADE');
	my ($at, $xid, $lsn, $label, $search) = split /\|/, sql(q{SELECT dropped_at BETWEEN '} . $moment . q{' AND now(), xid, lsn, label, job FROM chronos.find_drop('gone')});
	is($at, 't', 'the moment is found by itself');
	like($label, qr/^\d{8}-\d{6}F$/, '... with a backup');
	is(outcome(started($super, "'public.gone', target_lsn => '$lsn', target_exclusive => true, label => '$label', into_schema => 'by_lsn'")), 'succeeded', '... which says where to recover to');
	is(outcome(started($super, "'public.gone', target_xid => $xid, target_exclusive => true, into_schema => 'by_xid'")), 'succeeded', '... or to which transaction');
	is(sql('SELECT count(*) FROM by_lsn.gone') . sql('SELECT count(*) FROM by_xid.gone'), '77', '... and so it is there');
	sql('DROP SCHEMA by_lsn, by_xid CASCADE');
	my ($status, $out, $err) = $node->psql('shop', q{SELECT * FROM chronos.find_drop('orders')});
	like($err, qr/the search failed: public\.orders was not dropped.*HINT:/s, 'what was not dropped is no drop');
	$job = started($super, "'orders', '$moment', plan => true");
	is(outcome($job), 'succeeded', 'a plan');
	is(postgres("SELECT concat_ws('|', source, recovered IS NOT NULL, planned, rows IS NULL) FROM chronos.recovered_tables WHERE job = $job"), 'public.orders|t|t|t', '... is on record as such');
	no_trace('names and moments');
};

subtest 'who may' => sub {
	for my $case (
		[ operator => "'orders', '$moment'", qr/^succeeded$/ ],
		[ operator => "'public.salaries', '$moment'", qr/^failed: role "operator" has not the privileges of "secret", who owned public\.salaries at the target/ ],
		[ operator => "'parted', '$moment'", qr/^failed: role "operator" has not the privileges of "secret", who owned public\.parted_1/ ],
		[ operator => "'given_away', '$moment'", qr/^failed: role "operator" has not the privileges of "secret", who owns public\.given_away now/ ],
		[ operator => "ARRAY['orders', 'public.salaries'], '$moment'", qr/^failed: .*"secret"/ ],
		[ operator => "'public.*', '$moment'", qr/^failed: role "operator" has not the privileges of/ ],
		[ newcomer => "'public.got', '$moment'", qr/^failed: .* of "secret", who owned public\.got at the target/ ],
		[ stranger => "'public.orders', '$moment'", qr/^failed: role "stranger" has not the privileges of "app"/ ],
		[ heir => "'public.orders', '$moment'", qr/^failed: role "heir" has not the privileges of "app"/ ],
		[ operator => "'public.haunted', '$moment'", qr/^failed: role "operator" has not the privileges of "ghost", who owned public\.haunted at the target/ ],
		[ placeless => "'orders', '$moment'", qr/^failed: role "placeless" may not make a schema in the database HINT: Who is no superuser/ ],
		[ evil => "'public.orders', '$moment'", qr/^failed: role "evil" has not/ ])
	{
		my ($user, $arguments, $expected) = @$case;
		my $job = started($user, "$arguments, into_schema => 'theirs'");
		like(outcome($job), $expected, "$user: $arguments");
		sql('DROP SCHEMA IF EXISTS theirs CASCADE');
		no_trace("$user: $arguments");
	}
	for my $user (qw(member looker))
	{
		my ($status, $out, $err) = $node->psql('shop', "SELECT chronos.recover_table('public.orders')", extra_params => [ '-U', $user ]);
		like($err, qr/permission denied/, "$user may not ask");
		($status, $out, $err) = $node->psql('shop', "SELECT chronos.find_drop('public.gone')", extra_params => [ '-U', $user ]);
		like($err, qr/permission denied/, "... nor when it was dropped");
	}
	my ($status, $out, $err) = $node->psql('shop', "SELECT chronos.recover_table('orders', '$moment', filter => 'id = 1')", extra_params => [ '-U', 'operator' ]);
	like($err, qr/permission denied to choose rows by a condition.*HINT:/s, 'code of an operator does not run in the past');
	like($node->safe_psql('shop', q{SELECT lsn FROM chronos.find_drop('public.gone')}, extra_params => [ '-U', 'operator' ]), qr{^[0-9A-F]+/[0-9A-F]+$}, 'an operator finds the drop of his own');
	($status, $out, $err) = $node->psql('shop', q{SELECT * FROM chronos.find_drop('public.gone')}, extra_params => [ '-U', 'stranger' ]);
	like($err, qr/role "stranger" has not the privileges of "app"/, '... and of nobody else');
	# Decided is when it is known whose the table was, not only when it is asked for.
	postgres('ALTER SYSTEM SET chronos.max_jobs = 1; SELECT pg_reload_conf()');
	poll_until(sub { postgres('SHOW chronos.max_jobs') == 1 }, 'one job at a time', 30);
	my $first = started($super, "'orders', '$moment', into_schema => 'first', filter => 'pg_sleep(0.003) IS NOT NULL'");
	my $second = started('operator', "'orders', '$moment', into_schema => 'second'");
	postgres('REVOKE app FROM operator');
	is(outcome($first), 'succeeded', 'a job');
	like(outcome($second), qr/^failed: role "operator" has not/, 'a right that was taken away while the job waited');
	postgres('GRANT app TO operator; ALTER SYSTEM RESET chronos.max_jobs; SELECT pg_reload_conf()');
	sql('DROP SCHEMA first CASCADE');
	for my $type (qw(recover_table find_drop))
	{
		($status, $out, $err) = $node->psql('postgres', "SELECT chronos.start_job('$type')");
		like($err, qr/"$type" is not a type of job/, "$type is asked for by its function only");
		($status, $out, $err) = $node->psql('postgres', "SELECT chronos.schedule('x', '$type', '\@daily')");
		like($err, qr/"$type" is not a type of job/, "... and has no schedule");
	}
	is($node->safe_psql('postgres', 'SELECT count(*) > 5 FROM chronos.recovered_tables', extra_params => [ '-U', 'looker' ]), 't', 'what was brought back is seen by who may look');
	no_trace('who may');
};

subtest 'code that wants to be more' => sub {
	my $supers = q{SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles WHERE rolsuper};
	my $known = postgres($supers);
	is(outcome(started($super, "'public.indexed', '$moment', into_schema => 'trap'")), 'succeeded', 'a hostile check and index');
	is(sql('SELECT count(*) FROM trap.indexed'), 20, '... are back with the table');
	is(postgres($supers), $known, '... and nobody has become a superuser');
	sql('DROP SCHEMA trap CASCADE');
	is(outcome(started($super, "'public.indexed', '$moment', into_schema => 'trap', filter => 'public.trap(a) > 3'")), 'succeeded', 'a hostile filter');
	is(sql('SELECT count(*) FROM trap.indexed'), 17, '... filters');
	is(postgres($supers), $known, '... and nobody has become a superuser');
	sql('DROP SCHEMA trap CASCADE');
	for my $filter (q{(SELECT count(*) FROM public.salaries) > 0}, q{pg_read_file('/etc/passwd') IS NOT NULL}, q{true) TO PROGRAM 'touch /tmp/x' --})
	{
		like(outcome(started($super, "'orders', '$moment', into_schema => 'trap', filter => \$x\$$filter\$x\$")), qr/^failed: filter.*(?:permission denied|syntax error)/, "filter: $filter");
	}
	for my $bad (q{'orders', filter => E'a\\nb'}, q{E'public."a\\n--plan"'}, q{'a.b.c.d'}, q{NULL::text}, q{'{}'::text[]}, q{ARRAY['a', NULL]},
		q{'other.public.orders'}, q{'public.orders', 'infinity'}, q{'public.orders', now(), true}, q{'public.orders', target_xid => 5, target_name => 'x'},
		q{'public.orders', database => 'nowhere'}, q{'public.orders', before_drop => true, label => 'x'}, q{'public.orders', target_exclusive => true})
	{
		my ($status, $out, $err) = $node->psql('shop', "SELECT chronos.recover_table($bad)");
		isnt($status, 0, "refused at once: $bad");
		diag($err) if $err !~ /ERROR/;
	}
	no_trace('code');
};

# In the middle of the rows, which come one by one.
sub in_the_middle
{
	my ($table) = @_;
	my $job = started($super, "'public.$table', '$moment', into_schema => 'half', filter => 'pg_sleep(3) IS NOT NULL'");
	poll_until(sub { sql(q{SELECT count(*) FROM pg_class WHERE relname = '} . $table . q{' AND relkind = 'r' AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'half')}) == 1 }, 'the table is made', 60);
	is(postgres("SELECT phase || ' ' || files_total FROM chronos.progress WHERE id = $job"), 'copy 1', "$table: its progress is seen");
	return $job;
}

subtest 'cancelled' => sub {
	for my $table ('orders', 'indexed')
	{
		my $job = in_the_middle($table);
		my $begin = time;
		is(postgres("SELECT chronos.cancel($job)"), 't', "$table: cancelled");
		is(outcome($job), 'cancelled: cancelled', '... which is its outcome');
		cmp_ok(time - $begin, '<', 60, '... soon');
		no_trace("$table: cancelled");
	}
	my $session = $node->background_psql('shop', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	$session->query_until(qr/begin/, "\\echo begin\nSELECT * FROM chronos.find_drop('public.gone');\n");
	poll_until(sub { postgres(q{SELECT count(*) FROM chronos.jobs WHERE type = 'find_drop' AND state = 'running'}) == 1 }, 'a search is under way', 30);
	postgres("SELECT pg_cancel_backend($pid)");
	poll_until(sub { postgres(q{SELECT count(*) FROM chronos.jobs WHERE type = 'find_drop' AND state = 'cancelled'}) == 1 }, 'with its query the search is cancelled', 60);
	$session->quit;
	no_trace('a search');
};

subtest 'killed' => sub {
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	for my $table ('orders', 'indexed')
	{
		my $job = in_the_middle($table);
		my ($worker) = postgres("SELECT worker_pid FROM chronos.progress WHERE id = $job");
		my @engines = engines_below($worker);
		is(scalar(@engines), 2, "$table: a guard and the one that works");
		kill 'KILL', $engines[1];
		like(outcome($job), qr/^failed: engine was killed by signal 9/, '... which is killed');
		no_trace("$table: killed");
	}
	# A statement that it has begun goes on for long without it.
	sql(q{
		CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(300); END';
		CREATE EVENT TRIGGER wait ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION wait()});
	my $indexing = started($super, "'indexed', '$moment', into_schema => 'half'");
	poll_until(sub { postgres(q{SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'chronos-recover%' AND query LIKE 'CREATE INDEX%' AND state = 'active'}) == 1 }, 'an index is made', 60);
	my $begin = time;
	kill 'KILL', (engines_below(postgres("SELECT worker_pid FROM chronos.progress WHERE id = $indexing")))[1];
	like(outcome($indexing), qr/^failed: engine was killed by signal 9/, 'killed while it waits for an index');
	cmp_ok(time - $begin, '<', 60, '... which is ended');
	sql('DROP EVENT TRIGGER wait; DROP FUNCTION wait()');
	no_trace('killed in front of an index');
	# With its worker, and with the server: what is left is removed by the next one.
	my $job = in_the_middle('indexed');
	my ($worker) = postgres("SELECT worker_pid FROM chronos.progress WHERE id = $job");
	$node->stop('immediate');
	poll_until(sub { !grep { (readlink($_) // '') =~ /^\Q$scratch\E/ } glob '/proc/[0-9]*/cwd' }, 'the scratch server is gone', 30);
	$node->start;
	like(schemas(), qr/\bhalf\b/, 'the server went down with it');
	is(outcome(started($super, "'orders', '$moment', into_schema => 'next'")), 'succeeded', 'the next one');
	sql('DROP SCHEMA next CASCADE');
	no_trace('the server went down');
};

subtest 'a drill that restores nothing' => sub {
	is(outcome(postgres(q{SELECT chronos.start_job('drill', '{"instant": true}')})), 'succeeded', 'is a job, too');
};

subtest 'mounts' => sub {
	my $place = PostgreSQL::Test::Utils::tempdir_short();
	is(postgres('SELECT count(*) FROM chronos.mounts'), 0, 'nothing is mounted');
	my ($status, $out, $err) = chronos($conf, 'mount', "--to=$place", '--background');
	SKIP:
	{
		skip "mount is not possible here: $err", 2 if $status != 0;
		is($node->safe_psql('postgres', 'SELECT path, repo_key, label ~ $$^\d{8}-\d{6}F$$, state, pid > 1, since <= now(), fetched_bytes >= 0, failures, missing_bytes IS NULL FROM chronos.mounts', extra_params => [ '-U', 'looker' ]),
			"$place|1|t|live|t|t|t|0|t", 'what is mounted is seen');
		chronos($conf, 'mount', "--finish=$place");
		is(postgres('SELECT count(*) FROM chronos.mounts'), 0, '... until it is not any more');
	}
};

subtest 'what is missing' => sub {
	is(postgres(q{SELECT has_function_privilege('public', p.oid, 'EXECUTE') FROM pg_proc p WHERE proname = 'find_drop'}), 'f', 'PUBLIC may nothing');
	sql(q{CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE moody (m mood); ALTER TABLE moody OWNER TO app;
		SET ROLE app; CREATE TYPE own AS ENUM ('x'); CREATE TABLE owned (o own)});
	my $then = sql('SELECT clock_timestamp()');
	sql('DROP TABLE moody, owned; DROP TYPE mood, own');
	wait_archived($node);
	my $job = started($super, "'moody', before_drop => true, plan => true");
	like(outcome($job), qr/^succeeded HINT: the live database lacks what the tables need: type public\.mood: missing/, 'a plan says what is missing');
	is(postgres("SELECT missing FROM chronos.recovered_tables WHERE job = $job"), '{"type public.mood: missing"}', '... for programs too');
	like(outcome(started($super, "'moody', before_drop => true")), qr/^failed: the live database lacks what the tables need/, 'and it does not come back without');
	like(outcome(started('operator', "'public.moody', '$then', with_dependencies => true, into_schema => 'moods'")),
		qr/^failed: role "operator" has not the privileges of ".+", who owned type public\.mood at the target/, 'what comes along is for who may have it');
	is(outcome(started($super, "'public.moody', '$then', with_dependencies => true, into_schema => 'moods'")), 'succeeded', 'with what it needs it comes back');
	is(sql(q{SELECT format_type(atttypid, atttypmod) || ' ' || pg_get_userbyid(t.typowner) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE attrelid = 'moods.moody'::regclass AND attnum > 0}),
		'moods.mood app', '... which is beside it, and of its owner');
	sql('DROP SCHEMA moods CASCADE');
	is(outcome(started('operator', "'public.owned', '$then', with_dependencies => true, into_schema => 'moods'")), 'succeeded', '... also for an operator with the privileges of who had it');
	sql('DROP SCHEMA moods CASCADE');
	like(outcome(started($super, "'orders', into_schema => 'public'")), qr/^failed: .* HINT: into_schema names another one/, 'a hint is of arguments of the function');
	my ($status, $out, $err) = $node->psql('shop', q{SELECT * FROM chronos.find_drop('orders')});
	like($err, qr/HINT: .*target, target_name, target_lsn or target_xid chooses a moment/s, '... whichever function');
	no_trace('missing');
};

done_testing();
