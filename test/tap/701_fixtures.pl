# Repositories that pgBackRest wrote restore to the states recorded beside them: every backup alone,
# every recovery target from the backup chosen for it and from the oldest one; every codec and
# layout by checksum of files; and from a damaged repository nothing that could be started. All
# fixtures found are used: those of the project, or those in TEST_FIXTURES_DIR.
#
# Only with PostgreSQL 15: the clusters in the fixtures are of that version
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Cwd qw(abs_path);
use Digest::SHA;
use File::Path qw(remove_tree);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $fixtures = abs_path($ENV{TEST_FIXTURES_DIR} // 'test/fixtures');
my $base = PostgreSQL::Test::Utils::tempdir();
my $counter = 0;
$ENV{PGUSER} = 'postgres';
$ENV{TZ} = 'UTC';

my @names = map { m{([^/]+)\.tar\.zst$} } sort glob "$fixtures/*.tar.zst";
my $used = 0;
for my $name (@names)
{
	next if !-d "$fixtures/$name";
	subtest $name => sub { test_fixture($name) };
	$used++;
}
ok($used > 0, "fixtures are in $fixtures");
done_testing();

sub test_fixture
{
	my ($name) = @_;
	my $dir = "$base/$name";
	mkdir $dir or die "mkdir $dir: $!";
	system('tar', '--zstd', '-xf', "$fixtures/$name.tar.zst", '-C', $dir, '--no-same-owner') == 0 or die;
	if ($name eq 'crafted') { test_crafted($dir) }
	elsif (-e "$fixtures/$name/damage.txt") { test_damaged($name, $dir) }
	else { test_states($name, $dir) }
	remove_tree($dir);
}

# Lines of a tab separated file behind its heading, each as a list.
sub table
{
	my ($file) = @_;
	my (undef, @lines) = split /\n/, slurp_file($file);
	return map { [ split /\t/ ] } @lines;
}

# The options of a fixture that its reader needs.
sub fixture_config
{
	my ($options, $repo, $data, $dir) = @_;
	my %options = map { /^(repo1-cipher-\S+?)=(.*)/ ? ($1 => $2) : () } split /\n/, slurp_file($options);
	return write_config("$dir/chronos.conf", path => $repo, pg => $data, 'process-max' => 2, %options);
}

sub test_states
{
	my ($name, $dir) = @_;
	my @backups = table("$fixtures/$name/expect.tsv");
	restore_and_compare($name, $dir, "immediate from $_->[0]", $_->[1], '--type=immediate',
		'--target-action=promote', "--set=$_->[0]")
	  for @backups;
	return if !-e "$fixtures/$name/targets.tsv";
	for my $row (table("$fixtures/$name/targets.tsv"))
	{
		my ($what, $set, $type, $target, $timeline, $expected) = map { $_ eq '-' ? undef : $_ } @$row;
		my @arguments = ("--type=$type");
		push @arguments, "--target=$target", '--target-action=promote' if defined $target;
		push @arguments, "--target-timeline=$timeline" if defined $timeline;
		# Without a label one is chosen; the oldest backup must lead to the same state.
		my @sets = defined $set ? ($set) : (undef, $backups[0][0]);
		restore_and_compare($name, $dir, "$what from " . ($_ // 'the one chosen'), $expected, @arguments,
			defined $_ ? "--set=$_" : ())
		  for @sets;
	}
}

sub restore_and_compare
{
	my ($name, $dir, $what, $expected, @arguments) = @_;
	my $node = PostgreSQL::Test::Cluster->new('fixture' . ++$counter);
	my $data = $node->data_dir;
	my $conf = fixture_config("$fixtures/$name/options.txt", "$dir/repo", $data, $dir);
	my ($status, $out, $err) = chronos($conf, 'restore', '--archive-mode=off',
		"--tablespace-map-all=$dir/ts$counter", @arguments);
	is($status, 0, "$what: restored") or diag("$out$err") and return;
	append_to_file("$data/postgresql.auto.conf",
		sprintf("port = %d\nfsync = off\nlisten_addresses = ''\nunix_socket_directories = '%s'\n", $node->port, $node->host));
	$node->start;
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'recovery did not end';
	my $table = $name eq 'lz4-aes-tblspc' ? ['tsdata', 'id, payload'] : ['blocks', 'id, payload'];
	is($node->safe_psql('postgres', state_query($table->[0])), $expected, "$what: recorded state");
	$node->stop;
	remove_tree($node->basedir, "$dir/ts$counter");
}

sub state_query
{
	my ($table) = @_;
	return "select '$table='||(select count(*)||','||coalesce(md5(string_agg(id||':'||payload,'|' order by id)),'-') from $table)"
	  . "||' ledger='||(select count(*)||','||coalesce(md5(string_agg(id||':'||note,'|' order by id)),'-') from ledger)";
}

sub test_crafted
{
	my ($dir) = @_;
	for (split /\n/, slurp_file("$fixtures/crafted/labels.txt"))
	{
		my ($case, $step, $label) = split / /;
		my $data = "$dir/data-$case";
		my $conf = fixture_config("$fixtures/crafted/$case/options.txt", "$dir/$case", $data, $dir);
		# From one step to the next with delta: it must give what a fresh directory would.
		my ($status, $out, $err) =
		  chronos($conf, 'restore', '--type=none', "--set=$label", $step > 0 ? '--delta' : ());
		is($status, 0, "$case step $step: restored") or diag("$out$err");
		my %expected = map { /^([0-9a-f]{40})\s+(?:.*\/)?(\S+)$/ ? ($2 => $1) : () }
		  split /\n/, slurp_file("$fixtures/crafted/expect-$step.sha1");
		my %found = map { m{([^/]+)$} => Digest::SHA->new(1)->addfile($_, 'b')->hexdigest } glob "$data/crafted/*";
		is_deeply(\%found, \%expected, "$case step $step: recorded files");
	}
}

sub test_damaged
{
	my ($name, $dir) = @_;
	for my $row (table("$fixtures/$name/expect.tsv"))
	{
		my ($label) = @$row;
		my $data = "$dir/data-$label";
		my $conf = fixture_config("$fixtures/$name/options.txt", "$dir/repo", $data, $dir);
		my ($status, $out, $err) = chronos($conf, 'restore', '--type=immediate', "--set=$label");
		isnt($status, 0, "$label: damage is noticed");
		like("$out$err", qr{base/5/(?:16389|2601|16384)}, "$label: the damaged file is named");
		ok(!-e "$data/global/pg_control", "$label: nothing that could be started is left");
	}
}
