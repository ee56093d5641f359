# An instant restore under kills: while a server works in a directory that is not whole yet, whoever serves it, whoever keeps
# that, the server, parts of it and its archiving are killed with -9, one or several at once, at random moments: while it
# recovers, while files come, and at the end. Afterwards it is served again, by itself or by --remount, the server starts, and
# has every transaction that was acknowledged; and what comes out in the end is a whole directory.
#
# TEST_SEED repeats a run as far as moments can be repeated, TEST_STEPS is the number of kills (default 5, 100 with CHECK_LONG).
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Fcntl qw(O_RDONLY O_RDWR);
use InstantTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;
use Time::HiRes qw(time sleep);

my $seed = seed();
my $wanted = campaign(5, short => 3, long => 100);
srand $seed;

# A bucket at the end of a link that brings some MB a second: so that it takes a while until all is there. WAL comes another
# way, or recovery would take as long.
delete $ENV{CHRONOS_REPO1_BLOCK};
my $base = PostgreSQL::Test::Utils::tempdir();
my $bucket = S3Server->new(buckets => ['kills']);
my $link = S3Server::Tool->start('slow_link.py', "localhost:$bucket->{https}", '--rtt', 10, '--rate', $wanted > 20 ? 60 : 160);
my @options = ('repo1-path' => '/r', 'repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'none', 'io-timeout' => 5,
	'process-max' => 2, 'log-level-file' => 'detail');
my $node = chronos_node('primary', conf => "fsync = on\n", options => { $bucket->options('kills'), @options });
my $conf = write_config("$base/far.conf", pg => $node->data_dir, port => $node->port, socket => $node->host,
	$bucket->options('kills', port => $link->{hello}), @options);
my ($logs) = slurp_file($conf) =~ /^log-path=(.*)$/m;
$node->safe_psql('postgres', q{
	CREATE EXTENSION amcheck;
	CREATE TABLE untouched AS SELECT i AS id, repeat(md5(i::text), 8) AS word FROM generate_series(1, 1000000) i;
	CREATE INDEX ON untouched (id)});
is((run_tool('pgbench', '-q', '-i', '-s', 2, '-p', $node->port, '-h', $node->host, 'postgres'))[0], 0, 'tables of pgbench');
is((chronos($node->{chronos_conf}, '--type=full', 'backup'))[0], 0, 'backup');
if (!sysopen my $device, '/dev/fuse', O_RDWR)
{
	diag("/dev/fuse: $!; what needs it is not claimed here");
	done_testing();
	exit;
}

is((run_tool('pgbench', '-n', '-c', 4, '-t', 300, '-p', $node->port, '-h', $node->host, 'postgres'))[0], 0, 'WAL');
my $question = q{SELECT count(*), md5(string_agg(word, '|' ORDER BY id)) FROM untouched};
my $expected = $node->safe_psql('postgres', $question);
my $in_archive = $node->safe_psql('postgres', 'SELECT count(*) FROM pgbench_history');
wait_archived($node);
$node->stop;

