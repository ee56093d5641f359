# Who may ask a restored cluster questions is decided apart, and what such questions can reach is what
# users' tables hold: no passwords, no subscription, nothing by way of somebody else's rights, nothing
# written. Neither the server log, nor a record, nor a view has an answer.
use strict;
use warnings;
use ChronosTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $scratch = PostgreSQL::Test::Utils::tempdir_short();
my $node = chronos_node('primary', conf => "wal_level = logical\n", options => { 'drill-path' => $scratch, 'repo1-cipher-type' => 'none' });
my $conf = $node->{chronos_conf};
sub sql { return $node->safe_psql('postgres', $_[0]) }
sub as { my ($role, $sql) = @_; return $node->psql('postgres', $sql, extra_params => [ '-U', $role ]) }

my $row = 'the row that nobody may see';
my $mark = "$scratch/written";
sql(<<"S");
CREATE ROLE op LOGIN IN ROLE chronos_operator;
CREATE ROLE driller LOGIN IN ROLE chronos_driller;
CREATE ROLE owner;
CREATE ROLE victim LOGIN PASSWORD 'guess me';
CREATE SCHEMA closed;
CREATE TABLE closed.ledger AS SELECT '$row'::text AS note, 7 AS number;
CREATE VIEW closed.passwords AS SELECT rolname, rolpassword FROM pg_authid;
CREATE FUNCTION closed.by_owner() RETURNS text LANGUAGE sql SECURITY DEFINER AS \$\$ SELECT rolpassword FROM pg_authid WHERE rolname = 'victim' \$\$;
CREATE VIEW closed.honest AS SELECT count(*) AS n FROM closed.ledger;
ALTER VIEW closed.honest OWNER TO owner; GRANT USAGE ON SCHEMA closed TO owner; GRANT SELECT ON closed.ledger TO owner;
CREATE VIEW closed.of_superuser AS SELECT count(*) AS n FROM closed.ledger;
CREATE ROLE auditor IN ROLE pg_read_all_data;
GRANT USAGE, CREATE ON SCHEMA closed TO auditor;
SET ROLE auditor;
CREATE VIEW closed.by_auditor AS SELECT rolname, rolpassword FROM pg_authid;
CREATE VIEW closed.by_auditor_again AS SELECT * FROM closed.passwords;
CREATE VIEW closed.subscriptions AS SELECT subconninfo FROM pg_subscription;
RESET ROLE;
CREATE FUNCTION closed.step(text, text) RETURNS text LANGUAGE sql SECURITY DEFINER AS \$\$ SELECT rolpassword FROM pg_authid WHERE rolname = 'victim' \$\$;
CREATE AGGREGATE closed.total(text) (sfunc = closed.step, stype = text);
CREATE LANGUAGE untrusted HANDLER plpgsql_call_handler INLINE plpgsql_inline_handler VALIDATOR plpgsql_validator;
CREATE FUNCTION closed.outside() RETURNS text LANGUAGE untrusted AS \$\$ BEGIN RETURN pg_read_file('PG_VERSION'); END \$\$;
CREATE EXTENSION file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE TABLE closed.parent (line text);
CREATE FOREIGN TABLE closed.child () INHERITS (closed.parent) SERVER files OPTIONS (filename '/etc/passwd');
CREATE SUBSCRIPTION away CONNECTION 'host=nowhere password=subscribed' PUBLICATION p WITH (connect = false);
S
my $verifier = sql(q{SELECT rolpassword FROM pg_authid WHERE rolname = 'victim'});
like($verifier, qr/^SCRAM-SHA-256\$/, 'there is something to steal');
sql(q{SELECT chronos.backup_now('full')});
wait_archived($node);

my ($status, $out, $err) = as('op', q{SELECT chronos.drill(assertions => '{SELECT true}')});
like($err, qr/permission denied to ask/, 'an operator may not ask');
($status, $out, $err) = as('op', q{SELECT chronos.wait(chronos.drill(reason => 'plain'))});
is($out, 'succeeded', 'but drill') or diag($err);

