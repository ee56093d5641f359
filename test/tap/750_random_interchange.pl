# Two implementations, one repository: random changes to a database, random backups of it by either
# tool on the same stanza with random settings, expirations in between; after every step a random
# backup is restored by both tools. The two directories are the same, and the database holds what
# it held when the backup was made.
#
# TEST_SEED repeats a run, TEST_STEPS sets its length (default 30, 300 with
# CHECK_LONG).
use strict;
use warnings;
use ChronosTest;
use File::Path qw(remove_tree make_path);
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = seed();
my $steps = campaign(30, short => 12, long => 300);
my ($version) = `pgbackrest version` =~ /(\d+\.\d+)/;
# The stored form of block-incremental files is readable from 2.46 on.
my $blocks = (split /\./, $version)[1] >= 46;

sub pick { return $_[ rand @_ ] }
sub maybe { return rand() < $_[0] }

my $base = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1, extra => maybe(0.7) ? ['--data-checksums'] : []);
mkdir "$base/repo";
my %cipher = maybe(0.5)
  ? ('repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => "horse $seed battery")
  : ();
my $conf = write_config("$base/pgbackrest.conf", path => "$base/repo", pg => $node->data_dir,
	port => $node->port, socket => $node->host, %cipher, 'repo1-retention-full' => 3,
	'log-level-console' => 'warn', 'process-max' => 2);
# The other tool wants to see its name in archive_command; either pushes.
$node->append_conf('postgresql.conf', <<C);
archive_mode = on
archive_command = '$chronos --config=$conf --stanza=main archive-push %p || pgbackrest --config=$conf --stanza=main archive-push %p'
C
$node->start;
is((maybe(0.5) ? chronos($conf, 'stanza-create') : pgbackrest($conf, 'stanza-create'))[0], 0,
	"stanza made; pgBackRest $version, " . (%cipher ? 'encrypted' : 'in clear'));

# The database -----------------------------------------------------------------------------------

my ($table, $space, $database) = (0, 0, 0);
my (@tables, @spaces, @databases);

sub sql
{
	$node->safe_psql('postgres', $_) for @_;
	return;
}

sub new_table
{
	my $name = 't' . ++$table;
	my $rows = pick(0, 1, 100, 5000, 40000);
	my $where = @spaces && maybe(0.3) ? 'TABLESPACE ' . pick(@spaces) : '';
	sql("CREATE TABLE $name (id int, payload text) WITH (fillfactor = 80) $where",
		"INSERT INTO $name SELECT i, repeat(md5(i::text || '$seed'), 1 + i % 8) FROM generate_series(1, $rows) i",
		maybe(0.5) ? "CREATE INDEX ON $name (id)" : 'SELECT 1');
	push @tables, $name;
	return;
}

my %change = (
	insert => sub { sql('INSERT INTO ' . pick(@tables) . " SELECT i, repeat('n', 200) FROM generate_series(1, " . pick(1, 300, 8000) . ') i') },
	update => sub { sql('UPDATE ' . pick(@tables) . " SET payload = 'u' || payload WHERE id % " . pick(2, 17, 500) . ' = 0') },
	delete => sub { sql('DELETE FROM ' . pick(@tables) . ' WHERE id % 5 = 0', 'VACUUM') },
	truncate => sub { sql('TRUNCATE ' . pick(@tables)) },
	rewrite => sub { sql('VACUUM FULL ' . pick(@tables)) },
	table => \&new_table,
	drop => sub { return if @tables < 3; sql('DROP TABLE ' . splice(@tables, rand @tables, 1)) },
	database => sub {
		my $name = 'd' . ++$database;
		sql("CREATE DATABASE $name");
		$node->safe_psql($name, q{CREATE TABLE inside AS SELECT generate_series(1, 500) AS id});
		push @databases, $name;
	},
	drop_database => sub { sql('DROP DATABASE ' . splice(@databases, rand @databases, 1)) if @databases },
	tablespace => sub {
		return if @spaces > 2;
		my $name = 's' . ++$space;
		make_path("$base/space/$name");
		sql("CREATE TABLESPACE $name LOCATION '$base/space/$name'");
		push @spaces, $name;
	},
	unlogged => sub { sql('CREATE UNLOGGED TABLE IF NOT EXISTS u (id int)', 'INSERT INTO u VALUES (1)') },
	nothing => sub { },
);

# One line that any change of content changes.
sub state_of
{
	my ($server) = @_;
	my $state = '';
	for my $name (sort split /\n/, $server->safe_psql('postgres',
			q{SELECT relname FROM pg_class WHERE relkind = 'r' AND relpersistence = 'p' AND relnamespace = 'public'::regnamespace}))
	{
		$state .= "$name=" . table_state($server, $name) . ' ';
	}
	for my $name (sort split /\n/, $server->safe_psql('postgres', q{SELECT datname FROM pg_database WHERE datname LIKE 'd%'}))
	{
		$state .= "$name:" . $server->safe_psql($name, 'SELECT count(*) FROM inside') . ' ';
	}
	return $state;
}

# Backups ----------------------------------------------------------------------------------------

my (%state, $failed);

sub labels
{
	my ($status, $out) = chronos($conf, 'info', '--output=json');
	my %labels;
	$labels{$_} = 1 for $out =~ /"label":"([^"]+)"/g;
	return sort keys %labels;
}

