# Why a backup is slow has an answer: chronos.throughput says whether the copying threads were busy
# with reading, computing or the storage, and chronos backup says it at its end.
# Enough with one version of PostgreSQL: its subject is the copying
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;

my $server = S3Server->new(buckets => ['far']);
my $link = $server->slow_link(rtt => 250);
my $node = chronos_node('primary', start => 0, options => { 'compress-type' => 'bz2', 'compress-level' => 9, 'process-max' => 1,
	'archive-timeout' => 120 });
my $far = write_config($node->basedir . '/far.conf', pg => $node->data_dir, port => $node->port, socket => $node->host,
	$server->options('far', port => $link->{port}), 'repo1-path' => '/far', 'process-max' => 1, 'compress-type' => 'none',
	'repo1-bundle' => 'n', 'archive-check' => 'n');
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]) }
sql('CREATE EXTENSION chronos_backup');
sql(q{CREATE TABLE t AS SELECT md5(i::text) AS m, repeat(i::text, 10) AS r FROM generate_series(1, 300000) AS i});

# --- The processor: hard compression into a directory.
my $label = sql(q{SELECT chronos.backup_now('full')});
is(sql("SELECT slowest, compute_percent > read_percent + store_percent, read_percent + compute_percent + store_percent + clock_percent BETWEEN 99.5 AND 100.5, type, state
		FROM chronos.throughput WHERE label = '$label'"), 'processor|t|t|full|succeeded', 'compression is what takes the time')
  or diag(sql('SELECT * FROM chronos.throughput'));
is(sql("SELECT t.bytes BETWEEN 20e6 AND b.size AND t.stored_bytes BETWEEN b.repo_delta * 0.9 AND b.repo_delta
			AND t.bytes_per_second BETWEEN 0.9 * t.bytes / extract(epoch FROM t.copy_time) AND 1.1 * t.bytes / extract(epoch FROM t.copy_time)
			AND t.stored_bytes_per_second < t.bytes_per_second AND t.copy_time > '0' AND t.checkpoint_time > '0' AND t.wal_time >= '0'
		FROM chronos.throughput AS t JOIN chronos.backups AS b USING (label) WHERE label = '$label'"), 't', 'bytes and rates')
  or diag(sql('SELECT t.*, b.size, b.repo_delta FROM chronos.throughput AS t JOIN chronos.backups AS b USING (label)'));
my ($status, $out) = chronos($node->{chronos_conf}, '--type=full', 'backup');
is($status, 0, 'the same from the shell');
like($out, qr{INFO: copied \d[.\d]*MB in \d+\.\ds \(\S+/s\), stored \d[.\d]*MB \(\S+/s\): reading \d+%, compressing (\d+)%, waiting for storage \d+%, for the clock \d+%; waited for checkpoint \d+\.\ds, sync \d+\.\ds, WAL \d+\.\ds\n},
	'one line at its end says it');
my ($compressing, $storing) = $out =~ /compressing (\d+)%, waiting for storage (\d+)%/;
cmp_ok($compressing // 0, '>', $storing // 100, 'with the same answer');

# --- The storage: a bucket a quarter of a second away, and nothing to compute.
is((chronos($far, 'stanza-create'))[0], 0, 'stanza in a bucket');
$node->append_conf('postgresql.conf', "archive_library = ''\narchive_command = 'true'\nchronos.config_file = '$far'");
$node->reload;
my $job = sql(q{SELECT chronos.start_backup('full')});
ok($node->poll_query_until('postgres', "SELECT slowest = 'storage' AND bytes_per_second > 0 AND copy_time > '0' AND state = 'running'
	FROM chronos.throughput WHERE id = $job"), 'a backup that runs can be asked');
is(sql("SELECT chronos.wait($job, '5 min')"), 'succeeded', 'it ends');
is(sql("SELECT slowest, store_percent > read_percent + compute_percent FROM chronos.throughput WHERE id = $job"), 'storage|t', 'the storage is what takes the time')
  or diag(sql('SELECT * FROM chronos.throughput'));
$node->stop;
done_testing();