# Allowed, by what it takes; and what must not be.
my @good = ('SELECT count(*) FROM closed.ledger => 1', 'SELECT n FROM closed.of_superuser => 1', 'SELECT n FROM closed.honest => 1', 'SELECT sum(number) FROM closed.ledger => 7');
my @bad = (
	q{SELECT rolpassword FROM pg_authid WHERE rolname = 'victim'},
	q{SELECT passwd FROM pg_shadow WHERE usename = 'victim'},
	q{SELECT rolpassword LIKE 'SCRAM%' FROM pg_authid WHERE rolname = 'victim'},
	q{SELECT rolpassword FROM closed.passwords WHERE rolname = 'victim'},
	q{SELECT closed.by_owner()},
	q{SELECT rolpassword FROM closed.by_auditor WHERE rolname = 'victim'},
	q{SELECT rolpassword FROM closed.by_auditor_again WHERE rolname = 'victim'},
	q{SELECT closed.total('x')},
	q{SELECT closed.outside()},
	q{SELECT count(*) > 0 FROM closed.parent},
	q{SELECT subconninfo LIKE 'host%' FROM closed.subscriptions},
	q{SELECT subconninfo FROM pg_subscription},
	q{SELECT note FROM closed.ledger => something else},
	q{SELECT note::int FROM closed.ledger},
	q{SELECT pg_read_file('postgresql.auto.conf')},
	q{INSERT INTO closed.ledger VALUES ('written', 1) RETURNING true},
	q{CREATE TABLE public.mine AS SELECT 1},
	q{CREATE TEMP TABLE mine AS SELECT 1},
	qq{COPY (SELECT 1) TO PROGRAM 'touch $mark'},
	qq{COPY (SELECT 1) TO '$mark'},
	q{SELECT lo_import('/etc/passwd')},
	q{SET ROLE postgres},
	q{CREATE EXTENSION dblink},
	q{DO $x$ BEGIN EXECUTE 'SET TRANSACTION READ WRITE'; EXECUTE 'CREATE TABLE public.sneaky (i int)'; END $x$},
);
my $asked = encode_json({ assert => [ @good, @bad ] });
$asked =~ s/'/''/g;
($status, $out, $err) = as('driller', "SELECT chronos.start_job('drill', '$asked')");
is($err, '', 'a driller may ask') or diag($err);
my $job = $out;
is(sql("SELECT chronos.wait($job)"), 'failed', 'such a drill fails');
my $checks = decode_json(sql(q{SELECT checks FROM chronos.drills ORDER BY finished_at DESC LIMIT 1}));
is(scalar @$checks, @good + @bad, 'each question was asked');
for my $check (@$checks)
{
	my $is_good = grep { /^\Q$check->{text}\E/ } @good;
	is($check->{passed} ? 1 : 0, $is_good ? 1 : 0, "$check->{text}: $check->{actual}");
	like($check->{actual}, qr/^(?:as expected|another value|not one value|an error(?:, SQLSTATE \w{5})?)$/, 'and told without an answer');
}
ok(!-e $mark, 'nothing was written');

my $everything = slurp_file($node->logfile) . sql('SELECT string_agg(j::text, chr(10)) FROM chronos.jobs AS j')
  . sql('SELECT string_agg(d::text, chr(10)) FROM chronos.drills AS d') . sql('SELECT string_agg(a::text, chr(10)) FROM chronos.audit_log AS a');
$everything .= slurp_file($_) for glob "$node->{chronos_repo}/chronos/main/drills/*";
$everything =~ s/^.*(?:CREATE TABLE closed|CREATE SUBSCRIPTION|STATEMENT:).*$//mg;
unlike($everything, qr/SCRAM-SHA-256\$/, 'no verifier is anywhere');
unlike($everything, qr/\Q$row\E|password=subscribed/, 'no row, and no password of a subscription');

# Who asks on the command line has the answers, and the record has not.
($status, $out, $err) = chronos($conf, 'drill', '--log-level-console=off', '--output=json', '--assert=SELECT note FROM closed.ledger => x');
like($out, qr/\Q$row\E/, 'the command prints the answer');
($status, $out, $err) = chronos($conf, 'drill', '--log-level-console=off', '--list', '--output=json');
unlike($out, qr/\Q$row\E/, 'the record does not have it');
# A schedule outlives the right to ask: whether its maker may is looked at when it is due.
($status, $out, $err) = as('driller', q{SELECT chronos.schedule('curious', 'drill', '0 3 * * *', options => '{"assert": ["SELECT true"]}')});
is($err, '', 'a driller may make such a schedule') or diag($err);
sub due { sql(q{UPDATE chronos.schedule_entries SET considered_until = now() - interval '2 days', retries = 0 WHERE name = 'curious'}) }
sub outcome { return sql(q{SELECT coalesce((SELECT state || ': ' || coalesce(error, '') FROM chronos.jobs WHERE schedule = 'curious' ORDER BY id DESC LIMIT 1), '')}) }
due();
ok($node->poll_query_until('postgres', q{SELECT state = 'succeeded' FROM chronos.jobs WHERE schedule = 'curious'}), 'which drills') or diag(outcome());
sql('REVOKE chronos_driller FROM driller; GRANT chronos_operator TO driller');
due();
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM chronos.jobs WHERE schedule = 'curious' AND finished_at IS NOT NULL}), 'it is due again');
like(outcome(), qr/^failed: role "driller".*not permitted to ask/, 'after the right was taken away it fails, and says why');
sql('DROP OWNED BY driller; DROP ROLE driller');
due();
ok($node->poll_query_until('postgres', q{SELECT count(*) = 3 FROM chronos.jobs WHERE schedule = 'curious' AND finished_at IS NOT NULL}), 'and once more');
like(outcome(), qr/^failed: role "driller".*not permitted to ask/, 'nor does it ask for a role that is gone');
# What a backup leaves out, too, is a superuser's decision when it is due.
sql(q{SELECT chronos.schedule('curious', 'full', '0 3 * * *', options => '{"exclude": ["log/"]}'); CREATE ROLE leaver IN ROLE chronos_operator});
sql(q{UPDATE chronos.schedule_entries SET created_by = 'leaver' WHERE name = 'curious'});
due();
ok($node->poll_query_until('postgres', q{SELECT count(*) = 4 FROM chronos.jobs WHERE schedule = 'curious' AND finished_at IS NOT NULL}), 'a backup is due');
like(outcome(), qr/^failed: role "leaver".*not permitted to leave files out of backups/, 'whose maker is no superuser any more');
sql(q{UPDATE chronos.schedule_entries SET created_by = current_user WHERE name = 'curious'});
due();
ok($node->poll_query_until('postgres', q{SELECT state = 'succeeded' FROM chronos.jobs WHERE schedule = 'curious' ORDER BY id DESC LIMIT 1}),
	'of a superuser it is made') or diag(outcome());
$node->stop;
done_testing();
