# A server on a mounted backup has what a server on a restored one has, whatever the cluster has been through: random
# histories of tables that are made, filled, changed, rewritten and dropped, of databases, large values and sequences, in
# backups that are stored in every way; then random moments of each. Of every one pg_dumpall of a restored server at that
# moment is that of a look and that of a directory that is still being completed; and what that is in the end has no page
# that is not right.
#
# TEST_SEED repeats a run, TEST_STEPS is the number of histories (default 2; 40 with CHECK_LONG).
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Fcntl qw(O_RDWR);
use IPC::Run ();
use InstantTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;

if (!sysopen my $device, '/dev/fuse', O_RDWR)
{
	diag("/dev/fuse: $!; what needs it is not claimed here");
	isnt((run_tool($chronos, '--no-config', '--stanza=main', '--repo1-path=/nonexistent', 'look'))[0], 0, 'nor is there a look');
	done_testing();
	exit;
}
# What pgBackRest here cannot read is read by nobody else here.
delete $ENV{CHRONOS_REPO1_BLOCK};
my $seed = seed();
my $histories = campaign(2, short => 1, long => 40);

sub pick { return $_[ rand @_ ] }
sub maybe { return rand() < $_[0] }

# --- a history ------------------------------------------------------------------------------------

my ($node, @databases, %tables, @points, $made, $is_small);

sub step
{
	my $database = pick(@databases);
	my @own = sort keys %{ $tables{$database} };
	my $table = @own ? pick(@own) : undef;
	my $rows = pick(1, 30, 700, $is_small ? 100 : 20000);
	my $what = pick(qw(make make insert insert insert update update delete truncate rewrite vacuum index drop add long database checkpoint switch unlogged));
	if (!defined $table || $what eq 'make')
	{
		$table = 't' . ++$made;
		$tables{$database}{$table} = 1;
		return [ $database, "CREATE TABLE $table (id serial PRIMARY KEY, word text, number numeric DEFAULT random()::numeric(12, 3)); INSERT INTO $table (word) SELECT repeat(md5(i::text), " . pick(1, 3, 9) . ") FROM generate_series(1, $rows) i" ];
	}
	return [ $database, "INSERT INTO $table (word) SELECT md5((i * $rows)::text) FROM generate_series(1, $rows) i" ] if $what eq 'insert';
	return [ $database, "UPDATE $table SET word = word || '-', number = number + 1 WHERE id % " . pick(2, 50, 900) . ' = 1' ] if $what eq 'update';
	return [ $database, "DELETE FROM $table WHERE id % " . pick(3, 40) . ' = 0' ] if $what eq 'delete';
	return [ $database, "TRUNCATE $table" ] if $what eq 'truncate';
	return [ $database, pick("VACUUM FULL $table", "CLUSTER $table USING ${table}_pkey", "ALTER TABLE $table ALTER id TYPE bigint", 'VACUUM FULL pg_class') ] if $what eq 'rewrite';
	return [ $database, pick("VACUUM $table", "VACUUM FREEZE $table", 'ANALYZE') ] if $what eq 'vacuum';
	return [ $database, 'CREATE INDEX ON ' . $table . pick(' (md5(word))', ' (number) WHERE id > 10', ' USING hash (word)', ' USING brin (id)') ] if $what eq 'index';
	return [ $database, "ALTER TABLE $table ADD more" . ++$made . pick(" int DEFAULT 7", " text", " int GENERATED ALWAYS AS IDENTITY") ] if $what eq 'add';
	return [ $database, "INSERT INTO $table (word) SELECT string_agg(md5((g * i)::text), '') FROM generate_series(1, 3) g, generate_series(1, " . ($is_small ? 400 : 4000) . ") i GROUP BY g" ] if $what eq 'long';
	return [ $database, 'CREATE UNLOGGED TABLE u' . ++$made . ' AS SELECT generate_series(1, 50) AS id' ] if $what eq 'unlogged';
	if ($what eq 'drop')
	{
		delete $tables{$database}{$table};
		return [ $database, "DROP TABLE $table" ];
	}
	if ($what eq 'database' && @databases < 4)
	{
		my $name = 'd' . ++$made;
		push @databases, $name;
		$tables{$name} = { %{ $tables{$database} } };
		return [ 'postgres', "CREATE DATABASE $name TEMPLATE " . ($database eq 'postgres' ? 'template1' : $database) . pick('', ' STRATEGY file_copy') ];
	}
	return [ 'postgres', 'SELECT pg_switch_wal()' ] if $what eq 'switch';
	return [ 'postgres', 'CHECKPOINT' ];
}

sub write_some
{
	my ($steps) = @_;
	for (1 .. $steps)
	{
		my ($database, $sql) = @{ step() };
		# A new database has what its template had.
		$tables{$1} = {} if $sql =~ /^CREATE DATABASE (\w+) TEMPLATE template1/;
		note("$database: $sql");
		# VACUUM and the like want to be alone.
		$node->safe_psql($database, $_) for split /; /, $sql;
		next if !maybe(0.15);
		my $point = 'p' . (@points + 1);
		push @points, $point;
		$node->safe_psql('postgres', "SELECT pg_create_restore_point('$point')");
	}
	return;
}

# --- servers of the past --------------------------------------------------------------------------

sub dump_of
{
	my ($where) = @_;
	my ($status, $out, $err) = run_tool('pg_dumpall', '-d', "$where dbname=postgres");
	return "no dump: $err" if $status != 0;
	$out =~ s/^\\(?:un)?restrict .*\n//mg;
	return $out;
}

