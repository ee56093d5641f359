# A restore that leaves most of the backup where it is: a server runs in the directory while large relations are still
# in the repository, and while nothing of them can be had it can do all but read them. Until all is there no server starts
# without the process that serves the directory, however that has ended; with it again everything is there that was
# committed. What comes out in the end is the directory of a restore, in its place, without a copy.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use HttpTest;
use IPC::Run ();
use InstantTest;
use JSON::PP ();
use List::Util qw(first);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;
use Time::HiRes qw(time);

# What pgBackRest here cannot read is read by nobody else here.
delete $ENV{CHRONOS_REPO1_BLOCK};
my $node = chronos_node('primary', options => {
		'repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'zst', 'repo1-cipher-type' => 'aes-256-cbc',
		'repo1-cipher-pass' => 'a secret of 852', 'io-timeout' => 4, 'process-max' => 2, 'log-level-file' => 'detail' });
my $conf = $node->{chronos_conf};
my $repo = $node->{chronos_repo};

# Three relations that are stored by themselves, in blocks, and what is small.
$node->safe_psql('postgres', q{
	CREATE EXTENSION amcheck;
	CREATE TABLE big AS SELECT i AS id, repeat(md5(i::text), 3) AS word FROM generate_series(1, 150000) i;
	CREATE TABLE dropped AS SELECT i AS id, repeat(md5((i * 7)::text), 3) AS word FROM generate_series(1, 100000) i;
	CREATE TABLE cut AS SELECT i AS id, repeat(md5((i * 3)::text), 3) AS word FROM generate_series(1, 100000) i;
	CREATE TABLE small AS SELECT i AS id FROM generate_series(1, 1000) i;
	CREATE INDEX ON big (id);
	CREATE TABLE account AS SELECT i AS id, 0 AS balance FROM generate_series(1, 1000) i;
	CREATE TABLE history (id serial, account int, delta int);
	VACUUM});
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'full backup');
$node->safe_psql('postgres', q{UPDATE big SET word = 'changed' WHERE id % 5000 = 0; CHECKPOINT});
is((chronos($conf, '--type=incr', 'backup'))[0], 0, 'incr');
$node->safe_psql('postgres', q{
	UPDATE big SET word = 'again' WHERE id % 7001 = 0; DELETE FROM cut WHERE id > 20000; INSERT INTO small VALUES (0)});
$node->safe_psql('postgres', 'VACUUM cut');

my @questions = (
	q{SELECT count(*), md5(string_agg(word, '|' ORDER BY id)) FROM big},
	q{SELECT count(*), md5(string_agg(word, '|' ORDER BY id)) FROM dropped},
	q{SELECT count(*), md5(string_agg(word, '|' ORDER BY id)) FROM cut},
	q{SELECT count(*), sum(id) FROM small});

sub answers
{
	my ($server) = @_;
	return join "\n", map { $server->safe_psql('postgres', $_) } @questions;
}

my $expected = answers($node);
$node->safe_psql('postgres', q{SELECT pg_create_restore_point('here')});
$node->safe_psql('postgres', 'DROP TABLE dropped');
wait_archived($node);
my ($full, $incr) = map { $_->{label} } @{ JSON::PP::decode_json((chronos($conf, '--output=json', 'info'))[1])->[0]{backup} };

# What is stored by itself is not what it was, and comes back: the plan of a restore would notice what is missing.
my %kept;
sub damage
{
	%kept = map { $_ => slurp_file($_) } map { glob "$repo/backup/main/$_/pg_data/base/*/*" } $full, $incr;
	cmp_ok(scalar(keys %kept), '>=', 4, 'relations that are stored by themselves');
	overwrite($_, "\0" x length $kept{$_}) for sort keys %kept;
	return;
}
sub repair { overwrite($_, $kept{$_}) for sort keys %kept; return }
sub instant
{
	my ($directory, @arguments) = @_;
	my $before = time;
	my ($status, $out, $err) = chronos($conf, "--pg1-path=$directory", '--instant', @arguments, 'restore');
	is($status, 0, "restored: @arguments") or diag($out . $err);
	note(sprintf '%.2f s', time - $before);
	return;
}

sub wait_whole
{
	my ($directory) = @_;
	# In the mount it looks as if it were.
	poll_until(sub { !defined listed($directory)->{path} && !-e "$directory/.chronos-lazy" }, 'nothing serves the directory');
	ok(-e "$directory/global/pg_control", 'what was served is a whole directory');
	return;
}

