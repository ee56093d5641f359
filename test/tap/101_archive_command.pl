# chronos as archive_command, and what it and pgBackRest have stored read back by the other one:
# the archive of either is the archive of both. The module has no part in this.
use strict;
use warnings;
use Digest::SHA;
use ChronosTest;
use File::Copy qw(copy);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @settings = (
	{ 'compress-type' => 'zst' },
	{ 'compress-type' => 'gz', 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'kept from every view' },
	{ 'compress-type' => 'lz4' },
	{ 'compress-type' => 'none' });

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "archive_mode = on\narchive_command = 'false'\n");
$node->start;
my $base = PostgreSQL::Test::Utils::tempdir();

# A configuration with a repository of its own; the directory exists, the stanza does not.
sub new_repository
{
	my ($name, %options) = @_;
	mkdir "$base/$name" or die $!;
	return write_config("$base/$name.conf", path => "$base/$name", pg => $node->data_dir,
		port => $node->port, socket => $node->host, 'archive-timeout' => 2, %options);
}

sub archive_with
{
	my ($command) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET archive_command = '$command'");
	$node->reload;
	return;
}

# Writes segments that are full of something and waits until they are archived.
sub make_segments
{
	my ($count) = @_;
	my @segments;
	for (1 .. $count)
	{
		$node->safe_psql('postgres',
			'CREATE TABLE t AS SELECT md5(i::text) FROM generate_series(1, 20000) i; DROP TABLE t');
		push @segments, $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
	}
	$node->poll_query_until('postgres',
		"SELECT last_archived_wal >= '$segments[-1]' FROM pg_stat_archiver")
	  or die 'segments were not archived';
	return @segments;
}

sub stored
{
	my ($name, $segment) = @_;
	return glob "$base/$name/archive/main/*-1/*/$segment-*";
}