sub where_is { my ($server) = @_; return 'host=' . $server->host . ' port=' . $server->port }

# Stands still at the moment.
my $copies = 0;
sub paused
{
	my ($data) = @_;
	my $server = restored_node('copy' . ++$copies, $data, bare => 1, wait => 0, conf => "fsync = on\n");
	$server->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'}) or die 'it does not come to stand still';
	return $server;
}

sub looked
{
	my ($conf, $scratch, @target) = @_;
	my ($out, $err) = ("$scratch/../out", "$scratch/../err");
	unlink $out, $err;
	my $pid = fork() // die $!;
	if ($pid == 0)
	{
		open STDOUT, '>', $out or POSIX::_exit(1);
		open STDERR, '>', $err or POSIX::_exit(1);
		exec { $chronos } $chronos, "--config=$conf", '--stanza=main', "--drill-path=$scratch", @target, 'look' or POSIX::_exit(1);
	}
	poll_until(sub { (-e $out && slurp_file($out) =~ /^End it/m) || waitpid($pid, POSIX::WNOHANG()) != 0 }, 'a look');
	my ($socket, $port, $user) = slurp_file($out) =~ /^psql -h (\S+) -p (\d+) -U (\S+) postgres$/m or do { diag(slurp_file($out) . slurp_file($err)); return 'no look' };
	my $dump = dump_of("host=$socket port=$port user=$user");
	kill TERM => $pid;
	waitpid $pid, 0;
	return $dump;
}

# The first line in which they differ, "" if there is none.
sub difference
{
	my ($want, $have) = @_;
	return '' if $want eq $have;
	my (@want, @have);
	@want = split /\n/, $want;
	@have = split /\n/, $have;
	for my $i (0 .. ($#want > $#have ? $#want : $#have))
	{
		next if ($want[$i] // '') eq ($have[$i] // '');
		return "line $i: " . substr($have[$i] // 'nothing', 0, 200) . ' instead of ' . substr($want[$i] // 'nothing', 0, 200);
	}
	return 'they differ';
}

# --- each history ---------------------------------------------------------------------------------

for my $history (1 .. $histories)
{
	my $own = int rand 2**31;
	srand $own;
	# Of one of them all is restored at once.
	$is_small = $history == 2;
	my $bundle = $is_small || maybe(0.8);
	my %options = (
		'repo1-bundle' => $bundle ? 'y' : 'n', 'repo1-block' => $bundle && maybe(0.8) ? 'y' : 'n',
		'compress-type' => pick(qw(none gz lz4 zst bz2)), 'process-max' => pick(1, 2, 4), 'io-timeout' => 20,
		maybe(0.4) ? ('repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'a secret of 860') : ());
	diag("history $history: seed $own: " . join ' ', map { "$_=$options{$_}" } grep { !/pass/ } sort keys %options);
	my $scratch_base = PostgreSQL::Test::Utils::tempdir_short();
	my $scratch = "$scratch_base/scratch";
	mkdir $scratch;
	($made, @points) = (0);
	@databases = ('postgres');
	%tables = (postgres => {});
	$node = chronos_node("cluster$history", options => { %options, 'drill-path' => $scratch }, initdb => [ '--wal-segsize=' . pick(1, 4, 16) ],
		conf => "autovacuum = off\nmax_wal_size = 1GB\n");
	my $conf = $node->{chronos_conf};
	write_some(10);
	for my $type ('full', (map { pick('diff', 'incr') } 1 .. int rand 3))
	{
		my ($status, $out, $err) = chronos($conf, "--type=$type", 'backup');
		is($status, 0, "backup: $type") or diag($out . $err);
		@points = ();
		write_some(5 + rand 15);
	}
	$node->safe_psql('postgres', q{SELECT pg_create_restore_point('last')});
	push @points, 'last';
	wait_archived($node);
	$node->stop('immediate');

	my %moments = map { $_ => 1 } 'last', pick(@points);
	for my $moment (sort(keys %moments), 'immediate')
	{
		my @target = $moment eq 'immediate' ? ('--type=immediate') : ('--type=name', "--target=$moment");
		my $data = private_directory();
		my ($status, $out, $err) = chronos($conf, "--pg1-path=$data", '--archive-mode=off', @target, '--target-action=pause', 'restore');
		is($status, 0, "$moment: restored") or do { diag($out . $err); next };
		my $server = paused($data);
		my $want = dump_of(where_is($server));
		$server->stop('fast');
		like($want, qr/^-- PostgreSQL database cluster dump complete/m, '... and dumped');
		is(difference($want, looked($conf, $scratch, @target)), '', '... which is what a look has');

		my $lazy = private_directory();
		($status, $out, $err) = chronos($conf, "--pg1-path=$lazy", '--archive-mode=off', @target, '--target-action=pause', '--instant', 'restore');
		is($status, 0, '... and an instant restore') or do { diag($out . $err); next };
		$server = paused($lazy);
		is(difference($want, dump_of(where_is($server))), '', '... while it is completed');
		$server->stop('fast');
		($status, $out, $err) = chronos($conf, "--finish=$lazy", 'mount');
		is($status, 0, '... to its end') or diag($out . $err);
		ok(!defined listed($lazy)->{path} && !-e "$lazy/.chronos-lazy", '... after which it is a directory');
		($status, $out, $err) = run_tool('pg_checksums', '--check', '-D', $lazy);
		is($status, 0, '... with pages that are right') or diag($out . $err);
	}
	is_deeply([ glob "$scratch/*" ], [], 'nothing is left of what was looked at');
}

done_testing();
