# annotate, start, stop, stanza-upgrade, stanza-delete, repo-ls and repo-get do and say what those of
# pgBackRest do and say: each line below runs with both tools, each on its own copy of a repository,
# and output, exit code and what is there afterwards are compared. hold and unhold are ours alone.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use File::Path qw(make_path remove_tree);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use SyntheticRepo qw(segment write_file);
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('cluster');
$node->init;
my $first = '20260101-000001F';
my $second = '20260103-000001F';
my %tools = map { $_ => "$base/$_" } qw(pgbackrest chronos);

annotations();
stop_and_start();
listings();
files_of_an_encrypted_repository();
creations();
upgrade_and_delete();
online_upgrade();
holds();
done_testing();

# Two repositories, the first without the second backup, and the same configuration for each tool.
sub fresh
{
	my (%options) = @_;
	for my $dir (values %tools)
	{
		remove_tree($dir);
		for my $key (1, 2)
		{
			my $repo = SyntheticRepo->new("$dir/repo$key");
			$repo->backup($first, start => segment(1, 2), stop => segment(1, 3));
			$repo->backup($second, start => segment(1, 4), stop => segment(1, 4)) if $key == 2;
			$repo->wal(1, segment(1, $_)) for 1 .. 4;
			$repo->save;
		}
		system('cp', '-a', $node->data_dir, "$dir/pg") == 0 or die "cp: $?";
		write_config("$dir/conf", path => "$dir/repo1", pg => "$dir/pg", 'lock-path' => "$dir/lock",
			'log-timestamp' => 'n', 'log-level-stderr' => 'off', 'repo1-retention-full' => undef, %options);
	}
	return;
}


