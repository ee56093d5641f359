# A directory whose file system is not mounted is no new repository, for whoever writes; and a
# repository never lies in the cluster that it holds, nor around it.
# Enough with one version of PostgreSQL: its subject is where directories lie
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $node = chronos_node('source');
my $repo = $node->{chronos_repo};
my $conf = $node->{chronos_conf};
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'first use makes the stanza');

subtest 'not mounted' => sub {
	rename $repo, "$repo.away" or die $!;
	for my $state ('missing', 'empty', 'empty after a reboot that has wiped spool and locks')
	{
		if ($state eq 'empty') { mkdir $repo or die $! }
		if ($state =~ /reboot/)
		{
			my $dir = dirname($conf);
			$node->stop;
			remove_tree("$dir/spool", "$dir/lock");
			$node->start;
			my ($status, $out, $err) = chronos($conf, 'archive-push', $node->data_dir . '/pg_wal/' . segment_of($node));
			isnt($status, 0, 'a push is refused');
			like($out . $err, qr/mounted/, '... and asks for the mount');
			$node->safe_psql('postgres', 'CREATE TABLE unmounted (); SELECT pg_switch_wal()');
			ok($node->poll_query_until('postgres', 'SELECT failed_count > 0 FROM pg_stat_archiver'), 'and what the server pushes');
		}
		for my $command (qw(backup check expire verify annotate maintenance))
		{
			my @more = $command eq 'annotate' ? ('--set=latest', '--annotation=a=b')
			  : $command =~ /backup|check/ ? ('--archive-timeout=1') : ();
			my ($status, $out, $err) = chronos($conf, @more, $command);
			unlike($err, qr/not valid for command/, "$command is asked for what it does");
			isnt($status, 0, "$command of a directory that is $state fails");
			like($out . $err, qr/mounted/, '... and asks for the mount')
			  if $command eq 'backup' || $command eq 'check';
		}
		my $job = $node->safe_psql('postgres', q{SELECT chronos.start_backup('full')});
		$node->psql('postgres', "SELECT chronos.wait($job)");
		is($node->safe_psql('postgres', "SELECT state FROM chronos.jobs WHERE id = $job"), 'failed', 'and so does a job');
		ok(!-e "$repo/$_/main", "no $_ is made") or diag(`find '$repo'`) for qw(archive backup chronos);
		ok(!-e $repo, 'nor the directory') if $state eq 'missing';
	}
	remove_tree($repo);
	rename "$repo.away", $repo or die $!;
	is((chronos($conf, '--type=incr', 'backup'))[0], 0, 'it goes on when it is back');
	my $new = "$base/new";
	mkdir $new or die $!;
	is((chronos($conf, "--repo1-path=$new", 'stanza-create'))[0], 0, 'another place begins anew');
};

subtest 'one of two is away' => sub {
	my $two = write_config("$base/two.conf", path => $repo, pg => $node->data_dir, port => $node->port,
		socket => $node->host, 'repo2-path' => "$base/second", 'repo2-retention-full' => 2, 'archive-timeout' => 5);
	my ($status, $out, $err) = chronos($two, '--type=incr', 'backup');
	is($status, 0, 'the backup to the other one is made') or diag($out . $err);
	like($out . $err, qr/WARN: repo2: .*does not exist/, '... and the loss is said');
	ok(!-e "$base/second", 'the missing one is not made');
};

