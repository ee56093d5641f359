# Of several repositories each is asked, and none is believed for what it cannot know: a plan that says "can be done" has
# WAL to its end that a server can use, and what another repository has is named where --repo leaves that out.
use strict;
use warnings;
use ChronosTest;
use Digest::SHA qw(sha1_hex);
use File::Basename qw(basename dirname);
use PostgreSQL::Test::Utils;
use Test::More;

my $second = PostgreSQL::Test::Utils::tempdir();
my $node = chronos_node('primary', options => {
		'repo2-path' => $second, 'repo2-retention-full' => 9, 'archive-timeout' => 5, 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'a long phrase' });
my ($conf, $first) = @$node{qw(chronos_conf chronos_repo)};
my $id = basename(archive_directory($node));
sub insert { $node->safe_psql('postgres', "INSERT INTO t VALUES ($_[0])"); return wait_archived($node) }
sub stored { my ($repository, $segment) = @_; my @found = glob "$repository/archive/main/$id/*/$segment-*"; return $found[0] }
sub planned { return (chronos($conf, '--pg1-path=' . private_directory(), '--plan', @_, 'restore'))[1] }
# While CODE runs the file or directory is elsewhere.
sub without
{
	my ($path, $code) = @_;
	my $away = PostgreSQL::Test::Utils::tempdir() . '/it';
	rename $path, $away or die "$path: $!";
	$code->();
	system('rm', '-rf', $path) == 0 or die;
	rename $away, $path or die $!;
	return;
}
# While CODE runs there is another content in the file.
sub changed
{
	my ($path, $content, $code) = @_;
	without($path, sub { PostgreSQL::Test::Utils::append_to_file($path, $content); $code->() });
	return;
}

$node->safe_psql('postgres', 'CREATE TABLE t (id int)');
for my $key (1, 2) { is((chronos($conf, "--repo=$key", '--type=full', 'backup'))[0], 0, "a backup in repo$key") }
my @segments = map { insert($_) } 1 .. 4;
my ($newest, $damaged) = @segments[3, 1];

my $away = PostgreSQL::Test::Utils::tempdir();
for my $segment (@segments[2, 3])
{
	my $stored = stored($second, $segment);
	rename $stored, "$away/" . basename($stored) or die $!;
}
like(planned('--repo=2'), qr/repo1 has WAL up to $newest, and this restore reads up to $segments[1] only.*--set=\S+ takes the same backup/,
	'a repository that ends earlier: --repo=2 says what it leaves out');
unlike(planned(), qr/because of --repo/, 'all of them together leave out nothing');
unlike(planned('--repo=1'), qr/because of --repo/, 'nor does the one that goes farthest');
my ($rows) = restored_rows($conf, 'both', '--set=' . (planned('--repo=2') =~ /--set=(\S+)/)[0]);
is($rows, '1,2,3,4', 'what is said to help does');

# Its archive.info is there, its archive is not.
my $restored = private_directory();
is((chronos($conf, "--pg1-path=$restored", '--archive-mode=off', 'restore'))[0], 0, 'restored before');
without("$first/archive/main/$id", sub {
		my $plan = planned();
		like($plan, qr/problem: .*nothing is in '[^']*$id', though backup \S+ of repo1 needs WAL/, 'an archive that is gone: a problem of the plan');
		like($plan, qr/verdict: +cannot be done/, 'which cannot be done');
		my $stops = restored_node('stops', $restored, wait => 0, fail_ok => 1);
		poll_until(sub { !-e $stops->data_dir . '/postmaster.pid' }, 'a server that was restored before does not end early', 120);
		like(slurp_file($stops->logfile), qr/nothing is in '[^']*$id'/, 'and is told why');
		is((restored_rows($conf, 'second', '--repo=2'))[0], '1,2', 'what is left can be had when it is asked for');
	});

# Segments that archive-get does not hand out.
my ($copy, $other) = (stored($first, $damaged), stored($second, $damaged));
changed($copy, 'x' x 4096, sub {
		like(planned(), qr/verdict: +can be done/, 'damaged in one, whole in the other');
		changed($other, 'x' x 4096, sub { like(planned(), qr/problem: .*$damaged cannot be used: .*cannot be done/s, 'damaged in both') });
		changed($other, '', sub { like(planned(), qr/problem: .*$damaged cannot be used: .*cannot be done/s, 'empty in one of them') });
	});
my $last = stored($first, $newest);
changed($last, '', sub {
		like(planned(), qr/problem: .*$newest is empty: .*cannot be done/s, 'an empty one that is the last');
		my $to = private_directory();
		isnt((chronos($conf, "--pg1-path=$to", 'restore'))[0], 0, 'is found before anything is restored');
		ok(!-e "$to/PG_VERSION", 'nothing was');
	});
changed($last, 'x' x 4096, sub { like(planned(), qr/problem: .*$newest cannot be used: .*cannot be done/s, 'a damaged one that is the last') });
my $twin = dirname($other) . "/$damaged-" . sha1_hex('another life') . '.gz';
PostgreSQL::Test::Utils::append_to_file($twin, 'x');
like(planned(), qr/problem: .*$damaged is in the archive with different content, as '[^']+' and '[^']+'.*cannot be done/s, 'two contents of one segment');
like(planned('--type=immediate', '--repo=1'), qr/verdict: +can be done/, 'before it nothing stands in the way');
unlink $twin;
like(planned(), qr/verdict: +can be done/, 'without it all is well');
done_testing();