# Runs one command with both tools. %check: except => lines of the log that may differ.
sub same
{
	my ($arguments, %check) = @_;
	my %said;
	for my $tool (keys %tools)
	{
		my ($status, $out, $err) = run_tool($tool eq 'chronos' ? $chronos : $tool,
			"--config=$tools{$tool}/conf", @$arguments);
		my @lines = grep { !/command (begin|end)|^\s*$/ } split /\n/, "$out$err";
		s/^P00 +//, s/\Q$tools{$tool}\E/BASE/g, s/"time":\d+/"time":0/g for @lines;
		@lines = grep { !/$check{except}/ } @lines if $check{except};
		# Ours also says how a stanza that is there is mended.
		@lines = grep { !/ repair' shows / } @lines;
		$said{$tool} = [ $status, @lines ];
	}
	is_deeply($said{chronos}, $said{pgbackrest}, "@$arguments: [@{ $said{pgbackrest} }[0]]");
	return $said{chronos};
}

sub info_files
{
	my ($tool) = @_;
	my %files;
	for my $file (glob "$tools{$tool}/repo?/*/main/*.info")
	{
		open my $in, '<', $file or die $!;
		$files{ $file =~ s/^\Q$tools{$tool}\E//r } =
		  [ grep { !/backrest-checksum|backrest-version="/ } map { s/"backrest-version":"[\d.]+"//r } <$in> ];
	}
	return \%files;
}

sub creations
{
	# The words of errors differ, and we say what we made; not the status, nor the warning.
	my @words = (except => qr/ERROR|HINT|created/);
	my @create = ('--stanza=main', '--no-online', 'stanza-create');
	for my $lost ('', 'archive/main/archive.info', '*/main/*.info')
	{
		fresh();
		remove_tree(map { glob "$tools{$_}/repo1/*" } keys %tools);
		same(\@create, @words);
		for my $repo (map { "$tools{$_}/repo1" } keys %tools)
		{
			make_path("$repo/backup/main/$first");
			unlink glob "$repo/$lost*" if $lost;
		}
		my $plain = same(\@create, @words);
		my $forced = same([ '--force', @create ], @words);
		is_deeply($forced, [ $plain->[0], 'WARN: option --force is no longer supported', @$plain[ 1 .. $#$plain ] ],
			"--force where '$lost' is lost changes nothing");
	}
	fresh();
	remove_tree(map { glob "$tools{$_}/repo1/*" } keys %tools);
	is(same([ '--force', @create ], @words)->[0], 0, 'where everything is lost a stanza is made');
	is_deeply(info_files('chronos'), info_files('pgbackrest'), 'the same one');
	return;
}

sub annotations
{
	fresh();
	my @main = ('--stanza=main', 'annotate');
	same([ @main, "--set=$first", '--annotation=a=b', '--annotation=key two=a=c "x" \\ y' ]);
	same([ @main, "--set=$first", '--annotation=a=changed', '--annotation=new=1' ]);
	is_deeply(info_files('chronos'), info_files('pgbackrest'), 'the same annotations');
	same([ @main, "--set=$first", '--annotation=a=', '--annotation=absent=' ]);
	is_deeply(info_files('chronos'), info_files('pgbackrest'), 'one of them removed');
	same([ @main, '--set=20260104-000001F', '--annotation=a=b' ]);
	same([ @main, '--set=x', '--annotation=a=b' ]);
	same([ @main, "--set=$first", '--annotation=a' ]);
	same([ @main, "--set=$first" ]);
	same([ @main, '--annotation=a=b' ]);
	my ($status, $out) =
	  run_tool($chronos, "--config=$tools{chronos}/conf", @main, '--set=latest', '--annotation=n=1', '--output=json',
		'--log-level-console=off');
	is_deeply(decode_json($out), [ { repo => 1, label => $first, annotation => { 'key two' => 'a=c "x" \\ y', n => '1', new => '1' } } ],
		'rows for programs');

	# pgBackRest 2.45 writes what it read from the second repository into the first one.
	fresh('repo2-path' => "$tools{chronos}/repo2");
	($status, $out) = run_tool($chronos, "--config=$tools{chronos}/conf", @main, "--set=$second", '--annotation=a=b');
	is($status, 0, 'a backup of the second repository only');
	my $files = info_files('chronos');
	is_deeply([ map { scalar grep { /annotation/ } @{ $files->{"/repo$_/backup/main/backup.info"} } } (1, 2) ],
		[ 0, 1 ], 'is annotated there and nowhere else');
	($status, $out) = run_tool($chronos, "--config=$tools{chronos}/conf", @main, "--set=$second", '--annotation=a"=b');
	is($status, 32, 'a key that would damage backup.info is refused');
	return;
}

sub stop_and_start
{
	fresh('repo1-retention-full' => 1);
	my @expire = qw(--stanza=main expire);
	same([qw(--stanza=main stop)]);
	same([qw(--stanza=main stop)]);
	is_deeply(slurp_tree("$tools{chronos}/lock"), slurp_tree("$tools{pgbackrest}/lock"), 'the same stop file');
	same(\@expire);
	same(['stop']);
	same(['stop']);
	same([qw(--stanza=main start)]);
	same(\@expire);
	same(['start']);
	same(['start']);
	same([qw(--stanza=main start)]);
	is_deeply(slurp_tree("$tools{chronos}/lock"), slurp_tree("$tools{pgbackrest}/lock"), 'and none is left');
	return;
}

sub listings
{
	fresh();
	for my $dir (values %tools)
	{
		write_file("$dir/repo1/x/$_", '12345') for qw(a.b a/b/c a-c z/a);
		symlink 'z', "$dir/repo1/x/l";
		symlink 'nowhere', "$dir/repo1/x/m";
		make_path("$dir/repo1/x/empty");
	}
	same([ 'repo-ls', @$_ ])
	  for [], ['backup/main'], ['backup/main/'], [qw(x --recurse)], [qw(x --recurse --sort=desc)],
	  [qw(x --output=json)], [qw(x --recurse --output=json)], [qw(x --recurse --output=json --sort=desc)],
	  [qw(x --recurse --filter=^a)], [qw(x --recurse --filter=c$)], [qw(x --filter=^\.$ --output=json)],
	  [qw(x/a.b)], [qw(x/a.b --output=json)], [qw(x/l)], [qw(nowhere)], [qw(nowhere --output=json)],
	  [qw(nowhere --output=json --filter=x)], ['/tmp'], ['/'], ['x//a'], [qw(a b)], ['x', '--filter=('], ['', '--output=json'];
	same([ 'repo-get', @$_ ])
	  for ['x/a.b'], ['backup/main/latest/pg_data/PG_VERSION'], ['x/nowhere'], [qw(x/nowhere --ignore-missing)],
	  ['x/m'], [], ['/tmp/x'];
	for my $tool (keys %tools)
	{
		my @tool = ($tool eq 'chronos' ? $chronos : $tool, "--config=$tools{$tool}/conf");
		is(scalar +(run_tool(@tool, 'repo-ls', "$tools{$tool}/repo1/x/z"))[1] =~ s/P00.*\n//gr, "a\n", "$tool: an absolute path");
	}
	my ($status) = run_tool($chronos, "--config=$tools{chronos}/conf", 'repo-ls', '../');
	is($status, 96, 'no way out of the repository');
	return;
}

# The passphrase of a file follows from its place.
sub files_of_an_encrypted_repository
{
	my $dir = "$base/encrypted";
	make_path($dir);
	my $fixture = ($ENV{CHRONOS_FIXTURES_DIR} // 'test/fixtures') . '/lz4-aes-tblspc.tar.zst';
	system('tar', '--zstd', '-xf', $fixture, '-C', $dir) == 0 or die "tar: $?";
	my $conf = write_config("$dir/conf", path => "$dir/repo", pg => "$dir/pg", 'log-level-console' => 'off',
		'log-level-stderr' => 'off', 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'fixture-repo-pass-d');
	write_file("$dir/repo/$_", '') for 'top', 'backup/top', 'archive/main/zz';
	my @files = map { s{^\Q$dir\E/repo/}{}r } map { glob "$dir/repo/$_" } 'archive/main/archive.info*', 'archive/main/15-1/*.history',
	  'archive/main/15-1/*/*0010-*', 'archive/main/15-1/*/*.backup', 'backup/main/backup.info*', 'backup/main/2*F/backup.manifest*',
	  'backup/main/2*F/pg_data/PG_VERSION.lz4', 'backup/main/2*F/pg_data/backup_label.lz4', 'backup/main/backup.history/*/2*F.manifest.gz';
	cmp_ok(scalar(@files), '>=', 10, 'files of every kind');
	for my $file (@files, 'top', 'backup/top', 'archive/main/zz', 'nowhere/a/b')
	{
		my @theirs = run_tool('pgbackrest', "--config=$conf", 'repo-get', $file);
		my @ours = run_tool($chronos, "--config=$conf", 'repo-get', $file);
		ok($ours[0] == $theirs[0] && $ours[1] eq $theirs[1], "$file: [$theirs[0]]") or diag("@ours[0, 2] / @theirs[0, 2]");
	}
	my ($status, $out) = run_tool($chronos, "--config=$conf", 'repo-get', '--raw', $files[0]);
	like($out, qr/^Salted__/, 'as it is stored');
	return;
}

sub upgrade_and_delete
{
	fresh();
	my @upgrade = qw(--stanza=main --no-online stanza-upgrade);
	same(\@upgrade, except => qr/repo1 upgraded$/);
	same(\@upgrade);
	is_deeply(info_files('chronos'), info_files('pgbackrest'), 'the same history');
	my @delete = qw(--stanza=main stanza-delete);
	my $words = qr/^ *HINT: .*(two steps|chronos --stanza)/;
	same(\@delete, except => $words);
	same([qw(--stanza=main stop)]);
	same(\@upgrade);
	write_file("$_/pg/postmaster.pid", '1') for values %tools;
	same(\@delete);
	same([ @delete, '--repo=2' ], except => qr/HINT: configured/i);
	same([ @delete, '--force' ]);
	same([ @delete, '--force' ]);
	is_deeply([ sort keys %{ slurp_tree("$tools{chronos}/$_") } ], [ sort keys %{ slurp_tree("$tools{pgbackrest}/$_") } ],
		"the same is left of $_")
	  for qw(repo1 repo2 lock);
	same([qw(--stanza=main start)]);
	same(\@upgrade);

	fresh();
	for my $dir (values %tools)
	{
		open my $out, '>>', "$dir/conf" or die $!;
		print $out "[global]\nrepo2-path=$dir/repo2\n";
		close $out;
	}
	same(\@delete);
	same([qw(--stanza=main stop)]);
	same([ @delete, '--repo=2' ]);
	ok(-d "$tools{chronos}/repo1/backup/main" && !-d "$tools{chronos}/repo2/backup/main", 'the one that was named');
	return;
}

sub online_upgrade
{
	fresh();
	$node->start;
	my $conf = write_config("$base/online.conf", path => "$tools{chronos}/repo1", pg => $node->data_dir, port => $node->port,
		socket => $node->host, 'log-level-console' => 'off');
	my ($status, $out) = chronos($conf, 'stanza-upgrade', '--output=json');
	is($status, 0, 'stanza-upgrade asks the server');
	is(decode_json($out)->[0]{action}, 'upgraded', 'which is another cluster');
	($status, $out) = chronos($conf, 'stanza-upgrade', '--output=json');
	is(decode_json($out)->[0]{reason}, 'the stanza is already up to date', 'but only once');
	($status, $out) = pgbackrest($conf, 'info');
	like($out, qr/\Q$first\E/, 'the backup of the former cluster is still listed');
	($status) = pgbackrest($conf, 'stanza-upgrade');
	is($status, 0, 'and pgBackRest finds nothing more to do');
	$node->stop;
	return;
}

sub holds
{
	fresh('repo1-retention-full' => 1, 'repo1-path' => "$tools{chronos}/repo2");
	my $conf = "$tools{chronos}/conf";
	my ($status, $out) = chronos($conf, 'hold', "--set=$first", '--reason=legal "case" 7');
	is($status, 0, 'hold');
	like($out, qr/backup \Q$first\E is held in repo1/, 'says so');
	($status, $out) = chronos($conf, 'hold', '--output=json', '--log-level-console=off');
	my $rows = decode_json($out);
	ok($rows->[0]{since} > 1700000000, 'since when');
	delete $rows->[0]{since};
	is_deeply($rows, [ { repo => 1, label => $first, reason => 'legal "case" 7', present => JSON::PP::true } ], 'is listed');
	($status) = chronos($conf, 'expire');
	is_deeply([ SyntheticRepo::listed("$tools{chronos}/repo2") ], [ $first, $second ], 'a held backup stays');
	($status, $out) = chronos($conf, 'expire', "--set=$first");
	is($status, 104, 'whoever asks');
	like($out, qr/is held.*chronos unhold --set=\Q$first\E/s, 'and is told what to do');
	chronos($conf, 'stop');
	($status, $out) = chronos($conf, 'stanza-delete', '--force');
	is($status, 75, 'not even the stanza can be deleted');
	chronos($conf, 'start');
	($status) = chronos($conf, 'hold', '--set=20250101-000001F');
	is($status, 75, 'a backup that is not there');
	($status) = chronos($conf, 'hold', '--set=all');
	($status, $out) = chronos($conf, 'unhold', '--set=all', '--output=json', '--log-level-console=off');
	is(scalar @{ decode_json($out) }, 2, 'all are released');
	($status) = chronos($conf, 'unhold', "--set=$first");
	is($status, 75, 'once');
	chronos($conf, 'expire');
	is_deeply([ SyntheticRepo::listed("$tools{chronos}/repo2") ], [$second], 'and then it goes');
	return;
}
