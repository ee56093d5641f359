# The commands around an instant restore: what its plan says, and refuses; that who waits for it waits until all is there,
# and that giving it up leaves what no server starts in, and what is restored over it is the backup; that nothing of what
# it notes for itself stays in the directory, or in a backup of it.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Fcntl qw(O_RDWR);
use InstantTest;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# What pgBackRest here cannot read is read by nobody else here.
delete $ENV{CHRONOS_REPO1_BLOCK};
my $base = PostgreSQL::Test::Utils::tempdir();
my $node = chronos_node('primary', options => {
		'repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'zst', 'io-timeout' => 4, 'process-max' => 2,
		'log-level-file' => 'detail' });
my $conf = $node->{chronos_conf};
my $repo = $node->{chronos_repo};
$node->safe_psql('postgres', q{
	CREATE TABLE big AS SELECT i AS id, repeat(md5(i::text), 3) AS word FROM generate_series(1, 150000) i;
	CREATE TABLE small AS SELECT i AS id FROM generate_series(1, 1000) i;
	VACUUM});
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'full backup');
wait_archived($node);
my $question = q{SELECT count(*), md5(string_agg(word, '|' ORDER BY id)) FROM big};
my $big = $node->safe_psql('postgres', q{SELECT pg_relation_filepath('big')});
my $expected = $node->safe_psql('postgres', $question);

# --- the plan -------------------------------------------------------------------------------------

my $planned = private_directory();
my ($status, $out, $err) = chronos($conf, "--pg1-path=$planned", '--instant', '--plan', '--output=json', 'restore');
is($status, 0, 'a plan') or diag($out . $err);
my $plan = JSON::PP::decode_json($out);
my ($at_once, $left) = @{ $plan->{instant} }{ 'at-once', 'left' };
cmp_ok($left->{size}, '>', 15e6, 'most of it is left');
cmp_ok($left->{'stored-size'}, '<', $left->{size}, '... which takes less in the repository');
is($at_once->{$_} + $left->{$_}, $plan->{$_}, "$_: all of it is one or the other") for qw(file-total size stored-size);
is($plan->{instant}{'random-access'}{'in-parts'}, $left->{size}, 'all that is left can be had in parts');
ok(!$plan->{instant}{'recovery-prefetch'}, 'recovery does not read ahead');
like(join("\n", @{ $plan->{warning} }), qr/fsync = 'off' \(\S+ line \d+\): until the directory is whole, a crash of the process/,
	'a server that does not sync is warned of');
($status, $out, $err) = chronos($conf, "--pg1-path=$planned", '--instant', '--plan', 'restore');
like($out, qr/^    at once: +\d+ files, \S+ from \S+ in the repository\n    left for now: +[1-9]\d* files, \S+ from \S+ in the repository, fetched when/m, 'for people');
like($out, qr/^    setting: +recovery_prefetch = 'off' until all is there/m, '... with the setting');
is((JSON::PP::decode_json((chronos($conf, "--pg1-path=$planned", '--plan', '--output=json', 'restore'))[1]))->{instant}, undef, 'of another restore there is no such part');

# A device that nobody may open in place of the real one, or what this machine has.
{
	my $cover = "$base/cover";
	open my $file, '>', $cover or die $!;
	close $file;
	chmod 0, $cover;
	my @without = -e '/dev/fuse'
		? ('unshare', '--user', '--map-root-user', '--mount', 'sh', '-c',
		'mount --bind "$1" /dev/fuse && shift && exec setpriv --bounding-set=-all --inh-caps=-all "$@"', 'sh', $cover)
		: ();
	my @command = (@without, $chronos, "--config=$conf", '--stanza=main', "--pg1-path=$planned", '--instant', 'restore');
	($status, $out, $err) = run_tool(@command, '--plan');
	isnt($status, 0, 'no plan without the device');
	like($out, qr{^    problem: +unable to mount: }m, '... which is its problem');
	($status, $out, $err) = run_tool(@command);
	isnt($status, 0, 'nor is anything restored');
	like($out . $err, qr{unable to mount: }, '... for that reason');
	is_deeply([ glob "$planned/* $planned/.c*" ], [], '... before anything is changed');
}
if (!sysopen my $device, '/dev/fuse', O_RDWR)
{
	diag("/dev/fuse: $!; what needs it is not claimed here");
	done_testing();
	exit;
}


# --- tools ----------------------------------------------------------------------------------------

my ($label) = map { $_->{label} } @{ JSON::PP::decode_json((chronos($conf, '--output=json', 'info'))[1])->[0]{backup} };

