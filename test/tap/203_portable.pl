# What scripts/portable.sh packs works where nothing of this system is: a root directory that holds a
# statically linked shell, a repository and the unpacked archive, as a small container does.
#
# That needs root or user namespaces.
#
# Only with PostgreSQL 15: the cluster in the fixture is of that version
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use Cwd qw(abs_path);
use File::Copy qw(copy);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = abs_path("$FindBin::RealBin/../..");
my $fixtures = abs_path($ENV{TEST_FIXTURES_DIR} // "$top/test/fixtures");
my $root = PostgreSQL::Test::Utils::tempdir();
my @inside = ('unshare', $< == 0 ? () : ('--user', '--map-root-user'), "--root=$root");

# A system without a C library.
mkdir "$root/$_" or die "mkdir $root/$_: $!" for qw(bin etc tmp proc dev);
copy('/bin/busybox', "$root/bin/busybox") or die "busybox: $!";
chmod 0755, "$root/bin/busybox";
symlink 'busybox', "$root/bin/sh" or die;
my ($status, $out, $err) = run_tool(@inside, '/bin/sh', '-c', 'echo inside');
BAIL_OUT("no root directory can be changed here: run as root, or allow user namespaces: $err") if $status != 0;
is($out, "inside\n", 'a shell runs there');
($status, $out, $err) = run_tool(@inside, '/bin/sh', '-c', 'test -e /lib64 -o -e /lib -o -e /usr');
isnt($status, 0, 'no library does');

my $executable = abs_path($ENV{CHRONOS} // 'build/chronos');
($status, $out, $err) =
  run_tool("$top/scripts/portable.sh", $executable, '/opt/chronos', "$root/tmp/portable.tar.gz");
is($status, 0, 'the executables and their libraries are packed') or diag($err);
system('tar', '-C', $root, '-xzf', "$root/tmp/portable.tar.gz", '--no-same-owner') == 0 or die;
($status, $out, $err) = run_tool(@inside, '/opt/chronos/chronos', 'version');
is($status, 0, 'they run there') or diag($err);
($status, $out, $err) = run_tool(@inside, '/opt/chronos/chronos-serve', '--help');
is($status, 0, 'so does what serves HTTP') or diag($err) if -x "$root/opt/chronos/chronos-serve";

# A restore of a repository that the other tool wrote, up to a running server.
my $name = 'zst-bundle-block';
system('tar', '--zstd', '-xf', "$fixtures/$name.tar.zst", '-C', $root, '--no-same-owner') == 0 or die;
open my $conf, '>', "$root/etc/chronos.conf" or die;
print $conf <<C;
[global]
repo1-path=/repo
repo1-block=y
compress-type=zst
log-level-file=off
lock-path=/tmp/lock
spool-path=/tmp/spool

[main]
pg1-path=/data

[absent]
pg1-path=/data
repo1-type=s3
repo1-s3-endpoint=127.0.0.1
repo1-storage-port=1
repo1-s3-bucket=none
repo1-s3-region=none
repo1-s3-uri-style=path
repo1-s3-key=none
repo1-s3-key-secret=none-at-all
io-timeout=1
C
close $conf;
chmod 0640, "$root/etc/chronos.conf";
my @program = ('/opt/chronos/chronos', '--config=/etc/chronos.conf');
my @chronos = (@inside, @program);
($status, $out, $err) = run_tool(@chronos, '--stanza=main', 'restore', '--archive-mode=off');
is($status, 0, 'a cluster is restored') or diag($err);

my $node = PostgreSQL::Test::Cluster->new('portable');
mkdir $node->basedir;
symlink "$root/data", $node->data_dir or die;
like(slurp_file("$root/data/postgresql.auto.conf"), qr{^restore_command = '/opt/chronos/chronos }m,
	'its recovery calls the executable by the name that it has there');
my $get = join ' ', @inside, '--wd=/data', @program, '--stanza=main', 'archive-get', '%f', '%p';
append_to_file("$root/data/postgresql.auto.conf",
	sprintf("port = %d\nlisten_addresses = ''\nunix_socket_directories = '%s'\nrestore_command = '%s'\n", $node->port, $node->host, $get));
$ENV{PGUSER} = 'postgres';
$node->start;
$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'recovery did not end';
my ($recorded) = map { (split /\t/)[5] } grep { /^default\t/ } split /\n/, slurp_file("$fixtures/$name/targets.tsv");
is($node->safe_psql('postgres', <<'Q'), $recorded, 'and ends where the repository does');
SELECT 'blocks=' || (SELECT count(*) || ',' || md5(string_agg(id || ':' || payload, '|' ORDER BY id)) FROM blocks)
	|| ' ledger=' || (SELECT count(*) || ',' || md5(string_agg(id || ':' || note, '|' ORDER BY id)) FROM ledger)
Q
$node->stop;

# What is opened only when it is needed is there as well.
($status, $out, $err) = run_tool(@chronos, '--stanza=absent', 'repo-ls');
isnt($status, 0, 'a bucket that is not there is an error');
like("$out$err", qr/127\.0\.0\.1.*(?:refused|connect)/is, 'of the network, not of a missing library');
($status, $out, $err) = run_tool(@chronos, '--stanza=main', '--pg1-socket-path=/tmp', '--pg1-port=1', 'backup');
like("$out$err", qr{/tmp/\.s\.PGSQL\.1}, 'a server that does not run is missed by its socket');
done_testing();
