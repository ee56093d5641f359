# Small files stored together, by either tool in one repository: each backup of a chain is written
# by one of them and verified and restored by both, and the two restored directories are the same.
# Enough with one version of PostgreSQL: its subject is how files are stored, and 702 has the release of pgBackRest
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use File::Path qw(remove_tree);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $conf = "$base/chronos.conf";
my ($version) = `pgbackrest version` =~ /(\d+\.\d+)/;
# The stored form of block-incremental files is readable from 2.46 on.
my @block = (split /\./, $version)[1] >= 46 ? (0, 1) : (0);
my $node = PostgreSQL::Test::Cluster->new('source');
$node->init(allows_streaming => 1, extra => ['--data-checksums']);
$node->append_conf('postgresql.conf', <<C);
archive_mode = on
archive_command = 'pgbackrest --config=$conf --stanza=main archive-push %p'
autovacuum = off
C
mkdir "$base/ts1" or die $!;
$node->start;
$node->safe_psql('postgres', "CREATE TABLESPACE ts1 LOCATION '$base/ts1'");
$node->safe_psql('postgres', "CREATE TABLE many$_ AS SELECT i, repeat('m', $_) AS t FROM generate_series(1, 40 * $_) i")
  for 1 .. 30;
$node->safe_psql('postgres', 'CREATE TABLE changed TABLESPACE ts1 AS SELECT i, md5(i::text) AS t FROM generate_series(1, 90000) i');

my @forms = ([ 'gz' ], [ 'zst', 'aes-256-cbc' ], [ 'none' ], [ 'lz4', 'aes-256-cbc' ]);
# For one version among others: what has the most in it.
if ($ENV{CHECK_SHORT}) { @block = $block[-1]; splice @forms, 2 }
my $number = 0;
for my $block (@block)
{
	for my $form (@forms)
	{
		for my $first ('chronos', 'pgbackrest')
		{
			my ($codec, $cipher) = @$form;
			subtest "$codec " . ($cipher // 'clear') . ($block ? ' blocks' : '') . ", full by $first" =>
			  sub { chain(++$number, $first, $codec, $cipher, $block) };
		}
	}
}
$node->stop;
done_testing();

sub chain
{
	my ($n, $first, $codec, $cipher, $block) = @_;
	my $repo = "$base/repo$n";
	mkdir $repo or die $!;
	write_config($conf, path => $repo, pg => $node->data_dir, port => $node->port,
		socket => $node->host, 'compress-type' => $codec, 'process-max' => 2,
		'repo1-bundle' => 'y', $block ? ('repo1-block' => 'y') : (),
		'repo1-bundle-size' => '1MiB', 'repo1-bundle-limit' => '512KiB',
		$cipher ? ('repo1-cipher-type' => $cipher, 'repo1-cipher-pass' => 'a secret of the test') : ());
	is((pgbackrest($conf, 'stanza-create'))[0], 0, 'stanza');
	my $second = $first eq 'chronos' ? 'pgbackrest' : 'chronos';
	my $step = 0;
	for my $backup ([ $first, 'full' ], [ $second, 'diff' ], [ $first, 'incr' ], [ $second, 'incr' ])
	{
		my ($tool, $type) = @$backup;
		$node->safe_psql('postgres', "UPDATE changed SET t = 'step' || t WHERE i % 900 = $step; CHECKPOINT");
		my ($status, $out, $err) = tool($tool, "--type=$type", 'backup');
		is($status, 0, "$type by $tool") or diag($out, $err);
		my $label = newest();
		ok(-d "$repo/backup/main/$label/bundle", 'with bundles');
		compare_restored("${n}_" . ++$step, $label);
	}
	verify_is_clean();
	remove_tree($repo);
	return;
}

sub tool
{
	my ($tool, @arguments) = @_;
	return $tool eq 'chronos' ? chronos($conf, @arguments) : pgbackrest($conf, @arguments);
}

sub newest
{
	my ($status, $out) = pgbackrest($conf, '--output=json', 'info');
	return decode_json($out)->[0]{backup}[-1]{label};
}

# What each tool makes of the backup, apart from what names the tool.
sub compare_restored
{
	my ($name, $label) = @_;
	my %tree;
	for my $tool ('chronos', 'pgbackrest')
	{
		my ($data, $spaces) = ("$base/${tool}_$name", "$base/${tool}_spaces_$name");
		mkdir $_ or die $! for $data, $spaces;
		chmod 0700, $data;
		my ($status, $out, $err) = tool($tool, "--pg1-path=$data", "--tablespace-map-all=$spaces",
			"--set=$label", '--type=none', 'restore');
		is($status, 0, "restored by $tool") or diag($out, $err);
		$tree{$tool} = { %{ slurp_tree($data) }, map { ("spaces/$_->[0]" => $_->[1]) } pairs(slurp_tree($spaces)) };
		# 2.45 does not yet make pg_control unusable without its backup_label.
		delete $tree{$tool}{$_} for 'postgresql.auto.conf', 'recovery.signal',
		  (@block == 1 ? 'global/pg_control' : ()),
		  grep { /pg_tblspc/ } keys %{ $tree{$tool} };
		remove_tree($data, $spaces);
	}
	is_deeply($tree{chronos}, $tree{pgbackrest}, "both restore $label alike");
	return;
}

sub pairs
{
	my ($tree) = @_;
	return map { [ $_, $tree->{$_} ] } keys %$tree;
}

# 2.45 exits with 0 whatever it finds, and says what is wrong at level info.
sub verify_is_clean
{
	my ($status, $out, $err) = pgbackrest($conf, '--log-level-console=info', 'verify');
	is($status, 0, 'pgbackrest verify accepts the chain');
	my @bad = grep { /(?:missing|invalid|mismatch|other): *[1-9]|ERROR|WARN/ } split /\n/, "$out\n$err";
	is("@bad", '', 'and finds nothing wrong') or diag($out);
	return;
}
