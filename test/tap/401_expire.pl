# expire leaves what pgBackRest's own expire leaves: for random lists of backups, WAL and options
# both run on a copy of the same repository, and the trees, the exit codes and what is said are
# compared. The options that are ours alone have unit tests against a model.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use File::Path qw(make_path remove_tree);
use JSON::PP;
use POSIX qw(strftime);
use SyntheticRepo qw(segment write_file);
use List::Util qw(uniq);
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $seed = seed();
my $rounds = $ENV{CHECK_LONG} ? 200 : 12;
random_repository($_) for 1 .. $rounds;
dry_run();
failing_repository();
full_repository();
done_testing();

sub pick { return $_[ int rand @_ ] }

# Labels grow with time: one backup every few days, the last one some hours ago.
sub random_repository
{
	my ($round) = @_;
	my $repo = SyntheticRepo->new("$base/$round/source", 13);
	my $time = time - 86400 * (20 + int rand 40);
	my ($number, $timeline, $full, $prior, $id) = (3, 1, undef, undef, 1);
	for (1 .. 2 + int rand 9)
	{
		$time += 3600 * (1 + int rand 120);
		last if $time > time - 3600;
		my $stamp = strftime('%Y%m%d-%H%M%S', localtime $time);
		if (defined $full && rand() < 0.1)
		{
			$repo->upgrade(pick(14, 15));
			($id, $full, $number, $timeline) = ($id + 1, undef, 1, 1);
		}
		$timeline++ if rand() < 0.15;
		my $type = defined $full ? pick(qw(F D I I)) : 'F';
		my $label = $type eq 'F' ? "${stamp}F" : "${full}_$stamp$type";
		my $from = $number + int rand 3;
		my $to = $from + int rand 3;
		my %wal = rand() < 0.1 ? () : (start => segment($timeline, $from), stop => segment($timeline, $to));
		$repo->backup($label, time => $time, %wal, prior => $type eq 'F' ? undef : $type eq 'D' ? $full : $prior);
		$repo->wal($id, segment($timeline, $_)) for $number .. $to;
		$repo->wal($id, segment($timeline, $from), '.00000028.backup');
		$number = $to + 1 + (rand() < 0.2 ? 256 : 0);
		$full = $label if $type eq 'F';
		$prior = $label;
	}
	$repo->wal($id, segment($timeline, $number + $_)) for 0 .. int rand 4;
	$repo->wal($id, segment($timeline, $number + 5), '.partial-' . '1' x 40 . '.gz');
	write_file("$repo->{path}/archive/main/" . $repo->archive_id($id) . sprintf('/%08X.history', $_), 'x')
	  for 2 .. $timeline;
	write_file("$repo->{path}/backup/main/20200101-000001F/pg_data/PG_VERSION", 'failed backup') if rand() < 0.5;
	write_file("$repo->{path}/backup/main/backup.history/$_", 'x')
	  for '2020/20200101-000001F.manifest.gz', '2021/20210101-000001F.manifest.gz';
	$repo->save;

	my %options = ('repo1-retention-full' => 1 + int rand 3);
	%options = ('repo1-retention-full-type' => 'time', 'repo1-retention-full' => 1 + int rand 40) if rand() < 0.3;
	delete $options{'repo1-retention-full'} if rand() < 0.1;
	$options{'repo1-retention-diff'} = 1 + int rand 4 if rand() < 0.4;
	$options{'repo1-retention-archive-type'} = pick(qw(full diff incr)) if rand() < 0.5;
	$options{'repo1-retention-archive'} = 1 + int rand 4 if rand() < 0.5;
	$options{'repo1-retention-history'} = int rand 60 if rand() < 0.4;
	my @arguments = ('expire');
	push @arguments, '--set=' . pick(keys %{ $repo->{backups} }, '20200202-000000F') if rand() < 0.3;
	same_as_pgbackrest("round $round", $repo->{path}, \%options, @arguments);
	return;
}

