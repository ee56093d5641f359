# A file that changes once more after it was copied, in the second in which it was listed, would have
# the size and the time that the manifest has: the next backup, of either tool, would take the old
# copy for it. So a file that has only just changed is not copied before that second is over.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use File::Path qw(remove_tree);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $base = PostgreSQL::Test::Utils::tempdir();
my $repo = "$base/repo";
mkdir $repo or die $!;
my $node = PostgreSQL::Test::Cluster->new('source');
$node->init(allows_streaming => 1);
my $conf = "$base/chronos.conf";
$node->append_conf('postgresql.conf', <<C);
archive_mode = on
archive_command = '[ ! -e $conf ] || pgbackrest --config=$conf --stanza=main archive-push %p'
autovacuum = off
C
$node->start;
write_config("$conf.new", path => $repo, pg => $node->data_dir, port => $node->port, socket => $node->host,
	'compress-type' => 'none', 'repo1-bundle' => 'n', 'process-max' => 2);
is((chronos("$conf.new", 'stanza-create'))[0], 0, 'stanza');
rename "$conf.new", $conf or die $!;

# Larger than all others, so that it would be the first one that is copied.
my $size = 64 << 20;
my $file = $node->data_dir . '/racing';
open my $out, '>', $file or die $!;
truncate $out, $size or die $!;
close $out;
# One that nobody has touched for a while does not have to wait.
utime time - 100, time - 100, $file or die $!;
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'a backup of it as it was long ago');

for my $round (1 .. 4)
{
	my $tool = $round % 2 ? 'chronos' : 'pgbackrest';
	my $writer = start_writer($round);
	is((chronos($conf, '--type=full', 'backup'))[0], 0, "round $round: backup while the file changes");
	waitpid $writer, 0;
	is($?, 0, "round $round: it changed once more when it had been copied");
	my $current = beginning($file);
	isnt(beginning(stored()), $current, "round $round: which the copy does not have");
	my ($status, $stdout, $stderr) =
	  $tool eq 'chronos' ? chronos($conf, '--type=incr', 'backup') : pgbackrest($conf, '--type=incr', 'backup');
	is($status, 0, "round $round: an incr by $tool") or diag($stdout . $stderr);
	is(beginning(stored()), $current, "round $round: has the file as it is");
}
$node->stop;
done_testing();

# The newest stored copy of the file; "" if the newest backup has none of its own.
sub stored
{
	my $newest = (sort glob "$repo/backup/main/2*")[-1];
	return "$newest/pg_data/racing";
}

sub beginning
{
	my ($name) = @_;
	open my $in, '<', $name or return 'not there';
	read $in, my $text, 16;
	return $text;
}

# Changes the file without a break until its copy is complete, and then once more.
sub start_writer
{
	my ($round) = @_;
	my %before = map { $_ => 1 } glob "$repo/backup/main/2*";
	my $pid = fork // die $!;
	return $pid if $pid;
	open my $target, '+<', $file or die $!;
	my ($count, $end) = (0, time + 60);
	my $complete = 0;
	while (time < $end)
	{
		sysseek $target, 0, 0;
		syswrite $target, sprintf '%04d%012d', $round, ++$count;
		exec 'true' if $complete;
		my ($copy) = grep { -e } map { "$_/pg_data/racing" } grep { !$before{$_} } glob "$repo/backup/main/2*";
		$complete = $copy && (-s $copy // 0) == $size;
		usleep(1000);
	}
	exec 'false';
}