sub is_alive
{
	my ($pid, $what) = @_;
	open my $stat, '<', "/proc/$pid/stat" or return 0;
	my ($name, $state) = (readline($stat) // '') =~ /\((.*)\) (\S)/ or return 0;
	return $state ne 'Z' && (!defined $what || $name =~ $what);
}
sub parent_of
{
	my ($pid) = @_;
	open my $stat, '<', "/proc/$pid/stat" or return 0;
	return ((readline($stat) // '') =~ /\) \S (\d+)/)[0] // 0;
}
# All that have such a command line, as [number, parent].
sub processes
{
	my ($pattern) = @_;
	my @found;
	for my $directory (glob '/proc/[0-9]*')
	{
		open my $file, '<', "$directory/cmdline" or next;
		my $line = readline($file) // '';
		$line =~ tr/\0/ /;
		push @found, $directory =~ s{/proc/}{}r if $line =~ $pattern;
	}
	return @found;
}

# One directory, from its restore until it is whole and as any other.
package Life;
use Test::More;
use ChronosTest;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time sleep);
my $lives = 0;

sub begin
{
	my ($class) = @_;
	my $self = bless { number => ++$lives, path => private_directory(), acknowledged => 0, keeper => 0, runs => 0 }, $class;
	my $wal = "$chronos --config=$node->{chronos_conf} --stanza=main --pg1-path=$self->{path} archive-get %f \"%p\"";
	my ($status, $out, $err) = chronos($conf, "--pg1-path=$self->{path}", '--instant', "--recovery-option=restore_command=$wal", 'restore');
	die "restore: $out$err" if $status != 0;
	my $own = "$base/own$lives.conf";
	mkdir "$base/own$lives";
	$self->{node} = PostgreSQL::Test::Cluster->new("life$lives");
	$self->{socket} = $self->{node}->host;
	$self->{port} = $self->{node}->port;
	write_config($own, path => "$base/own$lives", pg => $self->{path}, port => $self->{port}, socket => $self->{socket}, 'archive-check' => 'n');
	# It archives into a repository of its own.
	PostgreSQL::Test::Utils::append_to_file("$self->{path}/postgresql.auto.conf",
		"port = $self->{port}\nunix_socket_directories = '$self->{socket}'\nlisten_addresses = ''\nchronos.config_file = '$own'\n" .
		"checkpoint_timeout = '30s'\nmax_wal_size = '64MB'\nlog_min_messages = 'warning'\n");
	$self->{own} = $own;
	$self->{keeper} = main::parent_of($self->worker);
	return $self;
}
sub worker { my ($self) = @_; return main::listed($self->{path})->{pid} // 0 }
sub postmaster
{
	my ($self) = @_;
	open my $file, '<', "$self->{path}/postmaster.pid" or return 0;
	my ($pid) = (readline($file) // '') =~ /^(\d+)/ or return 0;
	return main::is_alive($pid, qr/^postgres/) ? $pid : 0;
}
sub sql
{
	my ($self, $statement) = @_;
	my ($status, $out, $err) = run_tool('psql', '-XAtq', '-p', $self->{port}, '-h', $self->{socket}, '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-c', $statement);
	$out =~ s/\s+$//;
	return $status == 0 ? $out : undef;
}
sub start_server
{
	my ($self, $wait) = @_;
	return run_tool('pg_ctl', $wait ? ('-w', '-t', 60) : '-W', '-D', $self->{path}, '-l', "$base/life$self->{number}.log", 'start');
}
# Clients that note what they were told is committed.
sub work
{
	my ($self) = @_;
	my $prefix = "$base/life$self->{number}.run" . ++$self->{runs};
	$self->{clients} = IPC::Run::start([ 'pgbench', '-n', '-c', 4, '-T', 600, '-l', "--log-prefix=$prefix", '-p', $self->{port}, '-h', $self->{socket}, 'postgres' ],
		'<', \undef, '>', \$self->{said}, '2>', \$self->{said});
	return;
}
sub stop_work
{
	my ($self) = @_;
	return if !$self->{clients};
	# INT is ignored in what a shell has put into the background.
	$self->{clients}->signal('TERM');
	$self->{clients}->finish;
	delete $self->{clients};
	for my $log (glob "$base/life$self->{number}.run$self->{runs}.*")
	{
		open my $file, '<', $log or die $!;
		$self->{acknowledged}++ while readline $file;
	}
	return;
}

my %victims = (
	worker => sub { my ($self) = @_; return $self->worker },
	keeper => sub { my ($self) = @_; return $self->{keeper} },
	server => sub { my ($self) = @_; return $self->postmaster },
	part => sub {
		my ($self) = @_;
		my $postmaster = $self->postmaster or return 0;
		my @parts = grep { main::parent_of($_) == $postmaster } main::processes(qr/^postgres: /);
		return @parts ? $parts[ rand @parts ] : 0;
	},
	# What fetches WAL, or archives it.
	archiving => sub {
		my ($self) = @_;
		my $postmaster = $self->postmaster or return ();
		return grep { $_ != $$ } engines_below($postmaster), main::processes(qr/\Q$self->{path}\E.* archive-get|archive-get .*\Q$self->{path}\E/);
	});

# Who is killed, at once. Returns their names.
sub kill_some
{
	my ($self, @names) = @_;
	my @pids = map { $victims{$_}->($self) } @names;
	kill KILL => grep { $_ > 1 } @pids;
	return;
}

# What somebody on call does, as docs/mount.md says it: nothing, as long as it helps itself.
sub bring_back
{
	my ($self) = @_;
	my $path = $self->{path};
	my $how = 'by itself';
	for (my $end = time + 150; ; sleep 0.2)
	{
		die "life $self->{number} is not served" if time > $end;
		my $mount = main::listed($path);
		my $state = $mount->{state} // 'none';
		last if $state eq 'live';
		next if main::is_alive($self->{keeper});
		if ($state eq 'dead')
		{
			# A server that does not notice.
			my @left = grep { -d "/proc/$_" && (readlink("/proc/$_/cwd") // '') =~ /^\Q$path\E/ } map { m{(\d+)$} } glob '/proc/[0-9]*';
			kill KILL => @left;
			run_tool('fusermount3', '-u', '-z', $path);
			next;
		}
		next if $state ne 'none';
		last if -e "$path/global/pg_control" && !-e "$path/.chronos-lazy/backup";
		my ($status, $out, $err) = chronos($conf, "--remount=$path", '--background', 'mount');
		die "remount: $out$err" if $status != 0;
		$how = -e "$path/.chronos-lazy" ? 'remounted' : $out =~ /is whole/ ? 'whole already' : 'remounted';
		my $worker = $self->worker;
		$self->{keeper} = $worker ? main::parent_of($worker) : 0;
	}
	return $how;
}
sub bring_server_back
{
	my ($self) = @_;
	for (my $end = time + 120; time < $end; sleep 0.3)
	{
		return if defined $self->sql('SELECT 1') && ($self->sql('SELECT pg_is_in_recovery()') // '') eq 'f';
		next if $self->postmaster;
		# It may have been served by one that has just died again.
		$self->bring_back;
		$self->start_server(0);
	}
	die "the server of life $self->{number} does not start: " . slurp_file("$base/life$self->{number}.log");
}
# Every acknowledged transaction, and nothing by halves.
sub check
{
	my ($self, $what) = @_;
	my $row = $self->sql(q{SELECT (SELECT count(*) FROM pgbench_history), (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(tbalance) FROM pgbench_tellers)
		AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches) AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)})
	  // 'no answer';
	my ($there, $agree) = split /\|/, $row;
	is($agree, 't', "$what: sums agree") or diag($row);
	my $least = $in_archive + $self->{acknowledged};
	cmp_ok($there =~ /^\d+$/ ? $there : -1, '>=', $least, "$what: all $self->{acknowledged} acknowledged transactions are there");
	return;
}
sub is_over { my ($self) = @_; return !defined main::listed($self->{path})->{path} && -e "$self->{path}/global/pg_control" && !-e "$self->{path}/.chronos-lazy/backup" }

package main;

my %seen;
my ($kills, $finishes, $at_end) = (0, 0, 0);
while ($kills < $wanted)
{
	my $life = Life->begin;
	if ($life->{number} == 1)
	{
		my $row;
		poll_until(sub { $row = listed($life->{path}); return ($row->{'seconds-to-go'} // 0) > 0 || !defined $row->{path} }, 'it is known how fast it comes', 30);
		cmp_ok(abs($row->{'missing-bytes'} / $row->{'bytes-per-second'} - $row->{'seconds-to-go'}), '<=', 1, 'how long it will take is what is to come at the pace so far');
		like((run_tool($chronos, '--config=/dev/null', 'mounts'))[1], qr{\d+% here, \S+ to come, \S+/s, \S+ to go$}m, '... which is said');
	}
	# While it recovers.
	if (rand() < 0.6)
	{
		$life->start_server(0);
		sleep rand 1.5;
		my @names = (qw(worker server archiving part))[ rand 4 ];
		push @names, 'worker' if rand() < 0.3;
		$life->kill_some(@names);
		++$kills;
		my $how = $life->bring_back;
		$life->bring_server_back;
		$life->check("life $life->{number}, recovering, killed: @names, served $how");
		$seen{"recovering: $how"}++;
	}
	$life->bring_server_back;
	my $whole_seen = 0;
	for (my $round = 1; !$life->is_over; ++$round)
	{
		my $mount = listed($life->{path});
		my $left = $mount->{'missing-bytes'} // 0;
		if (($mount->{whole} // 0) || $round > 12)
		{
			# The end: it is waited for, and perhaps somebody dies right then.
			my $kill_at_end = rand() < 0.5;
			if (!($mount->{whole} // 0) || ($kill_at_end && !$whole_seen++ && rand() < 0.5))
			{
				$life->work if !$life->{clients};
				poll_until(sub { my $now = listed($life->{path}); return ($now->{whole} // 0) || !defined $now->{path} || ($now->{'missing-bytes'} // 1e9) < 4e6 * rand() }, 'nearly whole', 300);
			}
			$life->stop_work;
			run_tool('pg_ctl', '-D', $life->{path}, '-m', rand() < 0.5 ? 'fast' : 'immediate', '-t', 60, 'stop');
			if ($kill_at_end)
			{
				sleep rand 0.7;
				my @names = rand() < 0.6 ? ('worker') : ('worker', 'keeper');
				$life->kill_some(@names);
				++$kills;
				++$at_end;
				my $how = $life->bring_back;
				$seen{"at the end: $how"}++;
				$life->bring_server_back;
				$life->check("life $life->{number}, at the end, killed: @names, $how");
				run_tool('pg_ctl', '-D', $life->{path}, '-m', 'fast', '-t', 60, 'stop');
			}
			my ($status, $out, $err) = chronos($conf, "--finish=$life->{path}", 'mount');
			# It may have ended before anybody asked.
			last if $status == 0 || $out . $err =~ /no backup is mounted/;
			diag($out . $err);
			$life->bring_back;
			$life->bring_server_back;
			next;
		}
		$life->work if !$life->{clients};
		sleep 0.2 + rand 2.5;
		my @all = qw(worker keeper server part archiving);
		my $count = rand() < 0.6 ? 1 : rand() < 0.7 ? 2 : 3;
		my @names = rand() < 0.1 ? qw(worker keeper server) : map { splice @all, rand(@all), 1 } 1 .. $count;
		$life->kill_some(@names);
		++$kills;
		$life->stop_work if rand() < 0.9 || grep { /worker|server|part/ } @names;
		my $how = $life->bring_back;
		$life->bring_server_back;
		$life->stop_work;
		$life->check(sprintf 'life %d, %.0f MB to come, killed: %s, served %s', $life->{number}, $left / 1e6, "@names", $how);
		$seen{"working: $how"}++;
	}
	$life->stop_work;
	++$finishes;
	my $path = $life->{path};
	ok($life->is_over && !-e "$path/global/pg_control.chronos-lazy", "life $life->{number}: a directory as any");
	$life->bring_server_back;
	$life->check("life $life->{number}, native");
	is($life->sql($question), $expected, '... what nobody has touched is as it was');
	is($life->sql(q{SELECT count(bt_index_check(c.oid, true)) > 100 FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE relkind = 'i' AND amname = 'btree'}), 't', '... indexes and tables agree');
	run_tool('pg_ctl', '-D', $path, '-m', 'fast', '-t', 60, 'stop');
	is((run_tool('pg_checksums', '--check', '-D', $path))[0], 0, '... every page has its checksum');
	unlike(slurp_file("$path/postgresql.auto.conf"), qr/recovery_prefetch/, '... no setting is left');
	PostgreSQL::Test::Utils::system_log('rm', '-rf', $path, "$base/own$life->{number}");
}
diag("$kills kills, $finishes directories, $at_end times at the end: " . join ', ', map { "$_ $seen{$_}" } sort keys %seen);

done_testing();
