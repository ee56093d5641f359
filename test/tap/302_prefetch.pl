# WAL that archive-get fetched ahead is what the archive holds and nothing else: a recovery gives the
# same data with and without it, whatever happens to those that fetch; what others left in the spool
# is not replayed; what was fetched is not taken for the end of the archive; and when the recovery is
# over nobody is left. Who asks for one segment after the other without a recovery is helped as well.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use File::Basename qw(basename dirname);
use File::Copy qw(copy);
use File::Path qw(make_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $segments = 60;
my $node = chronos_node('primary', start => 0, options => { 'archive-timeout' => 3 });
# Small segments: again, with the settings that are there.
{
	my $data = $node->data_dir;
	my @conf = map { slurp_file("$data/$_") } 'postgresql.conf', 'pg_hba.conf';
	system_or_bail('rm', '-rf', $data);
	system_or_bail('initdb', '-D', $data, '-A', 'trust', '-N', '--data-checksums', '--wal-segsize=1');
	my @name = ('postgresql.conf', 'pg_hba.conf');
	for my $i (0, 1)
	{
		open my $out, '>', "$data/$name[$i]" or die $!;
		print $out $conf[$i];
		close $out;
	}
}
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION chronos_backup');
my $conf = $node->{chronos_conf};
my $repo = $node->{chronos_repo};
my ($spool) = slurp_file($conf) =~ /^spool-path=(.*)$/m;
$node->safe_psql('postgres', 'CREATE TABLE t (id int, filler text)');
$node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
for my $round (1 .. $segments)
{
	$node->safe_psql('postgres',
		"INSERT INTO t SELECT $round, md5(n::text) FROM generate_series(1, 3000) AS n; SELECT pg_switch_wal()");
}
wait_archived($node);
my $state = table_state($node, 't');
$node->stop;

sub restored
{
	my (@options) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	chmod 0700, $dir;
	my ($status, $out, $err) = chronos($conf, "--pg1-path=$dir", '--archive-mode=off', 'restore', @options);
	is($status, 0, 'restored') or diag($out . $err);
	return $dir;
}

# The processes that fetch ahead, with their guards, for a spool of this test. They stand in the top
# directory: whoever asks for a segment looks at the lock too, and may not be killed for it.
sub fetchers
{
	my @found;
	for my $dir (glob '/proc/[0-9]*')
	{
		my ($pid) = $dir =~ /(\d+)$/;
		next if $pid == $$;
		my $lock = readlink("$dir/fd/3") // next;
		push @found, $pid if index($lock, "$spool/chronos/") == 0 && (readlink("$dir/cwd") // '') eq '/';
	}
	return @found;
}

# A process may end before it is looked at.
sub slurp_if_there
{
	my ($file) = @_;
	open my $in, '<', $file or return;
	local $/;
	return scalar <$in>;
}

sub nobody_left
{
	my ($name) = @_;
	my $gone = eval { poll_until(sub { !fetchers() }, 'fetchers end', 20); 1 };
	ok($gone, "$name: nobody is left running");
	return;
}

sub spooled { return grep { /\/[0-9A-F]{24}$/ } glob "$spool/chronos/main/*/*" }
sub count_in_log { my ($server, $what) = @_; return () = slurp_file($server->logfile) =~ /$what/g }
my $from_spool = qr/found [0-9A-F]{24} in the spool/;
my $from_archive = qr/found [0-9A-F]{24} in the repo1/;

# --- Without and with, and one whose fetchers are killed again and again.
{
	my $dir = restored();
	open my $out, '>>', "$dir/postgresql.auto.conf" or die $!;
	print $out "restore_command = '$chronos --config=$conf --stanza=main --pg1-path=$dir"
	  . " --archive-get-queue-max=0 archive-get %f \"%p\"'\n";
	close $out;
	my $server = restored_node('without', $dir);
	is(table_state($server, 't'), $state, 'without fetching ahead: all is there');
	is(count_in_log($server, $from_spool), 0, 'and nothing came from the spool');
	$server->stop;
	is(scalar(spooled()), 0, 'which is empty');
}
{
	# Recovery asks for a segment when that is there, and in vain after two seconds: what comes from where is not
	# left to which of the two a busy machine lets run. Until something is fetched ahead there is nothing to wait for.
	my $dir = restored();
	my $wait = 'i=0; while [ $i -lt 40 ] && [ -e "$(echo ' . $spool . '/chronos/main/*/)" ]'
	  . ' && [ ! -e "$(echo ' . $spool . '/chronos/main/*/%f)" ]; do sleep 0.05; i=$((i+1)); done';
	open my $out, '>>', "$dir/postgresql.auto.conf" or die $!;
	print $out "restore_command = '$wait; $chronos --config=$conf --stanza=main --pg1-path=$dir archive-get %f \"%p\"'\n";
	close $out;
	my $server = restored_node('with', $dir);
	is(table_state($server, 't'), $state, 'with fetching ahead: all is there');
	cmp_ok(count_in_log($server, $from_spool), '>', $segments / 2, 'and most of it came from the spool');
	nobody_left('recovery is over');
	is(scalar(spooled()), 0, 'the spool is empty after the recovery');
	$server->stop;
}
{
	my $seed = seed();
	my $dir = restored();
	# Replay is made slow enough to be met by every kill.
	open my $out, '>>', "$dir/postgresql.auto.conf" or die $!;
	print $out "restore_command = 'sleep 0.03; $chronos --config=$conf --stanza=main --pg1-path=$dir"
	  . " --archive-get-queue-max=6MB archive-get %f \"%p\"'\n";
	close $out;
	my $server = restored_node('killed', $dir, wait => 0);
	my $killed = 0;
	poll_until(sub {
		for (1 .. 40)
		{
			my @all = fetchers();
			$killed += kill 'KILL', $all[ rand @all ] if @all;
			usleep(rand 5000);
		}
		return $server->safe_psql('postgres', 'SELECT pg_is_in_recovery()') eq 'f';
	}, 'end of a recovery whose fetchers are killed', 120);
	cmp_ok($killed, '>', 3, "fetchers were killed ($killed)");
	is(table_state($server, 't'), $state, 'fetchers are killed: all is there');
	nobody_left('fetchers are killed');
	$server->stop;
}

# --- What lies in the spool is a head start, not the archive.
{
	my $dir = restored();
	open my $out, '>>', "$dir/postgresql.auto.conf" or die $!;
	print $out "restore_command = 'sleep 0.05; $chronos --config=$conf --stanza=main --pg1-path=$dir"
	  . " --archive-get-queue-max=8MB archive-get %f \"%p\"'\n";
	close $out;
	my $server = restored_node('away', $dir, wait => 0);
	poll_until(sub { count_in_log($server, $from_spool) >= 5 }, 'segments from the spool', 60);
	rename $repo, "$repo.away" or die $!;
	poll_until(sub { !-e "$dir/postmaster.pid" }, 'the server stops', 60);
	my $log = slurp_file($server->logfile);
	unlike($log, qr/selected new timeline|archive recovery complete/,
		'the repository goes away: the server is not promoted');
	like($log, qr/ERROR: \[\d{3}\]/, 'and the log says why');
	nobody_left('the repository goes away');
	rename "$repo.away", $repo or die $!;
	$server->_update_pid(-1);    # it ended by itself
	$server->start;
	$server->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'no end of recovery';
	is(table_state($server, 't'), $state, 'the repository is back: all is there');
	$server->stop;
}

# --- A server that is stopped in the middle takes its fetchers along.
{
	my $dir = restored();
	my $server = restored_node('stopped', $dir, wait => 0,
		conf => "restore_command = 'sleep 0.05; $chronos --config=$conf --stanza=main --pg1-path=$dir archive-get %f \"%p\"'\n");
	poll_until(sub { count_in_log($server, $from_spool) >= 3 }, 'segments from the spool', 60);
	$server->stop('immediate');
	nobody_left('the server is stopped');
	cmp_ok(scalar(spooled()), '>', 0, 'what was fetched waits');
	my $again = restored_node('stopped_again', $dir);
	is(table_state($again, 't'), $state, 'and is replayed after the start');
	$again->stop;
}

# --- A postmaster that is PID 1 adopts the fetchers, and takes a child that dies by a signal for a
# crashed server process.
{
	my $dir = restored();
	my $log = PostgreSQL::Test::Utils::tempdir() . '/log';
	my $socket = PostgreSQL::Test::Utils::tempdir_short();
	open my $out, '>>', "$dir/postgresql.auto.conf" or die $!;
	print $out "restore_command = 'sleep 0.05; $chronos --config=$conf --stanza=main --pg1-path=$dir"
	  . " --archive-get-queue-max=6MB archive-get %f \"%p\"'\n"
	  . "archive_mode = off\nlisten_addresses = ''\nunix_socket_directories = '$socket'\nport = 5432\n";
	close $out;
	my @unshare = ('unshare', $< == 0 ? () : ('--user', '--map-current-user'), '--pid', '--fork');
	my ($status) = run_tool(@unshare, 'true');
	BAIL_OUT('no process namespace can be made here: run as root, or allow user namespaces') if $status != 0;
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		open STDOUT, '>>', $log or die "$log: $!";
		open STDERR, '>&', \*STDOUT;
		exec @unshare, 'postgres', '-D', $dir;
	}
	my $sql = sub { (run_tool('psql', '-XAtq', '-h', $socket, '-p', 5432, '-d', 'postgres', '-c', $_[0]))[1] };
	my $killed = 0;
	poll_until(sub {
		for (1 .. 40)
		{
			# Not the guards: nothing can be done about whoever kills the child of another.
			for my $worker (grep { (slurp_if_there("/proc/$_/comm") // '') eq "chronos-fetcher\n" } fetchers())
			{
				$killed += kill 'KILL', $worker;
			}
			usleep(2000);
		}
		return $sql->('SELECT pg_is_in_recovery()') eq "f\n";
	}, 'end of the recovery under PID 1', 120);
	cmp_ok($killed, '>', 3, "PID 1: fetchers were killed ($killed)");
	unlike(slurp_file($log), qr/reinitializing|was terminated by signal/, 'and the postmaster has not noticed');
	like(slurp_file($log), qr/archive recovery complete/, 'the recovery is complete');
	is($sql->(q{SELECT count(*) || ',' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '-') FROM t t}),
		"$state\n", 'and all is there');
	nobody_left('PID 1');
	my ($postmaster) = grep { (slurp_if_there("/proc/$_/stat") // '') =~ /^\d+ \(.*\) \S $pid / }
	  map { /(\d+)$/ } glob '/proc/[0-9]*';
	kill 'INT', $postmaster;
	waitpid $pid, 0;
}

# --- Without a recovery: for whoever asks for one after the other, and for nobody else.
{
	my $dir = restored();
	unlink "$dir/recovery.signal" or die $!;
	my %archived = map { basename($_) =~ /^([0-9A-F]{24})-([0-9a-f]{40})/ } glob "$repo/archive/main/*-1/*/*";
	my @names = sort keys %archived;
	my $got = PostgreSQL::Test::Utils::tempdir() . '/got';
	my $get = sub {
		my ($status, $out, $err) = chronos($conf, "--pg1-path=$dir", '--log-level-console=info', 'archive-get', $_[0], $got);
		return ($status, $out . $err);
	};
	for my $name (@names[ 10, 5, 3, 20 ])
	{
		my ($status) = $get->($name);
		is($status, 0, 'a segment is there');
		is(scalar(fetchers()), 0, 'one here, one there: nothing is fetched ahead');
	}
	for my $name (@names[ 10, 11 ])
	{
		my ($status) = chronos($conf, "--pg1-path=$dir", '--repo=1', 'archive-get', $name, $got);
		is($status, 0, 'a segment of a repository is there');
	}
	is(scalar(fetchers()), 0, 'who names the repository gets all from there');
	my ($spooled, $wrong, $killed) = (0, 0, 0);
	for my $name (@names)
	{
		$killed += kill 'KILL', fetchers() if $name eq $names[20];
		# A busy machine lets whoever asks run before those that fetch: they are given two seconds for each.
		my $until = time + 2;
		usleep(20_000) while time < $until && fetchers() && !(() = glob "$spool/chronos/main/*/$name");
		my ($status, $text) = $get->($name);
		$spooled++ if $text =~ $from_spool;
		my ($sum) = (run_tool('sha1sum', $got))[1] =~ /^(\w+)/;
		$wrong++ if $status != 0 || $sum ne $archived{$name};
	}
	is($wrong, 0, 'one after the other: each is what was archived');
	cmp_ok($killed, '>', 0, 'although those that fetch were killed once');
	cmp_ok($spooled, '>', @names * 0.8, "and most were fetched ahead ($spooled of " . @names . ')');
	nobody_left('nobody asks any more');
	is(scalar(spooled()), 0, 'and nothing is left in the spool');
}

# --- Leftovers: under the right names, with a content that would end the recovery early.
{
	my $dir = restored();
	my @names = sort map { substr basename($_), 0, 24 } glob "$repo/archive/main/*-1/*/*";
	my $inode = join '-', (stat $dir)[ 0, 1 ];
	my $system = (slurp_file("$repo/archive/main/archive.info") =~ /db-system-id"?[:=](\d+)/)[0];
	open my $id, '<', '/proc/sys/kernel/random/boot_id' or die $!;
	chomp(my $boot = <$id>);
	my $own = "$spool/chronos/main/$system-$inode-$boot";
	my @planted = ("$spool/chronos/main/" . ($system + 1) . "-$inode-$boot",
		"$spool/chronos/main/$system-1-2-$boot", $own =~ s/\Q$boot\E$/00000000-0000-0000-0000-000000000000/r, $own);
	for my $place (@planted)
	{
		make_path($place, { mode => 0700 });
		for my $name (@names)
		{
			# Zeros are the end of the log; of its own directory, a file that is not whole.
			open my $out, '>', "$place/$name" . ($place eq $own ? '.chronos.tmp' : '') or die $!;
			print $out "\0" x (1 << 20);
			close $out;
		}
	}
	open my $out, '>', "$own/$names[5]" or die $!;
	print $out "\0" x (1 << 20);
	close $out;
	my $server = restored_node('planted', $dir);
	is(table_state($server, 't'), $state, 'leftovers in the spool: all is there');
	ok(-e "$planted[0]/$names[3]", 'those of another cluster were left alone');
	ok(!-e $planted[2], 'those from before the machine was started were removed');
	my @partial = glob "$own/*.chronos.tmp";
	is(scalar(@partial), 0, 'and those that were not whole');
	nobody_left('leftovers in the spool');
	$server->stop;

	# The next restore into the directory begins with an empty spool.
	open $out, '>', "$own/$names[5]" or die $!;
	close $out;
	my ($status) = chronos($conf, "--pg1-path=$dir", '--archive-mode=off', '--delta', 'restore');
	is($status, 0, 'restored once more');
	ok(!-e $own, 'restore removes the spool of the data directory');
	ok(-e $planted[1], 'and no other one');
}

done_testing();
