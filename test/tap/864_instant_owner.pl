# A directory that is served until it is whole is for a stanza the same before, meanwhile and afterwards: whoever archives
# from it is the owner at once when its process was killed, when it is served again, and when nothing serves it any more.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use InstantTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

delete $ENV{CHRONOS_REPO1_BLOCK};
my %options = ('repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'zst', 'io-timeout' => 4, 'process-max' => 2);
my $node = chronos_node('primary', options => \%options);
my $repo = $node->{chronos_repo};
$node->safe_psql('postgres', 'CREATE TABLE big AS SELECT i AS id, repeat(md5(i::text), 3) AS word FROM generate_series(1, 150000) i; VACUUM');
is((chronos($node->{chronos_conf}, '--type=full', 'backup'))[0], 0, 'backup');
$node->stop;

# As long as this is damaged the directory is not whole.
my ($stored) = sort { -s $b <=> -s $a } glob "$repo/backup/main/*F/pg_data/base/*/*";
my $content = slurp_file($stored);
overwrite($stored, "\0" x length $content);

my $data = private_directory();
my $conf = write_config(PostgreSQL::Test::Utils::tempdir() . '/own.conf', path => $repo, pg => $data, port => $node->port, socket => $node->host, %options);
my ($status, $out, $err) = chronos($conf, '--instant', '--type=immediate', '--target-action=promote', 'restore');
is($status, 0, 'restored') or diag($out . $err);
is(listed($data)->{state}, 'live', '... and served');
my $server = restored_node('served', $data, conf => "fsync = on\narchive_mode = on\nchronos.config_file = '$conf'\n");

my $owners = "$repo/chronos/main/owners";
sub archives
{
	my ($when) = @_;
	$server->safe_psql('postgres', q{SELECT pg_logical_emit_message(true, 'chronos', 'something')});
	my $wal = $server->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
	my $begin = time;
	poll_until(sub { glob "$repo/archive/main/*/*/$wal-*" }, "$when: WAL is archived", 60);
	my $seconds = time - $begin;
	note(sprintf "%s: %.1f s", $when, $seconds);
	cmp_ok($seconds, '<', 30, "$when: the owner archives at once");
	is($server->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver'), 0, '... and was never refused');
	my $record = slurp_file("$owners/00000002");
	return join ' ', map { $record =~ /"$_":"(\d+)"/ ? $1 : 'none' } qw(device inode file-system);
}
my $below = archives('served');

# Whoever keeps it, who serves it, and the server that has lost its directory.
my $serving = listed($data)->{pid};
my ($keeper) = slurp_file("/proc/$serving/stat") =~ /\) \S (\d+)/;
my ($postmaster) = slurp_file("$data/postmaster.pid") =~ /^(\d+)/;
kill KILL => $keeper, $serving;
poll_until(sub { (listed($data)->{state} // '') eq 'dead' }, 'the process is dead');
kill KILL => $postmaster;
poll_until(sub { (state_of($postmaster) // 'Z') eq 'Z' }, 'the server is gone');
$server->{_pid} = undef;
poll_until(sub { (run_tool('fusermount3', '-u', $data))[0] == 0 }, 'nobody works there');
is((chronos($conf, "--remount=$data", '--background', 'mount'))[0], 0, 'served again');
unlink "$data/postmaster.pid";
$server->start;
is(archives('served again'), $below, '... the same directory');

# Where the machine was started anew a server of this name and place may be a copy: it waits as any does, for minutes, and is not
# taken for another one.
$server->stop;
my $record = slurp_file("$owners/00000002");
overwrite("$owners/00000002", $record =~ s/"boot":"./"boot":"x/r);
$server->start;
$server->safe_psql('postgres', 'CREATE TABLE more (); SELECT pg_switch_wal()');
ok($server->poll_query_until('postgres', 'SELECT failed_count > 0 FROM pg_stat_archiver'), 'after a reboot it waits');
like(slurp_file($server->logfile), qr/may be this server before its machine was started anew/, '... as any');
is((chronos($conf, 'stanza-claim'))[0], 0, '... or is claimed');
wait_archived($server);
$server->safe_psql('postgres', q{SELECT pg_stat_reset_shared('archiver')});
$server->poll_query_until('postgres', 'SELECT failed_count = 0 FROM pg_stat_archiver');

overwrite($stored, $content);
poll_until(sub { (listed($data)->{whole} // 0) == 1 }, 'it is whole');
is(archives('whole'), $below, '... the same directory');
$server->stop;
poll_until(sub { !defined listed($data)->{path} && !-e "$data/.chronos-lazy" }, 'nothing serves the directory');
$server->start;
is(archives('by itself'), $below, '... the same directory');
is($server->safe_psql('postgres', 'SELECT count(*) FROM big'), 150000, 'all is there');
$server->stop;
my @stat = stat $data;
like($below, qr/^$stat[0] $stat[1] /, '... that the record named from the beginning');

done_testing();
