# A copy of a data directory that is started with the configuration it brought along puts no WAL and no
# backups into the stanza of the original, expires nothing there, and both are told. A server that has
# moved claims its stanza; one that is promoted need not.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = chronos_node('original');
my $conf = $node->{chronos_conf};
my $repo = $node->{chronos_repo};
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'backup of the original');
$node->backup('image');

my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($node, 'image');
$copy->start;
my $offset = 0;
subtest 'a copy is refused' => sub {
	$copy->safe_psql('postgres', 'CREATE TABLE of_the_copy (); SELECT pg_switch_wal()');
	ok($copy->poll_query_until('postgres', 'SELECT failed_count > 0 FROM pg_stat_archiver'), 'its WAL');
	like(slurp_file($copy->logfile), qr/stanza 'main' on repo1 belongs to another server, which is alive, on the same timeline/,
		'... for a reason');
	my ($status, $out, $err) = $copy->psql('postgres', 'SELECT * FROM chronos.expire(false)');
	like($err, qr/belongs to another server|encountered 1 error/, 'what it wants to expire');
	for my $job (q{start_backup('full')}, q{start_job('expire')})
	{
		my $id = $copy->safe_psql('postgres', "SELECT chronos.$job");
		$copy->psql('postgres', "SELECT chronos.wait($id)");
		like($copy->safe_psql('postgres', "SELECT state || ' ' || error FROM chronos.jobs WHERE id = $id"),
			qr/^failed .*(?:belongs to another server|encountered 1 error)/, $job);
	}
	is($copy->safe_psql('postgres', 'SELECT archived_count FROM pg_stat_archiver'), 0, 'nothing of it was taken');
};
# The clock of the copy's machine is ahead, so that nothing of the original looks recent.
subtest 'nor does a clock help it' => sub {
	my $base = PostgreSQL::Test::Utils::tempdir();
	my $library = "$base/clock_shift.so";
	my $compiler = $ENV{CC} // 'cc';
	system("$compiler -shared -fPIC -O1 -o $library $FindBin::RealBin/../support/clock_shift.c") == 0 or die;
	open my $shift, '>', "$base/shift" or die $!;
	print $shift pack 'q', 3600 * 1_000_000;
	close $shift;
	my $copied = write_config("$base/copy.conf", path => $repo, pg => $copy->data_dir, port => $copy->port,
		socket => $copy->host);
	local $ENV{CLOCK_SHIFT_FILE} = "$base/shift";
	local $ENV{LD_PRELOAD} = $library;
	for my $command ('expire', 'backup')
	{
		my ($status, $out, $err) = chronos($copied, $command);
		isnt($status, 0, "$command an hour ahead");
		like($out . $err, qr/belongs to another server, which is alive/, '... is refused as well');
	}
};
subtest 'the original goes on' => sub {
	$node->safe_psql('postgres', 'CREATE TABLE of_the_original (); SELECT pg_switch_wal()');
	wait_archived($node);
	my ($status, $out, $err) = chronos($conf, '--type=incr', 'backup');
	is($status, 0, 'with backups too') or diag($out . $err);
	is((chronos($conf, 'verify'))[0], 0, 'all of it is sound');
};
subtest 'a restore says that the original goes on' => sub {
	my $past = PostgreSQL::Test::Utils::tempdir();
	my $warning = qr/the stanza is in use by data directory '\Q@{[ $node->data_dir ]}\E'.*--archive-mode=off/;
	my ($status, $out, $err) = chronos($conf, "--pg1-path=$past/data", '--plan', 'restore');
	is($status, 0, 'which hinders nothing') or diag($out . $err);
	like($out . $err, $warning, 'where it would archive beside it');
	for my $none ([ "--pg1-path=$past/data", '--archive-mode=off' ], [ "--pg1-path=$past/data", '--type=standby' ],
		[ '--pg1-path=' . $node->data_dir, '--delta' ])
	{
		($status, $out, $err) = chronos($conf, @$none, '--plan', 'restore');
		unlike($out . $err, qr/the stanza is in use/, "but not with @$none");
	}
};
subtest 'both are told' => sub {
	my %rule = (original => [ $node, 'warning' ], copy => [ $copy, 'critical' ]);
	for my $name (sort keys %rule)
	{
		my ($server, $state) = @{ $rule{$name} };
		$server->safe_psql('postgres', q{ALTER SYSTEM SET chronos.health_interval = 1; SELECT pg_reload_conf()});
		ok($server->poll_query_until('postgres',
				"SELECT count(*) = 1 FROM chronos.health() WHERE rule = 'stanza_owner' AND state = '$state'"),
			"$name: $state");
	}
};
$copy->stop;

