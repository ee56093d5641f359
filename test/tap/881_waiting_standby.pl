# What a standby that follows a bucket costs: one that is far behind takes what was fetched ahead; one that waits at the
# end of the archive asks little, again and again, and what arrives is found the next time it asks, also by one that is
# promoted then.
# Enough with one version of PostgreSQL: its subject is the bucket
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;
use Time::HiRes qw(sleep time);

my $server = S3Server->new(buckets => ['one']);
my $primary = chronos_node('primary', conf => "wal_keep_size = 0\n", options => { $server->options('one'), 'repo1-path' => '/r',
		'archive-get-queue-max' => '256MiB' });
my $conf = $primary->{chronos_conf};
$primary->safe_psql('postgres', 'CREATE TABLE t (id int, filler text)');
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'a backup');
my $behind = 12;
$primary->safe_psql('postgres', "INSERT INTO t SELECT $_, repeat(md5(i::text), 20) FROM generate_series(1, 2000) i; SELECT pg_switch_wal()")
  for 1 .. $behind;
wait_archived($primary);
my $state = table_state($primary, 't');
# Nobody else asks the bucket anything.
$primary->stop;

my $interval = 0.5;
my $directory = private_directory();
is((chronos($conf, "--pg1-path=$directory", '--type=standby', 'restore'))[0], 0, 'a standby that follows the archive');
my $standby = restored_node('standby', $directory, wait => 0, conf => "wal_retrieve_retry_interval = '500ms'\n");
wait_for_server($standby, 'the standby answers');
poll_until(sub { table_state($standby, 't') eq $state }, 'the standby has all there is', 60);
my $log = slurp_file($standby->logfile);
my $ahead = () = $log =~ /found [0-9A-F]{24} in the spool/g;
cmp_ok($ahead, '>=', $behind - 4, "far behind, it takes from the spool ($ahead of $behind and some)");

# The first time an absence is looked into, and once a minute from then on.
sub rounds { my @asked = slurp_file($standby->logfile) =~ /unable to find [0-9A-F]{24} in the archive/g; return scalar @asked }
my $begun = rounds();
poll_until(sub { rounds() > $begun + 2 }, 'it has asked some times', 60);
my ($rounds, $requests) = (rounds(), $server->command('requests'));
sleep 10;
($rounds, $requests) = (rounds() - $rounds, $server->command('requests') - $requests);
my $each = $requests / $rounds;
cmp_ok($rounds, '>=', 5, "it goes on asking ($rounds times)");
cmp_ok($each, '<', 5, sprintf('and takes few requests for it (%.1f each time, %d an hour at an interval of 5 s)', $each, $each * 720));
cmp_ok($each, '>=', 1, 'but asks the bucket each time');

# What arrives ----------------------------------------------------------------------------------------------

$primary->start;
$primary->safe_psql('postgres', q{INSERT INTO t VALUES (1000, 'arrived')});
wait_archived($primary);
my $begin = time;
poll_until(sub { $standby->safe_psql('postgres', 'SELECT count(*) FROM t WHERE id = 1000') eq '1' }, 'the standby finds it', 30);
cmp_ok(time - $begin, '<', 6 * $interval + 1, sprintf('what arrives is found the next time (%.1f s)', time - $begin));

poll_until(sub { rounds() > $begun + $rounds + 4 }, 'it waits again', 60);
$primary->safe_psql('postgres', q{INSERT INTO t VALUES (1001, 'arrived late')});
wait_archived($primary);
my $last = $primary->safe_psql('postgres', 'SELECT count(*) FROM t');
sleep 2 * $interval;
$standby->promote;
is($standby->safe_psql('postgres', 'SELECT count(*) FROM t'), $last, 'one that is promoted behind a segment that has just arrived has it');
$standby->stop('immediate');
$primary->stop('immediate');
done_testing();