# A restore writes pg_control anew.
sub is_same
{
	my ($restored, $directory) = @_;
	my ($want, $have) = map { slurp_tree($_) } $restored, $directory;
	$_->{'global/pg_control'} =~ s/ [0-9a-f]{40}$// for $want, $have;
	my @different = grep { ($want->{$_} // 'nothing') ne ($have->{$_} // 'nothing') } sort keys %{ { %$want, %$have } };
	is(join("\n", map { "$_: " . ($have->{$_} // 'nothing') . ' instead of ' . ($want->{$_} // 'nothing') } @different), '',
		'the same files, modes, sizes and contents');
	cmp_ok(scalar(keys %$have), '>', 900, '... of a cluster');
	return;
}

# --- without a server: what comes out is what a restore makes ---------------------------------------

my $copied = private_directory();
is((chronos($conf, "--pg1-path=$copied", '--type=none', 'restore'))[0], 0, 'restored');
my $quiet = private_directory();
instant($quiet, '--type=none');
wait_whole($quiet);
is_same($copied, $quiet);

# --- a server, and a repository that has lost what is large -----------------------------------------

damage();
my $data = private_directory();
instant($data, '--type=name', '--target=here', '--target-action=promote', '--archive-mode=off');
my $mount = listed($data);
is($mount->{state}, 'live', 'served');
cmp_ok($mount->{'missing-bytes'}, '>', 30e6, 'most of it is still to come');
ok(-e "$data/global/pg_control", 'pg_control is there for a server');
ok(!-e "$data/.chronos-lazy", '... and nothing else is seen');
{
	my $port = free_port();
	my $service = IPC::Run::start([ $chronos, "--config=$conf", '--stanza=main', '--log-level-console=off', "--http-listen=localhost:$port", 'serve' ], '<', \undef, '>', \my $said, '2>', \my $wrong);
	my $restore;
	poll_until(sub { $restore = first { $_->{path} eq $data } @{ JSON::PP::decode_json((get($port, '/api/status.json'))[1] || '{}')->{completing} // [] } }, 'the dashboard knows of it');
	is_deeply([ @$restore{qw(path label problem whole)} ], [ $data, $incr, '', JSON::PP::false ], '... what it is');
	cmp_ok($restore->{left_bytes}, '>=', $restore->{missing_bytes}, '... how much of it is to come');
	cmp_ok($restore->{missing_bytes}, '>', 30e6, '... as much as is');
	$service->signal('TERM');
	$service->finish;
}
# A server of the tests does not sync, and what it has not synced is gone with the process as with the machine.
my $server = restored_node('served', $data, conf => "fsync = on\n");
is($server->safe_psql('postgres', $questions[3]), (split /\n/, $expected)[3], 'a small table is there');
$server->safe_psql('postgres', q{CREATE TABLE made AS SELECT i AS id FROM generate_series(1, 50000) i});
{
	# Since 16 a server extends relations by fallocate(), and it may have its socket here.
	my $room = "$data/room";
	is((run_tool('fallocate', '--length', 100000, $room))[0], 0, 'room is made');
	is(-s $room, 100000, '... for so much');
	is(slurp_file($room), "\0" x 100000, '... which is zeros');
	unlink $room;
	is((run_tool('python3', '-c', 'import os, socket, sys; os.chdir(sys.argv[1]); s = socket.socket(socket.AF_UNIX); s.bind("s"); s.listen(); c = socket.socket(socket.AF_UNIX); c.connect("s"); s.accept()[0].send(b"heard"); sys.exit(c.recv(9) != b"heard")', $data))[0],
		0, 'a socket is as one anywhere');
	unlink "$data/s";
}
is(scalar(my @holds = glob "$repo/chronos/main/hold/*"), 1, 'its backup is held');
my ($status, $out, $err) = $server->psql('postgres', $questions[0], on_error_stop => 0);
like($err, qr/could not read blocks? [\d.]+ in file "base\S+": Input\/output error/, 'what cannot be had is an error');
is($server->safe_psql('postgres', 'SELECT count(*) FROM made'), 50000, '... of that alone');

# --- the process is killed ------------------------------------------------------------------------

# Whoever is told that a transaction is committed finds it again.
my $reported = 0;
for my $i (1 .. 40)
{
	$server->safe_psql('postgres', "BEGIN; UPDATE account SET balance = balance + $i WHERE id = $i; INSERT INTO history (account, delta) VALUES ($i, $i); COMMIT");
	$reported += $i;
}
$server->safe_psql('postgres', 'CHECKPOINT');
$server->safe_psql('postgres', q{UPDATE account SET balance = balance + 1000 WHERE id = 500; INSERT INTO history (account, delta) VALUES (500, 1000)});
$reported += 1000;
my $about = slurp_file("$data/postmaster.pid");
my ($postmaster) = $about =~ /^(\d+)/;
# As if somebody had set the clock since.
overwrite("$data/postmaster.pid", $about =~ s/\A(\d+\n[^\n]*\n)(\d+)/$1 . ($2 - 3600)/er);
my $killed = listed($data)->{pid};
kill KILL => $killed;
poll_until(sub { (listed($data)->{pid} // $killed) != $killed }, 'another process serves the directory');
is(listed($data)->{state}, 'live', 'it is served again, by itself');
is(state_of($postmaster) // 'Z', 'Z', '... and the server that it had is ended');
$server->{_pid} = undef;
$server->start;
my $committed = q{SELECT sum(balance), (SELECT sum(delta) FROM history) FROM account};
is($server->safe_psql('postgres', $committed), "$reported|$reported", 'what was committed is there');
is($server->safe_psql('postgres', 'SELECT count(*) FROM made'), 50000, '... with a table of its own');

# All that there is: who keeps it, who serves it.
($postmaster) = slurp_file("$data/postmaster.pid") =~ /^(\d+)/;
$killed = listed($data)->{pid};
my ($keeper) = slurp_file("/proc/$killed/stat") =~ /\) \S (\d+)/;
like(slurp_file("/proc/$keeper/cmdline"), qr/--instant/, 'the one that keeps it');
$server->safe_psql('postgres', q{UPDATE account SET balance = balance + 7 WHERE id = 7; INSERT INTO history (account, delta) VALUES (7, 7)});
$reported += 7;
kill KILL => $keeper, $killed;
poll_until(sub { (listed($data)->{state} // '') eq 'dead' }, 'the process is dead');
isnt(($server->psql('postgres', 'CREATE TABLE never AS SELECT 1'))[0], 0, 'a server cannot go on without it');
# What is left of it is ended as an operator would.
kill KILL => $postmaster;
poll_until(sub { (state_of($postmaster) // 'Z') eq 'Z' }, 'the server is gone');
$server->{_pid} = undef;

sub native_start
{
	my ($directory) = @_;
	return run_tool('pg_ctl', '-w', '-t', '20', '-D', $directory, '-l', "$directory.native.log", 'start');
}

poll_until(sub { (run_tool('fusermount3', '-u', $data))[0] == 0 }, 'nobody works there');
ok(-e "$data/.chronos-lazy" && !-e "$data/global/pg_control", 'below it has no pg_control');
isnt((native_start($data))[0], 0, 'no server starts in a directory that is not whole');

($status, $out, $err) = chronos($conf, "--set=$incr", 'expire');
isnt($status, 0, 'nor does its backup expire, although nobody serves it');
like($out . $err, qr/\Q$data\E/, '... which says for what');

# --- served again --------------------------------------------------------------------------------

sub remount { return chronos($conf, "--remount=$data", '--background', 'mount') }
($status, $out, $err) = remount();
is($status, 0, 'served again') or diag($out . $err);
like($out, qr/backup \Q$incr\E of repo1 is served in '\Q$data\E': \S+ of \S+ are to come/, '... which it says');
($status, $out, $err) = remount();
isnt($status, 0, 'a second time that is refused');
repair();
unlink "$data/postmaster.pid";
# It was worker before, if there was anything.
$server->append_conf('postgresql.conf', "io_method = io_uring\n") if `pg_config --configure` =~ /with-liburing/;
$server->start;
is(answers($server), $expected, 'all is as it was at the target');
is($server->safe_psql('postgres', $committed), "$reported|$reported", 'and what was committed since is there');
is($server->safe_psql('postgres', 'SELECT count(*) FROM made'), 50000, '... with a table of its own');
poll_until(sub { (listed($data)->{whole} // 0) == 1 }, 'it is whole');
is($server->safe_psql('postgres', q{SELECT count(*) FROM small}), 1001, 'the server goes on meanwhile');
$server->stop;
wait_whole($data);
is(scalar(glob "$repo/chronos/main/hold/*"), undef, 'nothing holds its backup any more');

# --- without it ----------------------------------------------------------------------------------

is((run_tool('pg_checksums', '--check', '-D', $data))[0], 0, 'every page has its checksum');
$server->start;
is(answers($server), $expected, 'a server of its own says the same');
is($server->safe_psql('postgres', $committed), "$reported|$reported", '... also of what was written');
is($server->safe_psql('postgres', q{SELECT count(bt_index_check(c.oid, true)) > 100 FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE relkind = 'i' AND amname = 'btree'}), 't', 'indexes and tables agree');
$server->stop;

# --- a bucket that is far away, and hangs -----------------------------------------------------------

my $bucket = S3Server->new(buckets => ['instant']);
my $link = $bucket->slow_link(rtt => 0);
my $far = write_config(PostgreSQL::Test::Utils::tempdir() . '/far.conf', pg => $node->data_dir, port => $node->port, socket => $node->host,
	$bucket->options('instant', port => $link->{port}), 'repo1-path' => '/r', 'repo1-bundle' => 'y', 'repo1-block' => 'y',
	'archive-check' => 'n', 'io-timeout' => 3, 'process-max' => 2, 'log-level-file' => 'info');
is((chronos($far, 'stanza-create'))[0], 0, 'stanza');
is((chronos($far, '--type=full', 'backup'))[0], 0, 'backup');
my $near = private_directory();
is((chronos($far, "--pg1-path=$near", '--type=none', 'restore'))[0], 0, 'restored');
my $distant = private_directory();
$link->command('rtt 200');
my $before = time;
($status, $out, $err) = chronos($far, "--pg1-path=$distant", '--type=none', '--instant', 'restore');
is($status, 0, 'restored from far away') or diag($out . $err);
$link->command('stall');
diag(sprintf '%.1f s, and %.1f MB to come', time - $before, listed($distant)->{'missing-bytes'} / 1e6);
$before = time;
my $failed = first { length(slurp_file($_) // '') != -s $_ } glob "$distant/base/*/*";
isnt($failed, undef, 'what does not come is an error');
cmp_ok(time - $before, '<', 30, '... in time');
$link->command('go');
wait_whole($distant);
is_same($near, $distant);

done_testing();
