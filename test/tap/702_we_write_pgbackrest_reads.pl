# What chronos backs up is a pgBackRest backup: the packaged pgBackRest must list, verify and restore
# it, and take an incremental on top of it - for every compression, encrypted or not, with a
# tablespace, links, odd file names and damaged pages. The first backup creates the stanza. Both tools
# restore damaged pages only when told to, where pgBackRest knows that option (2.60).
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use File::Path qw(make_path remove_tree);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $conf = "$base/chronos.conf";
my $node = PostgreSQL::Test::Cluster->new('source');
make_odd_cluster();
my $as_it_was = '--no-checksum-page-error';
my $both_refuse = (run_tool('pgbackrest', 'help', 'restore', 'checksum-page-error'))[0] == 0;

my @forms = (
	[ 'gz' ], [ 'lz4' ], [ 'zst' ], [ 'bz2' ], [ 'none' ],
	map { [ $_, 'aes-256-cbc' ] } qw(gz lz4 zst none));
my $number = 0;
for my $form (@forms)
{
	my ($codec, $cipher) = @$form;
	subtest $codec . ($cipher ? " $cipher" : '') => sub { interchange(++$number, $codec, $cipher) };
}
subtest 'damaged pages' => \&damaged_pages;
$node->stop;
done_testing();

# A cluster with one of everything that needs care: tablespace, pg_wal and a configuration file
# behind links, odd names, modes and an empty file, a table with two bad pages.
sub make_odd_cluster
{
	$node->init(allows_streaming => 1, extra => ['--data-checksums']);
	my $data = $node->data_dir;
	$node->append_conf('postgresql.conf', <<C);
archive_mode = on
archive_command = 'pgbackrest --config=$conf --stanza=main archive-push %p'
autovacuum = off
C
	mkdir "$base/ts1" or die $!;
	make_path("$base/etc");
	rename "$data/pg_hba.conf", "$base/etc/pg_hba.conf" or die $!;
	symlink "$base/etc/pg_hba.conf", "$data/pg_hba.conf" or die $!;
	rename "$data/pg_wal", "$base/wal" or die $!;
	symlink "$base/wal", "$data/pg_wal" or die $!;
	make_path("$data/odd dir");
	write_file("$data/odd dir/$_", "content of $_\n")
	  for 'a=b', 'with "quotes"', "ta\tb", 'back\\slash', '[brackets]', "\xc3\xa4\xc3\xb6", '#hash';
	write_file("$data/odd dir/empty", '');
	chmod 0755, "$data/odd dir/a=b" or die $!;
	$node->start;
	$node->safe_psql('postgres', <<S);
CREATE TABLESPACE ts1 LOCATION '$base/ts1';
CREATE TABLE plain AS SELECT i, md5(i::text) AS t FROM generate_series(1, 20000) i;
CREATE TABLE spaced TABLESPACE ts1 AS SELECT i, repeat('x', i % 100) AS t FROM generate_series(1, 5000) i;
CREATE TABLE hurt AS SELECT i, repeat('y', 500) AS t FROM generate_series(1, 500) i;
CREATE UNLOGGED TABLE gone AS SELECT 1 AS i;
CREATE TABLE empty ();
S
	$node->safe_psql('postgres', 'CREATE DATABASE "a=b"');
	my $file = $node->safe_psql('postgres', "SELECT pg_relation_filepath('hurt')");
	$node->stop;
	for my $page (3, 7)
	{
		open my $fh, '+<', "$data/$file" or die $!;
		seek $fh, $page * 8192 + 5000, 0;
		print $fh 'damage';
		close $fh;
	}
	$node->start;
}

sub write_file
{
	my ($name, $content) = @_;
	open my $fh, '>', $name or die "$name: $!";
	print $fh $content;
	close $fh;
}

sub interchange
{
	my ($n, $codec, $cipher) = @_;
	my $repo = "$base/repo$n";
	mkdir $repo or die $!;
	write_config($conf, path => $repo, pg => $node->data_dir, port => $node->port,
		socket => $node->host, 'compress-type' => $codec, 'process-max' => 2,
		$cipher ? ('repo1-cipher-type' => $cipher, 'repo1-cipher-pass' => 'a secret of the test') : ());
	my ($status, $out, $err) = chronos($conf, '--type=full', '--annotation=by=test', 'backup');
	is($status, 0, 'chronos takes a full backup into an empty repository') or diag($out, $err);
	my %state = map { $_ => table_state($node, $_) } qw(plain spaced);

	my ($full) = backups();
	is($full->{type}, 'full', 'pgbackrest lists it');
	ok($full->{error}, 'with its damaged pages');
	is($full->{annotation}{by}, 'test', 'and its annotation');
	verify_is_clean('our full backup');
	compare_restored("full$n", \%state, "--set=$full->{label}", '--type=immediate',
		'--target-action=promote');

	$node->safe_psql('postgres', "INSERT INTO plain SELECT i, 'second' FROM generate_series(1, 1000) i");
	($status, $out, $err) = pgbackrest($conf, '--type=incr', 'backup');
	is($status, 0, 'pgbackrest takes an incremental on top') or diag($out, $err);
	is((backups())[1]{prior}, $full->{label}, 'based on ours');
	%state = map { $_ => table_state($node, $_) } qw(plain spaced);
	compare_restored("incr$n", \%state);

	$node->safe_psql('postgres', "UPDATE spaced SET t = 'third' WHERE i % 7 = 0");
	($status, $out, $err) = chronos($conf, '--type=incr', 'backup');
	is($status, 0, 'chronos takes an incremental on top of that') or diag($out, $err);
	my $own = (backups())[2];
	is($own->{type}, 'incr', 'pgbackrest lists it');
	ok($own->{info}{delta} < $full->{info}{delta} / 2, 'and it refers to the files that did not change');
	$node->safe_psql('postgres', "INSERT INTO spaced VALUES (0, 'after the last backup')");
	%state = map { $_ => table_state($node, $_) } qw(plain spaced);
	wait_archived($node);
	compare_restored("own$n", \%state);
	verify_is_clean('the chain');
	remove_tree($repo);
}

