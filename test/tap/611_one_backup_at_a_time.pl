# Two backups of one cluster never run at once, wherever their lock files lie and whichever tool makes
# them: the second is refused, the first comes to its end, and all that is listed verifies and restores.
# Only pgBackRest from 2.60 on looks for nobody: beside it our backup may fail, but is not listed in vain.
# What a backup writes is published only if nobody else has been there.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $base = PostgreSQL::Test::Utils::tempdir();
# Slow, so that a second one comes in time.
my %slow = ('compress-type' => 'bz2', 'compress-level' => 9, 'process-max' => 1, 'repo1-bundle' => 'n',
	'archive-timeout' => 60);
my $node = chronos_node('source', options => {%slow});
my $here = $node->{chronos_conf};
my $repo = $node->{chronos_repo};
my $elsewhere = write_config("$base/elsewhere.conf", path => $repo, pg => $node->data_dir, port => $node->port,
	socket => $node->host, %slow);
$node->safe_psql('postgres',
	"CREATE TABLE t$_ AS SELECT i, md5(random()::text) || md5(random()::text) AS t FROM generate_series(1, 40000) i")
  for 1 .. 8;
$node->safe_psql('postgres', 'CHECKPOINT');
my $state = table_state($node, 't2');
is((chronos($here, 'stanza-create'))[0], 0, 'stanza');

my $refused = qr/\[050\]: unable to acquire pgBackRest advisory lock/;
my $looks = do {
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('SELECT pg_advisory_lock(12340078987004321)');
	my ($status) = run_second('pgbackrest');
	$holder->quit;
	$status == 50;
};
my @tools = ([ chronos => 'chronos' ], [ chronos => 'pgbackrest' ], [ pgbackrest => 'chronos' ]);
for my $pair (@tools)
{
	my ($first, $second) = @$pair;
	my $running = begin($first, $here, '--type=full', unchecked($first), 'backup');
	my ($status, $out, $err) = run_second($second);
	if ($second eq 'pgbackrest' && !$looks)
	{
		is($status, 0, 'pgbackrest goes on');
		like(ended($running), qr/^(?:0|50)$/, 'chronos sees whether its backup is still its own');
		next;
	}
	is($status, 50, "$second is refused while $first backs up");
	like($out . $err, $refused, '... by what both know');
	if ($first eq 'chronos' && $second eq 'chronos')
	{
		($status, $out, $err) = chronos($elsewhere, 'expire');
		is($status, 104, 'expire of another host is refused');
		like($out . $err, qr/expire of stanza 'main' on repo1 is not possible while 'backup' of process \d+ on host/,
			'... and says who is at work');
		is($node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 1,
			'the lock is held by the session of the backup');
	}
	is(ended($running), 0, "$first comes to its end");
}
ok(!-e "$repo/chronos/main/run", 'nothing is left of those that were at work');

subtest 'a job in another database' => sub {
	$node->safe_psql('postgres', 'CREATE DATABASE other');
	$node->append_conf('postgresql.conf', "chronos.database = 'other'");
	$node->restart;
	$node->safe_psql('other', 'CREATE EXTENSION chronos_backup');
	for my $second ('chronos', $looks ? 'pgbackrest' : ())
	{
		my $before = () = glob "$repo/backup/main/2*F";
		my $job = $node->safe_psql('other', q{SELECT chronos.start_backup('full')});
		poll_until(sub { (() = glob "$repo/backup/main/2*F/backup.manifest.copy") > $before }, 'the job does not copy', 60);
		is((run_second($second))[0], 50, "$second is refused");
		$node->psql('other', "SELECT chronos.wait($job)");
		is($node->safe_psql('other', "SELECT state FROM chronos.jobs WHERE id = $job"), 'succeeded', 'the job is made');
	}
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0, 'no lock is left');
};

subtest 'somebody else has been in the directory' => sub {
	my $listed = `grep -c '^2' $repo/backup/main/backup.info`;
	my $running = begin('chronos', $here, '--type=full', 'backup');
	my ($partial) = reverse sort glob "$repo/backup/main/2*F/backup.manifest.copy";
	my $data = ($partial =~ s{/[^/]+$}{}r) . '/pg_data';
	poll_until(sub { $running->{harness}->pump_nb; return glob "$data/*.bz2* $data/*/*.bz2* $data/base/*/*.bz2*" }, 'the first file is copied', 60);
	append_to_file($partial, 'of somebody else');
	is(ended($running), 50, 'the backup fails');
	like($running->{out}, qr/was changed since this backup wrote it/, '... and says why');
	is(`grep -c '^2' $repo/backup/main/backup.info`, $listed, 'nothing is listed');
	is((chronos($here, '--type=full', 'backup'))[0], 0, 'the next one works');
};

