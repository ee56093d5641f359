# A cluster is more than its data directory: tablespaces, and what lies behind links, are left in the backup as relations
# of the data directory are, each served in its own place by the same process, and are whole together with it. Who looks
# past a mount finds nothing rather than zeros, and without one of its parts a cluster is not served at all.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use File::Copy qw(move);
use InstantTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;
use Time::HiRes qw(time);

# What pgBackRest here cannot read is read by nobody else here.
delete $ENV{CHRONOS_REPO1_BLOCK};
my $node = chronos_node('primary', options => {
		'repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'zst', 'io-timeout' => 4, 'process-max' => 2,
		'log-level-file' => 'detail' });
my $conf = $node->{chronos_conf};
my $repo = $node->{chronos_repo};

# In two tablespaces, in a database behind a link, and the WAL behind one.
my ($fast, $slow) = map { private_directory() } 1 .. 2;
$node->safe_psql('postgres', "CREATE TABLESPACE fast LOCATION '$fast'");
$node->safe_psql('postgres', "CREATE TABLESPACE slow LOCATION '$slow'");
$node->safe_psql('postgres', q{
	CREATE EXTENSION amcheck;
	CREATE TABLE big TABLESPACE fast AS SELECT i AS id, repeat(md5(i::text), 3) AS word FROM generate_series(1, 100000) i;
	CREATE INDEX big_id ON big (id) TABLESPACE slow;
	CREATE TABLE written (id int) TABLESPACE fast;
	INSERT INTO written SELECT generate_series(1, 500)});
$node->safe_psql('postgres', 'CREATE DATABASE far TABLESPACE slow');
$node->safe_psql('far', q{CREATE TABLE big AS SELECT i AS id, repeat(md5((i * 3)::text), 3) AS word FROM generate_series(1, 60000) i});
$node->safe_psql('postgres', 'CREATE DATABASE linked');
$node->safe_psql('linked', q{CREATE TABLE big AS SELECT i AS id, repeat(md5((i * 5)::text), 3) AS word FROM generate_series(1, 60000) i});
# Of what was never read the first one to do so would write every page into the WAL.
$node->safe_psql($_, 'VACUUM') for qw(postgres far linked);
my $linked = 'base/' . $node->safe_psql('postgres', q{SELECT oid FROM pg_database WHERE datname = 'linked'});
$node->stop;
for my $name ($linked, 'pg_wal')
{
	my $elsewhere = private_directory() . '/there';
	is(system('mv', $node->data_dir . "/$name", $elsewhere), 0, "$name is elsewhere");
	symlink $elsewhere, $node->data_dir . "/$name" or die $!;
}
$node->start;
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'full backup');
$node->safe_psql('postgres', 'DELETE FROM big WHERE id % 1000 = 0; INSERT INTO written VALUES (0)');

my @questions = (
	[ postgres => q{SELECT count(*), md5(string_agg(word, '|' ORDER BY id)) FROM big} ],
	[ postgres => q{SELECT count(*), sum(id) FROM written} ],
	[ far => q{SELECT count(*), md5(string_agg(word, '|' ORDER BY id)) FROM big} ],
	[ linked => q{SELECT count(*), md5(string_agg(word, '|' ORDER BY id)) FROM big} ]);
sub answers
{
	my ($server) = @_;
	return join "\n", map { $server->safe_psql(@$_) } @questions;
}
my $expected = answers($node);
$node->safe_psql('postgres', q{SELECT pg_create_restore_point('here')});
wait_archived($node);

my %ours;
# Without those of tests that run beside this one.
sub ours_listed { return grep { exists $ours{$_->{path}} } all_listed() }

# Where the parts of a restored cluster are.
sub places
{
	my %place = map { $_ => private_directory() } qw(data fast slow linked wal);
	$ours{$_} = 1 for values %place;
	return \%place;
}

sub restore
{
	my ($config, $place, @arguments) = @_;
	my ($status, $out, $err) = chronos($config, "--pg1-path=$place->{data}", "--tablespace-map=fast=$place->{fast}",
		"--tablespace-map=slow=$place->{slow}", "--link-map=$linked=$place->{linked}", "--link-map=pg_wal=$place->{wal}",
		'--log-level-console=info', @arguments, 'restore');
	is($status, 0, "restored: @arguments") or diag(substr($out . $err, -600));
	return $out . $err;
}

sub wait_whole
{
	my ($place) = @_;
	poll_until(sub { !defined listed($place->{data})->{path} && !-e "$place->{data}/.chronos-lazy" }, 'nothing serves the directory');
	ok(-e "$place->{data}/global/pg_control", 'what was served is a whole directory');
	is((grep { m{^\S+ (?:$place->{fast}|$place->{slow}|$place->{data}) } } split /\n/, slurp_file('/proc/self/mounts')), 0, '... and nothing is mounted');
	return;
}