subtest 'in the cluster, and around it' => sub {
	my $data = $node->data_dir;
	my $tablespace = "$base/tablespace";
	mkdir $tablespace or die $!;
	$node->safe_psql('postgres', "CREATE TABLESPACE t LOCATION '$tablespace'");
	symlink $data, "$base/link" or die $!;
	my %places = ("$data/backup" => 'lies in the data directory', "$base/link/backup" => 'lies in the data directory',
		"$tablespace/repo" => 'lies in the tablespace', $node->basedir => 'holds the data directory',
		"$base" => 'holds the tablespace');
	for my $path (sort keys %places)
	{
		my $bad = write_config("$base/bad.conf", path => $path, pg => $data, port => $node->port,
			socket => $node->host, 'archive-timeout' => 1);
		for my $command ([ 'stanza-create' ], [ 'backup' ], [ 'check' ], [ 'archive-push', "$data/pg_wal/000000010000000000000001" ])
		{
			my ($status, $out, $err) = chronos($bad, @$command);
			is($status, 32, "$command->[0] refuses $path");
			like($out . $err, qr/repo1-path '.*' \Q$places{$path}\E/, '... and says why');
		}
	}
	ok(!-e "$data/backup", 'nothing was made');
	my %local = ('lock-path' => "$repo/backup/lock", 'spool-path' => "$repo/spool", 'drill-path' => "$data/drills");
	my $local = write_config("$base/local.conf", path => $repo, pg => $data, port => $node->port,
		socket => $node->host, 'archive-timeout' => 1, %local);
	my (undef, $out, $err) = chronos($local, '--no-archive-check', 'check');
	for my $option (sort keys %local)
	{
		my $where = $local{$option} =~ /^\Q$data/ ? 'data directory' : 'repository repo1';
		like($out . $err, qr/$option '\Q$local{$option}\E' lies in the $where/, "check notes the $option");
	}
	symlink $repo, "$base/same" or die $!;
	my $same = write_config("$base/same.conf", path => $repo, pg => $data, port => $node->port, socket => $node->host,
		'repo2-path' => "$base/same", 'repo2-retention-full' => 1);
	my %before = %{ slurp_tree($repo) };
	for my $command ([ 'backup' ], [ 'expire' ], [ 'expire', '--set=latest' ], [ 'annotate', '--set=latest', '--annotation=a=b' ], [ 'hold', '--set=latest' ],
		[ 'unhold', '--set=latest' ], ['maintenance'], [ 'repair', '--force' ], ['stanza-create'], [ 'stanza-delete', '--repo=2' ], ['stanza-upgrade'], ['stanza-claim'])
	{
		my ($status, $out, $err) = chronos($same, @$command);
		is($status, 32, "two repositories in one place are refused by @$command") or diag($out . $err);
		like($out . $err, qr/repo1 and repo2 are the same place/, '... and named');
	}
	for my $below (qw(backup/main archive/main/15-1 archive backup chronos/main))
	{
		my $nested = write_config("$base/nested.conf", path => $repo, pg => $data, port => $node->port, socket => $node->host,
			'repo2-path' => "$repo/$below", 'repo2-retention-full' => 1);
		for my $command ('stanza-create', 'check', 'backup', 'expire')
		{
			my ($status, $out, $err) = chronos($nested, $command);
			is($status, 32, "$command refuses a repository in another one's $below");
			like($out . $err, qr/repo2 lies among the backups and WAL of repo1/, '... and says why');
		}
	}
	my %after = %{ slurp_tree($repo) };
	# The server says now and then that it is there, and notes the commits in what it archived some time later.
	for my $tree (\%before, \%after)
	{
		delete @$tree{ grep { m{^chronos/main/(?:owners|commit)} } keys %$tree };
	}
	is_deeply([ sort keys %after ], [ sort keys %before ], 'and nothing has come or gone');
};

subtest 'a backup whose directory is gone for a while' => sub {
	my $label = $node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
	rename "$repo/backup/main/$label", "$base/elsewhere" or die $!;
	my ($next, $warnings) = ('', '');
	$node->psql('postgres', q{SELECT chronos.backup_now('full')}, stdout => \$next, stderr => \$warnings);
	like($warnings, qr/backup $next is complete, but: not in the repository any more, and taken off the list of backups: $label /,
		'whoever takes the next one learns that it is not listed any more');
	rename "$base/elsewhere", "$repo/backup/main/$label" or die $!;
	$node->psql('postgres', q{SELECT chronos.backup_now('full')}, stderr => \$warnings);
	unlike($warnings, qr/is complete, but/, 'the one after that lists it again');
	like($node->safe_psql('postgres', 'SELECT label FROM chronos.backups'), qr/^\Q$label\E$/m, 'and it is there');
};

$node->stop;

subtest 'a restore whose destination holds the repository' => sub {
	my $destination = "$base/destination";
	make_path("$destination/inside");
	system('cp', '-a', $repo, "$destination/inside/repo") == 0 or die;
	my ($status, $out, $err) = chronos($conf, "--repo1-path=$destination/inside/repo", "--pg1-path=$destination",
		'--delta', 'restore');
	is($status, 32, 'is refused');
	like($out . $err, qr/lies in the data directory/, '... and says why');
	ok(-e "$destination/inside/repo/backup/main/backup.info", 'the repository is as it was');
};
done_testing();

sub segment_of { return $_[0]->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())') }
