# Where nothing can be mounted a table of the past comes back all the same, as it was: whatever was done to it and beside
# it, since the backup and while it was made, and whatever the WAL does to files of which nothing was restored. Little is
# read for it. What is not the table's is an error to who asks for it, never empty. With a mount the result is the same.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Fcntl qw(O_RDWR);
use JSON::PP ();
use List::Util qw(shuffle sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $seed = seed();
my $scratch = PostgreSQL::Test::Utils::tempdir_short();
my $node = chronos_node('primary', start => 0, options => {
		'drill-path' => $scratch, 'repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'zst', 'repo1-bundle-size' => '1MiB', 'repo1-bundle-limit' => '256KiB' });
my $conf = $node->{chronos_conf};
# VACUUM then marks pages of which the WAL has no image: what was not restored of them must be in nobody's way.
run_tool('pg_checksums', '--disable', '-D', $node->data_dir);
my $images = $seed % 3 == 0 ? 'off' : 'on';
$node->append_conf('postgresql.conf', "full_page_writes = $images\nwal_log_hints = off\nautovacuum = off\nmax_wal_size = 200MB");
diag("full_page_writes $images");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION chronos_backup; CREATE DATABASE shop; CREATE DATABASE other; CREATE ROLE guest');
my $space = private_directory();
$node->safe_psql('postgres', "CREATE TABLESPACE away LOCATION '$space'");
sub sql { return $node->safe_psql('shop', @_) }
sub shop { my ($count) = @_; return "INSERT INTO %s SELECT i, repeat(md5(i::text), 1 + i % 3), (SELECT string_agg(md5((i * j)::text), '') FROM generate_series(1, 90 * (i % 40 / 39)) j) FROM generate_series(%d, %d) i" }

# --- the cluster, and what happens in it ------------------------------------------------------------

sql(q{
	CREATE TABLE huge (id int PRIMARY KEY, word text);
	INSERT INTO huge SELECT i, repeat(md5(i::text), 4) FROM generate_series(1, 400000) i;
	GRANT SELECT ON huge TO PUBLIC;
	SELECT lo_from_bytea(0, decode(repeat(md5(i::text), 2000), 'hex')) FROM generate_series(1, 20) i});
$node->safe_psql('other', q{CREATE TABLE far AS SELECT i AS id, md5(i::text) AS word FROM generate_series(1, 100000) i; CREATE INDEX ON far USING hash (word)});

my @kinds = (
	'CREATE TABLE %s (id int, word text, long text)',
	'CREATE TABLE %s (id int PRIMARY KEY, word text, long text, n bigserial)',
	'CREATE TABLE %s (id int, word text, long text) PARTITION BY RANGE (id); CREATE TABLE %1$s_low PARTITION OF %1$s FOR VALUES FROM (0) TO (500); CREATE TABLE %1$s_rest PARTITION OF %1$s DEFAULT',
	'CREATE TABLE %s (id int, word text, long text, same int GENERATED ALWAYS AS (id) STORED); CREATE TABLE %1$s_child () INHERITS (%1$s); INSERT INTO %1$s_child VALUES (-1, \'child\', repeat(\'x\', 9000))',
	'CREATE TABLE %s (id int, word text, long text) TABLESPACE away; ALTER TABLE %1$s ALTER long SET STORAGE EXTERNAL');
my (%there, $made);
# Statements that cannot run in a block by themselves are separate.
sub create
{
	my $name = 't' . ++$made;
	my $rows = 50 + int rand 900;
	sql(sprintf($kinds[rand @kinds], $name) . '; ' . sprintf(shop(), $name, 1, $rows));
	sql("CREATE INDEX ON $name (word)") if rand() < 0.5;
	$there{$name} = $rows;
	return $name;
}
my @does = (
	sub { create() },
	sub { my ($t) = @_; my $from = $there{$t} + 1; sql(sprintf(shop(), $t, $from, $there{$t} += 1 + int rand 400)) },
	sub { my ($t) = @_; sql("UPDATE $t SET word = word || 'u', long = long || '!' WHERE id % 7 = " . int rand 7) },
	sub { my ($t) = @_; sql("DELETE FROM $t WHERE id % 11 = " . int rand 11) },
	sub { my ($t) = @_; sql("VACUUM $t") },
	sub { my ($t) = @_; sql("SELECT count(*) FROM $t"); sql("VACUUM (FREEZE) $t") },
	sub { my ($t) = @_; sql("TRUNCATE $t; " . sprintf(shop(), $t, 1, 30)); $there{$t} = 30 },
	sub { my ($t) = @_; sql("DO \$\$ DECLARE r regclass; BEGIN FOR r IN SELECT relid FROM pg_partition_tree('$t') WHERE isleaf UNION SELECT '$t'::regclass LOOP
		IF (SELECT relkind FROM pg_class WHERE oid = r) = 'r' THEN EXECUTE format('ALTER TABLE %s SET TABLESPACE %s', r, '" . (rand() < 0.5 ? 'away' : 'pg_default') . "'); END IF; END LOOP; END \$\$") },
	sub { my ($t) = @_; sql("VACUUM FULL $t") },
	sub { my ($t) = @_; sql("REINDEX TABLE $t") },
	sub { my ($t) = @_; sql("ALTER TABLE $t ADD COLUMN c" . ++$made . " text DEFAULT md5(random()::text)") },
	sub { my ($t) = @_; sql("ALTER TABLE $t RENAME TO ${t}r"); $there{"${t}r"} = delete $there{$t} },
	sub { my ($t) = @_; return if keys %there < 4; sql("DROP TABLE $t CASCADE"); delete $there{$t} },
	sub { sql("DELETE FROM huge WHERE id % 50 = " . int rand 50); sql('VACUUM huge') if rand() < 0.5 },
	sub { sql("UPDATE huge SET word = md5(word) WHERE id BETWEEN 1000 AND " . int(1000 + rand 5000)) },
	sub { $node->safe_psql('other', 'UPDATE far SET word = word || 1 WHERE id % 100 = 5; DELETE FROM far WHERE id % 100 = 6'); $node->safe_psql('other', 'VACUUM far') },
	sub { $node->safe_psql($_[0] ? 'shop' : 'other', 'VACUUM FULL ' . (qw(pg_class pg_index pg_attribute pg_type pg_depend pg_inherits pg_namespace))[rand 7]) },
	sub { sql('REINDEX TABLE ' . (qw(pg_class pg_index pg_attribute pg_constraint))[rand 4]) },
	sub { $node->safe_psql('postgres', 'CHECKPOINT') });

sub go_on
{
	my ($steps) = @_;
	for (1 .. $steps)
	{
		my @names = sort keys %there;
		$does[rand @does]->($names[rand @names]);
	}
	return;
}

sub state_of
{
	my ($schema, $table) = @_;
	my $text = sql(qq{
		SELECT count(*) || ' ' || md5(COALESCE(string_agg(t::text, '|' ORDER BY t::text), '')) FROM $schema.$table t
		UNION ALL SELECT count(*)::text FROM ONLY $schema.$table
		UNION ALL (SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '$schema.$table'::regclass ORDER BY 1)
		UNION ALL (SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '$schema.$table'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum)
		UNION ALL (SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '$schema.$table'::regclass ORDER BY 1)});
	$text =~ s/\b\Q$schema\E\.//g;
	return $text;
}

my (@moments, $set);
sub mark
{
	my %state = map { $_ => state_of('public', $_) } keys %there;
	my $name = 'p' . @moments;
	sql("SELECT pg_create_restore_point('$name')");
	push @moments, { name => $name, set => $set, state => \%state };
	return;
}

create() for 1 .. 5;
go_on(10);
sub backup
{
	is((chronos($conf, "--type=$_[0]", 'backup'))[0], 0, "$_[0] backup");
	$set = (sort grep { /F/ } map { s{.*/}{}r } glob "$node->{chronos_repo}/backup/main/*F*")[-1];
	return;
}
backup('full');
mark();
go_on(8);
backup('diff');
mark(), go_on(16) for 1 .. 2;
mark();
wait_archived($node);

# --- what comes back --------------------------------------------------------------------------------

my $with_fuse = sysopen(my $device, '/dev/fuse', O_RDWR);
my $number = 0;

# The report without what differs from run to run, and the state of each table.
sub recover
{
	my ($moment, $schema, @arguments) = @_;
	my ($status, $out, $err) = chronos($conf, '--log-level-console=off', '--log-level-stderr=info', '--output=json',
		'--type=name', "--target=$moment->{name}", "--set=$moment->{set}", "--into=$schema", 'recover-table', @arguments);
	return ($status, $status == 0 ? JSON::PP::decode_json($out) : undef, $err);
}

my $total = sql('SELECT sum(pg_database_size(oid)) FROM pg_database');
for my $moment (@moments)
{
	my @names = (shuffle sort keys %{ $moment->{state} })[0 .. 2];
	my $schema = 'back' . ++$number;
	my $begin = time;
	my ($status, $report, $err) = recover($moment, $schema, '--no-mount', map { "shop.public.$_" } @names);
	is($status, 0, "$moment->{name}: @names without a mount") or diag($err);
	next if $status != 0;
	diag(sprintf '%s: %.1f s, restored %.1f of %.1f MB', $moment->{name}, time - $begin, $report->{'restored-bytes'} / 1e6, $total / 1e6);
	is($report->{how}, 'restore', '... which the report says');
	cmp_ok($report->{'restored-bytes'}, '<', $total / 3, '... and little was restored');
	is(state_of($schema, $_), $moment->{state}{$_}, "$moment->{name}: $_ is as it was") for @names;
	is(sum0(map { $_->{rows} } @{ $report->{tables} }), sql(join(' + ', map { "(SELECT count(*) FROM $schema.$_)" } @names) =~ s/^/SELECT /r), '... with as many rows as the report says');
	if ($with_fuse && $moment != $moments[1])
	{
		my ($mounted_status, $mounted, $mounted_err) = recover($moment, "${schema}_m", map { "shop.public.$_" } @names);
		is($mounted_status, 0, '... with a mount') or diag($mounted_err);
		is($mounted->{how}, 'mount', '... which that report says');
		for my $one ($report, $mounted)
		{
			delete @{$one}{qw(how restored-bytes recover-seconds copy-seconds schema)};
			$_->{name} =~ s/^"\w+"\.// for @{ $one->{tables} };
		}
		is_deeply($report, $mounted, '... the same report');
		is(state_of("${schema}_m", $_), $moment->{state}{$_}, "... $_ too") for @names;
		sql("DROP SCHEMA ${schema}_m CASCADE");
	}
	sql("DROP SCHEMA $schema CASCADE");
}

# Of what is not asked for nothing is read: it could be damaged in the repository.
my $last = $moments[-1];
my ($name) = sort grep { $_ !~ /_/ } keys %{ $last->{state} };
my $huge = sql(q{SELECT pg_relation_filepath('huge')});
my @stored = glob "$node->{chronos_repo}/backup/main/*F*/pg_data/$huge*";
cmp_ok(scalar @stored, '>', 0, 'there is a file of the large table') or diag($huge);
my %content = map { $_ => slurp_file($_) } @stored;
sub put
{
	my ($path, $content) = @_;
	chmod 0640, $path;
	open my $file, '+<:raw', $path or die "$path: $!";
	print $file $content;
	close $file;
	return;
}
put($_, 'x' x length $content{$_}) for @stored;
my ($status, $report, $err) = recover($last, 'without', '--no-mount', "shop.public.$name", '--where=id > 10 AND word IS NOT NULL');
is($status, 0, 'a backup with a damaged file of another table') or diag($err);
is(sql("SELECT count(*) FROM without.$name WHERE id > 10"), sql("SELECT count(*) FROM without.$name"), '... gives rows that were asked for');
for my $condition ('id IN (SELECT id FROM public.huge)', 'NOT EXISTS (SELECT FROM public.huge)')
{
	($status, $report, $err) = recover($last, 'none', '--no-mount', "shop.public.$name", "--where=$condition");
	isnt($status, 0, "a condition that asks for it: $condition");
	like($err, qr/could not open file.*HINT: .*Nothing was mounted/s, '... is an error that says why');
}
is(sql(q{SELECT count(*) FROM pg_namespace WHERE nspname = 'none'}), 0, '... and nothing is there of it');

# --- chosen by itself -------------------------------------------------------------------------------

my $uid = $<;
my $gid = (split / /, $()[0];
my $cover = PostgreSQL::Test::Utils::tempdir() . '/cover';
open my $file, '>', $cover or die $!;
close $file;
chmod 0, $cover;
my @back = ('unshare', '--user', "--map-user=$uid", "--map-group=$gid");
my %without = ('no device that could be opened' => "mount --bind '$cover' /dev/fuse && exec", 'no namespaces' => 'echo 1 > /proc/sys/user/max_user_namespaces && exec');
# What cannot be mounted is known only when it is.
$without{'a device that mounts nothing'} = "mount --bind /dev/null /dev/fuse && exec";
delete @without{ grep { /device/ } keys %without } if !-e '/dev/fuse';
for my $why (sort keys %without)
{
	my @command = ('unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', qq{$without{$why} "\$@"}, 'sh', @back);
	my $schema = 'alone' . ++$number;
	my ($alone_status, $out, $alone_err) = run_tool(@command, $chronos, "--config=$conf", '--stanza=main', '--log-level-stderr=info', '--type=name', "--target=$last->{name}", "--into=$schema", 'recover-table', "shop.public.$name");
	is($alone_status, 0, $why) or diag($alone_err);
	like($out, qr/^without a mount: \S+ of it were restored$/m, '... it says how');
	is(state_of($schema, $name), $last->{state}{$name}, '... the table is as it was');
	next if $why =~ /mounts nothing/;
	for my $command ([qw(--type=immediate look)], [qw(--instant drill)])
	{
		my ($other_status, $other_out, $other_err) = run_tool(@command, $chronos, "--config=$conf", '--stanza=main', @$command);
		isnt($other_status, 0, "$why: @$command");
		like($other_err, qr/HINT: .*recover-table/s, '... says what goes without');
	}
}
put($_, $content{$_}) for @stored;

# A table that somebody dropped, nobody knows when.
my $state = state_of('public', $name);
sql("DROP TABLE $name CASCADE");
wait_archived($node);
my ($drop_status, $drop_out, $drop_err) = chronos($conf, '--before-drop', '--no-mount', '--into=dropped', 'recover-table', "shop.public.$name");
is($drop_status, 0, 'a table that was dropped') or diag($drop_err);
is(state_of('dropped', $name), $state, '... is as it was right before');

# --- databases that the WAL makes -------------------------------------------------------------------

# Their files are copies of others, of which nothing may be missing then.
my $copied = $node->safe_psql('postgres', 'SELECT current_setting($$server_version_num$$)::int') >= 150000 ? 'STRATEGY file_copy' : '';
sql('CREATE TABLE of_template AS SELECT i AS id, md5(i::text) AS word FROM generate_series(1, 2000) i');
backup('incr');
$node->safe_psql('postgres', "CREATE DATABASE copied TEMPLATE shop $copied");
$node->safe_psql('postgres', 'ALTER DATABASE other SET TABLESPACE away; ALTER DATABASE other RENAME TO renamed');
my $far = $node->safe_psql('renamed', q{SELECT count(*) || md5(string_agg(f::text, '|' ORDER BY f::text)) FROM far f});
my $of_template = $node->safe_psql('copied', q{SELECT count(*) || md5(string_agg(f::text, '|' ORDER BY f::text)) FROM of_template f});
wait_archived($node);
for my $case ([ 'copied', 'of_template', $of_template ], [ 'renamed', 'far', $far ])
{
	my ($database, $table, $was) = @$case;
	my ($made_status, $out, $made_err) = chronos($conf, '--no-mount', '--into=copies', 'recover-table', "$database.public.$table", '--log-level-stderr=info');
	is($made_status, 0, "a table of database $database") or diag($made_err);
	is($node->safe_psql($database, "SELECT count(*) || md5(string_agg(f::text, '|' ORDER BY f::text)) FROM copies.$table f"), $was, '... is as it was');
}

is(join(' ', glob("$scratch/*")), '', 'no scratch directory is left');
is_deeply([ glob "$node->{chronos_repo}/chronos/main/hold/*" ], [], 'no hold is left');
done_testing();
