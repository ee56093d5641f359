# Segments of 64 MiB and of 1 MiB stream and recover as those of 16 MiB do: the memory that putting
# the last one together takes does not grow with it, it is fetched once although the server asks
# twice, nothing is shipped again and again, and that nothing is fetched ahead is said, once.
use strict;
use warnings;
use ChronosTest;
use File::Path qw(remove_tree);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub lives
{
	my ($size_mb, $queue, $fill_mb) = @_;
	my $name = "segments of $size_mb MiB";
	my $node = PostgreSQL::Test::Cluster->new("of_$size_mb");
	$node->init(allows_streaming => 1, extra => [ '--data-checksums', "--wal-segsize=$size_mb" ]);
	my $base = PostgreSQL::Test::Utils::tempdir();
	mkdir "$base/repo";
	my $conf = write_config("$base/chronos.conf", path => "$base/repo", pg => $node->data_dir, port => $node->port, socket => $node->host,
		'compress-type' => 'none', 'archive-get-queue-max' => $queue);
	$node->append_conf('postgresql.conf', <<C);
shared_preload_libraries = 'chronos_backup'
archive_mode = on
archive_library = 'chronos_backup'
chronos.config_file = '$conf'
chronos.wal_stream = on
chronos.wal_stream_interval = 200ms
autovacuum = off
min_wal_size = @{[ 2 * $size_mb ]}MB
max_wal_size = @{[ 8 * $size_mb ]}MB
C
	$node->start;
	my $value = sub { return $node->safe_psql('postgres', $_[0]) };
	$value->('CREATE EXTENSION chronos_backup');
	$value->('CREATE TABLE t (id serial, filler text)');
	$value->('ALTER TABLE t ALTER filler SET STORAGE EXTERNAL');
	$value->(q{SELECT chronos.backup_now('full')});
	wait_archived($node);
	my $streamed = sub { $node->poll_query_until('postgres', 'SELECT exposed_bytes = 0 FROM chronos.wal_status') or die 'not streamed' };
	for (1 .. $fill_mb)
	{
		$value->(q{INSERT INTO t (filler) SELECT repeat(md5(g::text), 32) FROM generate_series(1, 1000) g});
		$streamed->() if $_ % 4 == 0;
	}
	$streamed->();
	# Nothing is shipped twice: what is there is what the server has written, and a little.
	my @pieces = glob "$base/repo/chronos/main/stream/*/*/*";
	my %segment = map { m{/([0-9A-F]{24})/} => 1 } @pieces;
	cmp_ok(scalar @pieces, '<', 33 * ($size_mb / 16 + 1) * keys %segment, "$name: the pieces are not too many");
	my ($stored) = (0);
	$stored += -s $_ // 0 for @pieces;
	cmp_ok($stored, '<', ($size_mb + 16) * 2**20 * keys %segment, 'and no larger than what they are of');
	my $shipped_before = join ' ', @pieces;
	$value->(q{INSERT INTO t (filler) VALUES ('last')});
	$streamed->();
	my %former = map { $_ => 1 } split / /, $shipped_before;
	my ($new) = (0);
	for (glob "$base/repo/chronos/main/stream/*/*/*") { $new += -s $_ // 0 if !$former{$_} }
	cmp_ok($new, '<=', 16 * 2**20, 'one more row ships no more than its block again');
	my $count = $value->('SELECT count(*) FROM t');
	my $pid = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/ ? $1 : die;
	kill 'KILL', engines_below($pid), $pid;
	poll_until(sub { !kill 0, $pid }, 'the server dies', 30);
	remove_tree($node->data_dir);
	$node->_update_pid(0);

	my $dir = PostgreSQL::Test::Utils::tempdir();
	chmod 0700, $dir;
	my ($status, $out, $err) = chronos($conf, "--pg1-path=$dir", '--archive-mode=off', 'restore');
	is($status, 0, "$name: restored") or diag($out . $err);
	# The command of the recovery, with a witness to its memory.
	append_to_file("$base/witness", <<"W");
#!/usr/bin/env python3
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
with open("$base/peaks", "a") as out:
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=out)
sys.exit(status)
W
	chmod 0755, "$base/witness";
	my $auto = slurp_file("$dir/postgresql.auto.conf");
	$auto =~ s/^(restore_command = ')/$1$base\/witness /m or die $auto;
	append_to_file("$dir/postgresql.auto.conf", ($auto =~ /^(restore_command = .*)$/m)[0] . "\n");
	my $again = restored_node("again_$size_mb", $dir, bare => 1);
	is($again->safe_psql('postgres', 'SELECT count(*) FROM t'), $count, 'every row is back');
	my $log = slurp_file($again->logfile);
	my $fetched = () = $log =~ /put together from \d+ streamed piece/g;
	# One that happened to be complete was archived.
	cmp_ok($fetched, '<=', 1, 'the last segment was fetched once') or diag($log);
	is($fetched, 1, 'and it was put together') if $size_mb > 16;
	$again->stop;
	my ($peak) = sort { $b <=> $a } split /\n/, slurp_file("$base/peaks");
	diag("$name: at most $peak KiB");
	($status, $out, $err) = chronos($conf, 'drill');
	is($status, 0, "$name: the server of a drill starts with them") or diag($out . $err);
	return ($log, $peak);
}

my ($log, $peak) = lives(64, '32MiB', 40);
is(() = $log =~ /WARN: WAL is not fetched ahead of the recovery: a segment of 64MB does not fit/g, 1, 'that nothing is fetched ahead is said, once');
like($log, qr/archive-get-queue-max=256MiB/, 'and with what it would be');
($log, my $peak_of_small) = lives(1, '32MiB', 3);
cmp_ok($peak, '<', $peak_of_small + 24 * 1024, 'memory does not grow with the segment');
unlike($log, qr/not fetched ahead/, 'where it is, nothing is said');
done_testing();
