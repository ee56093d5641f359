# verify proves that backups can be restored. On a sound repository it counts what pgBackRest's
# counts; of every kind of damage it says where it is, what it is and what can no longer be restored -
# and that is so: of each backup that it calls invalid a restore fails, of each other one it succeeds.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Cwd qw(getcwd);
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;

# Files as they are, whether pgBackRest reads blocks or not: what is damaged here are whole files.
$ENV{CHRONOS_REPO1_BLOCK} = 'n';
my $here = getcwd();
my $base = PostgreSQL::Test::Utils::tempdir();
my %secret = ('repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'verify-pass');
my $node = chronos_node('primary',
	options => { %secret, 'repo1-bundle-limit' => '16KiB', 'compress-type' => 'lz4', 'log-level-console' => 'warn' });
my ($conf, $repo) = ($node->{chronos_conf}, $node->{chronos_repo});
$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 20000) i');
my @labels = map { backup($_) } qw(full diff incr);
for my $segment (1 .. 4)
{
	$node->safe_psql('postgres', "INSERT INTO t VALUES ($segment)");
	wait_archived($node);
}

sub backup
{
	my ($type) = @_;
	$node->safe_psql('postgres', 'UPDATE t SET md5 = md5 || i WHERE i % 100 = 0');
	return $node->safe_psql('postgres', "SELECT chronos.backup_now('$type')");
}

# The archive as it is hours later: a segment that is missing is not on its way any more.
sub age { system('find', $_[0], '-type', 'f', '-exec', 'touch', '-d', '2 hours ago', '{}', '+') == 0 or die; return }

sub one_of
{
	my (@patterns) = @_;
	my @found = sort map { glob } @patterns;
	die "no file @patterns" if !@found;
	return $found[0];
}

# A copy of the repository shares its files with it: what is to be changed is made its own first.
sub unshare
{
	my ($file) = @_;
	copy($file, "$file.own") or die "copy $file: $!";
	rename "$file.own", $file or die "rename $file: $!";
	return $file;
}

# It keeps size and time: what the ledger knows.
sub shut
{
	my ($file) = @_;
	my @times = (stat $file)[ 8, 9 ];
	unshare($file);
	utime @times, $file or die "$file: $!";
	chmod 0, $file or die "$file: $!";
	return;
}

sub change_byte
{
	my ($file, $at) = @_;
	unshare($file);
	open my $handle, '+<:raw', $file or die "$file: $!";
	$at //= int((-s $file) / 2);
	seek $handle, $at, 0;
	read $handle, my $byte, 1;
	seek $handle, $at, 0;
	print $handle chr(ord($byte) ^ 0x40);
	close $handle;
	return;
}

# --- a sound repository
age($repo);
my ($status, $out, $err) = chronos($conf, 'verify');
is($status, 0, 'a sound repository') or diag($out . $err);
is($out, '', 'says nothing');
($status, $out) = chronos($conf, '--output=text', '--verbose', 'verify');
like($out, qr/^status: ok$/m, 'unless it is asked to');
my ($read, $known) = $out =~ /read: (\d+) objects, .*: (\d+) objects/;
is($read, 0, 'what was read before is not read again');
cmp_ok($known, '>', 20, 'as it is known');
my $ours = join '', $out =~ /^((?:  archiveId|  backup|    missing).*\n)/mg;
my (undef, $theirs) = pgbackrest($conf, '--output=text', '--verbose', 'verify');
is($ours, join('', $theirs =~ /^((?:  archiveId|  backup|    missing).*\n)/mg), 'it counts what pgBackRest counts');
($status, $out) = chronos($conf, '--output=json', '--set=latest-full,oldest,latest', '--full', 'verify');
my $json = decode_json($out);
is($json->{status}, 'ok', 'sets by name, as JSON');
is_deeply([ map { $_->{label} } @{ $json->{repository}[0]{backup} } ], \@labels, 'with what they depend on');
cmp_ok($json->{repository}[0]{read}{objects}, '>', 20, '--full reads all of it again');
for my $unknown ('20200101-000000F', 'bogus')
{
	($status) = chronos($conf, "--set=$unknown", 'verify');
	isnt($status, 0, "--set=$unknown fails");
}
is($node->safe_psql('postgres', 'SELECT status FROM chronos.verify()'), 'ok', 'and in SQL');

