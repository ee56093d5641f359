# What we store is what the format says, not only what we and pgBackRest read: a decoder written
# from the format alone (test/support/backup_decoder.py) puts every file of every backup together
# from bundles, super blocks and block maps. It proves itself on backups that pgBackRest has made.
# Enough with one version of PostgreSQL: its subject is how files are stored, and 702 has the release of pgBackRest
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Cwd qw(abs_path);
use File::Path qw(remove_tree);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $decoder = abs_path('test/support/backup_decoder.py');
my $seed = seed();

# Backups of every codec and layout, with blocks that are spread over four of them.
my $fixtures = abs_path($ENV{TEST_FIXTURES_DIR} // 'test/fixtures');
mkdir "$base/crafted" or die $!;
system('tar', '--zstd', '-xf', "$fixtures/crafted.tar.zst", '-C', "$base/crafted", '--no-same-owner') == 0 or die;
for my $case (qw(none-block gz-block bz2-block none-pgbi gz-pgbi-aes gz-bundle-aes))
{
	my ($stanza) = map { m{([^/]+)$} } glob "$base/crafted/$case/backup/*";
	my @labels = map { m{([^/]+)$} } sort glob "$base/crafted/$case/backup/$stanza/2*";
	is(scalar @labels, 4, "$case has four backups");
	decoded("$base/crafted/$case", $stanza, $_, $case =~ /aes/ ? "pass-$case" : ()) for @labels;
}

my $conf = "$base/chronos.conf";
my $node = PostgreSQL::Test::Cluster->new('source');
$node->init(allows_streaming => 1, extra => ['--data-checksums']);
$node->append_conf('postgresql.conf', "archive_mode = on\narchive_command = '/bin/true'\nautovacuum = off\n");
$node->start;
$node->safe_psql('postgres', "CREATE TABLE t$_ AS SELECT i, repeat(md5(i::text), 4) AS t FROM generate_series(1, 200 * $_ * $_) i")
  for 1 .. 12;
$ENV{CHRONOS_REPO1_BLOCK} = 'y';
my @forms = (
	[ 'gz', 'repo1-bundle-limit' => '256KiB' ],
	[ 'none', 'repo1-block-size-super' => '32KiB', 'repo1-block-size-super-full' => '64KiB' ],
	[ 'bz2', 'repo1-bundle-limit' => '8KiB', 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'of the test' ]);
for my $form ($ENV{CHECK_SHORT} ? $forms[0] : @forms)
{
	my ($codec, %options) = @$form;
	subtest "$codec, " . join(', ', map { "$_=$options{$_}" } grep { !/pass/ } sort keys %options) =>
	  sub { chain($codec, %options) };
}
$node->stop;
done_testing();

sub chain
{
	my ($codec, %options) = @_;
	my $repo = "$base/repo_$codec";
	mkdir $repo or die $!;
	write_config($conf, path => $repo, pg => $node->data_dir, port => $node->port, socket => $node->host,
		'compress-type' => $codec, 'process-max' => 2, 'repo1-bundle' => 'y', %options);
	is((chronos($conf, 'stanza-create'))[0], 0, 'stanza');
	my $several = 0;
	for my $type (qw(full diff incr), $options{'repo1-cipher-pass'} ? () : qw(incr incr))
	{
		change();
		my ($status, $out, $err) = chronos($conf, "--type=$type", '--no-archive-check', 'backup');
		is($status, 0, "$type backup") or diag($out, $err);
		my ($label) = map { m{([^/]+)$} } (sort { (stat "$a/backup.manifest")[9] <=> (stat "$b/backup.manifest")[9] || $a cmp $b }
			  grep { !-l } glob "$repo/backup/main/2*")[-1];
		my $counts = decoded($repo, 'main', $label, grep { defined } $options{'repo1-cipher-pass'});
		cmp_ok($counts->{blocks}, '>', 10, 'files are stored by block');
		$several += $counts->{'maps of several backups'};
	}
	cmp_ok($several, '>', 10, 'blocks of several backups make one file');
	remove_tree($repo);
	return;
}

# Some blocks of some tables; one becomes shorter, one longer.
sub change
{
	for my $table (map { 1 + int rand 12 } 1 .. 6)
	{
		my ($part, $of) = (int rand 200, 200);
		$node->safe_psql('postgres', "UPDATE t$table SET t = upper(t) WHERE i % $of = $part");
	}
	my ($shorter, $longer) = (1 + int rand 6, 7 + int rand 6);
	$node->safe_psql('postgres',
		"DELETE FROM t$shorter WHERE i > (SELECT max(i) * 0.9 FROM t$shorter); VACUUM t$shorter");
	$node->safe_psql('postgres', "INSERT INTO t$longer SELECT i, 'new' FROM generate_series(1, 500) i; CHECKPOINT");
	return;
}

sub decoded
{
	my ($repo, $stanza, $label, @passphrase) = @_;
	my ($status, $out, $err) = run_tool('python3', $decoder, $repo, $stanza, $label, @passphrase);
	is($status, 0, "$label is what its manifest says") or diag($err);
	return $status == 0 ? decode_json($out) : {};
}
