# Never promote short: when the repository goes away in the middle of a recovery, the server stops
# instead of taking what it has got for all there is; when it is back, recovery goes on to the end.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = chronos_node('primary', options => { 'archive-timeout' => 3 });
my $conf = $node->{chronos_conf};
my $repo = $node->{chronos_repo};
$node->safe_psql('postgres', 'CREATE TABLE t (id int, filler text)');
$node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
for my $round (1 .. 8)
{
	$node->safe_psql('postgres', "INSERT INTO t SELECT $round, repeat('x', 500) FROM generate_series(1, 2000)");
	wait_archived($node);
}
my $state = table_state($node, 't');
$node->stop;

my @faults = (
	[ 'the whole repository is gone', sub { rename $repo, "$repo.away" or die $! },
		sub { rename "$repo.away", $repo or die $! } ],
	[ 'the directory is there and empty, as an unmounted file system',
		sub { rename $repo, "$repo.away" or die $!; mkdir $repo or die $! },
		sub { rmdir $repo or die $!; rename "$repo.away", $repo or die $! } ],
	[ 'the archive is not readable',
		sub { chmod 0000, glob "$repo/archive/main/*-1" or die $! },
		sub { chmod 0750, glob "$repo/archive/main/*-1" or die $! } ],
	[ 'archive.info and its copy are damaged',
		sub { damage("$repo/archive/main/$_") for qw(archive.info archive.info.copy) },
		sub { mend("$repo/archive/main/$_") for qw(archive.info archive.info.copy) } ],
	[ 'a segment in the middle is damaged',
		sub { damage(segment(4)) }, sub { mend(segment(4)) } ],
);

sub segment
{
	my ($number) = @_;
	my @all = sort grep { /\/[0-9A-F]{24}-[0-9a-f]{40}/ } glob "$repo/archive/main/*-1/*/*";
	return $all[$number];
}

sub damage
{
	my ($file) = @_;
	rename $file, "$file.good" or die "$file: $!";
	open my $in, '<:raw', "$file.good" or die $!;
	open my $out, '>:raw', $file or die $!;
	local $/;
	my $content = <$in>;
	substr($content, int(length($content) / 2), 8) = "\0damage\0";
	print $out $content;
	close $out;
	return;
}

sub mend
{
	my ($file) = @_;
	rename "$file.good", $file or die "$file: $!";
	return;
}

my $number = 0;
for my $fault (@faults)
{
	my ($name, $break, $repair) = @$fault;
	++$number;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	chmod 0700, $dir;
	my ($status, $out, $err) = chronos($conf, "--pg1-path=$dir", '--archive-mode=off', 'restore');
	is($status, 0, "restored before: $name") or diag($out . $err);
	$break->();
	my $again = restored_node("recovering$number", $dir, wait => 0, fail_ok => 1);
	poll_until(sub { !-e $again->data_dir . '/postmaster.pid' }, 'the server stops', 60);
	my $log = PostgreSQL::Test::Utils::slurp_file($again->logfile);
	unlike($log, qr/selected new timeline|archive recovery complete/, "$name: the server is not promoted");
	like($log, qr/ERROR: \[\d{3}\]/, "$name: the log says why");
	$repair->();
	$again->_update_pid(-1);    # it ended by itself
	$again->start;
	$again->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'no end of recovery';
	is(table_state($again, 't'), $state, "$name: and with the repository back nothing is missing");
	$again->stop;
}

done_testing();
