# What watches the server over HTTP costs the database nothing: 200 requests a second open no session,
# run no statement and leave its throughput where it is. CHECK_LONG: a minute of requests, and measured.
use strict;
use warnings;
use ChronosTest;
use HttpTest;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $port = free_port();
my $node = chronos_node('primary', conf => "chronos.health_interval = 15\nchronos.http_listen = 'localhost:$port'\n");
sub sql { return $node->safe_psql('postgres', $_[0]) }
ok(wait_for_http($port), 'it serves');
sub status { return JSON::PP::decode_json((get($port, '/api/status.json'))[1]) }
ok(wait_for_http($port, '/health', 503), 'without a backup it is unhealthy');
sql(q{SELECT chronos.schedule('nightly', 'full', '17 3 * * *')});
sql(q{SELECT chronos.backup_now('full')});
# The next look is due in a quarter of a minute at worst; what has ended is looked at when it ends.
my $ended = time;
ok(wait_for_http($port, '/health', 200), 'with one it is healthy');
cmp_ok(time - $ended, '<', 5, sprintf 'after %.1f s', time - $ended);
my $now = status();
my ($job) = @{ $now->{jobs} };
is("$job->{type} $job->{state}", 'full succeeded', 'the job is there, without a session');
cmp_ok($now->{facts}{jobs}{age}, '<=', 21, 'as it was a moment ago');
for (1 .. 200) { last if @{ status()->{schedules} }; sleep 0.1 }
my ($schedule) = @{ status()->{schedules} };
is($schedule->{name}, 'nightly', 'so is the schedule');
cmp_ok($schedule->{next_run}, '>', time, 'with when it is due');
sql('SELECT pg_stat_force_next_flush()');

# Transactions and sessions of all databases so far.
sub counted { return split /\|/, sql('SELECT sum(xact_commit + xact_rollback), sum(sessions) FROM pg_stat_database') }

my $seconds = $ENV{CHECK_LONG} ? 20 : 6;
my @before = counted();
sleep $seconds;
my @idle = counted();
sub requests_for { return get_steadily($port, $_[0], qr/^(?:200|503)$/, qw(/healthz /metrics /api/status.json /readyz)) }
my ($failed, $slowest, $count) = requests_for($seconds);
my @busy = counted();
is($failed, 0, sprintf '%d requests, the slowest in %.0f ms', $count, 1000 * $slowest);
# The health worker looks as often in both; a look takes a few dozen statements.
my @alone = map { $idle[$_] - $before[$_] } 0, 1;
my @asked = map { $busy[$_] - $idle[$_] } 0, 1;
cmp_ok($asked[0], '<=', 2 * $alone[0] + 200, "no statements for them: $asked[0] transactions, $alone[0] without requests");
cmp_ok($asked[1], '<=', 2 * $alone[1] + 20, "nor sessions: $asked[1], $alone[1] without requests");

SKIP:
{
	skip 'without CHECK_LONG nothing is measured', 2 if !$ENV{CHECK_LONG};
	$node->command_ok([ 'pgbench', '-q', '-i', '-s', '5', $node->connstr('postgres') ], 'pgbench is set up');
	my %rate;
	for my $round (1 .. 6)
	{
		my $asked = $round % 2 == 0;
		my $out = '';
		my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', '1', '-T', '10', $node->connstr('postgres') ], '>', \$out, '2>', \my $err);
		requests_for(10) if $asked;
		$bench->finish;
		push @{ $rate{$asked ? 'asked' : 'alone'} }, $out =~ /tps = ([\d.]+)/;
	}
	my ($alone_tps, $asked_tps) = map { (sort { $a <=> $b } @{ $rate{$_} })[1] } 'alone', 'asked';
	cmp_ok($asked_tps, '>', 0.85 * $alone_tps,
		sprintf('the database goes on: %.0f transactions a second, %.0f without requests (%s; %s)',
			$asked_tps, $alone_tps, join(' ', map { int } @{ $rate{asked} }), join(' ', map { int } @{ $rate{alone} })));
}
$node->stop;
done_testing();
