# A dropped table is brought back as it was right before, and nobody has to know when that was: whether the newest
# backup still has it, only an older one, or none, because it was made and dropped between two.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = chronos_node('primary', options => { 'drill-path' => PostgreSQL::Test::Utils::tempdir_short(),
		'repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'zst' });
my $conf = $node->{chronos_conf};
$node->safe_psql('postgres', 'CREATE DATABASE shop');
sub sql { return $node->safe_psql('shop', @_) }
sub backup { return is((chronos($conf, "--type=$_[0]", 'backup'))[0], 0, "$_[0] backup") }

my %state;
sub make
{
	my ($table, $rows) = @_;
	sql("CREATE TABLE $table AS SELECT i AS id, md5(i::text) AS word FROM generate_series(1, $rows) i; CREATE INDEX ON $table (word)");
	return;
}
sub drop
{
	my (@tables) = @_;
	# Definitions change on the way, also by what drops files and leaves the table.
	sql("ALTER TABLE $_ ADD COLUMN later int DEFAULT 5; VACUUM FULL $_; INSERT INTO $_ VALUES (-1, 'last')") for @tables;
	$state{$_} = table_state_of($_) for @tables;
	sql('BEGIN; ' . join('', map { "DROP TABLE $_; " } @tables) . 'CREATE TABLE IF NOT EXISTS noise (a int); INSERT INTO noise VALUES (1); COMMIT');
	sql('CREATE TABLE behind (a int); DROP TABLE behind');
	return;
}
sub table_state_of
{
	my ($table) = @_;
	return sql("SELECT count(*) || ',' || md5(string_agg(t::text, '|' ORDER BY t::text)) FROM $table t");
}
sub recover
{
	my ($schema, @arguments) = @_;
	return chronos($conf, '--before-drop', "--into=$schema", 'recover-table', @arguments);
}

make('old', 500);
make('of_parts', 10);
sql('CREATE TABLE parted (a int) PARTITION BY RANGE (a); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100); INSERT INTO parted SELECT generate_series(1, 50)');
make('stays', 10);
backup('full');
make('between_them', 300);
sql('CREATE TABLE "Größe" (a int); INSERT INTO "Größe" VALUES (7)');
drop('between_them');
drop('old');
backup('diff');
make('young', 400);
make('pair', 20);
sql('ALTER TABLE stays ADD COLUMN more int');
drop('young');
$state{'"Größe"'} = table_state_of('"Größe"');
$state{pair} = table_state_of('pair');
sql('DROP TABLE "Größe"');
sql('INSERT INTO pair VALUES (99)');
wait_archived($node);
sql('DROP TABLE parted');
sql('CREATE TABLE "Größe" (other int)');
wait_archived($node);

for my $table ('"Größe"', 'old', 'between_them', 'young')
{
	my $schema = 'back_' . ($table =~ /^\w+$/a ? $table : 'mixed');
	my ($status, $out, $err) = recover($schema, "shop.public.$table");
	is($status, 0, "$table is found") or diag($out . $err);
	like($out, qr/^public\.\S+ was dropped at \d{4}-\S+ \S+ by transaction \d+, which ended at [0-9A-F]+\/[0-9A-F]+$/m, 'it says when that was');
	is(table_state_of("$schema.$table"), $state{$table}, "$table is as it was right before");
}
is(sql('SELECT count(*) FROM pg_indexes WHERE schemaname = \'back_old\''), '1', 'with its index');
my ($status, $out, $err) = recover('back_parted', 'shop.public.parted');
is($status, 0, 'a partitioned table is found') or diag($err);
is(sql('SELECT count(*), sum(a) FROM back_parted.parted'), '50|1275', 'with its partitions');

# Of several the moment is one at which all of them were there, right before the first was dropped.
($status, $out, $err) = recover('back_two', 'shop.public.young', 'shop.public."Größe"');
is($status, 0, 'two that no backup has') or diag($err);
like($out, qr/^public\.young was dropped at /m, '... before the first of them was dropped');
is(table_state_of("back_two.$_"), $state{$_}, "... $_ as it was then") for 'young', '"Größe"';
($status, $out, $err) = recover('back_three', 'shop.public.old', 'shop.public.between_them');
is($status, 0, 'two of which a backup has one') or diag($err);
is(table_state_of('back_three.between_them'), $state{between_them}, '... as they were then');
($status, $out, $err) = recover('nothing', 'shop.public.between_them', 'shop.public.young');
isnt($status, 0, 'two that were never there together');
like($err, qr/has had public\.between_them, public\.young in database 'shop' and seen/, '... are not found');

my ($plan_status, $plan) = chronos($conf, '--before-drop', '--plan', '--output=json', 'recover-table', 'shop.public.old');
my $json = JSON::PP::decode_json($plan);
is($json->{drop}{table}, 'public.old', 'the plan has it for programs');
like($json->{drop}{lsn}, qr/^[0-9A-F]+\/[0-9A-F]+$/, '... with where');
is(sql(q{SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'recovered%'}), '0', '... and does nothing');