# Nothing is touched by a restore that is refused; what is left out is nobody's damage.
sub damaged_pages
{
	my $repo = "$base/repo_damaged";
	my $data = "$base/data_damaged";
	mkdir $_, 0700 or die $! for $repo, $data;
	write_config($conf, path => $repo, pg => $node->data_dir, port => $node->port, socket => $node->host);
	my ($status, $out, $err) = chronos($conf, '--type=full', '--checksum-page-error', 'backup');
	is($status, 26, 'a backup that is to have no damage fails');
	like($out . $err, qr/invalid page checksums found in file \S+ at pages 3, 7/, 'and says where it is');
	is((chronos($conf, '--type=full', 'backup'))[0], 0, 'another one has it');
	my @restore = ("--pg1-path=$data", '--tablespace-map-all=' . "$data.spaces", 'restore');
	for my $tool ($chronos, $both_refuse ? 'pgbackrest' : ())
	{
		system('rm', '-rf', $data, "$data.spaces") == 0 or die;
		mkdir $data, 0700 or die $!;
		($status, $out, $err) = run_tool($tool, "--config=$conf", '--stanza=main', @restore);
		is($status, 26, "$tool does not restore it unasked");
		like($out . $err, qr{invalid page checksum\(s\) found in file \Q$data\E/base/\d+/\d+}, 'and names the file');
		ok(!glob("$data/*"), 'nothing is touched') if $tool eq $chronos;
	}
	($status, $out, $err) = chronos($conf, '--delta', '--force', @restore);
	is($status, 26, 'nor where something is') or diag($out, $err);
	like((chronos($conf, '--plan', @restore))[1], qr{invalid page checksum}, 'which a plan says too');
	system('rm', '-rf', $data, "$data.spaces") == 0 or die;
	mkdir $data, 0700 or die $!;
	($status, $out, $err) = chronos($conf, $as_it_was, @restore);
	is($status, 0, 'but when told to') or diag($out, $err);
	like($out . $err, qr{WARN: invalid page checksum\(s\) found in file \Q$data\E/base/}, 'with a warning');
	($status, $out, $err) = chronos($conf, '--delta', '--db-exclude=postgres', @restore);
	is($status, 0, 'or without the database that has them') or diag($out, $err);
}

sub backups
{
	my ($status, $out) = pgbackrest($conf, '--output=json', 'info');
	return @{ decode_json($out)->[0]{backup} };
}

# 2.45 exits with 0 whatever it finds, and says what is wrong at level info.
sub verify_is_clean
{
	my ($what) = @_;
	my ($status, $out, $err) = pgbackrest($conf, '--log-level-console=info', 'verify');
	is($status, 0, "pgbackrest verify accepts $what");
	my @bad = grep { /(?:missing|invalid|mismatch|other): *[1-9]|ERROR|WARN/ } split /\n/, "$out\n$err";
	is("@bad", '', 'and finds nothing wrong') or diag($out);
}

sub compare_restored
{
	my ($name, $state, @options) = @_;
	my $data = "$base/data_$name";
	my $spaces = "$base/spaces_$name";
	mkdir $_ or die $! for $data, $spaces;
	chmod 0700, $data;
	my ($status, $out, $err) = pgbackrest($conf, "--pg1-path=$data", "--tablespace-map-all=$spaces",
		($both_refuse ? $as_it_was : ()), @options, 'restore');
	is($status, 0, "pgbackrest restores ($name)") or diag($out, $err);
	is(slurp_file("$data/odd dir/back\\slash"), "content of back\\slash\n", 'odd names');
	is(-s "$data/odd dir/empty", 0, 'an empty file');
	is((stat "$data/odd dir/a=b")[2] & 07777, 0755, 'a mode of its own');
	# The restore command names the directory it was made for: that one stays where it is, and only
	# a link to it moves.
	symlink $data, "$data.link" or die $!;
	my $restored = restored_node($name, "$data.link");
	is(table_state($restored, $_), $state->{$_}, "table $_") for sort keys %$state;
	is($restored->safe_psql('postgres', 'SELECT count(*) FROM gone'), 0, 'an unlogged table is empty');
	$restored->stop;
	unlink $restored->data_dir;
	remove_tree($data, $spaces);
}