# A segment as a tool delivers it is that of the name's checksum.
sub delivers
{
	my ($tool, $conf, $name, $segment) = @_;
	my ($object) = stored($name, $segment);
	my ($checksum) = ($object // '') =~ /-([0-9a-f]{40})/;
	unlink "$base/got";
	my ($status, $out, $err) = $tool->($conf, 'archive-get', $segment, "$base/got");
	return "exit $status: $out$err" if $status != 0;
	my $got = Digest::SHA->new(1)->addfile("$base/got", 'b')->hexdigest;
	return $got eq ($checksum // '') ? '' : 'other content';
}

for my $number (0 .. $#settings)
{
	my %options = %{ $settings[$number] };
	my $what = join ', ', map { $options{$_} } grep { /type/ } sort keys %options;

	my $ours = new_repository("ours$number", %options);
	archive_with("$chronos --config=$ours --stanza=main archive-push %p");
	my @segments = make_segments(3);
	ok(-f "$base/ours$number/backup/main/backup.info", "$what: the first push creates the stanza");
	is(delivers(\&pgbackrest, $ours, "ours$number", $_), '', "$what: pgBackRest reads $_")
	  for @segments;
	is(delivers(\&chronos, $ours, "ours$number", $_), '', "$what: chronos reads $_") for @segments;
	like((pgbackrest($ours, 'info'))[1], qr{wal archive min/max \(\d+\): \S+/$segments[-1]},
		"$what: pgBackRest lists the archive");

	my $theirs = new_repository("theirs$number", %options);
	is((pgbackrest($theirs, 'stanza-create'))[0], 0, "$what: pgBackRest creates a stanza");
	archive_with("pgbackrest --config=$theirs --stanza=main archive-push %p");
	@segments = make_segments(2);
	is(delivers(\&chronos, $theirs, "theirs$number", $_), '', "$what: chronos reads pgBackRest's $_")
	  for @segments;
	archive_with("$chronos --config=$theirs --stanza=main archive-push %p");
	@segments = make_segments(1);
	is(delivers(\&pgbackrest, $theirs, "theirs$number", $segments[0]),
		'', "$what: both push into one archive");
}

# Outage: nothing is lost, and archiving goes on without help.
my $conf = new_repository('outage');
archive_with("$chronos --config=$conf --stanza=main archive-push %p");
make_segments(1);
rename "$base/outage", "$base/outage.away" or die $!;
my $failed = $node->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver');
my $during = $node->safe_psql('postgres',
	'CREATE TABLE u (); SELECT pg_walfile_name(pg_switch_wal())');
$node->poll_query_until('postgres', "SELECT failed_count > $failed FROM pg_stat_archiver")
  or die 'no failure was counted';
ok(!-e "$base/outage", 'a repository that is away is not made anew');
rename "$base/outage.away", "$base/outage" or die $!;
my ($after) = make_segments(1);
is(scalar(my @found = stored('outage', $_)), 1, "$_ is stored once the repository is back") for $during, $after;

# The same file again, and another one under its name.
sub push_file
{
	my ($path) = @_;
	return chronos($conf, 'archive-push', $path);
}
my ($object) = stored('outage', $after);
is((chronos($conf, 'archive-get', $after, "$base/$after"))[0], 0, 'a stored segment is fetched');
my ($status, $out, $err) = push_file("$base/$after");
is($status, 0, 'the same content under the same name is a success');
like($out . $err, qr/already exists in the repo1 archive with the same checksum/, 'and says so');
open my $file, '+<:raw', "$base/$after" or die $!;
seek $file, 16 * 1024 * 1024 - 1, 0;
print $file 'x';
close $file;
($status, $out, $err) = push_file("$base/$after");
is($status, 45, 'other content under the same name is refused');
like($out . $err, qr/\[045\]: WAL file '$after' already exists .* with a different checksum/,
	'with the reason');
is_deeply([ stored('outage', $after) ], [$object], 'and nothing was written');
is((push_file("$base/$during"))[0], 55, 'a missing file is one');
is((push_file('pg_wal/' . $after))[0], 32, 'a relative path outside of the data directory is refused');
is((chronos($conf, 'archive-push'))[0], 43, 'no file at all is wrong usage');

# What recovery could not pass is not taken, so that the right one can follow.
{
	my $pages = new_repository('pages');
	is((chronos($conf, 'archive-get', $after, "$base/$after"))[0], 0, 'the segment again');
	my $good = PostgreSQL::Test::Utils::slurp_file("$base/$after");
	my $behind = $after;
	substr($behind, 16) = sprintf '%08X', 1 + hex substr $after, 16;
	my $page = 8192;
	my $pushed = sub {
		my ($content) = @_;
		unlink "$base/$after";
		PostgreSQL::Test::Utils::append_to_file("$base/$after", $content);
		my ($code, @said) = chronos($pages, 'archive-push', "$base/$after");
		unlink stored('pages', $after);
		return "$code @said";
	};
	for my $case ([ 'garbage behind the first page' => sub { substr($_[0], $page) = 'g' x (length($_[0]) - $page) } ],
		[ 'a page of zeros' => sub { substr($_[0], 20 * $page, $page) = "\0" x $page } ],
		[ 'a page of another segment' => sub { substr($_[0], 20 * $page + 8, 8) = pack 'Q<', (1 << 24) + 20 * $page } ],
		[ 'pages of another timeline' => sub { substr($_[0], 20 * $page + 4, 4) = pack 'L<', 2 } ])
	{
		my ($name, $change) = @$case;
		my $content = $good;
		$change->($content);
		like($pushed->($content), qr/^44 .*WAL file '\S+' is not stored: .*HINT: It is damaged/s, "$name is refused");
	}
	my $early = $good;
	substr($early, 20 * $page) = "\0" x (length($good) - 20 * $page);
	like($pushed->($early), qr/^0 /, 'a segment that ends early may be the last one');
	$node->safe_psql('postgres', 'CREATE TABLE begun ()');
	copy($node->data_dir . "/pg_wal/$behind", "$base/$behind") or die $!;
	like($pushed->($early), qr/^44 .*it ends at \S+, and $behind is written already/s, 'but not if the next one has been begun');
	like($pushed->($good), qr/^0 /, 'the right one is taken');
}

# What PostgreSQL makes of archive-get depends on its exit status alone.
my $next = $after;
substr($next, 16) = '000000FE';
is((chronos($conf, 'archive-get', $next, "$base/got"))[0], 1, 'missing is 1');
is((chronos($conf, 'archive-get', '00000009.history', "$base/got"))[0], 1,
	'missing history is 1');
is((chronos($conf, 'archive-get', $next))[0], 43, 'wrong usage keeps its code outside of recovery');
chdir $node->data_dir or die $!;
is((chronos($conf, 'archive-get', $next))[0], 200, 'and stops recovery in a data directory');
is((chronos($conf, '--nonsense', 'archive-get', $next, 'got'))[0], 200, 'so does a wrong option');
is((chronos($conf, 'archive-get', $after, 'pg_wal/RECOVERYXLOG'))[0], 0, 'relative path');
ok(-f $node->data_dir . '/pg_wal/RECOVERYXLOG', 'counts from the data directory');
unlink 'pg_wal/RECOVERYXLOG';
rename "$base/outage", "$base/outage.away" or die $!;
is((chronos($conf, 'archive-get', $next, "$base/got"))[0], 200, 'a repository that is away is 200');
mkdir "$base/outage" or die $!;
is((chronos($conf, 'archive-get', $next, "$base/got"))[0], 200, 'and an empty directory in its place');
rmdir "$base/outage" or die $!;
rename "$base/outage.away", "$base/outage" or die $!;
open $file, '+<:raw', $object or die $!;
chmod 0600, $object;
seek $file, (-s $object) / 2, 0;
print $file "\0damage\0";
close $file;
unlink "$base/got";
($status, $out, $err) = chronos($conf, 'archive-get', $after, "$base/got");
is($status, 200, 'a damaged segment is 200');
like($out . $err, qr/unable to get $after.*\Q$object\E/s, 'and named');
ok(!-e "$base/got", 'and not delivered');

# docs/versions.md, pg_upgrade: what a server that is not started again has left.
$node->safe_psql('postgres', "ALTER SYSTEM SET archive_command = 'false'");
$node->reload;
$node->safe_psql('postgres', 'CREATE TABLE last_words (n int); SELECT pg_switch_wal(); INSERT INTO last_words VALUES (1); SELECT pg_switch_wal()');
$node->stop;
my @left = map { m{([^/]+)\.ready$} } glob $node->data_dir . '/pg_wal/archive_status/*.ready';
cmp_ok(scalar @left, '>', 1, 'a server that was stopped has WAL that is not archived');
my $push = 'cd "$1" && for f in pg_wal/archive_status/*.ready; do'
  . ' "$2" --config="$3" --stanza=main --pg1-path="$PWD" archive-push "pg_wal/$(basename "$f" .ready)" || exit 1; done';
my $chronos = $ENV{CHRONOS} // 'chronos';
is(system('sh', '-c', $push, 'sh', $node->data_dir, $chronos, $conf), 0, 'it is pushed by hand');
is((chronos($conf, 'archive-get', $_, "$base/got"))[0], 0, "$_ is in the archive") for @left;
done_testing();
