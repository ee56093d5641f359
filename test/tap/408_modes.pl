# Whatever the umask is, and whoever calls: nothing of what is made in a life of the stanza can be
# written by anybody but its owner, or read by anybody who is not of his group; and what decides what
# a server replays is its owner's alone.
use strict;
use warnings;
use ChronosTest;
use File::Find;
use PostgreSQL::Test::Utils;
use Test::More;

umask 0;
my $base = PostgreSQL::Test::Utils::tempdir();
chmod 0755, $base;
my $short = PostgreSQL::Test::Utils::tempdir_short();
# None of these is there: who makes them decides who may use them.
my %place = map { $_ => "$base/made/$_" } qw(lock log spool repo2);
$place{drill} = "$short/drill/scratch";
mkdir "$base/made";
chmod 0755, "$base/made";
my %options = ('lock-path' => $place{lock}, 'log-path' => $place{log}, 'log-level-file' => 'info', 'spool-path' => $place{spool},
	'drill-path' => $place{drill}, 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'modes of 408', 'log-level-console' => 'off',
	'repo2-path' => $place{repo2}, 'repo2-retention-full' => 1, 'backup-repos' => 'all',
	'alert-command' => "cat >/dev/null", 'archive-get-queue-max' => '64MiB');
mkdir $place{log};
chmod 0750, $place{log};
mkdir $place{repo2};
chmod 0750, $place{repo2};
mkdir "$short/drill";
mkdir $place{drill};
chmod 0755, "$short/drill", $place{drill};
my $node = chronos_node('primary', options => \%options,
	conf => "chronos.wal_stream = on\nchronos.wal_stream_interval = 200ms\nchronos.health_interval = 1s\n");
my ($conf, $repo) = @$node{qw(chronos_conf chronos_repo)};
chmod 0750, $repo;
sub value { return $node->safe_psql('postgres', $_[0]) }
sub does
{
	my ($what, @arguments) = @_;
	my ($status, $out, $err) = chronos($conf, @arguments);
	is($status, 0, $what) or diag($out . $err);
	return;
}

# --- A life.
does('stanza-create', 'stanza-create');
does('check', 'check');
value('CREATE TABLE t AS SELECT i, repeat(md5(i::text), 20) AS x FROM generate_series(1, 5000) i');
my $full = value(q{SELECT chronos.backup_now('full')});
does('backup by the command', '--type=incr', '--start-fast', 'backup');
does('annotate', "--set=$full", '--annotation=a=b', '--repo=1', 'annotate');
does('hold', "--set=$full", '--reason=why', 'hold');
value('INSERT INTO t SELECT i, repeat(md5(i::text), 500) FROM generate_series(1, 5000) i');
my $segment = wait_archived($node);
value('INSERT INTO t VALUES (0)');
$node->poll_query_until('postgres', 'SELECT exposed_bytes = 0 FROM chronos.wal_status') or die 'not streamed';
($segment) = map { m{/([0-9A-F]{24})-} ? $1 : () } reverse sort glob "$repo/archive/main/*-1/*/*";
does('verify', 'verify');
does('expire', 'expire');
does('drill', '--keep', 'drill');
does('maintenance', 'maintenance');
does('health', 'health');
does('stop', 'stop');
does('start', 'start');
does('unhold', '--set=all', 'unhold');
# One after the other, so that the next ones are fetched ahead.
my @archived = map { m{/([0-9A-F]{24})-} ? $1 : () } sort glob "$repo/archive/main/*/*/*";
for my $one (@archived)
{
	(my $status) = chronos($conf, 'archive-get', $one, "$base/made/got");
	$status == 0 or die "archive-get $one";
}
my $dir = "$base/made/restored";
does('restore', "--pg1-path=$dir", '--archive-mode=off', 'restore');
my $again = restored_node('again', $dir, bare => 1);
$again->stop;

# --- The walk.
sub modes
{
	my ($top, $forbidden) = @_;
	my (@bad, $count);
	find({ no_chdir => 1, wanted => sub {
			my @info = lstat $_ or return;
			# The directories that were there before are not of ours.
			return if -l _ || $_ eq $top && $top =~ m{^(?:\Q$base\E/made|\Q$place{drill}\E)$};
			++$count;
			push @bad, sprintf('%04o %s', $info[2] & 07777, $_) if $info[2] & $forbidden || $info[2] & 07000;
		} }, $top);
	return ($count // 0, join "\n", @bad);
}
for ([ $repo, 027, 'the repository' ], [ $place{repo2}, 027, 'the second repository' ], [ $place{lock}, 027, 'the lock path' ], [ $place{log}, 027, 'the log path' ],
	[ $place{spool}, 027, 'the spool' ], [ $place{drill}, 027, 'what a drill keeps' ], [ $dir, 077, 'the restored data directory' ], [ $node->data_dir, 077, 'the data directory' ])
{
	my ($top, $forbidden, $what) = @$_;
	my ($count, $bad) = -e $top ? modes($top, $forbidden) : (0, '');
	cmp_ok($count, '>', 0, "$what has something in it") or diag($top);
	is($bad, '', "$what is nobody else's");
}
# What decides what a server replays, and a copy of the whole cluster.
for my $own (glob("$place{spool}/archive/*/*"), glob("$place{spool}/chronos/*/*"), glob("$place{drill}/*"))
{
	is(sprintf('%04o', (stat $own)[2] & 0077), '0000', "$own is its owner's alone") if -d $own;
}
my (undef, $bad) = modes("$base/made", 022);
is($bad, '', 'nothing at all can be written by others');
# The same for what stands where the system keeps such things.
my @stray = grep { (stat $_)[4] == $> && (stat _)[2] & 022 && (stat _)[9] >= $^T } glob '/tmp/pgbackrest* /tmp/chronos*';
is("@stray", '', 'nothing strays into /tmp');
$node->stop;
done_testing();
