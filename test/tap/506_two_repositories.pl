# Two repositories, a bucket and a directory: when the bucket is away, WAL keeps reaching the directory,
# nothing is acknowledged that is not in both, a backup and a restore use the other, and the bucket
# catches up when it is back.
# Enough with one version of PostgreSQL: its subject is the second repository
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;
use Time::HiRes qw(time);

my $server = S3Server->new(buckets => ['first']);
my $link = $server->slow_link(rtt => 0);
my $second = PostgreSQL::Test::Utils::tempdir() . '/second';
mkdir $second or die $!;
my $node = chronos_node('primary', options => { $server->options('first', port => $link->{port}),
	'repo1-path' => '/repo', 'repo2-path' => $second, 'repo2-retention-full' => 2, 'io-timeout' => 2,
	'process-max' => 2, 'compress-type' => 'lz4', 'archive-timeout' => 60 });
my $conf = $node->{chronos_conf};

sub in_second
{
	return sort map { m{/([0-9A-F]{24})-[0-9a-f]{40}} ? $1 : () } glob "$second/archive/main/*/*/*";
}
sub in_first
{
	return sort map { m{/([0-9A-F]{24})-[0-9a-f]{40}} ? $1 : () } $server->keys_below('first', 'repo/archive/');
}
sub work
{
	my ($note) = @_;
	$node->safe_psql('postgres', "INSERT INTO ledger SELECT '$note ' || i FROM generate_series(1, 100) i");
	return $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
}

$node->safe_psql('postgres', 'CREATE TABLE ledger (note text)');
wait_archived($node);
for my $repo (1, 2)
{
	my ($status, $out, $err) = chronos($conf, "--repo=$repo", '--type=full', 'backup');
	is($status, 0, "backup into repo$repo") or diag($out . $err);
}
my ($status, $out, $err) = chronos($conf, 'info');
like($out, qr/repo1: backup (?:set )?size.*repo2: backup (?:set )?size/s, 'info lists both') or diag($out . $err);
wait_archived($node);
my $acknowledged = $node->safe_psql('postgres', 'SELECT last_archived_wal FROM pg_stat_archiver');

# Away: connections stand still.
$link->command('stall');
my $last;
$last = work("away $_") for 1 .. 90;
my $begin = time;
poll_until(sub { (in_second())[-1] ge $last }, "repo2 has $last", 60);
diag(sprintf 'repo2 had 90 segments %.1f s after the last', time - $begin);
pass('the directory gets every segment while the bucket is away');
is($node->safe_psql('postgres', 'SELECT last_archived_wal FROM pg_stat_archiver'), $acknowledged,
	'and none of them is acknowledged');
# Nobody asks for anything now: the archiver waits for the bucket.
$begin = time;
$last = work('later');
poll_until(sub { (in_second())[-1] ge $last }, "repo2 has $last", 20);
cmp_ok(time - $begin, '<', 5, 'one that comes later is there within seconds');

($status, $out, $err) = chronos($conf, '--repo=2', '--type=incr', '--no-archive-check', 'backup');
is($status, 0, 'a backup into the other repository') or diag($out . $err);
work('after');
my $state = table_state($node, 'ledger');
poll_until(sub { (in_second())[-1] ge $node->safe_psql('postgres', q{SELECT pg_walfile_name(pg_current_wal_lsn() - 16777216)}) },
	'the last segment', 20);

my $dir = PostgreSQL::Test::Utils::tempdir();
chmod 0700, $dir;
($status, $out, $err) = chronos($conf, "--pg1-path=$dir", '--type=immediate', '--target-action=promote',
	'--archive-mode=off', 'restore');
is($status, 0, 'restore goes on with the repository that is there') or diag($out . $err);
like($err, qr/WARN: repo1: /, 'and says so');
like($out, qr/INFO: repo2: restore backup set/, 'and which one') or diag($out);

$link->command('go');
$begin = time;
$node->poll_query_until('postgres', "SELECT last_archived_wal >= '$last' FROM pg_stat_archiver") or die 'no catching up';
diag(sprintf 'repo1 had caught up after %.1f s', time - $begin);
my $now = wait_archived($node);
my ($first, @both) = ({ map { $_ => 1 } in_first() });
is_deeply([ grep { !$first->{$_} } in_second() ], [], 'the bucket has what it missed');
$node->stop('immediate');

$dir = PostgreSQL::Test::Utils::tempdir();
chmod 0700, $dir;
($status, $out, $err) = chronos($conf, '--repo=1', "--pg1-path=$dir", '--archive-mode=off', 'restore');
is($status, 0, 'restore from the bucket alone') or diag($out . $err);
my $again = restored_node('again', $dir);
is(table_state($again, 'ledger'), $state, 'holds everything');
$again->stop;
$_->stop for $link, $server;
done_testing();
