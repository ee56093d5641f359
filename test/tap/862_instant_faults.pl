# A bucket that fails while a directory is completed from it: who reads what is missing gets an error, in time, and nobody
# else notices; hydration goes on by itself when the bucket answers again, and what comes out is the directory of a restore.
# Connections that end, refusals, a server that is too busy, credentials that have expired, one that never answers; and faults
# at random among good answers.
#
# TEST_SEED repeats a run.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Fcntl qw(O_RDWR);
use InstantTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;
use Time::HiRes qw(time);

my $seed = seed();
# What pgBackRest here cannot read is read by nobody else here.
delete $ENV{CHRONOS_REPO1_BLOCK};
my $bucket = S3Server->new(buckets => ['faults']);
my $proxy = $bucket->fault_proxy;
my %options = ('repo1-path' => '/r', 'repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'zst', 'io-timeout' => 3, 'process-max' => 2,
	'log-level-file' => 'detail');
my $node = chronos_node('primary', options => { $bucket->options('faults'), %options });
my $conf = write_config(PostgreSQL::Test::Utils::tempdir() . '/faulty.conf', pg => $node->data_dir, port => $node->port, socket => $node->host,
	$bucket->options('faults', port => $proxy->{port}), %options);
$node->safe_psql('postgres', q{
	CREATE EXTENSION amcheck;
	CREATE TABLE big AS SELECT i AS id, repeat(md5(i::text), 3) AS word FROM generate_series(1, 200000) i;
	CREATE INDEX ON big (id);
	CREATE TABLE small AS SELECT i AS id FROM generate_series(1, 1000) i;
	VACUUM});
is((chronos($node->{chronos_conf}, '--type=full', 'backup'))[0], 0, 'full backup');
wait_archived($node);
if (!sysopen my $device, '/dev/fuse', O_RDWR)
{
	diag("/dev/fuse: $!; what needs it is not claimed here");
	done_testing();
	exit;
}
my $question = q{SELECT count(*), md5(string_agg(word, '|' ORDER BY id)) FROM big};
my $expected = $node->safe_psql('postgres', $question);
my $copied = private_directory();
is((chronos($conf, "--pg1-path=$copied", '--type=none', 'restore'))[0], 0, 'restored');

# Of relations that are stored by themselves, and nothing else: the restore itself meets none.
sub faults { my ($name) = @_; $proxy->command("rule $name GET pg_data/base/ 1000000"); return }

sub instant
{
	my ($directory, @arguments) = @_;
	my ($status, $out, $err) = chronos($conf, "--pg1-path=$directory", '--instant', @arguments, 'restore');
	is($status, 0, "restored: @arguments") or diag($out . $err);
	return;
}

for my $fault (qw(drop 500 503 403 hang cut))
{
	faults($fault);
	my $data = private_directory();
	instant($data);
	my $server = restored_node("after_$fault", $data, conf => "fsync = on\n");
	my $before = time;
	my ($status, $out, $err) = $server->psql('postgres', $question, on_error_stop => 0);
	like($err, qr/could not read blocks? \d+(?:\.\.\d+)? in file "base\S+": Input\/output error/, "$fault: what cannot be had is an error");
	my $took = time - $before;
	cmp_ok($took, '<', 45, '... in time');
	is($server->safe_psql('postgres', 'SELECT count(*) FROM small'), 1000, '... of that alone');
	$server->safe_psql('postgres', 'CREATE TABLE made AS SELECT i AS id FROM generate_series(1, 10000) i; CHECKPOINT');
	my $mount = listed($data);
	cmp_ok($mount->{failures}, '>', 0, '... which the list has');
	cmp_ok($mount->{'missing-bytes'}, '>', 20e6, '... and it is still to come');
	is($mount->{whole}, 0, '... so that it is not whole');
	$proxy->command('clear');
	($status, $out, $err) = chronos($conf, "--finish=$data", 'mount');
	is($status, 0, "$fault: it goes on by itself") or diag($out . $err);
	note(sprintf '%s: error after %.1f s, whole %.1f s after that', $fault, $took, time - $before - $took);
	is($server->safe_psql('postgres', $question), $expected, '... and all is there');
	is($server->safe_psql('postgres', q{SELECT bool_and(bt_index_check(c.oid, true) IS NOT NULL) FROM pg_class c WHERE c.relname = 'big_id_idx'}), 't', '... and agrees');
	$server->stop;
	is((chronos($conf, "--finish=$data", 'mount'))[0], 0, '... it ends');
	is((run_tool('pg_checksums', '--check', '-D', $data))[0], 0, '... and every page has its checksum');
}

# At random, while it comes and somebody reads.
faults('drop');
my $data = private_directory();
instant($data, '--type=none');
$proxy->command('clear');
$proxy->command("seed $seed 0.3");
my $end = time + 300;
my ($read, $failed) = (0, 0);
while (time < $end && defined listed($data)->{path})
{
	for my $file (glob "$data/base/*/*")
	{
		my $whole = -s "$copied/" . substr $file, length "$data/";
		open my $stream, '<:raw', $file or last;
		my ($content, $other) = ('', '');
		my $at = int rand(1 + ($whole // 0));
		seek $stream, $at, 0;
		my $count = sysread $stream, $content, 8192;
		if (!defined $count) { ++$failed; next }
		next if !-e "$copied/" . substr $file, length "$data/";
		open my $known, '<:raw', "$copied/" . substr $file, length "$data/" or die $!;
		seek $known, $at, 0;
		sysread $known, $other, $count;
		die "$file at $at" if $content ne $other;
		++$read;
	}
}
my ($requests, $met, @names) = split / /, $proxy->command('count');
$proxy->command('clear');
diag("$met faults in $requests requests: @names; $read reads, $failed errors");
poll_until(sub { !-e "$data/.chronos-lazy" && !defined listed($data)->{path} }, 'it is whole in the end');
ok(-e "$data/global/pg_control", 'it is whole in the end');
my ($want, $have) = map { slurp_tree($_) } $copied, $data;
$_->{'global/pg_control'} =~ s/ [0-9a-f]{40}$// for $want, $have;
is(join("\n", grep { ($want->{$_} // 'nothing') ne ($have->{$_} // 'nothing') } sort keys %{ { %$want, %$have } }), '', '... and the directory of a restore');

done_testing();
