# Files and directories that their owner has made read-only, as some do with keys and postgresql.auto.conf,
# are restored and replaced like others, and have their modes again in the end.
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
my $origin = $node->data_dir;
$node->safe_psql('postgres', 'CREATE TABLE t (n int); INSERT INTO t VALUES (1)');
append_to_file("$origin/server.key", "as in the backup\n");
mkdir "$origin/scripts";
append_to_file("$origin/scripts/run", "x\n");
sub set_modes { my ($dir) = @_; chmod 0400, "$dir/server.key", "$dir/postgresql.auto.conf"; chmod 0500, "$dir/scripts/run", "$dir/scripts" }
set_modes($origin);
my ($rc, $out, $err) = chronos($conf, '--type=full', 'backup');
is($rc, 0, 'backup') or diag $out . $err;
wait_archived($node);

my $data = "$base/data";
mkdir $data, 0700;
($rc, $out, $err) = chronos($conf, "--pg1-path=$data", 'restore');
is($rc, 0, 'restore to an empty directory') or diag $out . $err;
is(slurp_file("$data/scripts/run"), "x\n", 'what is in a read-only directory is there');
is((stat "$data/server.key")[2] & 07777, 0400, 'a file has its mode');

# All of it different now, and something that the backup has not.
chmod 0600, "$data/server.key";
append_to_file("$data/server.key", "later\n");
mkdir "$data/extra";
append_to_file("$data/extra/x", "x\n");
set_modes($data);
chmod 0, "$data/pg_hba.conf";
chmod 0500, "$data/extra";
($rc, $out, $err) = chronos($conf, "--pg1-path=$data", '--delta', 'restore');
is($rc, 0, 'restore over it') or diag $out . $err;
is(slurp_file("$data/server.key"), "as in the backup\n", 'the file is that of the backup');
is((stat "$data/server.key")[2] & 07777, 0400, 'with its mode');
ok(!-e "$data/extra", 'what the backup has not is gone');
my $restored = restored_node('restored', $data);
is($restored->safe_psql('postgres', 'SELECT count(*) FROM t'), '1', 'the server is well');
$restored->stop;
$node->stop;
done_testing();
