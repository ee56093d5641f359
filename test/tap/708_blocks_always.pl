# With repo-block-always a file that nobody has changed for months is in blocks like all others, so that a page of it
# can be had without the rest; without it, as pgBackRest stores it, the file is whole. The option holds for what is
# stored anew, all of it after the next full backup. pgBackRest from 2.46 on, where it is at hand, verifies and restores
# such a backup and makes its incremental on top of it; its own next full backup has the file whole again. Its options
# for the sizes of blocks mean what they mean to it.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Cwd qw(abs_path);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $reads_blocks = !exists $ENV{CHRONOS_REPO1_BLOCK};
delete $ENV{CHRONOS_REPO1_BLOCK};
my $base = PostgreSQL::Test::Utils::tempdir();
my ($conf, $repo) = ("$base/chronos.conf", "$base/repo");
my $decoder = abs_path('test/support/backup_decoder.py');
mkdir $repo or die $!;

my $node = PostgreSQL::Test::Cluster->new('source');
$node->init(allows_streaming => 1, extra => ['--data-checksums']);
$node->append_conf('postgresql.conf',
	"archive_mode = on\narchive_command = 'pgbackrest --config=$conf --stanza=main archive-push %p'\nautovacuum = off\n");
configure();
$node->start;
is((chronos($conf, 'stanza-create'))[0], 0, 'stanza');
# Beyond what a bundle takes, within it, and too small for blocks.
my %rows = (large => 60_000, medium => 3_000, small => 10);
my %file;
for my $table (sort keys %rows)
{
	$node->safe_psql('postgres', "CREATE TABLE $table AS SELECT i, md5(i::text) AS t FROM generate_series(1, $rows{$table}) i");
	$node->safe_psql('postgres', "SELECT count(*) FROM $table; VACUUM (FREEZE) $table");
	$file{$table} = $node->safe_psql('postgres', "SELECT pg_relation_filepath('$table')");
}
$node->stop;
my $old = time - 40 * 86400;
utime $old, $old, map { $node->data_dir . "/$_" } values %file or die $!;
$node->start;

my $whole = backup($chronos, 'full');
ok(!$whole->{$_}{bim}, "$_ is stored whole for its age") for sort keys %file;
like(access_of($whole), qr/^\d\d?% \(\S+ of \S+\); largest file fetched whole: \Q$file{large}\E, \S+MB$/, 'info says what that makes of it');
configure('repo1-block-always' => 'y');
my $incr = backup($chronos, 'incr');
ok(!$incr->{large}{bim} && $incr->{large}{reference}, 'and stays so in what refers to it');
$node->safe_psql('postgres', "UPDATE medium SET t = 'new' WHERE i = 1; CHECKPOINT");
$incr = backup($chronos, 'incr');
ok($incr->{medium}{bim} && !$incr->{medium}{reference}, 'what has changed is in blocks');
ok(!$incr->{large}{bim}, 'and nothing else');

