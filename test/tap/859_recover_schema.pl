# A whole schema of the past is back in the live database by one name: every table of it as it was, with its partitions,
# indexes, generated columns, identities and children, names of any spelling, and what is not brought back is told. With
# --privileges who could read and write the tables can again, as far as there are such roles, and nobody else can; who
# was kept from some rows gets none.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $scratch = PostgreSQL::Test::Utils::tempdir_short();
my $node = chronos_node('primary', options => {
		'drill-path' => $scratch, 'repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'zst' });
my $conf = $node->{chronos_conf};
$node->safe_psql('postgres', q{
	CREATE DATABASE pagila;
	CREATE ROLE staff; CREATE ROLE reader LOGIN; CREATE ROLE "Größe 2"; CREATE ROLE gone; CREATE ROLE owner_2; CREATE ROLE few LOGIN});
sub sql { return $node->safe_psql('pagila', @_) }

sql(q{
	CREATE SCHEMA rental;
	CREATE SCHEMA elsewhere;
	GRANT USAGE ON SCHEMA rental TO reader, staff, "Größe 2", gone, few;
	CREATE TYPE public.mpaa_rating AS ENUM ('G', 'PG', 'R');
	CREATE DOMAIN public.year AS integer CHECK (VALUE >= 1901 AND VALUE <= 2155);
	CREATE FUNCTION public.group_concat(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1 || ', ' || $2 $$;
	CREATE FUNCTION public.last_updated() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.last_update = now(); RETURN NEW; END $$;
	SET search_path = rental, public;
	CREATE TABLE language (language_id serial PRIMARY KEY, name char(20) NOT NULL, last_update timestamptz NOT NULL DEFAULT now());
	CREATE TABLE film (film_id int GENERATED ALWAYS AS IDENTITY (START 5) PRIMARY KEY, title text NOT NULL, release_year year,
		language_id int NOT NULL REFERENCES language ON UPDATE CASCADE, rating mpaa_rating DEFAULT 'G', features text[],
		fulltext tsvector GENERATED ALWAYS AS (to_tsvector('english', title)) STORED, joined text GENERATED ALWAYS AS (public.group_concat(title, 'film')) STORED);
	CREATE INDEX film_fulltext_idx ON film USING gist (fulltext);
	CREATE TRIGGER last_updated BEFORE UPDATE ON language FOR EACH ROW EXECUTE FUNCTION public.last_updated();
	CREATE TABLE payment (payment_id bigserial, film_id int REFERENCES film, amount numeric(5,2) NOT NULL, payment_date timestamptz NOT NULL,
		PRIMARY KEY (payment_date, payment_id)) PARTITION BY RANGE (payment_date);
	CREATE TABLE payment_p2022_01 PARTITION OF payment FOR VALUES FROM ('2022-01-01 UTC') TO ('2022-02-01 UTC');
	CREATE TABLE payment_p2022_02 PARTITION OF payment FOR VALUES FROM ('2022-02-01 UTC') TO ('2022-03-01 UTC') PARTITION BY HASH (payment_id);
	CREATE TABLE payment_p2022_02_a PARTITION OF payment_p2022_02 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE a_first PARTITION OF payment_p2022_02 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	CREATE TABLE elsewhere.payment_rest PARTITION OF payment DEFAULT;
	CREATE TABLE person (name text, born year);
	CREATE TABLE actor (actor_id int PRIMARY KEY) INHERITS (person);
	CREATE TABLE "Kundenliste ""Größe"" .x" ("Straße" text, "select" int CHECK ("select" > 0), "a*" int UNIQUE);
	CREATE TABLE "*" (star int);
	CREATE TABLE policed (id int, who text);
	CREATE TABLE theirs (id int);
	CREATE UNLOGGED TABLE cache (id int);
	CREATE VIEW film_list AS SELECT title FROM film;
	CREATE MATERIALIZED VIEW sums AS SELECT count(*) FROM film;
	CREATE SEQUENCE free;
	INSERT INTO language (name) VALUES ('English'), ('Deutsch');
	INSERT INTO film (title, release_year, language_id, rating, features) SELECT 'Film ' || i, 1950 + i % 50, 1 + i % 2, 'PG', ARRAY['x', i::text] FROM generate_series(1, 500) i;
	INSERT INTO payment (film_id, amount, payment_date) SELECT 5 + i % 400, i % 99, timestamptz '2022-01-01 UTC' + i * interval '2 hours' FROM generate_series(1, 1200) i;
	INSERT INTO person VALUES ('nobody', 1980);
	INSERT INTO actor VALUES ('somebody', 1970, 1);
	INSERT INTO "Kundenliste ""Größe"" .x" VALUES ('Hauptstraße', 1, 1);
	INSERT INTO "*" VALUES (1);
	INSERT INTO policed VALUES (1, 'few'), (2, 'other');
	INSERT INTO theirs VALUES (3);
	ALTER TABLE policed ENABLE ROW LEVEL SECURITY;
	CREATE POLICY own ON policed TO few USING (who = 'few');
	ALTER TABLE theirs OWNER TO owner_2;
	GRANT USAGE ON SCHEMA rental TO owner_2;
	GRANT SELECT ON policed TO few;
	GRANT SELECT ON film, payment, theirs TO reader;
	GRANT SELECT, INSERT, UPDATE ON film TO staff WITH GRANT OPTION;
	GRANT UPDATE (amount), SELECT (payment_id, amount) ON payment TO "Größe 2";
	GRANT USAGE ON SEQUENCE payment_payment_id_seq TO "Größe 2";
	GRANT SELECT ON language TO PUBLIC;
	GRANT DELETE ON language TO gone;
	CREATE TABLE public.outside (id int);
	CREATE SCHEMA needs;
	CREATE FUNCTION public.positive(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 > 0; END';
	CREATE TYPE needs.pair AS (a int, r public.mpaa_rating);
	CREATE DOMAIN needs."Größe" AS int CHECK (public.positive(VALUE));
	CREATE SEQUENCE needs.shared START 40;
	CREATE TABLE needs.needy (id int DEFAULT nextval('needs.shared'), p needs.pair, y year, g needs."Größe"[], r mpaa_rating[], t text GENERATED ALWAYS AS (public.group_concat('a', 'b')) STORED);
	CREATE TABLE needs.plain (r mpaa_rating, p needs.pair);
	ALTER TABLE needs.plain OWNER TO owner_2;
	INSERT INTO needs.needy (p, y, g, r) SELECT ROW(i, 'PG')::needs.pair, 1950 + i, ARRAY[i, i + 1], '{G,R}' FROM generate_series(1, 30) i;
	INSERT INTO needs.plain VALUES ('R', ROW(1, 'G'));
	CREATE FUNCTION needs.definer(int) RETURNS int LANGUAGE sql IMMUTABLE SECURITY DEFINER AS 'SELECT $1';
	CREATE TABLE needs.of_definer (a int CHECK (needs.definer(a) > 0));
	CREATE FUNCTION needs.victim(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
	CREATE FUNCTION public.exchange() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		EXECUTE $x$ CREATE OR REPLACE FUNCTION back.victim(int) RETURNS int LANGUAGE sql IMMUTABLE SECURITY DEFINER AS 'SELECT $1' $x$;
		EXCEPTION WHEN OTHERS THEN NULL; END $$;
	CREATE FUNCTION needs.hostile(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM public.exchange(); RETURN 1; END';
	CREATE TABLE needs.trapped (a int CHECK (needs.hostile(a) + needs.victim(a) > 0));
	INSERT INTO needs.trapped VALUES (1)});
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'full backup');
sql(q{UPDATE rental.film SET title = title || '!' WHERE film_id % 3 = 0; INSERT INTO rental."*" VALUES (2)});

my @tables = ('language', 'film', 'payment', 'payment_p2022_01', 'payment_p2022_02', 'payment_p2022_02_a', 'a_first', 'person', 'actor', '"Kundenliste ""Größe"" .x"', '"*"', 'policed', 'theirs');

sub state_of
{
	my ($schema, $table) = @_;
	my $name = "$schema.$table";
	my $text = sql(qq{
		SET search_path = '';
		SELECT count(*) || ' ' || md5(COALESCE(string_agg(t::text, '|' ORDER BY t::text), '')) FROM ONLY $name t
		UNION ALL (SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '$name'::regclass ORDER BY 1)
		UNION ALL (SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '$name'::regclass AND contype NOT IN ('f', 'n') ORDER BY 1)
		UNION ALL (SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, pg_get_expr(adbin, adrelid))
			FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = '$name'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum)
		UNION ALL (SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = '$name'::regclass ORDER BY 1)
		UNION ALL SELECT concat_ws(' ', pg_get_userbyid(relowner), relkind, pg_get_expr(relpartbound, oid), pg_get_partkeydef(oid)) FROM pg_class WHERE oid = '$name'::regclass});
	$text =~ s/\b(?:\Q$schema\E|rental)\.//g;
	return $text;
}

sub privileges_in
{
	my ($schema) = @_;
	return sql(qq{
		SELECT concat_ws(' ', c.relname, a.grantee::regrole, a.privilege_type, a.is_grantable) FROM pg_class c, aclexplode(c.relacl) a
			WHERE c.relnamespace = '$schema'::regnamespace AND a.grantee <> c.relowner AND c.relkind <> 'v'
		UNION ALL SELECT concat_ws(' ', c.relname, t.attname, a.grantee::regrole, a.privilege_type) FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
			WHERE c.relnamespace = '$schema'::regnamespace ORDER BY 1});
}

my %before = map { $_ => state_of('rental', $_) } @tables;
my $rest = sql(q{SELECT count(*) FROM elsewhere.payment_rest});
my $privileges = join "\n", grep { !/^policed|gone/ } split /\n/, privileges_in('rental');
my $moment = sql(q{SELECT pg_create_restore_point('whole'); SELECT 'whole'});
sql('DROP SCHEMA rental, elsewhere CASCADE');
$node->safe_psql('pagila', 'DROP OWNED BY gone');
$node->safe_psql('postgres', 'DROP OWNED BY gone; DROP ROLE gone');
wait_archived($node);

sub recover { return chronos($conf, '--log-level-console=off', '--log-level-stderr=info', '--type=name', '--target=whole', 'recover-table', @_) }

for my $how ('--mount', '--no-mount')
{
	my ($status, $out, $err) = recover($how, '--into=back', '--output=json', 'pagila.rental.*');
	is($status, 0, "a schema, $how") or diag($err);
	my $report = JSON::PP::decode_json($out);
	is(state_of('back', $_), $before{$_}, "$_ is back as it was") for @tables;
	is(sql('SELECT count(*) FROM back.payment_rest'), $rest, 'with a partition that another schema had');
	is(scalar @{ $report->{tables} }, @tables + 1, '... and no table more') or diag(explain($report->{tables}));
	is(privileges_in('back'), '', 'nobody has a privilege');
	my $notes = join "\n", @{ $report->{notes} };
	like($notes, qr/^Of schema "rental" these are not brought back: materialized view sums, sequence free, unlogged table cache, view film_list\.$/m, 'what is not brought back is told');
	my $left = join "\n", @{ $report->{'left-out'} };
	like($left, qr/^\Q$_\E$/m, "not brought back: $_")
	  for 'ALTER TABLE rental.film ADD CONSTRAINT film_language_id_fkey FOREIGN KEY (language_id) REFERENCES rental.language(language_id) ON UPDATE CASCADE',
	  'GRANT SELECT ON TABLE rental.film TO reader', 'GRANT INSERT, SELECT, UPDATE ON TABLE rental.film TO staff WITH GRANT OPTION', 'GRANT USAGE ON SEQUENCE rental.payment_payment_id_seq TO "Größe 2"' =~ s/ö/\x{f6}/r =~ s/ß/\x{df}/r,
	  'GRANT SELECT ON TABLE rental.language TO PUBLIC', 'GRANT DELETE ON TABLE rental.language TO gone';
	sql('DROP SCHEMA back CASCADE');
}

my ($status, $out, $err) = recover('--into=back', '--privileges', 'pagila.rental.*');
is($status, 0, 'with privileges') or diag($err);
is(privileges_in('back'), $privileges, 'who had some has them again, as far as there are such roles');
like($out, qr/^  GRANT DELETE ON TABLE rental\.language TO gone;$/m, '... and who is no more is told');
like($out, qr/no role "gone", which had privileges/, '... as one');
like($out, qr/^granted:\n(?:  .*\n)*  GRANT SELECT ON TABLE back\.film TO reader;$/m, '... as is what was granted');
like($out, qr/^  GRANT SELECT ON TABLE rental\.policed TO few;$/m, 'of a table with policies nobody gets any');
like($out, qr/Nothing is granted on tables with row level security/, '... and why is said');
sub as
{
	my ($role, $query) = @_;
	my ($code, $answer, $error) = $node->psql('pagila', "SET SESSION AUTHORIZATION $role; $query");
	return $code == 0 ? $answer : $error;
}
is(as('reader', 'SELECT count(*) FROM back.film'), 500, 'who could read reads');
like(as('reader', 'SELECT count(*) FROM back.person'), qr/permission denied for table/, '... no other table');
like(as('few', 'SELECT count(*) FROM back.policed'), qr/permission denied/, 'who could see some rows sees none');
like(as('few', 'CREATE TABLE back.x ()'), qr/permission denied/, '... and may make nothing there');
sql('DROP SCHEMA back CASCADE');

# One owner, one table, a name with a star; and what is refused.
($status, $out, $err) = recover('--into=back', 'pagila.rental."*"');
is($status, 0, 'a table that is called so') or diag($err);
is(sql('SELECT sum(star) FROM back."*"'), 3, '... alone');
is(sql(q{SELECT count(*) FROM pg_class WHERE relnamespace = 'back'::regnamespace}), 1, '... and nothing else');
sql('DROP SCHEMA back CASCADE');
for my $case ([ 'pagila.nothing.*', 55, qr/there was no schema "nothing"/ ], [ 'pagila.pg_toast.*', 55, qr/had no tables/ ], [ 'pagila.*.*', 55, qr/no schema "\*"/ ])
{
	($status, $out, $err) = recover('--into=back', $case->[0]);
	is($status, $case->[1], "refused: $case->[0]") or diag($out . $err);
	like($err, $case->[2], '... and why');
}
($status, $out, $err) = chronos($conf, '--before-drop', '--into=back', 'recover-table', 'pagila.rental.*');
is($status, 31, 'nobody knows when a schema was dropped that has no tables named');
like($err, qr/'before-drop' not valid.*whole schema/s, '... which it says');
is(sql(q{SELECT count(*) FROM pg_namespace WHERE nspname = 'back'}), 0, '... nothing is left');
# What the live database has lost, too.
my %needy = map { $_ => sql("SELECT count(*) || md5(string_agg(t::text, '|' ORDER BY t::text)) FROM needs.$_ t") } 'needy', 'plain';
sql('DROP SCHEMA needs CASCADE; DROP DOMAIN public.year CASCADE; DROP FUNCTION public.group_concat; DROP FUNCTION public.positive');
sql('DROP TYPE public.mpaa_rating CASCADE');
($status, $out, $err) = recover('--into=back', 'pagila.needs.needy');
is($status, 58, 'a table that lacks what it needs');
for my $how ('--mount', '--no-mount')
{
	($status, $out, $err) = recover($how, '--into=back', '--with-dependencies', 'pagila.needs.needy');
	is($status, 0, "... comes with its dependencies, $how") or diag($err);
	is(sql("SELECT count(*) || md5(string_agg(t::text, '|' ORDER BY t::text)) FROM back.needy t"), $needy{needy}, '... as it was');
	like($out, qr/^The live database lacks function public\.group_concat\(pg_catalog\.text,pg_catalog\.text\), .*sequence needs\.shared, .*type needs\.pair.*, which came along\.$/m, '... which it says');
	is(sql(q{SELECT string_agg(format_type(atttypid, atttypmod), ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'back.needy'::regclass AND attnum > 0}),
		'integer back.pair back.year back."Größe"[] back.mpaa_rating[] text', '... of types that are beside it');
	is(sql(q{INSERT INTO back.needy (g) VALUES ('{5}') RETURNING id > 69}), 't', '... a sequence that goes on');
	like(($node->psql('pagila', q{INSERT INTO back.needy (g) VALUES ('{-5}')}))[2], qr/violates check constraint/, '... a domain that still checks');
	sql('DROP SCHEMA back CASCADE');
}
($status, $out, $err) = recover('--into=back', '--with-dependencies', 'pagila.needs.plain');
is($status, 0, 'a table of somebody else, without code') or diag($err);
is(sql("SELECT count(*) || md5(string_agg(t::text, '|' ORDER BY t::text)) FROM back.plain t"), $needy{plain}, '... as it was');
is(sql(q{SELECT string_agg(DISTINCT pg_get_userbyid(typowner)::text, ' ') FROM pg_type WHERE typnamespace = 'back'::regnamespace}), 'owner_2', '... with types that are his');
sql('DROP SCHEMA back CASCADE');
($status, $out, $err) = recover('--into=back', '--with-dependencies', 'pagila.needs.of_definer');
is($status, 58, 'a function that runs as its owner does not come along');
like($err, qr/function needs\.definer\(integer\): missing/, '... which it says');
($status, $out, $err) = recover('--into=back', '--with-dependencies', 'pagila.needs.plain', 'pagila.needs.needy');
is($status, 67, 'tables of two owners') or diag($out);
like($err, qr/several owners, and lack/, '... are refused');
($status, $out, $err) = recover('--into=back', '--with-dependencies', 'pagila.needs.trapped');
is($status, 81, 'code that exchanges what came along') or diag($out . $err);
like($err, qr/somebody has changed a type or function/, '... is noticed');
is(sql(q{SELECT count(*) FROM pg_namespace WHERE nspname = 'back'}), 0, '... nothing is left of it');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_roles WHERE rolname LIKE 'chronos\_recover%'}), 0, '... no role either');

is(join(' ', glob("$scratch/*")), '', 'no scratch directory is left');
done_testing();