# In a container with a copy of the volume, or on a clone of the machine, host name and path are those of the original.
subtest 'a copy of the same name and path' => sub {
	my @unshare = ('unshare', $< == 0 ? () : ('--user', '--map-current-user', '--keep-caps'), '--mount');
	my ($status) = run_tool(@unshare, 'true');
	BAIL_OUT('no mount namespace can be made here: run as root, or allow user namespaces') if $status != 0;
	my $twin = PostgreSQL::Test::Cluster->new('twin');
	$twin->init_from_backup($node, 'image');
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		open STDOUT, '>>', $twin->logfile or die;
		open STDERR, '>&', \*STDOUT;
		exec @unshare, 'sh', '-c', 'mount --bind "$1" "$2" && exec postgres -D "$2"', 'sh', $twin->data_dir, $node->data_dir;
	}
	wait_for_server($twin, 'the copy is up', 60);
	$twin->safe_psql('postgres', 'CREATE TABLE of_the_twin (); SELECT pg_switch_wal()');
	ok($twin->poll_query_until('postgres', 'SELECT failed_count > 0 FROM pg_stat_archiver'), 'its WAL is refused');
	like(slurp_file($twin->logfile),
		qr/belongs to data directory .*, which gave a sign of life \d+ seconds ago|belongs to another server, .* another one of the same name/,
		'... until it is known which one it is');
	like(slurp_file($twin->logfile), qr/chronos --stanza=main stanza-claim/, '... with the way out');
	is($twin->safe_psql('postgres', 'SELECT archived_count FROM pg_stat_archiver'), 0, 'nothing of it was taken');
	for my $mode ('fast', 'immediate')
	{
		$node->stop($mode);
		$node->start;
		$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
		wait_archived($node);
		is($node->safe_psql('postgres', 'SELECT failed_count FROM pg_stat_archiver'), 0, "the original goes on at once after stop -m $mode");
	}
	is((chronos($conf, 'verify'))[0], 0, 'all of it is sound');
	kill 'INT', $pid;
	waitpid $pid, 0;
};

sub succeeds
{
	my ($server, $job, $name) = @_;
	my $id = $server->safe_psql('postgres', "SELECT chronos.$job");
	$server->psql('postgres', "SELECT chronos.wait($id)");
	return is($server->safe_psql('postgres', "SELECT state || ' ' || coalesce(error, '') FROM chronos.jobs WHERE id = $id"),
		'succeeded ', $name);
}

my $moved = PostgreSQL::Test::Cluster->new('moved');
my $standby = PostgreSQL::Test::Cluster->new('standby');
subtest 'a server that has moved' => sub {
	$node->stop;
	mkdir $moved->basedir if !-d $moved->basedir;
	system('cp', '-a', $node->data_dir, $moved->data_dir) == 0 or die;
	$moved->append_conf('postgresql.conf', 'port = ' . $moved->port . "\nunix_socket_directories = '" . $moved->host . "'");
	$moved->start;
	$moved->safe_psql('postgres', 'CREATE TABLE moved (); SELECT pg_switch_wal()');
	ok($moved->poll_query_until('postgres', 'SELECT failed_count > 0 FROM pg_stat_archiver'), 'is taken for a copy');
	my ($status, $out, $err) = chronos($conf, '--pg1-path=' . $moved->data_dir, 'stanza-claim');
	is($status, 0, 'and claims its stanza') or diag($out . $err);
	wait_archived($moved);
	succeeds($moved, q{start_backup('incr')}, 'a backup');

	$moved->backup('standby');
	$standby->init_from_backup($moved, 'standby', has_streaming => 1);
	$standby->start;
	$moved->stop('immediate');
	$standby->promote;
	$standby->safe_psql('postgres', 'CREATE TABLE promoted (); SELECT pg_switch_wal()');
	wait_archived($standby);
	succeeds($standby, q{start_backup('full')}, 'a promoted standby need not');
};

# The former primary comes back, not rewound; or the promotion was an accident.
subtest 'two primaries' => sub {
	$moved->start;
	$moved->safe_psql('postgres', 'CREATE TABLE goes_on (); SELECT pg_switch_wal()');
	wait_archived($moved);
	succeeds($moved, q{start_backup('full')}, 'backup of the former one');
	$standby->safe_psql('postgres', 'CREATE TABLE goes_on (); SELECT pg_switch_wal()');
	wait_archived($standby);
	succeeds($standby, q{start_backup('incr')}, 'backup of the promoted one');
	# Time passes.
	my ($history) = glob "$repo/archive/main/*/00000002.history";
	utime time - 200, time - 200, $history or die "$history: $!";
	my %told = ('another one was promoted to timeline 2' => $moved, 'the one of timeline 1 goes on' => $standby);
	for my $words (sort keys %told)
	{
		my $server = $told{$words};
		$server->safe_psql('postgres', q{ALTER SYSTEM SET chronos.health_interval = 1; SELECT pg_reload_conf()});
		ok($server->poll_query_until('postgres', "SELECT count(*) = 1 FROM chronos.health()"
			  . " WHERE rule = 'stanza_owner' AND state = 'critical' AND message LIKE '%two servers use the stanza: $words%'"),
			"told: $words");
	}
	$_->stop for $standby, $moved;
};
done_testing();