my $full = backup($chronos, 'full');
is($full->{large}{bi}, 4, 'the next full backup has it in blocks, the largest for its size');
ok($full->{$_}{bim}, "$_ is in blocks") for qw(large medium);
ok(!$full->{small}{bim}, 'small is too small');
my @others = grep { ref $full->{all}{$_} && ($full->{all}{$_}{size} // 0) >= 16384 && !$full->{all}{$_}{bim} } sort keys %{ $full->{all} };
is("@others", '', 'no file of 16 KiB and more is whole');
like(access_of($full), qr/^100% \((\S+) of \1\)$/, 'all of it is there in parts');
my ($status, $out, $err) = run_tool('python3', $decoder, $repo, 'main', $full->{label});
is($status, 0, 'it is what its manifest says') or diag($err);
like((planned($whole, '--output=text'))[1], qr/^    random access:    \d\d?% \(.* largest file fetched whole: \Q$file{large}\E, /m, 'a plan says it, too');
($status, $out, $err) = planned($whole, '--output=json');
is($status, 0, 'a plan for programs') or diag($out, $err);
is_deeply(decode_json($out)->{backup}{'random-access'}{'largest-whole'},
	{ name => $file{large}, size => $whole->{large}{size} }, 'has it as JSON');
is(decode_json((planned($full, '--output=json'))[1])->{backup}{'random-access'}{whole}, 0, 'which is nothing with the option');
($status, $out, $err) = chronos($conf, '--output=json', '--pg1-path=' . private_directory(), 'restore');
is($status, 31, 'JSON is refused without a plan');
like($err . $out, qr/option 'output' = 'json' not valid without option 'plan'/, 'with the reason');
restores($chronos, 'ours');

if ($reads_blocks)
{
	($status, $out, $err) = pgbackrest($conf, '--log-level-console=info', 'verify');
	is($status, 0, 'pgbackrest verifies it');
	my $unknown = qr/WARN: configuration file contains invalid option 'repo1-block-always'/;
	like($out . $err, $unknown, 'an option that it does not know is no more than a warning');
	unlike("$out$err" =~ s/$unknown//r, qr/(?:missing|invalid|mismatch|other): *[1-9]|ERROR|WARN/, 'and finds nothing wrong');
	restores('pgbackrest', 'theirs');
	# It has no such option, and goes by what it finds.
	configure('repo1-bundle' => 'y', 'repo1-block' => 'y');
	$node->safe_psql('postgres', "UPDATE medium SET t = 'newer' WHERE i = 2; CHECKPOINT");
	my $theirs = backup('pgbackrest', 'incr');
	is($theirs->{large}{reference}, $full->{label}, 'an incremental of pgbackrest refers to it');
	is_deeply([ @{ $theirs->{large} }{qw(bi bim)} ], [ @{ $full->{large} }{qw(bi bim)} ], 'as it is stored');
	ok($theirs->{medium}{bim} && $theirs->{medium}{'repo-size'} < $full->{medium}{'repo-size'}, 'and stores blocks that changed');
	restores($_, "chain_$_") for 'pgbackrest', $chronos;
	$theirs = backup('pgbackrest', 'full');
	ok(!$theirs->{large}{bim}, 'its next full backup has it whole again');
	configure('repo1-block-always' => 'y');
}
my @sizes = ('repo1-block-size-map' => '32KiB=20KiB', 'repo1-block-age-map' => '7=3', 'repo1-block-checksum-size-map' => '48KiB=10',
	'repo1-block-size-super-full' => '64KiB', 'repo1-bundle' => 'y', 'repo1-block' => 'y');
configure(@sizes);
my $sized = backup($chronos, 'full');
is_deeply([ map { [ @{ $sized->{$_} }{qw(bi bic)} ] } qw(large medium small) ], [ [ 7, 10 ], [ 2, undef ], [ undef, undef ] ],
	'blocks are as large as the options say');
($status, $out, $err) = run_tool('python3', $decoder, $repo, 'main', $sized->{label});
is($status, 0, 'and are what the manifest says') or diag($err);
is_deeply(sizes_of(backup('pgbackrest', 'full')), sizes_of($sized), 'as those of pgbackrest') if $reads_blocks;

($status, $out, $err) = chronos($conf, '--full', '--output=text', 'verify');
is($status, 0, 'chronos verifies all of them') or diag($out . $err);
$node->stop;
done_testing();

sub configure
{
	my (%options) = @_;
	write_config($conf, path => $repo, pg => $node->data_dir, port => $node->port, socket => $node->host,
		'compress-type' => 'zst', %options);
}

# Takes it, and gives what its manifest has of the tables: {label, all, large, medium, small}.
sub backup
{
	my ($tool, $type) = @_;
	my $name = $tool eq $chronos ? 'chronos' : $tool;
	my ($status, $out, $err) = run_tool($tool, "--config=$conf", '--stanza=main', "--type=$type", 'backup');
	is($status, 0, "$type backup of $name") or diag($out, $err);
	my ($label) = map { m{([^/]+)$} } (sort { (stat "$a/backup.manifest")[9] <=> (stat "$b/backup.manifest")[9] || $a cmp $b }
		  grep { !-l } glob "$repo/backup/main/2*")[-1];
	my %all = map { /^(pg_data\/[^=]+)=(\{.*\})$/ ? ($1, decode_json($2)) : () }
	  split /\n/, slurp_file("$repo/backup/main/$label/backup.manifest") =~ s/.*\[target:file\]\n//sr =~ s/\n\n\[.*//sr;
	return { label => $label, all => \%all, map { $_ => $all{"pg_data/$file{$_}"} } keys %file };
}

# What info says of the backup, in both of its forms.
sub access_of
{
	my ($backup) = @_;
	my ($status, $out) = chronos($conf, "--set=$backup->{label}", 'info');
	my ($line) = $out =~ /^ +random access: (.*)$/m;
	($status, $out) = chronos($conf, "--set=$backup->{label}", '--output=json', 'info');
	my $object = decode_json($out)->[0]{backup}[0]{'random-access'};
	is($object->{'in-parts'} + $object->{whole}, decode_json($out)->[0]{backup}[0]{info}{size}, 'of all files');
	is(defined $object->{'largest-whole'}, $line =~ /whole/, 'text and JSON agree');
	return $line;
}

sub planned
{
	my ($backup, @options) = @_;
	return chronos($conf, "--set=$backup->{label}", '--type=immediate', '--pg1-path=' . private_directory(), @options, '--plan', 'restore');
}

# Of what does not change between two backups.
sub sizes_of
{
	my ($backup) = @_;
	return { map { $_ => [ @{ $backup->{all}{$_} }{qw(size bi bic)} ] } grep { m{^pg_data/base/\d+/\d+} && $backup->{all}{$_}{size} } keys %{ $backup->{all} } };
}

sub restores
{
	my ($tool, $name) = @_;
	my %state = map { $_ => table_state($node, $_) } keys %rows;
	my $data = private_directory();
	$name =~ s/\W+/_/g;
	my ($status, $out, $err) = run_tool($tool, "--config=$conf", '--stanza=main', "--pg1-path=$data", '--archive-mode=off',
		'--type=immediate', '--target-action=promote', 'restore');
	is($status, 0, "restored: $name") or diag($out, $err);
	my $restored = restored_node($name, $data);
	is(table_state($restored, $_), $state{$_}, "table $_") for sort keys %state;
	$restored->stop;
	return;
}
