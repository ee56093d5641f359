# The commands around an instant restore: what its plan says, and refuses; that who waits for it waits until all is there,
# and that giving it up leaves what no server starts in, and what is restored over it is the backup; that nothing of what
# it notes for itself stays in the directory, or in a backup of it.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Fcntl qw(O_RDWR);
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

done_testing();
