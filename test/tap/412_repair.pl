# What says what is in a repository can be made anew from what is in it: backup.info and archive.info
# of a stanza of ours and of one that pgBackRest wrote are lost, and repair writes them to the byte as
# they were; pgBackRest reads, verifies and restores what was repaired. Without --force nothing is
# changed, and with it nothing is deleted.
# Enough with one version of PostgreSQL: its subject is the repository
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Cwd qw(abs_path);
use File::Find;
use File::Path qw(make_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();

# --- repositories that pgBackRest wrote
my $fixtures = abs_path($ENV{TEST_FIXTURES_DIR} // 'test/fixtures');
for my $archive (sort glob "$fixtures/*.tar.zst")
{
	my ($name) = $archive =~ m{([^/]+)\.tar\.zst$};
	next if !-e "$fixtures/$name/expect.tsv" || -e "$fixtures/$name/damage.txt";
	mkdir "$base/$name" or die $!;
	system('tar', '--zstd', '-xf', $archive, '-C', "$base/$name", '--no-same-owner') == 0 or die;
	my %options = map { /^(repo1-cipher-\S+?)=(.*)/ ? ($1 => $2) : () } split /\n/, slurp_file("$fixtures/$name/options.txt");
	my $conf = write_config("$base/$name.conf", path => "$base/$name/repo", pg => "$base/none", %options);
	test_infos($name, $conf, "$base/$name/repo", %options ? 1 : 0);
}

# --- a stanza of ours
my $node = chronos_node('main', options => { 'compress-type' => 'gz', 'repo1-bundle' => 'n' });
my ($conf, $repo) = @{$node}{qw(chronos_conf chronos_repo)};
$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i');
ok(run('backup', '--type=full', '--annotation=why=test') == 0 && run('backup', '--type=incr') == 0 && run('backup', '--type=full') == 0,
	'three backups') or BAIL_OUT('no backups');
my ($full, $incr, $last) = map { m{([^/]+)$} } sort glob "$repo/backup/main/2*";
my $state = table_state($node, 't');
test_infos('ours', $conf, $repo, 0);

# All at once, and a manifest with it.
my %whole = tree($repo);
unlink glob("$repo/*/main/*.info*"), "$repo/backup/main/$incr/backup.manifest.copy";
garbage("$repo/backup/main/$full/backup.manifest");
my ($status, $out, $err) = chronos($conf, 'expire');
isnt($status, 0, 'nothing works without info files');
like("$out$err", qr/'chronos --stanza=main repair' shows how to mend it/, 'and the error names the command');
($status, $out) = chronos($conf, 'repair', '--force');
is($status, 0, 'both info files and two manifests are lost: repaired') or diag $out;
is_deeply({ tree($repo) }, \%whole, 'every file is what it was');
judge('after that');

# What is no file has the name of one.
%whole = tree($repo);
for my $info ('backup/main/backup.info', 'archive/main/archive.info', "backup/main/$full/backup.manifest")
{
	for my $kind (qw(directory pipe socket link))
	{
		for my $file ($info, "$info.copy")
		{
			unlink "$repo/$file" or die "$file: $!";
			put($kind, "$repo/$file");
			is((chronos($conf, 'info'))[0], 0, "a $kind is in the place of $file: the other one is read");
			($status, $out, $err) = chronos($conf, 'repair');
			is($status, 2, 'repair has something to do') or diag "$out$err";
			like($out, qr/is in its place/, '... and says what');
			($status, $out, $err) = chronos($conf, 'repair', '--force');
			is($status, 0, 'repaired') or diag "$out$err";
			is_deeply({ tree($repo) }, \%whole, 'every file is what it was');
			next if $file =~ /manifest/;
			unlink "$repo/$file" or die "$file: $!";
			put($kind, "$repo/$file");
			($status, $out, $err) = chronos($conf, 'expire');
			if ($kind eq 'directory' && $file =~ /backup\.info/)
			{
				isnt($status, 0, 'expire writes what is no directory');
				like("$out$err", qr/a directory is in its place.*main repair'/s, '... and names the way out');
			}
			else { is($status, 0, 'expire reads the other one, too') or diag "$out$err" }
			is((chronos($conf, 'repair', '--force'))[0], 0, 'repaired again');
			is_deeply({ tree($repo) }, \%whole, 'every file is what it was');
		}
	}
}
cmp_ok((() = glob "$repo/chronos/main/aside/*/backup/main/backup.info/within"), '>', 0, 'what was there lies aside');

# A backup that nobody can read goes aside, and the rest goes on.
garbage($_) for glob("$repo/backup/main/$last/backup.manifest*"), "$repo/backup/main/backup.history/" . substr($last, 0, 4) . "/$last.manifest.gz";
is(run('repair'), 2, 'one backup cannot be read: there is something to do');
ok(-d "$repo/backup/main/$last", 'and nothing is done');
is(run('repair', '--force'), 0, 'done when asked for');
ok(!-e "$repo/backup/main/$last" && (() = glob "$repo/chronos/main/aside/*/backup/main/$last/pg_data/PG_VERSION*") == 1, 'it lies aside, whole');
judge('without it', $incr);
garbage($_) for glob("$repo/backup/main/$full/backup.manifest*"), "$repo/backup/main/backup.history/" . substr($full, 0, 4) . "/$full.manifest.gz";
($status, $out) = chronos($conf, 'repair', '--force', '--output=json');
is($status, 3, 'a backup that another one rests on stays');
like($out, qr/"state":"cannot"/, 'and programs are told');
ok(-d "$repo/backup/main/$full", 'where it is');
is(run('backup', '--type=full'), 0, 'backups go on');
$node->stop;
done_testing();

# Loses the info files of a repository in every way, and compares what repair makes of that.
sub test_infos
{
	my ($name, $file, $root, $encrypted) = @_;
	is((chronos($file, 'repair'))[0], 0, "$name: nothing to repair") or diag((chronos($file, 'repair'))[1]);
	my %before = tree($root);
	for my $info ('backup/main/backup.info', 'archive/main/archive.info')
	{
		for my $lost ([$info], ["$info.copy"], [ $info, "$info.copy" ])
		{
			next if $encrypted && @$lost > 1;    # the key is in it
			unlink map { "$root/$_" } @$lost;
			my %damaged = tree($root);
			is((chronos($file, 'repair'))[0], 2, "$name: without @$lost there is something to do");
			is_deeply({ tree($root) }, \%damaged, 'and it is only said');
			is((chronos($file, 'repair', '--force'))[0], 0, 'repaired');
			is_deeply(plain($file, $root, $encrypted), plain_of(\%before), 'to what it was') if !$encrypted;
			is((chronos($file, 'repair'))[0], 0, 'nothing is left to do');
		}
	}
	if ($encrypted)
	{
		my $copy = slurp_file("$root/backup/main/backup.info");
		unlink glob "$root/backup/main/backup.info*";
		my ($code, $said) = chronos($file, 'repair', '--force');
		is($code, 3, "$name: a key cannot be invented");
		like($said, qr/older copy/, 'and what helps is said');
		open my $out, '>', "$root/backup/main/backup.info" or die $!;
		print $out $copy;
		close $out;
		is((chronos($file, 'repair', '--force'))[0], 0, 'with an old copy of the file it goes on');
	}
	is((pgbackrest($file, 'info'))[0], 0, "$name: pgBackRest reads it");
}

sub plain { my ($file, $root) = @_; return plain_of({ tree($root) }) }

# Info files and manifests.
sub plain_of { my ($tree) = @_; return { map { $_ => $tree->{$_} } grep { /\.info|manifest/ } keys %$tree } }

# pgBackRest's word on the repository.
sub judge
{
	my ($when, @set) = @_;
	for my $command ('info', 'verify')
	{
		my ($code, $o, $e) = pgbackrest($conf, $command);
		is($code, 0, "pgBackRest has nothing to say against it $when: $command") or diag "$o$e";
		unlike("$o$e", qr/error:|missing:[1-9]|ERROR/, 'at all');
	}
	my $data = PostgreSQL::Test::Utils::tempdir();
	chmod 0700, $data;
	my ($code, $o, $e) = run_tool('pgbackrest', "--config=$conf", '--stanza=main', "--pg1-path=$data", 'restore',
		'--type=immediate', '--target-action=promote', map { "--set=$_" } @set);
	is($code, 0, 'restores it') or diag "$o$e";
	my $restored = restored_node('restored' . ($when =~ s/\W//gr), $data);
	is(table_state($restored, 't'), $state, 'to what it was');
	$restored->stop;
}

sub run { return (chronos($conf, @_))[0] }

sub garbage
{
	for my $file (@_)
	{
		open my $out, '>', $file or die "$file: $!";
		print $out "garbage\n";
		close $out;
	}
}

# Name => content of what lies below archive and backup, but for WAL and data.
sub put
{
	my ($kind, $file) = @_;
	if ($kind eq 'directory')
	{
		mkdir $file or die "$file: $!";
		append_to_file("$file/within", 'x');
	}
	require IO::Socket::UNIX;
	system('mkfifo', $file) == 0 or die if $kind eq 'pipe';
	symlink '/nowhere', $file or die "$file: $!" if $kind eq 'link';
	IO::Socket::UNIX->new(Local => $file, Listen => 1) or die "$file: $!" if $kind eq 'socket';
	return;
}

sub tree
{
	my ($root) = @_;
	my %tree;
	find(sub { $tree{ substr $File::Find::name, length($root) + 1 } = -s $_ < 5e6 ? slurp_file($_) : -s _ if -f && !-l },
		"$root/archive", "$root/backup");
	return %tree;
}