# --- kinds of damage; each is [name, what to do in the directory, what is said, backups that go]
my ($full, $diff, $incr) = @labels;
my $wal = "archive/main/*/*/";
my $first = $node->safe_psql('postgres', "SELECT wal_start FROM chronos.backups WHERE label = '$full'");
my $last = $node->safe_psql('postgres', 'SELECT max(wal_stop) FROM chronos.backups');
my $behind = sprintf '%s%08X', substr($last, 0, 16), hex(substr $last, 16) + 1;
my $behind_that = sprintf '%s%08X', substr($last, 0, 16), hex(substr $last, 16) + 2;
my $own = sub { my ($label, $min) = @_; return (grep { -s > $min } glob "backup/main/$label/pg_data/base/*/*.lz4")[0] };
my @damages = (
	[ 'WAL of a backup missing', sub { unlink one_of("$wal$first-*") }, qr/WAL segment $first is missing/, [$full], 1 ],
	[ 'WAL behind the last backup missing', sub { unlink one_of("$wal$behind-*") },
		qr/WAL segment $behind is missing\n +consequence: recovery .* from backup $incr .* cannot go beyond/, [], 1 ],
	[ 'byte of a segment', sub { change_byte(one_of("$wal$first-*")) }, qr/$first-.*\n +consequence: backup $full cannot/, [$full], 1 ],
	[ 'segment cut off', sub { truncate unshare(one_of("$wal$first-*")), 5000 }, qr/$first-.*\n +consequence: backup $full cannot/, [$full], 1 ],
	[ 'segment under the name of another', sub { my $one = one_of("$wal$behind-*"); my $other = one_of("$wal$behind_that-*");
			rename $one, "$one.x"; rename $other, $other =~ s/$behind_that/$behind/r; unlink "$one.x" },
		qr/is the content of WAL segment $behind_that under a wrong name/, [], 1 ],
	[ 'segment that nobody may read', sub { shut(one_of("$wal$first-*")) }, qr/$first-.*Permission denied\n +consequence: backup $full cannot/, [$full], 1 ],
	[ 'bundle that nobody may read', sub { shut("backup/main/$full/bundle/1") }, qr/$full: bundle\/1: .*Permission denied/, \@labels, 2 ],
	[ 'file that nobody may read', sub { shut($own->($full, 20000)) }, qr/$full: pg_data\/base.*Permission denied/, [$full], 2 ],
	[ 'two files of a segment', sub { my $one = one_of("$wal$first-*"); copy($one, $one =~ s/($first)-..../$1-0000/r) },
		qr/is the second file of WAL segment $first/, [$full], 1 ],
	[ 'archive of an unknown cluster', sub { make_path('archive/main/9.6-7/0000000100000000');
			copy(one_of("$wal$first-*"), 'archive/main/9.6-7/0000000100000000/x') },
		qr/9\.6-7: the archive id is not in the archive\.info history/, [], 1 ],
	[ 'byte of a bundle', sub { change_byte("backup/main/$full/bundle/1") }, qr/$full: pg_data\/.*\n +consequence: backup.*$full/, \@labels ],
	[ 'bundle cut off', sub { my $b = "backup/main/$diff/bundle/1"; truncate unshare($b), (-s $b) - 1 },
		qr/$diff: bundle\/1: has \d+ bytes instead of \d+; it holds pg_data/, [ $diff ], 2 ],
	[ 'bundle missing', sub { unlink "backup/main/$full/bundle/1" }, qr/$full: bundle\/1: is missing/, \@labels, 1 ],
	[ 'byte of a file', sub { change_byte($own->($full, 20000)) }, qr/$full: pg_data\/base/, \@labels, 1 ],
	[ 'file missing', sub { unlink $own->($full, 20000) }, qr/$full: pg_data\/base.*is missing/, [$full], 2 ],
	[ 'files swapped', sub { my ($one, $other) = map { $own->($full, $_) } 10000, 40000; rename $one, "$one.x";
			rename $other, $one; rename "$one.x", $other },
		qr/$full: pg_data\/base.*: has \d+ bytes instead of.*\n.*\n.*$full: pg_data\/base.*: has/, [$full], 2 ],
	[ 'stale copy of a manifest', sub { copy("backup/main/$diff/backup.manifest", unshare("backup/main/$full/backup.manifest.copy")) },
		qr/$full: backup\.manifest\.copy: stale: does not match/, [], 1 ],
	[ 'stale copy of backup.info', sub { copy('archive/main/archive.info', unshare('backup/main/backup.info.copy')) },
		qr/backup\.info\.copy/, [], 1 ],
	[ 'manifest damaged', sub { change_byte("backup/main/$diff/backup.manifest") }, qr/$diff: backup\.manifest: /, [] ],
	[ 'manifests gone', sub { unlink glob "backup/main/$diff/backup.manifest*" },
		qr/backup: $diff, status: manifest missing/, [ $diff, $incr ], 1 ],
	[ 'referenced backup gone', sub { remove_tree("backup/main/$diff") }, qr/$diff: backup\.manifest/, [ $diff, $incr ] ],
	[ 'backup.info gone', sub { unlink glob 'backup/main/backup.info*' }, qr/backup\.info: /, \@labels, 3 ],
);