# What the newest backup had, what was made after it, and what was made anew: the last change that the archive has
# of a table is not its end, and that of one of its name is not the last end.
$node->safe_psql('postgres', 'CREATE DATABASE doomed');
$node->safe_psql('doomed', 'CREATE TABLE lost AS SELECT 1 AS a');
make('late', 5);
make('kept_long', 5);
make($_, 3) for 'again', 'nightly', 'again_1';
backup('incr');
make('new', 7);
for my $table ('late', 'new')
{
	sql("ANALYZE $table; ALTER TABLE $table ADD COLUMN more int; VACUUM FULL $table; INSERT INTO $table VALUES (-1, 'last', 1)");
	$state{$table} = table_state_of($table);
}
$node->safe_psql('doomed', 'INSERT INTO lost VALUES (2); ANALYZE lost; INSERT INTO lost VALUES (3)');
sql('DROP TABLE again');
sql("BEGIN; SAVEPOINT one; DROP TABLE late, new; ROLLBACK TO one; CREATE TABLE made (a int); DROP TABLE made; COMMIT");
for my $round (1, 2)
{
	make('again', 10 * $round);
	$state{again} = table_state_of('again');
	sql('DROP TABLE again');
	# One that is there again, as after a job of the night that makes it anew.
	$state{nightly} = table_state_of('nightly') if $round == 2;
	sql("BEGIN; DROP TABLE nightly; CREATE TABLE nightly AS SELECT $round AS a; COMMIT");
	sql('ANALYZE; VACUUM FULL again_1');
}
wait_archived($node);
$node->safe_psql('postgres', 'DROP DATABASE doomed');
$node->safe_psql('postgres', 'CREATE DATABASE doomed');
sql('DROP TABLE late; DROP TABLE new');
for my $table ('late', 'new')
{
	my ($status, $out, $err) = recover('early', "shop.public.$table");
	isnt($status, 0, "$table, whose end is not in the archive yet, is not found");
	like($err, qr/public\.$table was not dropped, as far as the WAL .*pg_switch_wal/s, '... which it says');
}
wait_archived($node);
for my $table ('late', 'new', 'again', 'nightly')
{
	my ($status, $out, $err) = recover("back_$table", "shop.public.$table");
	is($status, 0, "$table is found") or diag($out . $err);
	is(table_state_of("back_$table.$table"), $state{$table}, "$table is as it was right before it was dropped the last time");
}
($status, $out, $err) = chronos($conf, '--before-drop', '--into=back', 'recover-table', 'doomed.public.lost');
isnt($status, 0, 'one that went with its database is not found');
like($err, qr/went as a whole/, '... which it says');
is($node->safe_psql('doomed', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'back'}), '0', '... and nothing comes back');
# A backup that nothing can be recovered from any more - its WAL has expired, or creates a tablespace - keeps nobody from
# the others.
my ($gap) = sort map { slurp_file($_) =~ /^backup-archive-start="(\w+)"$/m ? $1 : () } glob "$node->{chronos_repo}/backup/main/*F/backup.manifest";
my ($segment) = glob "$node->{chronos_repo}/archive/main/*/*/$gap-*";
rename $segment, "$segment.gone" or die $!;
make('after_gap', 9);
$state{after_gap} = table_state_of('after_gap');
sql('DROP TABLE after_gap');
wait_archived($node);
($status, $out, $err) = recover('back_gap', 'shop.public.after_gap');
is($status, 0, 'one of no backup is found though the WAL of an old backup is missing') or diag($out . $err);
like($err, qr/could not be asked: .*$gap/, '... which it says');
is(table_state_of('back_gap.after_gap'), $state{after_gap}, '... as it was right before');
make('kept', 3);
sql('DROP TABLE behind') if sql(q{SELECT count(*) FROM pg_class WHERE relname = 'behind'});
make('behind', 3);
sql('DROP TABLE behind');
wait_archived($node);
($status, $out, $err) = recover('nothing', 'shop.public.kept');
isnt($status, 0, 'one that was made since and is there is not taken for dropped');
like($err, qr/public\.kept was not dropped/, '... which it says');

for my $case ([ 'shop.public.stays', qr/public\.stays was not dropped/, 'a table that is there' ],
	[ 'shop.public.never', qr/no backup, nor the WAL behind one, has had public\.never.*could not be asked: .*$gap/s, 'one that never was' ],
	[ 'nowhere.public.old', qr/database "?nowhere"? does not exist/, 'one of no database' ])
{
	my ($name, $message, $what) = @$case;
	($status, $out, $err) = recover('nothing', $name);
	isnt($status, 0, "$what is an error");
	like($err, $message, '... which says so');
}
($status, $out, $err) = chronos($conf, '--before-drop', '--type=immediate', 'recover-table', 'shop.public.old');
like($err, qr/'before-drop' not valid with option 'type'/, 'two moments are one too many');
($status, $out, $err) = chronos($conf, '--before-drop', '--set=20200101-000000F', 'recover-table', 'shop.public.old');
like($err, qr/'before-drop' not valid with option .*'set'/, 'so is a backup');
is(sql(q{SELECT count(*) FROM pg_namespace WHERE nspname = 'nothing'}), '0', 'no schema is left');

# Into another cluster, on purpose or by a wrong port.
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->start;
$other->safe_psql('postgres', 'CREATE DATABASE shop');
($status, $out, $err) = chronos($conf, '--pg1-socket-path=' . $other->host, '--pg1-port=' . $other->port, '--type=immediate',
	'--into=moved', 'recover-table', 'shop.public.kept_long');
is($status, 0, 'into another cluster') or diag($err);
like($out, qr/^The live server is another cluster than the backup is of\.$/m, '... which it says');

done_testing();