# In a process namespace of its own nobody sees whether the process of another one runs, as on another host.
my @elsewhere = ('unshare', $< == 0 ? () : ('--user', '--map-current-user'), '--pid', '--fork');
sub from_afar { return run_tool(@elsewhere, $chronos, "--config=$elsewhere", '--stanza=main', @_) }
BAIL_OUT('no process namespace can be made here: run as root, or allow user namespaces') if (run_tool(@elsewhere, 'true'))[0] != 0;
sub lease { return (glob "$repo/chronos/main/run/*")[0] }
sub silent_for { my $then = time - $_[0]; utime $then, $then, lease() or die $! }

subtest 'whoever was killed is replaced' => sub {
	my $seed = time;
	note "seed $seed";
	srand $seed;
	for my $round (1 .. 3)
	{
		my $running = begin('chronos', $here, '--type=full', 'backup');
		usleep(rand 1_000_000);
		$running->{harness}->signal('KILL');
		eval { ended($running) };
		ok(lease(), "round $round: it has left a sign of life");
		my ($status, $out, $err) = chronos($round == 2 ? $elsewhere : $here, '--type=full', 'backup');
		is($status, 0, 'the next one is made at once') or diag($out . $err);
		like($out . $err, qr/takes over from 'backup' of process \d+ on host '.*', which has ended/, '... and says so');
	}
	my $running = begin('chronos', $here, '--type=full', 'backup');
	$running->{harness}->signal('KILL');
	eval { ended($running) };
	silent_for(100);
	my ($status, $out, $err) = from_afar('expire');
	is($status, 104, 'from elsewhere it may be alive');
	like($out . $err, qr/try again when it is more than 180 seconds old/, '... for as long as is said');
	silent_for(190);
	($status, $out, $err) = from_afar('expire');
	is($status, 0, 'then it is replaced') or diag($out . $err);
	like($out . $err, qr/takes over from 'backup' .*, whose last sign of life is \d+ seconds old/, '... and that is said');
	$running = begin('chronos', $here, '--type=full', 'backup');
	$running->{harness}->signal('KILL');
	eval { ended($running) };
	($status, $out, $err) = from_afar('--type=full', 'backup');
	is($status, 0, 'a backup need not wait: it has the lock in the server') or diag($out . $err);
	like($out . $err, qr/takes over from 'backup' .*, which has lost its session/, '... and says so');
};

subtest 'whoever stood still does not go on' => sub {
	my $running = begin('chronos', $here, '--type=full', 'backup');
	$running->{harness}->signal('STOP');
	# As the server does some time after a host was lost.
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'});
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'}) or die;
	silent_for(190);
	my ($status, $out, $err) = from_afar('--type=full', 'backup');
	is($status, 0, 'another one takes its place') or diag($out . $err);
	my $listed = `grep '^2' $repo/backup/main/backup.info`;
	$running->{harness}->signal('CONT');
	isnt(ended($running), 0, 'the one that goes on fails');
	like($running->{out}, qr/ERROR/, '... aloud');
	is(`grep '^2' $repo/backup/main/backup.info`, $listed, '... and lists nothing');
	is((chronos($here, 'verify', '--full'))[0], 0, 'all that is listed is sound');
	is((pgbackrest($here, 'verify'))[0], 0, 'for both') if $looks;
	is((chronos($here, '--type=incr', 'backup'))[0], 0, 'and the next one is made');
};

subtest 'all that is listed can be restored' => sub {
	my ($status, $out, $err) = chronos($here, 'verify');
	is($status, 0, 'verify') or diag($out . $err);
	is((chronos($here, "--pg1-path=$base/restored", 'restore'))[0], 0, 'restore');
	my $restored = restored_node('restored', "$base/restored");
	is(table_state($restored, 't2'), $state, 'the data');
	$restored->stop;
};
$node->stop;
done_testing();

# pgBackRest looks for itself in archive_command, where archive_library has taken its place.
sub unchecked { return $_[0] eq 'chronos' ? () : ('--no-archive-check') }

# Starts a backup and waits until it copies.
sub begin
{
	my ($tool, $conf, @arguments) = @_;
	# What a killed one has left is gone on with, under its name or another: only its manifest is new.
	my $manifests = sub { return map { join ' ', $_, (stat)[ 1, 9 ] } glob "$repo/backup/main/2*F/backup.manifest.copy" };
	my %before = map { $_ => 1 } $manifests->();
	my %run = (out => '');
	$run{harness} = IPC::Run::start([ $tool eq 'chronos' ? $chronos : 'pgbackrest', "--config=$conf", '--stanza=main',
			@arguments ], '<', \undef, '>&', \$run{out}, IPC::Run::timeout(180));
	poll_until(
		sub {
			eval { $run{harness}->pump_nb; 1 } or die "$tool has ended: $@$run{out}";
			return grep { !$before{$_} } $manifests->();
		},
		"$tool does not copy", 60);
	return \%run;
}

sub ended
{
	my ($run) = @_;
	$run->{harness}->finish;
	return $run->{harness}->result(0);
}

sub run_second
{
	my ($tool) = @_;
	my @arguments = ($elsewhere, '--type=full', unchecked($tool), 'backup');
	return $tool eq 'chronos' ? chronos(@arguments) : pgbackrest(@arguments);
}