sub run_ok
{
	my ($what, $tool, @arguments) = @_;
	my ($status, $out, $err) = $tool eq 'chronos' ? chronos($conf, @arguments) : pgbackrest($conf, @arguments);
	return 1 if ok($status == 0, $what);
	diag("$what\n@arguments\n$out$err");
	return 0;
}

sub back_up
{
	my ($step) = @_;
	my $tool = pick('chronos', 'pgbackrest');
	my $type = pick(qw(full diff diff incr incr incr));
	my @options = ("--type=$type");
	push @options, '--compress-type=' . pick(qw(gz gz lz4 zst none), maybe(0.3) ? 'bz2' : 'gz');
	my $bundle = maybe(0.6);
	push @options, $bundle ? '--repo1-bundle' : '--no-repo1-bundle';
	push @options, '--repo1-bundle-size=1MiB', '--repo1-bundle-limit=' . pick('8KiB', '64KiB', '2MiB') if $bundle && maybe(0.5);
	my $block = $blocks && maybe(0.7);
	push @options, $block ? '--repo1-block' : '--no-repo1-block' if $bundle && ($blocks || $tool eq 'chronos');
	if ($bundle && $block)
	{
		# As if all files were old: 0 stores them whole, unless they are always in blocks.
		push @options, '--repo1-block-age-map=0=' . pick(0, 0, 1, 3) if maybe(0.4);
		push @options, '--repo1-block-always' if $tool eq 'chronos' && maybe(0.4);
	}
	push @options, '--delta' if maybe(0.2);
	push @options, '--no-expire-auto' if maybe(0.3);
	my %before = map { $_ => 1 } labels();
	run_ok("step $step: $tool backup @options", $tool, @options, 'backup') or $failed = 1;
	my @new = grep { !$before{$_} } labels();
	is(scalar @new, 1, "step $step: one new backup") or $failed = 1;
	$state{ $new[0] } = state_of($node) if @new == 1;
	return;
}

sub restore_both
{
	my ($step) = @_;
	my @labels = grep { exists $state{$_} } labels() or return;
	my $label = maybe(0.5) ? $labels[-1] : pick(@labels);
	my %dir;
	for my $tool (qw(chronos pgbackrest))
	{
		$dir{$tool} = "$base/restored/$tool";
		remove_tree("$base/restored/$tool", "$base/spaces/$tool");
		make_path($dir{$tool}, { mode => 0700 });
		make_path("$base/spaces/$tool");
		run_ok("step $step: $tool restores $label", $tool, "--set=$label", '--type=immediate', '--target-action=promote',
			"--pg1-path=$dir{$tool}", "--tablespace-map-all=$base/spaces/$tool", '--archive-mode=off', 'restore')
		  or return $failed = 1;
	}
	# Not the file that carries the date, and not the names of the two directories.
	my %skip = ('postgresql.auto.conf' => 1);
	# 2.45 does not yet make pg_control unusable without its backup_label.
	$skip{'global/pg_control'} = 1 if $version < 2.46;
	my ($ours, $theirs) = map { slurp_tree($dir{$_}, %skip) } qw(chronos pgbackrest);
	s{/spaces/chronos/}{/spaces/pgbackrest/} for values %$ours;
	is_deeply($ours, $theirs, "step $step: both restored the same files") or $failed = 1;
	is_deeply(slurp_tree("$base/spaces/chronos"), slurp_tree("$base/spaces/pgbackrest"),
		"step $step: and the same tablespaces") or $failed = 1;

	my $again = restored_node("restored_$step", $dir{ pick(qw(chronos pgbackrest)) });
	is(state_of($again), $state{$label}, "step $step: $label holds what the database held") or $failed = 1;
	$again->stop('immediate');
	unlink $again->data_dir;
	return;
}

new_table() for 1 .. 4;
for my $step (1 .. $steps)
{
	$change{ pick(sort keys %change) }->() for 1 .. pick(1, 2, 4);
	back_up($step);
	if (maybe(0.2))
	{
		my $tool = pick('chronos', 'pgbackrest');
		run_ok("step $step: $tool expires", $tool, '--repo1-retention-full=2', '--repo1-retention-diff=2', 'expire') or $failed = 1;
	}
	restore_both($step);
	BAIL_OUT("stopped at the first difference; seed $seed, step $step") if $failed;
}
# One process: with more, pgBackRest (seen: 2.55) goes on to the next backup before the last result of
# the one before is in, and then looks for empty files in bundles, to which its own unbundled backups refer.
run_ok('pgBackRest verifies the repository', 'pgbackrest', '--process-max=1', 'verify');
my ($status, $out) = pgbackrest($conf, '--process-max=1', '--output=text', 'verify');
unlike($out, qr/status: error/, 'and finds nothing wrong') or diag($out);
$node->stop;

done_testing();
