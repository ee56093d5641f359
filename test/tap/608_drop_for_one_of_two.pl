# archive-push-queue-max with two repositories, one of which is away: what is too much is dropped for
# that one alone, and recorded there; the other has every segment.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $second = PostgreSQL::Test::Utils::tempdir() . '/second';
mkdir $second or die $!;
my $spool = PostgreSQL::Test::Utils::tempdir();
my $node = chronos_node('primary', options => { 'repo2-path' => $second, 'repo2-retention-full' => 2,
	'archive-push-queue-max' => '48MiB', 'spool-path' => $spool });
my ($conf, $first) = ($node->{chronos_conf}, $node->{chronos_repo});
sub value { return $node->safe_psql('postgres', $_[0]) }
sub fill { value('CREATE TABLE IF NOT EXISTS u (); DROP TABLE u; SELECT pg_switch_wal()') for 1 .. $_[0]; return }
sub stored { return sort map { m{/([0-9A-F]{24})-[0-9a-f]{40}} ? $1 : () } glob "$_[0]/archive/main/*-1/*/*" }

fill(2);
wait_archived($node);
is_deeply([ stored($second) ], [ stored($first) ], 'both have everything');

rename $second, "$second.away" or die $!;
fill(9);
$node->poll_query_until('postgres', 'SELECT dropped_count >= 4 AND lag_segments <= 3 FROM chronos.wal_status')
  or die 'nothing is dropped';
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
like($log, qr/WARNING:  chronos: dropped WAL file '[0-9A-F]{24}' for repo2 because archive queue exceeded 48MB/,
	'dropped for the one that is away');
unlike($log, qr/dropped WAL file '[0-9A-F]{24}' for repo1/, 'and not for the other');

rename "$second.away", $second or die $!;
fill(1);
wait_archived($node);
poll_until(sub { !-s "$spool/chronos/main/dropped/repo2/segments" }, 'the record is handed on', 60);
my @all = stored($first);
cmp_ok(scalar(@all), '>=', 12, 'the first has all');
is(hex(substr $all[-1], 16) - hex(substr $all[0], 16) + 1, scalar(@all), 'without a hole');
my %there = map { $_ => 1 } stored($second);
my @missing = grep { !$there{$_} } @all;
cmp_ok(scalar(@missing), '>=', 3, 'the second lacks some');
my %dropped = map { $_ => 1 }
  PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /dropped WAL file '(\w{24})' for repo2/g;
is(join(' ', grep { !$dropped{$_} } @missing), '', 'which are among those that were dropped');
ok((() = glob "$second/chronos/main/gap/*-1/*") >= 1, 'the gap is recorded in the second');
is((() = glob "$first/chronos/main/gap/*-1/*"), 0, 'and none in the first');
$node->stop;

done_testing();
