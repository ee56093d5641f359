# Never promote short: when the repository goes away in the middle of a recovery, the server stops
# instead of taking what it has got for all there is; when it is back, recovery goes on to the end.
use strict;
use warnings;
use ChronosTest;
use File::Basename qw(basename);
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $node = chronos_node('primary', options => { 'archive-timeout' => 3 });
my $conf = $node->{chronos_conf};
my $repo = $node->{chronos_repo};
my $id = basename(archive_directory($node));
$node->safe_psql('postgres', 'CREATE TABLE t (id int, filler text)');
$node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
for my $round (1 .. 8)
{
	$node->safe_psql('postgres', "INSERT INTO t SELECT $round, repeat('x', 500) FROM generate_series(1, 2000)");
	wait_archived($node);
}
my $state = table_state($node, 't');
# A backup at the end: WAL goes as far as that, whatever is left of it.
$node->safe_psql('postgres', q{SELECT chronos.backup_now('incr')});
my ($full, $last) = @{ JSON::PP::decode_json((chronos($conf, '--output=json', 'info'))[1])->[0]{backup} };
my @of_last = @{ $last->{archive} }{qw(start stop)};
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
	[ 'what only a later backup tells of is gone from the end',
		sub { rename $_, "$repo/" . basename($_) or die $! for behind($of_last[0]) },
		sub { for my $name (map { basename($_) } glob "$repo/0*-*") { rename "$repo/$name", "$repo/archive/main/$id/" . substr($name, 0, 16) . "/$name" or die $! } } ],
	[ 'a segment in the middle is damaged',
		sub { damage(segment(4)) }, sub { mend(segment(4)) } ],
);

sub segment
{
	my ($number) = @_;
	my @all = sort grep { /\/[0-9A-F]{24}-[0-9a-f]{40}/ } glob "$repo/archive/main/*-1/*/*";
	return $all[$number];
}

sub behind
{
	my ($first) = @_;
	return grep { basename($_) ge $first } glob "$repo/archive/main/$id/*/0*-*";
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
	my ($status, $out, $err) = chronos($conf, "--pg1-path=$dir", '--archive-mode=off', "--set=$full->{label}", 'restore');
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

# The plan knows it before.
rename $_, "$repo/" . basename($_) or die $! for behind($of_last[0]);
my ($status, $out) = chronos($conf, '--pg1-path=' . private_directory(), "--set=$full->{label}", '--plan', 'restore');
isnt($status, 0, 'the plan of a recovery whose end is lost');
like($out, qr/cannot pass WAL that is missing in the archive: $of_last[0].*cannot be done/s, 'names what the later backup needed');
my ($window) = grep { $_->{label} eq $full->{label} } @{ JSON::PP::decode_json((chronos($conf, '--output=json', '--wal', 'info'))[1])->{window} };
is($window->{ends}, 'gap', 'and the window of the backup before it ends in a gap');

# --- WAL that does not follow what is before it, though its name does: a server takes it for the end.
rename "$repo/$_", "$repo/archive/main/$id/" . substr($_, 0, 16) . "/$_" or die $! for map { basename($_) } glob "$repo/0*-*";
$node->start;
$node->safe_psql('postgres', q{INSERT INTO t SELECT 9, 'before' FROM generate_series(1, 100)});
my $before = wait_archived($node);
my $copy = private_directory();
is((chronos($conf, "--pg1-path=$copy", '--archive-mode=off', 'restore'))[0], 0, 'restored before pg_resetwal');
$node->stop('immediate');
unlink grep { basename($_) gt $before && basename($_) =~ /^[0-9A-F]{24}$/ } glob $node->data_dir . '/pg_wal/*';
is((run_tool('pg_resetwal', '-f', $node->data_dir))[0], 0, 'pg_resetwal');
$node->start;
$node->safe_psql('postgres', q{INSERT INTO t SELECT 10, 'behind' FROM generate_series(1, 100)});
my $behind = wait_archived($node);
is(hex(substr $behind, 16), hex(substr $before, 16) + 1, 'the next segment has the next name');
my $flaw = qr/$behind.* does not follow the segment before it/;
($status, $out) = chronos($conf, '--pg1-path=' . private_directory(), '--plan', 'restore');
isnt($status, 0, 'the plan does not go beyond');
like($out, qr/$flaw.*cannot be done/s, 'and says why');
for my $round ('first', 'second')
{
	($status, $out, my $err) = chronos($conf, 'verify');
	isnt($status, 0, "verify finds it at the $round time");
	like($out . $err, $flaw, 'by name');
}
# A hole that is filled later: the one behind it, which nothing came before, was good until then.
my ($filler) = glob "$repo/archive/main/$id/" . substr($before, 0, 16) . "/$before-*";
rename $filler, "$repo/" . basename($filler) or die "$filler: $!";
($status, $out, my $without) = chronos($conf, 'verify');
unlike($out . $without, $flaw, 'without the one before it there is nothing that it does not follow');
rename "$repo/" . basename($filler), $filler or die $!;
($status, $out, $without) = chronos($conf, 'verify');
isnt($status, 0, 'once that has come back');
like($out . $without, $flaw, 'it is found again');
my $stops = restored_node('stops', $copy, wait => 0, fail_ok => 1);
poll_until(sub { !-e $stops->data_dir . '/postmaster.pid' }, 'the server stops', 60);
$stops->_update_pid(-1);
my $said = PostgreSQL::Test::Utils::slurp_file($stops->logfile);
like($said, $flaw, 'recovery is told of it');
unlike($said, qr/selected new timeline|archive recovery complete/, 'and does not end there');
$node->stop;

done_testing();