# Runs both on a copy and compares.
sub same_as_pgbackrest
{
	my ($name, $source, $options, @arguments) = @_;
	my %result;
	for my $tool (qw(pgbackrest chronos))
	{
		my $copy = "$source.copy";
		remove_tree($copy);
		system('cp', '-a', $source, $copy) == 0 or die "cp: $?";
		my $conf = write_config("$base/$tool.conf", path => $copy, pg => "$base/none",
			'repo1-retention-full' => undef, 'log-timestamp' => 'n', 'log-level-stderr' => 'off', %$options);
		my ($status, $out, $err) = $tool eq 'chronos' ? chronos($conf, @arguments) : pgbackrest($conf, @arguments);
		$result{$tool} = {
			status => $status,
			listed => [ SyntheticRepo::listed($copy) ],
			tree => [ grep { !/backup\.info|archive\.info/ } map { tree_line($copy, $_) } sort keys %{ slurp_tree($copy) } ],
			said => [ sort { $a cmp $b } said($out . $err) ],
		};
	}
	my $what = join ' ', @arguments, map { "--$_=$options->{$_}" } sort keys %$options;
	my ($ours, $theirs) = @result{qw(chronos pgbackrest)};
	# Of a run of whole directories pgBackRest names the last one as its start.
	drop('said', qr/remove archive, start/, $ours, $theirs)
	  if grep { /remove archive, start = [0-9A-F]{16},/ } @{ $theirs->{said} };
	# By days it removes WAL only in the run that removes a full backup: what such a run left, if it
	# was killed, stays for weeks.
	if (grep { /time-based archive retention not met/ } @{ $theirs->{said} })
	{
		drop('said', qr/archive/, $ours, $theirs);
		drop('tree', qr/^archive/, $ours, $theirs);
	}
	is_deeply($ours, $theirs, "$name: $what") or diag("repository:\n", `cd $source && find . -type f | sort`);
	for my $part (qw(listed tree said))
	{
		my %ours = map { $_ => 1 } @{ $ours->{$part} };
		my %theirs = map { $_ => 1 } @{ $theirs->{$part} };
		diag("$part: only with chronos: $_") for sort grep { !$theirs{$_} } keys %ours;
		diag("$part: only with pgbackrest: $_") for sort grep { !$ours{$_} } keys %theirs;
	}
	return;
}

sub drop
{
	my ($part, $pattern, @results) = @_;
	$_->{$part} = [ grep { !/$pattern/ } @{ $_->{$part} } ] for @results;
	return;
}

sub tree_line
{
	my ($dir, $name) = @_;
	return -l "$dir/$name" ? "$name -> " . readlink "$dir/$name" : $name;
}

