# What a recovery to a point in time has given up does not come back by itself, and the backup that
# leads to the timeline it began is found, though a newer one does not.
use strict;
use warnings;
use ChronosTest;
use File::Basename qw(basename);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = chronos_node('primary');
my ($conf, $repo) = @$node{qw(chronos_conf chronos_repo)};
my $archive = archive_directory($node);

sub restored { return restored_rows($conf, @_) }

sub label { my ($info) = (chronos($conf, '--output=json', 'info'))[1]; my @labels = $info =~ /"label":"(\d[^"]+)"/g; return @labels }

$node->safe_psql('postgres', 'CREATE TABLE t (id int)');
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'a backup');
my $ended = time;
poll_until(sub { time > $ended + 1 }, 'a second later: times of backups have no fractions', 10);
$node->safe_psql('postgres', 'INSERT INTO t VALUES (1)');
my $target = $node->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
wait_archived($node);
$node->safe_psql('postgres', 'INSERT INTO t VALUES (2)');
my $given_up = $node->safe_psql('postgres', 'SELECT now()');
wait_archived($node);
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'a second backup, which is given up');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (3)');
wait_archived($node);

$node->stop;
is((chronos($conf, '--type=lsn', "--target=$target", '--target-action=promote', '--delta', 'restore'))[0], 0, 'back to the first row');
$node->start;
$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'no end of recovery';
poll_until(sub { -e "$archive/00000002.history" }, 'the history has arrived', 60);

# A standby made now finds the segment of the fork on the old timeline only: the new one's is not full.
$node->safe_psql('postgres', 'INSERT INTO t VALUES (10)');
my $standby_dir = private_directory();
is((chronos($conf, "--pg1-path=$standby_dir", '--type=standby', '--recovery-option=primary_conninfo=' . $node->connstr, 'restore'))[0],
	0, 'a standby of it');
my $standby = restored_node('standby', $standby_dir, wait => 0, conf => "archive_library = ''\nshared_preload_libraries = ''\n");
$node->wait_for_catchup($standby->name);
$standby->stop;
$standby->start;
$node->wait_for_catchup($standby->name);
$standby->promote;
is($standby->safe_psql('postgres', q{SELECT string_agg(id::text, ',' ORDER BY id) FROM t}), '1,10',
	'follows it, also started again, and has nothing of what was given up when it is promoted');
$standby->stop('immediate');

$node->stop('immediate');
ok(!glob("$archive/00000002*/*"), 'the server is lost before any WAL of its timeline has arrived');

my ($rows, $words) = restored('default');
is($rows, '1', 'what was given up does not come back');
like($words, qr/--target-timeline=1 follows that timeline instead/, 'and is named');
my ($oldest, $newest) = label();
like((chronos($conf, '--pg1-path=' . private_directory(), '--plan', 'restore'))[1], qr/backup:\s+\Q$oldest\E in repo1.*newer \Q$newest\E does not/,
	'the backup is the newest that leads there');
is((restored('by_number', '--target-timeline=1'))[0], '1,2,3', 'asked for by its number it is there');
my ($status, $out, $err) = chronos($conf, '--pg1-path=' . private_directory(), '--type=time', "--target=$given_up", 'restore');
is($status, 58, 'a moment that was given up is no moment of the new timeline');
like($out . $err, qr/was given up.*--target-timeline=1/s, 'and where it is, is said');

# Not even the history has arrived: only that the restore was made is on record.
unlink "$archive/00000002.history" or die $!;
# Whether WAL has come since is not a question of times: those of a bucket are another machine's.
my @stored = sort glob "$archive/00000001*/*-*";
utime time + 3600, time + 3600, @stored or die $!;
($status, $out, $err) = chronos($conf, '--delta', 'restore');
is($status, 58, 'what the last restore meant is not undone without a word');
like($out . $err, qr/was restored with --type=lsn.*--target-timeline=1/s, 'and the choice has its command');
($rows, $words) = restored('elsewhere');
is($rows, '1,2,3', 'elsewhere it is no more than a warning: a test restore is no fork');
like($words, qr/was restored with --type=lsn/, 'which is given');
like(join('', (chronos($conf, '--pg1-path=' . private_directory(), '--type=standby', '--plan', 'restore'))[1, 2]), qr/was restored with --type=lsn/,
	'as it is for a standby, which may replay what its primary gave up');
# Somebody goes on with the timeline: what was restored elsewhere took nothing from it.
utime 1, 1, @stored or die $!;
my ($directory, $last, $rest) = $stored[-1] =~ m{(.*)/([0-9A-F]{24})(-.*)} or die;
my $later = sprintf '%s/%s%08X%s', $directory, substr($last, 0, 16), hex(substr $last, 16) + 1, $rest;
link $stored[-1], $later or die $!;
my $plan = join '', (chronos($conf, '--pg1-path=' . private_directory(), '--plan', 'restore'))[1, 2];
like($plan, qr/wal in archive:\s+up to \Q@{[ basename($later) =~ s{-.*}{}r ]}\E/, 'later WAL');
unlike($plan, qr/was restored with --type=lsn/, 'ends the warning');

done_testing();
