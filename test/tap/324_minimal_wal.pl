# No server replays WAL that was written with wal_level = minimal. That somebody has loaded data so, with
# archiving off for an hour, leaves no hole in the archive if it was all in one segment: the plan says it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $node = chronos_node('origin');
my $conf = $node->{chronos_conf};
sub at { return $node->safe_psql('postgres', $_[0]) }
at('CREATE TABLE t (n int); INSERT INTO t VALUES (1)');
my ($rc, $out, $err) = chronos($conf, '--type=full', 'backup');
is($rc, 0, 'backup') or diag $out . $err;
at('INSERT INTO t VALUES (2)');
my $lsn = at('SELECT pg_current_wal_insert_lsn()');
$node->append_conf('postgresql.conf', "wal_level = minimal\nmax_wal_senders = 0\narchive_mode = off\n");
$node->restart;
at('INSERT INTO t VALUES (3)');
$node->append_conf('postgresql.conf', "wal_level = replica\nmax_wal_senders = 5\narchive_mode = on\n");
$node->restart;
at('INSERT INTO t VALUES (4)');
wait_archived($node);

my $data = "$base/data";
mkdir $data, 0700;
($rc, $out, $err) = chronos($conf, "--pg1-path=$data", 'restore', '--plan');
is($rc, 75, 'a recovery to the end cannot be done') or diag $out . $err;
like($out . $err, qr/ran with wal_level = minimal from/, 'for what it is');
($rc, $out, $err) = chronos($conf, "--pg1-path=$data", '--type=lsn', "--target=$lsn", 'restore', '--plan');
is($rc, 0, 'a recovery to before it can be done') or diag $out . $err;
is_deeply([ glob "$data/*" ], [], 'nothing was written');

# Without a plan the WAL is read beside the copying: what is left is nothing that a server starts on.
($rc, $out, $err) = chronos($conf, "--pg1-path=$data", 'restore');
is($rc, 75, 'a restore for it fails') or diag $out . $err;
ok(!-e "$data/global/pg_control", 'and leaves nothing that would start');

# So it is for a position behind it, which is not read for before the copying either.
my $behind = at('SELECT pg_current_wal_insert_lsn()');
at('INSERT INTO t VALUES (5)');
wait_archived($node);
($rc, $out, $err) = chronos($conf, "--pg1-path=$data", '--delta', '--type=lsn', "--target=$behind", 'restore');
is($rc, 75, 'a position behind it is refused too') or diag $out . $err;

# What the refusal says leads as far as can be.
my ($hint) = "$out$err" =~ /(--type=lsn .*) recovers/;
($rc, $out, $err) = chronos($conf, "--pg1-path=$data", '--delta', split(' ', $hint), '--target-action=promote', 'restore');
is($rc, 0, 'restore as the hint says') or diag $out . $err;
my $restored = restored_node('restored', $data, bare => 1);
is($restored->safe_psql('postgres', 'SELECT count(*) FROM t'), '2', 'has all that was before it');
$restored->stop;

# A backup that was taken since then does not depend on it.
($rc, $out, $err) = chronos($conf, '--type=full', 'backup');
is($rc, 0, 'a backup behind it') or diag $out . $err;
($rc, $out, $err) = chronos($conf, "--pg1-path=$base/other", 'restore', '--plan');
is($rc, 0, 'needs nothing of it') or diag $out . $err;
$node->stop;
done_testing();