# Lines of the log without what names the program, each once. The last error of ours has the causes
# once more, for jobs, which have no log to be looked at.
sub said
{
	my ($text) = @_;
	return uniq grep { !/command (begin|end)|^\s*$/ } map { s/^P00\s+//r =~ s/(for details): repo.*/$1/r } split /\n/, $text;
}

sub dry_run
{
	my $repo = SyntheticRepo->new("$base/dry");
	my $first = '20260101-000001F';
	$repo->backup($first, start => segment(1, 2), stop => segment(1, 3));
	$repo->backup("${first}_20260102-000001I", prior => $first, start => segment(1, 4), stop => segment(1, 4));
	$repo->backup('20260103-000001F', start => segment(1, 6), stop => segment(1, 7));
	$repo->wal(1, segment(1, $_)) for 1 .. 9;
	$repo->save;
	my $before = slurp_tree($repo->{path});
	my $conf = write_config("$base/dry.conf", path => $repo->{path}, pg => "$base/none",
		'repo1-retention-full' => 1, 'log-level-console' => 'off');
	my ($status, $out) = chronos($conf, 'expire', '--dry-run', '--output=json');
	is($status, 0, 'dry run');
	my $rows = decode_json($out);
	is_deeply([ map { "$_->{action} $_->{object} $_->{name}" } @$rows ],
		[
			'keep backup 20260103-000001F',
			"remove backup $first",
			"remove backup ${first}_20260102-000001I",
			'keep wal 15-1/' . segment(1, 6) . '..',
			'remove wal 15-1/' . segment(1, 1) . '..' . segment(1, 5),
		],
		'every object with what would happen to it');
	is(scalar(grep { !length $_->{reason} || $_->{repo} != 1 } @$rows), 0, 'each with a reason');
	is_deeply(slurp_tree($repo->{path}), $before, 'nothing was changed');
	($status, $out) = chronos($conf, 'expire', '--dry-run');
	like($out, qr/^repo1  remove  backup +\Q$first\E +more than 1 full backup \(retention-full\)$/m, 'as text');
	($status, $out) = chronos($conf, 'expire');
	is($out, '', 'without it the log says it');
	is_deeply([ SyntheticRepo::listed($repo->{path}) ], ['20260103-000001F'], 'and then it is done');
	return;
}

# One repository that cannot be read: the other one is done all the same, exit code 104.
sub failing_repository
{
	my %said;
	for my $tool (qw(pgbackrest chronos))
	{
		my $repo = SyntheticRepo->new("$base/two-$tool");
		$repo->backup("2026010$_-000001F", start => segment(1, $_), stop => segment(1, $_)) for 1 .. 3;
		$repo->wal(1, segment(1, $_)) for 1 .. 3;
		$repo->save;
		make_path("$base/empty-$tool");
		my $conf = write_config("$base/two.conf", path => "$base/empty-$tool", pg => "$base/none",
			'repo2-path' => $repo->{path}, 'repo2-retention-full' => 1, 'log-timestamp' => 'n', 'log-level-stderr' => 'off');
		my ($status, $out) = $tool eq 'chronos' ? chronos($conf, 'expire') : pgbackrest($conf, 'expire');
		is($status, 104, "$tool: one of two repositories failed");
		is_deeply([ SyntheticRepo::listed($repo->{path}) ], ['20260103-000001F'], "$tool: the other one is done");
		# Ours also says how a stanza that is there is mended.
		$said{$tool} = [ map { s/-(chronos|pgbackrest)//gr } grep { !/ repair' shows / } said($out) ];
	}
	is_deeply([ sort @{ $said{chronos} } ], [ sort @{ $said{pgbackrest} } ], 'and both say so');
	return;
}

# On a file system without a block, or without an inode, that is left: what makes room there runs, as
# pgBackRest's does. In a mount namespace of its own, so that nobody else has a full disk.
sub full_repository
{
	my @elsewhere = ('unshare', $< == 0 ? () : ('--user', '--map-root-user'), '--mount');
	BAIL_OUT('no mount namespace can be made here: run as root, or allow user namespaces')
	  if (run_tool(@elsewhere, 'true'))[0] != 0;
	my $repo = SyntheticRepo->new("$base/full");
	$repo->backup("2026010$_-000001F", start => segment(1, $_), stop => segment(1, $_)) for 1 .. 3;
	$repo->wal(1, segment(1, $_)) for 1 .. 4;
	$repo->save;
	make_path("$base/small");
	my $conf = write_config("$base/full.conf", path => "$base/small", pg => "$base/none", 'repo1-retention-full' => 1);
	my $inodes = (grep { length } split /\n/, `find $base/full`) + 20;
	my %full = (
		block => [ 'size=4m', 'cat /dev/zero >fill 2>/dev/null; cp zero one 2>/dev/null && test -s one && exit 99' ],
		inode => [ "size=64m,nr_inodes=$inodes", "i=0; while : 2>/dev/null >fill\$i; do i=\$((i+1)); test \$i -lt 9999 || exit 99; done" ]);
	for my $what (sort keys %full)
	{
		my ($size, $fill) = @{ $full{$what} };
		my $on_full = sub {
			my ($command) = @_;
			return run_tool(@elsewhere, 'sh', '-c', qq{mount -t tmpfs -o $size none $base/small && cp -a $base/full/. $base/small &&
				cd $base/small && echo x >zero && ($fill); test \$? -ne 99 || exit 99; cd / && $command; status=\$?
				find $base/small -type f | sort; exit \$status});
		};
		my $call = "$chronos --config=$conf --stanza=main";
		my ($status, $out, $err) = $on_full->("$call expire");
		is($status, 0, "no $what is left: expire makes room") or diag($out . $err);
		like($out . $err, qr/WARN: repo1: expire goes on without a sign of life, because no space is left for it/, 'and says what it lacks');
		is(join(' ', sort { $a cmp $b } uniq $out =~ /backup\/main\/(\d{8}-\d{6}F)\//g), '20260103-000001F', 'retention is done');
		unlike($out, qr{/0000000100000000/000000010000000000000002}, 'of WAL too');
		unlike($out, qr{^/.*(/run/|pgbackrest\.tmp)}m, 'nothing is left of it');
		($status, $out, $err) = $on_full->("$call expire && $call info && grep -c ^2026 $base/small/backup/main/backup.info");
		like($out, qr/^1$/m, 'what is listed is what is there');
		($status, $out, $err) = $on_full->("$call stop && $call --force stanza-delete; status=\$?; $call start; (exit \$status)");
		is($status, 0, "no $what is left: stanza-delete makes room") or diag($out . $err);
		unlike($out, qr{small/(archive|backup|chronos)/}, 'all of it');
	}
	return;
}