# What is stored by itself is not what it was, and comes back: the plan of a restore would notice what is missing.
my %kept = map { $_ => slurp_file($_) } glob "$repo/backup/main/$label/pg_data/base/*/*";
sub damage { overwrite($_, "\0" x length $kept{$_}) for sort keys %kept; return }
sub repair { overwrite($_, $kept{$_}) for sort keys %kept; return }
sub instant
{
	my ($directory, @arguments) = @_;
	my ($failed, $printed, $said) = chronos($conf, "--pg1-path=$directory", '--instant', @arguments, 'restore');
	is($failed, 0, "restored: @arguments") or diag($printed . $said);
	return $printed;
}

sub refused
{
	my ($what, $reason, @command) = @_;
	my ($failed, $printed, $said) = chronos($conf, @command);
	isnt($failed, 0, "$what: refused") or diag($printed . $said);
	like($printed . $said, $reason, '... which says why, and what to do');
	return;
}

sub parent_of { return (slurp_file("/proc/$_[0]/stat") =~ /\) \S (\d+)/)[0] }
# All that works there, at once, as a machine that stops; and what was mounted is gone.
sub kill_all
{
	my ($server, $directory) = @_;
	my $worker = listed($directory)->{pid};
	my $keeper = parent_of($worker);
	my ($postmaster) = $server ? slurp_file("$directory/postmaster.pid") =~ /^(\d+)/ : ();
	kill KILL => $keeper, $worker, defined $postmaster ? $postmaster : ();
	if (defined $postmaster)
	{
		poll_until(sub { (state_of($postmaster) // 'Z') eq 'Z' }, 'the server is gone');
		$server->{_pid} = undef;
	}
	poll_until(sub { (listed($directory)->{state} // '') eq 'dead' }, 'the process is dead');
	return;
}
sub take_off
{
	my ($directory) = @_;
	poll_until(sub { (run_tool('fusermount3', '-u', '-z', $directory))[0] == 0 }, 'what was mounted is taken off');
	unlink "$directory/postmaster.pid";
	return;
}

sub is_as_restored
{
	my ($directory, $what) = @_;
	my $copied = private_directory();
	is((chronos($conf, "--pg1-path=$copied", '--type=none', 'restore'))[0], 0, 'restored');
	my ($want, $have) = map { slurp_tree($_) } $copied, $directory;
	$_->{'global/pg_control'} =~ s/ [0-9a-f]{40}$// for $want, $have;
	my @different = grep { ($want->{$_} // 'nothing') ne ($have->{$_} // 'nothing') } sort keys %{ { %$want, %$have } };
	is(join("\n", map { "$_: " . ($have->{$_} // 'nothing') . ' instead of ' . ($want->{$_} // 'nothing') } @different), '', $what);
	return;
}

sub is_tidy
{
	my ($directory, $what) = @_;
	ok(!-e "$directory/.chronos-lazy" && !-e "$directory/global/pg_control.chronos-lazy" && -e "$directory/global/pg_control", "$what: nothing is left of it");
	unlike(slurp_file("$directory/postgresql.auto.conf"), qr/recovery_prefetch/, '... nor a setting that it had for now');
	is((run_tool('python3', '-c', 'import os, sys
for at, _, names in os.walk(sys.argv[1]):
	print("".join(os.path.join(at, name) + "\n" for name in names if os.listxattr(os.path.join(at, name), follow_symlinks=False)), end="")', $directory))[1], '', '... nor an attribute of a file');
	return;
}

# --- a server runs while it is completed --------------------------------------------------------------

damage();
my $data = private_directory();
delete $ENV{INVOCATION_ID};
like(instant($data), qr/a reboot takes 'chronos --stanza=main mount --remount=\Q$data\E --background' before the server/, 'what a reboot needs is said');
like(slurp_file("$data/postgresql.auto.conf"), qr/^recovery_prefetch = 'off'$/m, 'recovery does not read ahead');
refused("restore @$_", qr/is being completed from backup \Q$label\E\n.*chronos mount --finish=\Q$data\E\n.*chronos --stanza=main mount --abandon=\Q$data\E/s,
	"--pg1-path=$data", @$_, 'restore')
	for [], ['--delta'], ['--force'], [ '--delta', '--force' ], ['--save-current'], ['--instant'], ['--plan'];
my $server = restored_node('served', $data, conf => "fsync = on\n");
$server->safe_psql('postgres', 'CREATE TABLE made AS SELECT i AS id FROM generate_series(1, 50000) i');
refused('giving it up under a server', qr/a server runs in '\Q$data\E'/, "--abandon=$data", 'mount');
refused('a restore under it', qr/is being completed/, "--pg1-path=$data", '--delta', 'restore');
is($server->safe_psql('postgres', 'SELECT count(*) FROM made'), 50000, 'the server is none the worse');

# Who does not want to wait any longer changes nothing.
my $waiting = IPC::Run::start([ $chronos, "--config=$conf", '--stanza=main', "--finish=$data", 'mount' ], '<', \undef, '>', \my $waited, '2>', \my $waited_for);
sleep 2;
ok($waiting->pumpable, 'it is waited for');
$waiting->signal('INT');
$waiting->finish;
isnt($waiting->result(0) // $?, 0, '... until somebody has enough of it');
is(listed($data)->{state}, 'live', '... which changes nothing');

# Nothing of it is the cluster's; what it is missing cannot be backed up.
my $second = write_config("$base/second.conf", path => "$base/second", pg => $data, port => $server->port, socket => $server->host,
	'archive-check' => 'n', 'io-timeout' => 4, 'log-level-file' => 'detail');
mkdir "$base/second";
is((chronos($second, 'stanza-create'))[0], 0, 'another repository');
($status, $out, $err) = chronos($second, '--type=full', 'backup');
isnt($status, 0, 'what cannot be read is not backed up');
like($out . $err, qr{base/\d+/\d+.*Input/output error}, '... and what it is, is said');
repair();
# Who asks again at once gets the same answer.
poll_until(sub { (chronos($second, '--type=full', 'backup'))[0] == 0 }, 'a backup of what is being completed');
my ($manifest) = glob "$base/second/backup/main/*F/backup.manifest";
unlike(slurp_file($manifest), qr/chronos-lazy/, '... is that of a cluster');
my $served = write_config("$base/served.conf", path => "$base/served", pg => $server->data_dir, port => $server->port, socket => $server->host, 'archive-check' => 'n');
mkdir "$base/served";
is((pgbackrest($served, 'stanza-create'))[0], 0, 'pgBackRest');
($status, $out, $err) = pgbackrest($served, '--type=full', 'backup');
is($status, 0, '... backs it up as well') or diag($out . $err);
unlike(slurp_file((glob "$base/served/backup/main/*F/backup.manifest")[0]), qr/chronos-lazy/, '... as that of a cluster');
my $again = private_directory();
is((chronos($second, "--pg1-path=$again", '--type=none', 'restore'))[0], 0, '... and can be restored');
is((stat "$again/$big")[7], (stat $node->data_dir . "/$big")[7], '... with all that it had');

($status, $out, $err) = chronos($conf, "--finish=$data", 'mount');
is($status, 0, 'waited until it was whole') or diag($out . $err);
like($out, qr/'\Q$data\E' is whole; its mount ends by itself when the server there is stopped/, '... and what is left to be done');
is(listed($data)->{whole}, 1, '... with the server');
is($server->safe_psql('postgres', $question), $expected, 'all is there');

# The machine stops right then: it is a whole directory, and what was noted for it is nobody's any more.
kill_all($server, $data);
take_off($data);
ok(-e "$data/global/pg_control" && -e "$data/.chronos-lazy/backup", 'a whole directory, with what was noted');
is(scalar(my @holds = glob "$repo/chronos/main/hold/*"), 0, '... for which its backup is needed no more');
for my $way ([ 'finish', "--finish=%s" ], [ 'remount', '--remount=%s', '--background' ], [ 'remount in the foreground', '--remount=%s' ])
{
	my ($name, @options) = @$way;
	my $copy = private_directory();
	is(system("cp -a --reflink=auto '$data/.' '$copy/'"), 0, 'copied');
	($status, $out, $err) = chronos($conf, (map { sprintf $_, $copy } grep { /%s/ } @options), (grep { !/%s/ } @options), 'mount');
	is($status, 0, "$name of a whole directory") or diag($out . $err);
	is_tidy($copy, $name);
}
$server->start;
is($server->safe_psql('postgres', $question), $expected, 'a server starts there without anything');
is($server->safe_psql('postgres', 'SELECT count(*) FROM made'), 50000, '... with what was committed');
# In a repository of its own: of the other one nobody can tell right after the kill whether this server owns it.
my $third = write_config("$base/third.conf", path => "$base/third", pg => $data, port => $server->port, socket => $server->host, 'archive-check' => 'n');
mkdir "$base/third";
is((chronos($third, 'stanza-create'))[0], 0, 'a third repository');
($status, $out, $err) = chronos($third, '--type=full', 'backup');
is($status, 0, 'it is backed up') or diag($out . $err);
unlike(slurp_file((glob "$base/third/backup/main/*F/backup.manifest")[0]), qr/chronos-lazy/, '... without what was noted');
# pgBackRest does not know it, and a restore of its backup leaves it out.
my $theirs = write_config("$base/theirs.conf", path => "$base/theirs", pg => $server->data_dir, port => $server->port, socket => $server->host, 'archive-check' => 'n');
mkdir "$base/theirs";
is((pgbackrest($theirs, 'stanza-create'))[0], 0, 'a repository of pgBackRest');
($status, $out, $err) = pgbackrest($theirs, '--type=full', 'backup');
is($status, 0, '... and its backup') or diag($out . $err);
like(slurp_file((glob "$base/theirs/backup/main/*F/backup.manifest")[0]), qr{^pg_data/\.chronos-lazy/backup=}m, '... which has what was noted');
my $from_theirs = private_directory();
is((chronos($theirs, "--pg1-path=$from_theirs", '--type=none', 'restore'))[0], 0, '... and is restored');
ok(!-e "$from_theirs/.chronos-lazy/backup" && -e "$from_theirs/global/pg_control", '... without that');
is((chronos($conf, "--finish=$data", 'mount'))[0], 0, 'it goes also with the server running');
is_tidy($data, 'with a server');
$server->stop;
$server->start;
is((run_tool('pg_amcheck', '-p', $server->port, '-h', $server->host, '-d', 'postgres', '--install-missing', '--heapallindexed'))[0], 0, 'indexes and tables agree');
$server->stop;
is((run_tool('pg_checksums', '--check', '-D', $data))[0], 0, 'every page has its checksum');

# --- without a server ------------------------------------------------------------------------------

damage();
my $quiet = private_directory();
{
	local $ENV{INVOCATION_ID} = 'of a service';
	unlike(instant($quiet, '--type=none'), qr/a reboot/, 'a service knows what a reboot needs');
}
$waiting = IPC::Run::start([ $chronos, "--config=$conf", '--stanza=main', "--finish=$quiet", 'mount' ], '<', \undef, '>', \$waited, '2>', \$waited_for);
my $worker = listed($quiet)->{pid};
kill KILL => $worker;
poll_until(sub { (listed($quiet)->{pid} // $worker) != $worker }, 'another process serves the directory');
ok($waiting->pumpable, 'it is still waited for');
repair();
$waiting->finish;
is($waiting->result(0), 0, 'it is whole, and unmounted') or diag($waited . $waited_for);
is(listed($quiet)->{path}, undef, '... before who waits for it goes on');
is_tidy($quiet, 'without a server');
is_as_restored($quiet, 'it is the directory of a restore');
is(scalar(@holds = glob "$repo/chronos/main/hold/*"), 0, 'nothing holds its backup');

# --- given up ---------------------------------------------------------------------------------------

for my $how (['--delta'], [ '--delta', '--force' ], ['--force'])
{
	damage();
	my $lost = private_directory();
	instant($lost, '--type=none');
	if (@$how > 1)
	{
		# What was killed is given up as well.
		kill_all(undef, $lost);
		refused('a restore over what has died', qr/process is gone\n.*--remount=\Q$lost\E --background\n.*--abandon=\Q$lost\E/s, "--pg1-path=$lost", @$how, 'restore');
		take_off($lost);
		refused('a restore over what is not whole', qr/is not whole, and no process serves it\n.*chronos --stanza=main mount --remount=\Q$lost\E/s, "--pg1-path=$lost", @$how, 'restore');
		refused('waiting for what nobody does', qr/is not whole, and no process serves it/, "--finish=$lost", 'mount');
	}
	($status, $out, $err) = chronos($conf, "--abandon=$lost", 'mount');
	is($status, 0, "given up, for @$how") or diag($out . $err);
	like($out, qr/'\Q$lost\E' is given up: its files have holes, and no server starts in it; restore it again with --delta/, '... which says what is left');
	is(listed($lost)->{path}, undef, 'nothing serves it');
	ok(!-e "$lost/.chronos-lazy" && -e "$lost/global/pg_control.chronos-lazy" && !-e "$lost/global/pg_control", 'what keeps servers away stays');
	is(scalar(@holds = glob "$repo/chronos/main/hold/*"), 0, 'nothing holds its backup');
	isnt((run_tool('pg_ctl', '-w', '-t', '20', '-D', $lost, '-l', "$lost.log", 'start'))[0], 0, 'no server starts there');
	refused('serving it again', qr/is no directory that a backup is still missing from/, "--remount=$lost", 'mount');
	refused('waiting for it', qr/is not whole, and what was missing is not known any more\n.*--delta/s, "--finish=$lost", 'mount');
	is((chronos($conf, "--abandon=$lost", 'mount'))[0], 0, 'a second time changes nothing');
	repair();
	($status, $out, $err) = chronos($conf, "--pg1-path=$lost", '--type=none', @$how, 'restore');
	is($status, 0, "restored over it: @$how") or diag($out . $err);
	is_as_restored($lost, '... which is the backup');
	is_tidy($lost, "@$how");
}
refused('giving up what is whole', qr/is no directory that a backup is still missing from/, "--abandon=$quiet", 'mount');

done_testing();