sub is_same
{
	my ($restored, $have) = @_;
	for my $part (sort keys %$restored)
	{
		my ($want, $is) = map { slurp_tree($_->{$part}) } $restored, $have;
		# A restore writes pg_control anew, and the links are to its own places.
		$_->{'global/pg_control'} =~ s/ [0-9a-f]{40}$// for grep { defined $_->{'global/pg_control'} } $want, $is;
		s/^-> .*/link/ for values %$want, values %$is;
		my @different = grep { ($want->{$_} // 'nothing') ne ($is->{$_} // 'nothing') } sort keys %{ { %$want, %$is } };
		is(join("\n", map { "$_: " . ($is->{$_} // 'nothing') . ' instead of ' . ($want->{$_} // 'nothing') } @different), '', "$part: the same files");
	}
	my @attributes = split /\n/, (run_tool('python3', '-c', q{
import os, sys
for top in sys.argv[1:]:
    for at, _, names in os.walk(top):
        for name in names:
            path = os.path.join(at, name)
            if not os.path.islink(path) and os.listxattr(path): print(path)}, values %$have))[1];
	is("@attributes", '', 'no file has anything of a mount');
	return;
}

# --- without a server -----------------------------------------------------------------------------

my ($copied, $quiet) = (places(), places());
restore($conf, $copied, '--type=none');
restore($conf, $quiet, '--type=none', '--instant');
wait_whole($quiet);
is_same($copied, $quiet);

# --- a server, and a repository that has lost what is large ------------------------------------------

my %kept = map { $_ => slurp_file($_) } glob("$repo/backup/main/*F/pg_data/$linked/*"), glob("$repo/backup/main/*F/pg_tblspc/*/*/*/*");
cmp_ok(scalar(keys %kept), '>=', 4, 'relations that are stored by themselves');
overwrite($_, "\0" x length $kept{$_}) for keys %kept;

my $place = places();
restore($conf, $place, '--instant', '--type=name', '--target=here', '--target-action=promote', '--archive-mode=off');
is(join(' ', map { $_->{path} } grep { $_->{path} ne '' } ours_listed()), $place->{data}, 'a cluster is one in the list');
cmp_ok(listed($place->{data})->{'missing-bytes'}, '>', 25e6, '... with all that is to come');
my ($version) = glob "$place->{fast}/PG_*";
like($version, qr/PG_\d+_\d+$/, 'a tablespace has its directory');
ok(-d "$place->{data}/$linked" && !-l "$place->{data}/$linked", 'what is behind a link is as if it were here');
ok(-l "$place->{data}/pg_wal", '... but for the WAL');
ok(-l ((glob "$place->{data}/pg_tblspc/*")[0]), '... and tablespaces, which a server knows by their links');

my $server = restored_node('served', $place->{data}, conf => "fsync = on\n");
is($server->safe_psql(@{ $questions[1] }), (split /\n/, $expected)[1], 'a small table in a tablespace is there');
for my $question (@questions[ 0, 2, 3 ])
{
	my ($status, $out, $err) = $server->psql(@$question, on_error_stop => 0);
	like($err, qr/could not read blocks? [\d.]+ in file "\S+": Input\/output error/, "what cannot be had is an error: $question->[0]");
}
my $rows = 501;
sub add_rows
{
	my ($count) = @_;
	$server->safe_psql('postgres', "INSERT INTO written SELECT generate_series(1, $count)");
	$rows += $count;
	return;
}
add_rows(5000);
$server->safe_psql('postgres', 'CHECKPOINT');
add_rows(7);

# As ever: what is dropped and made meanwhile.
my $other = private_directory();
$server->safe_psql('postgres', "CREATE TABLESPACE other LOCATION '$other'");
$server->safe_psql('postgres', 'CREATE TABLE there TABLESPACE other AS SELECT i FROM generate_series(1, 1000) i');
$server->safe_psql('postgres', 'DROP TABLE there');
$server->safe_psql('postgres', 'DROP TABLESPACE other');

# --- the process is killed -------------------------------------------------------------------------

sub pid_of_server { return (slurp_file("$place->{data}/postmaster.pid") =~ /^(\d+)/)[0] }
sub served_anew
{
	my ($why, $end) = @_;
	my ($postmaster, $worker) = (pid_of_server(), listed($place->{data})->{pid});
	$end->($worker);
	poll_until(sub { my $now = listed($place->{data}); ($now->{state} // '') eq 'live' && $now->{pid} != $worker }, "$why: served anew");
	is(state_of($postmaster) // 'Z', 'Z', "$why: the server is ended");
	ok(-d $version, "$why: the tablespace is there again");
	$server->{_pid} = undef;
	$server->start;
	is($server->safe_psql('postgres', 'SELECT count(*) FROM written'), $rows, "$why: what was committed is there");
	add_rows(9);
	return;
}
served_anew('killed', sub { kill KILL => $_[0] });

# Somebody takes a tablespace away, of which nothing is open: a server would find nothing in it.
served_anew('unmounted', sub {
		poll_until(sub { (run_tool('fusermount3', '-u', $place->{slow}))[0] == 0 }, 'nothing of the tablespace is open');
	});

# --- keeper and process are killed ------------------------------------------------------------------

my ($postmaster, $worker) = (pid_of_server(), listed($place->{data})->{pid});
my ($keeper) = slurp_file("/proc/$worker/stat") =~ /\) \S (\d+)/;
kill KILL => $keeper, $worker;
poll_until(sub { (listed($place->{data})->{state} // '') eq 'dead' }, 'the process is dead');
is(scalar(ours_listed()), 3, 'of what is dead each part is listed');
kill QUIT => $postmaster;
poll_until(sub { (state_of($postmaster) // 'Z') eq 'Z' }, 'the server is gone');
$server->{_pid} = undef;
my ($status, $out, $err);
poll_until(sub { ($status, $out, $err) = run_tool($chronos, '--config=/dev/null', "--finish=$place->{data}", 'mount'); !ours_listed() }, 'nobody works there, and all are freed together');
like($out . $err, qr/is not whole, and no process serves it/, '... which is not its end');
ok(!-e $version && -d "$version.chronos-lazy", 'past the mount a tablespace has nothing that a server finds');
ok(!-e "$place->{data}/global/pg_control", '... nor has the data directory');

($status, $out, $err) = chronos($conf, "--remount=$place->{data}", '--background', 'mount');
is($status, 0, 'served again') or diag($out . $err);
unlink "$place->{data}/postmaster.pid";
$server->start;
is($server->safe_psql('postgres', 'SELECT count(*) FROM written'), $rows, 'what was committed is there');

# --- a tablespace where files cannot have attributes: a mount is such a place ------------------------

my $inside = "$place->{fast}/elsewhere";
mkdir $inside, 0700 or die $!;
overwrite($_, $kept{$_}) for keys %kept;
{
	my $another = { %{ places() }, fast => $inside };
	like(restore($conf, $another, '--type=none', '--instant'),
		qr/tablespace '\Q$inside\E' is restored at once, because its file system has no attributes for users/, 'it is restored at once, which is said');
	wait_whole($another);
	is_same($copied, $another);
	is(system('rm', '-rf', $inside), 0, 'removed');
}

# --- whole -----------------------------------------------------------------------------------------

$expected =~ s/^\d+\|\d+$/$server->safe_psql(@{ $questions[1] })/me;
is(answers($server), $expected, 'all is as it was at the target, and as it was written since');
poll_until(sub { (listed($place->{data})->{whole} // 0) == 1 }, 'it is whole');
$server->stop;
wait_whole($place);
ok(-d $version, 'the tablespace is one as any');
is((run_tool('pg_checksums', '--check', '-D', $place->{data}))[0], 0, 'every page has its checksum');
$server->start;
is(answers($server), $expected, 'a server of its own says the same');
is($server->safe_psql('postgres', q{SELECT bool_and(bt_index_check(c.oid, true) IS NOT NULL) FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE relkind = 'i' AND amname = 'btree'}), 't', 'indexes and tables agree');
$server->safe_psql('postgres', 'DROP DATABASE far');
$server->safe_psql('postgres', 'DROP INDEX big_id; DROP TABLESPACE slow');
$server->stop;

# --- from a bucket that is far away -----------------------------------------------------------------

my $bucket = S3Server->new(buckets => ['instant']);
my $link = $bucket->slow_link(rtt => 0);
my $far = write_config(PostgreSQL::Test::Utils::tempdir() . '/far.conf', pg => $node->data_dir, port => $node->port, socket => $node->host,
	$bucket->options('instant', port => $link->{port}), 'repo1-path' => '/r', 'repo1-bundle' => 'y', 'repo1-block' => 'y',
	'archive-check' => 'n', 'io-timeout' => 3, 'process-max' => 2, 'log-level-file' => 'info');
is((chronos($far, 'stanza-create'))[0], 0, 'stanza');
is((chronos($far, '--type=full', 'backup'))[0], 0, 'backup');
my ($near, $distant) = (places(), places());
restore($far, $near, '--type=none');
$link->command('rtt 50');
my $before = time;
restore($far, $distant, '--type=none', '--instant');
note(sprintf '%.1f s, and %.1f MB to come', time - $before, (listed($distant->{data})->{'missing-bytes'} // 0) / 1e6);
wait_whole($distant);
is_same($near, $distant);

done_testing();
