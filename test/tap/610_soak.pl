# Whatever happens to engines, repository and server, no WAL is lost, none is there twice, and every
# committed moment can be recovered. Under load, with WAL switched all the time and streamed, engines
# are killed, the repository goes away for seconds, and the server is restarted in all three modes.
# Then every segment since the first backup is in the repository once, with the content that its
# checksum says, and recovery to random moments gives exactly what was committed by then.
#
# TEST_STEPS is how many such things happen, about one a second; CHECK_LONG makes it 300.
use strict;
use warnings;
use ChronosTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

seed();
my $steps = campaign(20, short => 10, long => 300);
my $moments = $ENV{CHECK_LONG} || $steps > 20 ? 5 : 3;
my $node = chronos_node('primary', conf => <<'C');
archive_timeout = 2
autovacuum = off
track_commit_timestamp = on
chronos.wal_stream = on
chronos.wal_stream_interval = 500ms
max_wal_size = 512MB
C
my ($conf, $repo) = ($node->{chronos_conf}, $node->{chronos_repo});
sub value { return $node->safe_psql('postgres', $_[0]) }

$node->command_ok([ 'pgbench', '-i', '-q', '-s', '1', '-h', $node->host, '-p', $node->port, 'postgres' ], 'load');
my $label = value(q{SELECT chronos.backup_now('full')});
my $first = value('SELECT pg_walfile_name(pg_current_wal_lsn())');

my $bench;
sub load
{
	$bench->kill_kill if $bench;
	$bench = IPC::Run::start(
		[ 'pgbench', '-n', '-c', '3', '-T', '3600', '-R', '60', '-h', $node->host, '-p', $node->port, 'postgres' ],
		'<', \undef, '>', '/dev/null', '2>', '/dev/null');
	return;
}

sub kill_engines
{
	my $pid = PostgreSQL::Test::Utils::slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/ ? $1 : return 0;
	my @engines = engines_below($pid) or return 0;
	return kill 'KILL', $engines[ rand @engines ];
}

# Its archive goes away as a whole, as a file system does that is not mounted any more.
sub outage
{
	my ($seconds) = @_;
	rename $repo, "$repo.away" or die $!;
	my $end = time + $seconds;
	while (time < $end)
	{
		value('SELECT pg_switch_wal()') if rand() < 0.3;
		kill_engines() if rand() < 0.3;
		usleep(200_000);
	}
	rename "$repo.away", $repo or die $!;
	return;
}

my %done;
my $start = time;
load();
for my $step (1 .. $steps)
{
	my $dice = rand;
	# Each of the three at least once.
	my $mode = $step % 6 == 3 ? (qw(fast immediate smart))[ $step / 6 % 3 ] : undef;
	if ($mode)
	{
		$bench->kill_kill if $mode eq 'smart';    # which waits for its clients
		$node->stop($mode);
		$node->start;
		load();
		++$done{$mode};
	}
	elsif ($dice < 0.15) { outage(rand 3); ++$done{outage} }
	elsif ($dice < 0.75) { $done{kill} += kill_engines() }
	else
	{
		value('SELECT pg_switch_wal()') for 1 .. 1 + rand 4;
		++$done{switch};
	}
	usleep(int rand 1_000_000);
}
$bench->kill_kill;
diag(sprintf '%d steps in %d s: %s', $steps, time - $start, join ', ', map { "$done{$_} $_" } sort keys %done);
my $last = wait_archived($node);

my (%stored, @missing);
for my $file (glob "$repo/archive/main/*-1/*/*")
{
	++$stored{$1} if $file =~ /\/([0-9A-F]{24})-[0-9a-f]{40}(?:\.\w+)?$/;
}
my @wanted;
my ($from, $to) = map { 256 * hex(substr $_, 8, 8) + hex substr $_, 16 } $first, $last;
push @wanted, sprintf '%s%08X%08X', substr($first, 0, 8), $_ / 256, $_ % 256 for $from .. $to;
diag(scalar(@wanted) . ' segments');
is(join(' ', grep { !$stored{$_} } @wanted), '', 'no segment is missing');
is(join(' ', grep { $stored{$_} > 1 } sort keys %stored), '', 'none is there twice');
my $base = PostgreSQL::Test::Utils::tempdir();
# archive-get compares the checksum, and the cluster and position that stand in the segment.
is(join(' ', grep { (chronos($conf, '--archive-timeout=1', 'archive-get', $_, "$base/segment"))[0] != 0 } @wanted),
	'', 'and each is what its checksum says');
is(value("SELECT count(*) FROM chronos.wal_archive WHERE state <> 'stored'"), 0, 'chronos says the same');
is(value('SELECT ends FROM chronos.recovery_windows'), 'newest', 'and that all of it can be recovered');
poll_until(sub { (() = glob "$repo/chronos/main/stream/*-1/*") <= 1 }, 'only the current segment has streamed pieces', 60);
pass('nothing streamed is left of archived segments');

# Moments between two commits that are far enough from both: the order of commits in the WAL is not
# exactly that of their times.
my @pauses = split /\n/, value(q{
	SELECT at + (later - at) / 2 FROM (
		SELECT at, lead(at) OVER (ORDER BY at) AS later FROM (
			SELECT pg_xact_commit_timestamp(xmin) AS at FROM pgbench_history) AS commits) AS pairs
	WHERE later - at > '10 ms' ORDER BY at});
cmp_ok(scalar(@pauses), '>=', $moments, 'there are moments to choose from');
my $content = q{SELECT count(*) || ' ' || coalesce(md5(string_agg(h::text, '|' ORDER BY h::text)), '-') FROM pgbench_history AS h};
for my $number (1 .. $moments)
{
	my $moment = $pauses[ rand @pauses ];
	my $expected = value("$content WHERE pg_xact_commit_timestamp(xmin) <= '$moment'");
	my $dir = PostgreSQL::Test::Utils::tempdir();
	chmod 0700, $dir;
	my ($status, $out, $err) = chronos($conf, "--pg1-path=$dir", '--archive-mode=off', "--set=$label", '--type=time',
		"--target=$moment", '--target-action=promote', 'restore');
	is($status, 0, "restored for $moment") or diag($out . $err);
	my $again = restored_node("again$number", $dir);
	is($again->safe_psql('postgres', $content), $expected, "and exactly what was committed by $moment is there");
	$again->stop;
}
$node->stop;

done_testing();
