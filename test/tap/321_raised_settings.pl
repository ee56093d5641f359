# A server that replays WAL must have some settings as high as the one that wrote it. They may have been
# raised after the backup, so that no file of it says so: the recovery must come to its end all the same.
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
$node->safe_psql('postgres', 'CREATE TABLE t (n int); INSERT INTO t VALUES (1)');
my ($rc, $out, $err) = chronos($conf, '--type=full', 'backup');
is($rc, 0, 'backup') or diag $out . $err;
my $early = $node->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
$node->safe_psql('postgres', 'SELECT pg_switch_wal() FROM pg_logical_emit_message(false, $$t$$, $$x$$)') for 1 .. 3;
my %before = map { $_ => $node->safe_psql('postgres', "SHOW $_") }
  qw(max_connections max_worker_processes max_wal_senders max_prepared_transactions max_locks_per_transaction);
my %raised = map { $_ => $before{$_} + 20 } keys %before;
$node->append_conf('postgresql.conf', join '', map { "$_ = $raised{$_}\n" } sort keys %raised);
$node->restart;
$node->safe_psql('postgres', 'INSERT INTO t VALUES (2)');
# And lowered again: the WAL in between needs the higher ones.
$node->append_conf('postgresql.conf', join '', map { "$_ = $before{$_}\n" } sort keys %before);
$node->restart;
$node->safe_psql('postgres', 'INSERT INTO t VALUES (3)');
wait_archived($node);
$node->stop;

my $data = "$base/data";
mkdir $data, 0700;
($rc, $out, $err) = chronos($conf, "--pg1-path=$data", 'restore', '--plan');
is($rc, 0, 'plan') or diag $out . $err;
like($out, qr/^ +setting: +$_ = '$raised{$_}' for this recovery$/m, "the plan raises $_") for sort keys %raised;
($rc, $out, $err) = chronos($conf, "--pg1-path=$data", '--type=lsn', "--target=$early", 'restore', '--plan');
is($rc, 0, 'plan to an end before that') or diag $out . $err;
unlike($out, qr/^ +setting: /m, 'which needs none of them');
($rc, $out, $err) = chronos($conf, "--pg1-path=$data", '--log-level-console=detail', 'restore');
is($rc, 0, 'restore') or diag $out . $err;
like($out, qr/restore file .*the WAL was written with a higher max_connections: recovery gets $raised{max_connections}/s,
	'which does not read the WAL before it copies');
my $restored = restored_node('restored', $data);
is($restored->safe_psql('postgres', 'SELECT count(*) FROM t'), '3', 'recovery comes to its end');
$restored->safe_psql('postgres', 'INSERT INTO t VALUES (4)');
$restored->stop;

# What was asked for by hand stands.
system('rm', '-rf', $data);
mkdir $data, 0700;
($rc, $out, $err) = chronos($conf, "--pg1-path=$data", '--recovery-option=max_connections=77', 'restore');
is($rc, 0, 'restore with a value given') or diag $out . $err;
my $auto = slurp_file("$data/postgresql.auto.conf");
like($auto, qr/^max_connections = '77'$/m, 'which is written');
unlike($auto, qr/^max_connections = '$raised{max_connections}'/m, 'and no other');
done_testing();