# Whether a restore of the files succeeds.
sub restorable
{
	my ($config, $label) = @_;
	my $target = "$base/restored";
	remove_tree($target);
	mkdir $target, 0700;
	my ($failed) = chronos($config, "--set=$label", "--pg1-path=$target", '--type=none', 'restore');
	return !$failed;
}

# Of the backups that go 1 says: no restore of files would show it; 2: others may go too; 3: no backup is
# listed any more.
for my $damage (@damages)
{
	my ($name, $do, $said, $gone, $how) = @$damage;
	my $copy = "$base/damaged";
	remove_tree($copy);
	system('cp', '-al', $repo, $copy) == 0 or die "cp: $?";
	chdir $copy or die;
	$do->();
	chdir $here or die;
	my $config = write_config("$base/damaged.conf", path => $copy, pg => $node->data_dir, port => $node->port,
		socket => $node->host, %secret, 'log-level-console' => 'off');
	my ($code, $text) = chronos($config, '--output=text', 'verify');
	is($code, 28, "$name: verify fails");
	like($text, $said, "$name: is named") or diag($text);
	next if ($how // 0) == 3;
	my %invalid = map { $_ => 1 } $text =~ /backup: (\S+), status: (?:invalid|manifest missing)/g;
	$invalid{$_} or fail("$name: $_ is named") for @$gone;
	is_deeply([ sort keys %invalid ], [ sort @$gone ], "$name: the backups that go are named") if ($how // 0) != 2;
	next if ($how // 0) == 1;
	is(restorable($config, $_) ? 'restorable' : 'not', $invalid{$_} ? 'not' : 'restorable', "$name: so it is with $_")
	  for @labels;
}

# The hole that pgBackRest says nothing about.
{
	remove_tree("$base/damaged");
	system('cp', '-al', $repo, "$base/damaged") == 0 or die "cp: $?";
	unlink one_of("$base/damaged/$wal$first-*");
	my (undef, $text) = pgbackrest("$base/damaged.conf", '--output=text', '--verbose', 'verify');
	like($text, qr/status: ok/, 'pgBackRest finds a backup without its WAL valid');
	unlike((chronos("$base/damaged.conf", '--output=text', '--verbose', 'verify'))[1], qr/status: ok/, 'chronos does not');
}

# --- in the server
{
	my $bundle = "$repo/backup/main/$incr/bundle/1";
	my $size = -s $bundle;
	change_byte($bundle, 10);
	like($node->safe_psql('postgres', 'SELECT place, file, message, consequence FROM chronos.verify()'),
		qr/^\Q$incr\E\|pg_data\/[^|]+\|[^|]+\|backup \Q$incr\E cannot be restored$/m, 'a row for a damage');
	is($node->safe_psql('postgres', "SELECT status FROM chronos.check() WHERE test = 'repo1 verify'"), 'failure',
		'check tells of it');
	my $job = $node->safe_psql('postgres', "SELECT chronos.start_job('verify')");
	is($node->safe_psql('postgres', "SELECT chronos.wait($job)"), 'failed', 'a job that finds damage has failed');
	like($node->safe_psql('postgres', "SELECT error FROM chronos.jobs WHERE id = $job"), qr/\Q$incr\E.*pg_data/, 'and says why');
	change_byte($bundle, 10);
	$job = $node->safe_psql('postgres', "SELECT chronos.start_job('verify')");
	is($node->safe_psql('postgres', "SELECT chronos.wait($job)"), 'succeeded', 'once it is mended the next one succeeds');
	is(-s $bundle, $size, 'nothing of the repository was changed');
}
$node->stop;

# --- pages that were damaged in the cluster: the repository is sound, and no restore takes the backup unasked
{
	my $hurt = chronos_node('hurt', options => { 'log-level-console' => 'warn' }, conf => 'chronos.health_interval = 0');
	my $sql = sub { return $hurt->safe_psql('postgres', $_[0]) };
	my $rule = sub { return $sql->("SELECT state || ' ' || message || ' ' || coalesce(hint, '') FROM chronos.health WHERE rule = '$_[0]'") };
	$sql->('CREATE TABLE t AS SELECT i FROM generate_series(1, 10000) i; CHECKPOINT');
	my $whole = $sql->(q{SELECT chronos.backup_now('full')});
	like($rule->('page_errors'), qr/^ok /, 'health has nothing against whole pages');
	is($sql->(q{SELECT count(*) FROM chronos.check() WHERE message LIKE '%damaged%'}), 0, 'nor has check');
	my $file = $sql->(q{SELECT pg_relation_filepath('t')});
	$hurt->stop;
	open my $page, '+<', $hurt->data_dir . "/$file" or die $!;
	seek $page, 3 * 8192 + 5000, 0;
	print $page 'damaged!';
	close $page;
	$hurt->start;
	for my $type (qw(full incr))
	{
		my $label = $sql->("SELECT chronos.backup_now('$type')");
		my $job = "SELECT state || ' ' || hint FROM chronos.jobs WHERE label = '$label'";
		like($sql->($job), qr/^succeeded .*--no-checksum-page-error only: pg_data\/\Q$file\E/, "the job of the $type tells of damaged pages");
		like($rule->('page_errors'), qr/^warning .*repo1, \Q$label\E.*without is \Q$whole\E.*in the cluster itself.*--no-checksum-page-error/,
			'the rule page_errors warns, and names the backup and the option');
		like($rule->('backup_age'), qr/^ok .*without page errors, \Q$whole\E/, 'the age is that of the last whole one');
		is($sql->(q{SELECT status FROM chronos.check() WHERE test = 'repo1 backups' AND message LIKE '%} . $label . q{%damaged%'}), 'note', 'check notes it');
	}
	is($sql->(q{SELECT count(*) FROM chronos.verify() WHERE message LIKE '%can be restored%'}), 0, 'verify does not say that all can be restored');
	like($sql->(q{SELECT status || ' ' || message FROM chronos.verify() WHERE place IS NULL}),
		qr/^note 3 backups .* takes 2 of the backups with --no-checksum-page-error only/, 'but how');
	$sql->("SELECT chronos.expire(false, '$whole')");
	like($rule->($_), qr/^critical .*--no-checksum-page-error/, "$_ is critical when no other is left") for qw(page_errors backup_age);
	$sql->('TRUNCATE t; CHECKPOINT');
	$sql->(q{SELECT chronos.backup_now('incr')});
	like($rule->($_), qr/^ok /, "a backup without these pages mends $_") for qw(page_errors backup_age);
	$hurt->stop;
}

# --- the damaged repository among the fixtures, where that one is
for my $archive (grep { -e } ($ENV{TEST_FIXTURES_DIR} // 'test/fixtures') . '/damaged-gz.tar.zst')
{
	make_path("$base/fixture");
	system('tar', '--zstd', '--no-same-owner', '-xf', $archive, '-C', "$base/fixture") == 0 or die "tar: $?";
	my $config = write_config("$base/fixture.conf", path => "$base/fixture/repo", pg => "$base/none");
	(undef, $out) = chronos($config, '--output=json', 'verify');
	is(scalar @{ decode_json($out)->{finding} }, 7, 'damaged-gz: all seven damages are found');
}

# --- a bucket
{
	delete local $ENV{CHRONOS_REPO1_BLOCK};
	my $server = S3Server->new(buckets => ['verify']);
	my $remote = chronos_node('remote', options => { $server->options('verify'), %secret, 'repo1-path' => '/repo',
		'log-level-console' => 'warn' });
	$remote->safe_psql('postgres', 'CREATE TABLE t AS SELECT i FROM generate_series(1, 100000) i');
	$remote->safe_psql('postgres', "SELECT chronos.backup_now('full')");
	$remote->safe_psql('postgres', 'UPDATE t SET i = i + 1 WHERE i % 1000 = 0');
	my $label = $remote->safe_psql('postgres', "SELECT chronos.backup_now('diff')");
	($status, $out, $err) = chronos($remote->{chronos_conf}, '--output=text', '--verbose', 'verify');
	is($status, 0, 'a repository in a bucket') or diag($out . $err);
	($status, $out) = chronos($remote->{chronos_conf}, '--output=json', 'verify');
	is(decode_json($out)->{repository}[0]{read}{objects}, 0, 'of which nothing is read again');
	$server->command("remove '/verify/repo/backup/main/$label/bundle/1'");
	($status, $out) = chronos($remote->{chronos_conf}, '--output=text', 'verify');
	is($status, 28, 'a bundle that is missing');
	like($out, qr/\Q$label\E: bundle\/1: is missing/, 'is named') or diag($out);
	$remote->stop;
}

done_testing();
