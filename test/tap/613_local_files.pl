# What lies beside cluster and repository - locks, logs, spool - is the server's to use and nobody else's
# to write to, whoever made it and under whatever umask; and nothing that such a file says about a
# process of former times is believed.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Fcntl qw(:flock);
use File::Find;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

for my $mask (0, 0077)
{
	subtest sprintf('umask %03o', $mask) => sub {
		my $former = umask $mask;
		my $base = PostgreSQL::Test::Utils::tempdir_short();
		my $node = chronos_node("source$mask",
			options => { 'lock-path' => "$base/l/lock", 'spool-path' => "$base/s/spool", 'log-path' => $base,
				'log-level-file' => 'info' });
		my $conf = $node->{chronos_conf};
		is((chronos($conf, '--type=full', 'backup'))[0], 0, 'backup');
		$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
		wait_archived($node);
		is((chronos($conf, 'expire'))[0], 0, 'expire');
		is((chronos($conf, 'verify'))[0], 0, 'verify');
		is((chronos($conf, 'stop'))[0], 0, 'stop');
		is((chronos($conf, 'start'))[0], 0, 'start');
		is((chronos($conf, "--pg1-path=$base/pg", 'restore'))[0], 0, 'restore');
		my $restored = restored_node("restored$mask", "$base/pg");
		$restored->stop;
		$node->stop;
		umask $former;
		my ($seen, @open) = (0);
		find({ no_chdir => 1, wanted => sub {
				return if -l || $_ eq $base || $_ eq $node->{chronos_repo};    # the test made these
				$seen++;
				my $mode = (lstat)[2] & 07777;
				push @open, sprintf('%s %04o', $_, $mode) if $mode & 0002 || ($mode & 0020 && -f _);
			} }, grep { -e } "$base/l", "$base/s", "$base/pg", $node->{chronos_repo}, glob "$base/*.log");
		ok($seen > 50, "looked at $seen paths");
		is("@open", '', 'nobody else may write');
		ok(-d "$base/s/spool/chronos/main", 'the spool was used');
	};
}

subtest 'a lock file that names a process of former times' => sub {
	my $base = PostgreSQL::Test::Utils::tempdir_short();
	my $conf = write_config("$base/conf", path => $base, pg => $base, 'lock-path' => "$base/lock");
	mkdir "$base/lock" or die $!;
	# The lock is held, by a process that has not written its number yet; the number is another one's.
	open my $held, '+>', "$base/lock/main-backup-1.lock" or die $!;
	flock $held, LOCK_EX or die $!;
	my $stranger = fork() // die $!;
	if ($stranger == 0) { close $held; exec 'sleep', '60' or die }
	$held->autoflush(1);
	print $held qq({"execId":"$stranger-00000000","pid":$stranger});
	my ($status, $out, $err) = chronos($conf, '--force', 'stop');
	is($status, 0, 'stop --force');
	like($out . $err, qr/names process $stranger, which does not have it open: no signal was sent/, '... says so');
	is(kill(0, $stranger), 1, 'the stranger lives');
	kill 'KILL', $stranger;
	waitpid $stranger, 0;
	unlink "$base/lock/main.stop";
	close $held;
	# Now somebody who holds it.
	my $holder = fork() // die $!;
	if ($holder == 0)
	{
		exec 'perl', '-e', <<'P', "$base/lock/main-backup-1.lock" or die;
use Fcntl ':flock'; open F, '+>', $ARGV[0]; flock F, LOCK_EX; select F; $| = 1;
print qq({"execId":"$$-00000000","pid":$$}); sleep 60;
P
	}
	poll_until(sub { -s "$base/lock/main-backup-1.lock" && `cat $base/lock/main-backup-1.lock` =~ /"pid":$holder\}/ },
		'no holder', 20);
	($status, $out, $err) = chronos($conf, '--force', 'stop');
	is($status, 0, 'stop --force');
	waitpid $holder, 0;
	is($? & 127, 15, 'the holder was ended');
};

subtest 'standard files are closed' => sub {
	my $node = chronos_node('closed');
	my $conf = $node->{chronos_conf};
	for my $closed ('<&- >&- 2>&-', '<&-', '>&-', '2>&-')
	{
		system("$chronos --config=$conf --stanza=main --type=full backup $closed");
		is($? >> 8, 0, "backup $closed");
	}
	my ($status, $out, $err) = chronos($conf, 'verify');
	is($status, 0, 'all of it is sound') or diag($out . $err);
	$node->stop;
};

subtest 'directories that the server cannot use' => sub {
	my $node = chronos_node('unusable');
	my $base = PostgreSQL::Test::Utils::tempdir_short();
	mkdir "$base/closed" or die $!;
	chmod 0500, "$base/closed";
	my $conf = write_config("$base/conf", path => $node->{chronos_repo}, pg => $node->data_dir, port => $node->port,
		socket => $node->host, 'lock-path' => "$base/closed/lock", 'archive-timeout' => 60);
	my $start = time;
	my ($status, $out, $err) = chronos($conf, 'check');
	is($status, 41, 'check fails');
	like($out . $err, qr/lock-path '.*' cannot be used by the server: user \d+ may not write to/, '... says why');
	ok(time - $start < 20, '... at once');
	chmod 0700, "$base/closed";
	$node->stop;
};
done_testing();
