# A mounted backup has the files of a restore of the same set, byte for byte, of either tool and however it is stored,
# from a directory and from a bucket. What is damaged, gone or does not come is an I/O error with a reason in the log,
# in time. A mount ends cleanly whoever ends it, what a kill leaves behind is told and freed, it keeps its backup from
# our expire, and it is refused where it would do harm. Where /dev/fuse cannot be opened the command says so, with
# what to do: there this test claims that alone.
# Enough with one version of PostgreSQL: its subject is what is stored
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Errno qw(ECONNABORTED EIO ENOTCONN);
use Fcntl qw(O_RDONLY O_RDWR);
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;
use Time::HiRes qw(time);

# What pgBackRest here cannot read is read by nobody else here.
delete $ENV{CHRONOS_REPO1_BLOCK};
my $base = PostgreSQL::Test::Utils::tempdir();
my $places = 0;

# A new empty directory to mount on.
sub place
{
	my $path = "$base/look" . ++$places;
	mkdir $path or die "$path: $!";
	return $path;
}

# Mounts in the background: the directory. It is a failure of the test if that fails.
sub mounted
{
	my ($conf, @arguments) = @_;
	my $path = place();
	my ($status, $out, $err) = chronos($conf, "--to=$path", '--background', @arguments, 'mount');
	is($status, 0, "mounted: @arguments") or diag($out . $err);
	like($out, qr/backup \S+ of repo1 is mounted on \Q$path\E: \d+ files, \S+; random access: \d+% \(.*\nEnd it with: chronos mount --finish=\Q$path\E$/s, '... which it says');
	return $path;
}

# What the list has of a directory, {} if it is not there.
sub listed
{
	my ($path) = @_;
	my ($status, $out, $err) = run_tool($chronos, '--config=/dev/null', '--output=json', 'mounts');
	is($status, 0, 'mounts') or diag($err);
	return (grep { $_->{path} eq $path } @{ JSON::PP::decode_json($out) })[0] // {};
}

sub finish
{
	my ($path) = @_;
	return run_tool($chronos, '--config=/dev/null', "--finish=$path", 'mount');
}

sub finished
{
	my ($path) = @_;
	my $pid = listed($path)->{pid};
	my ($status, $out, $err) = finish($path);
	is($status, 0, 'finished') or diag($out . $err);
	is_deeply([ glob "$path/*" ], [], '... and nothing is there any more');
	is(listed($path)->{path}, undef, '... nor in the list');
	return;
}

# The content of a file, or undef with $!.
sub content
{
	my ($path) = @_;
	sysopen my $file, $path, O_RDONLY or return;
	my $all = '';
	while (1)
	{
		my $count = sysread $file, my $piece, 100_000;
		return if !defined $count;
		return $all if $count == 0;
		$all .= $piece;
	}
}

# The trees of a mount and of a restore of the same set. A restore writes pg_control anew; it has the links of tablespaces.
sub is_restored
{
	my ($conf, $path, $set, %tablespaces) = @_;
	my $directory = private_directory();
	my @map = map { "--tablespace-map=$_=" . ($tablespaces{$_} = private_directory()) } sort keys %tablespaces;
	my ($status, $out, $err) = chronos($conf, "--pg1-path=$directory", "--set=$set", '--type=none', @map, 'restore');
	is($status, 0, "restored: $set") or diag($out . $err);
	my ($mount, $restore) = (slurp_tree($path), slurp_tree($directory));
	for my $oid (sort keys %tablespaces)
	{
		my $inner = slurp_tree($tablespaces{$oid});
		$restore->{ "pg_tblspc/$oid" . ($_ eq '' ? '' : "/$_") } = $inner->{$_} for keys %$inner;
	}
	for my $tree ($mount, $restore)
	{
		$tree->{'global/pg_control'} =~ s/ [0-9a-f]{40}$//;
	}
	my @different = grep { ($mount->{$_} // 'nothing') ne ($restore->{$_} // 'nothing') } sort keys %{ { %$mount, %$restore } };
	is(join("\n", map { "$_: " . ($mount->{$_} // 'nothing') . ' instead of ' . ($restore->{$_} // 'nothing') } @different),
		'', "$set: the same files, modes, sizes and contents");
	cmp_ok(scalar(keys %$mount), '>', 900, '... which are those of a cluster');
	is((stat "$path/PG_VERSION")[9], (stat "$directory/PG_VERSION")[9], '... with their times');
	return;
}

sub labels
{
	my ($conf) = @_;
	my ($status, $out) = chronos($conf, '--output=json', 'info');
	return map { $_->{label} } @{ JSON::PP::decode_json($out)->[0]{backup} };
}

# --- where there is no device ---------------------------------------------------------------------

my $node = chronos_node('primary', options => {
		'repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'zst',
		'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'a secret of 850',
		'io-timeout' => 4, 'log-level-file' => 'info' });
my $conf = $node->{chronos_conf};
my $repo = $node->{chronos_repo};
my ($logs) = slurp_file($conf) =~ /^log-path=(.*)$/m;
my $space = private_directory();
$node->safe_psql('postgres', "CREATE TABLESPACE other LOCATION '$space'");
$node->safe_psql('postgres', q{
	CREATE TABLE t AS SELECT i AS id, md5(i::text) AS word FROM generate_series(1, 90000) i;
	CREATE TABLE u TABLESPACE other AS SELECT i AS id, repeat(md5(i::text), 3) AS word FROM generate_series(1, 20000) i;
	CHECKPOINT});
my $oid = $node->safe_psql('postgres', q{SELECT oid FROM pg_tablespace WHERE spcname = 'other'});
my $table = $node->safe_psql('postgres', q{SELECT pg_relation_filepath('t')});
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'full backup');

# A device that nobody may open in place of the real one, or what this machine has.
{
	my $cover = "$base/cover";
	open my $file, '>', $cover or die $!;
	close $file;
	chmod 0, $cover;
	my $path = place();
	my @command = ($chronos, "--config=$conf", '--stanza=main', "--to=$path", 'mount');
	if (-e '/dev/fuse')
	{
		@command = ('unshare', '--user', '--map-root-user', '--mount', 'sh', '-c',
			'mount --bind "$1" /dev/fuse && shift && exec setpriv --bounding-set=-all --inh-caps=-all "$@"', 'sh', $cover, @command);
	}
	my ($status, $out, $err) = run_tool(@command);
	isnt($status, 0, 'no mount without the device');
	like($out . $err, qr{unable to mount: (?:user id \d+ may not open /dev/fuse\n\s*HINT: Its mode is usually 0666|this machine has no /dev/fuse\n\s*HINT: Load it with "modprobe fuse")},
		'... and what to do is said');
	is_deeply([ glob "$repo/chronos/main/hold/*" ], [], '... nothing is left in the repository');
}
if (!sysopen my $device, '/dev/fuse', O_RDWR)
{
	diag("/dev/fuse: $!; what needs it is not claimed here");
	done_testing();
	exit;
}

# --- contents -------------------------------------------------------------------------------------

$node->safe_psql('postgres', q{UPDATE t SET word = word || 'x' WHERE id % 5000 = 0; INSERT INTO u VALUES (0, 'new'); CHECKPOINT});
is((chronos($conf, '--type=diff', 'backup'))[0], 0, 'diff');
$node->safe_psql('postgres', q{UPDATE t SET word = word || 'y' WHERE id % 7000 = 0; CHECKPOINT});
is((chronos($conf, '--type=incr', 'backup'))[0], 0, 'incr');
my @labels = labels($conf);
is(scalar(@labels), 3, 'a chain of three');

subtest 'blocks, bundles, encryption, a chain, a tablespace' => sub {
	for my $label (@labels)
	{
		my $begin = time;
		my $path = mounted($conf, "--set=$label");
		diag(sprintf 'ready after %.0f ms', (time - $begin) * 1000);
		my ($status, $out) = run_tool('pg_controldata', $path);
		is($status, 0, 'pg_controldata reads it');
		is_restored($conf, $path, $label, $oid => '');
		my $facts = listed($path);
		is("$facts->{label} $facts->{state} $facts->{failures}", "$label live 0", 'listed');
		cmp_ok($facts->{'fetched-bytes'}, '>', 20_000_000, '... with what was fetched');
		($status, $out) = run_tool($chronos, '--config=/dev/null', 'mounts');
		like($out, qr{^\Q$path\E  main  repo1  $label  live  process $facts->{pid}  since }m, '... for people too');
		ok(!open(my $file, '>', "$path/PG_VERSION"), 'nothing can be written');
		ok(!unlink("$path/PG_VERSION"), '... or removed');
		finished($path);
	}
	is_deeply([ glob "$repo/chronos/main/hold/*" ], [], 'and the holds are gone');
};

subtest 'blocks of pgBackRest' => sub {
	my $at = "$base/fixture";
	mkdir $at;
	is(system("tar --zstd --no-same-owner -xf '$ENV{TEST_FIXTURES_DIR}/zst-bundle-block.tar.zst' -C '$at'"), 0, 'unpacked');
	my $fixture = write_config("$base/fixture.conf", path => "$at/repo", pg => "$at/none");
	for my $label (labels($fixture))
	{
		my $path = mounted($fixture, "--set=$label");
		is_restored($fixture, $path, $label);
		finished($path);
	}
};

subtest 'whole files of pgBackRest' => sub {
	for my $type ('none', 'gz', 'lz4', 'zst', 'bz2')
	{
		my $whole = write_config("$base/whole-$type.conf", path => "$base/whole-$type", pg => $node->data_dir, port => $node->port,
			socket => $node->host, 'compress-type' => $type, 'archive-check' => 'n',
			$type eq 'lz4' ? ('repo1-bundle' => 'y') : (), $type =~ /^[gz]/ ? ('repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'whole') : ());
		mkdir "$base/whole-$type";
		is((pgbackrest($whole, 'stanza-create'))[0], 0, "$type: stanza");
		my ($status, $out, $err) = pgbackrest($whole, '--type=full', 'backup');
		is($status, 0, "$type: backup") or diag($out . $err);
		if ($type eq 'lz4')
		{
			$node->safe_psql('postgres', q{UPDATE t SET word = word || 'z' WHERE id = 17; CHECKPOINT});
			is((pgbackrest($whole, "--type=$_", 'backup'))[0], 0, "$type: $_") for 'diff', 'incr';
		}
		my $path = mounted($whole);
		is_restored($whole, $path, 'latest', $oid => '');
		# It is larger than what is decoded in memory.
		cmp_ok(-s "$path/$table", '>', 4 << 20, 'the table is a large file');
		cmp_ok(listed($path)->{'spooled-bytes'}, '>', 4 << 20, '... that went through the spool');
		finished($path);
	}
};

subtest 'many read at once' => sub {
	my $path = mounted($conf);
	my $expected = content("$path/$table");
	finished($path);
	$path = mounted($conf, '--mount-cache-size=16MiB');
	my @readers;
	for my $number (1 .. 8)
	{
		my $pid = fork() // die $!;
		if ($pid == 0)
		{
			require POSIX;
			srand $number;
			sysopen my $file, "$path/$table", O_RDONLY or POSIX::_exit(2);
			for (1 .. 200)
			{
				my $at = int rand length $expected;
				sysseek $file, $at, 0;
				my $count = sysread $file, my $piece, 8192;
				POSIX::_exit(3) if !$count || $piece ne substr $expected, $at, 8192;
			}
			POSIX::_exit(0);
		}
		push @readers, $pid;
	}
	is(join(' ', map { waitpid($_, 0); $? } @readers), join(' ', (0) x 8), 'each gets what is there');
	finished($path);
};

# --- the end --------------------------------------------------------------------------------------

subtest 'in the foreground, until somebody ends it' => sub {
	for my $how ('SIGTERM', 'SIGINT', 'fusermount3', 'finish')
	{
		my $path = place();
		my ($out, $err) = ('', '');
		my $running = IPC::Run::start([ $chronos, "--config=$conf", '--stanza=main', "--to=$path", 'mount' ],
			'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
		poll_until(sub { -e "$path/PG_VERSION" }, 'it is mounted');
		is(scalar(my @held = glob "$repo/chronos/main/hold/$labels[2].mount-*"), 1, 'held');
		my $pid = listed($path)->{pid};
		if ($how =~ /^SIG(.*)/)
		{
			# One who looks does not keep it.
			opendir my $inside, $path or die $!;
			kill $1, $pid or die $!;
			$running->finish;
		}
		else
		{
			my ($status, $said, $why) = $how eq 'finish' ? finish($path) : run_tool('fusermount3', '-u', $path);
			is($status, 0, $how) or diag($said . $why);
			$running->finish;
		}
		is($running->full_result(0), 0, "$how: ended with success") or diag($out . $err);
		like($out . $err, qr/the mount on \Q$path\E ends: /, '... and says so');
		is(listed($path)->{path}, undef, '... not mounted any more');
		is_deeply([ glob "$repo/chronos/main/hold/*" ], [], '... nor held');
	}
};

# As root mounts, which needs no helper: here root of a namespace of its own, which nobody else sees.
subtest 'as root, in a namespace' => sub {
	my $path = place();
	my ($status, $out, $err) = run_tool('unshare', '--user', '--map-root-user', '--mount', 'sh', '-ec', q{
		chronos=$1 conf=$2 path=$3
		$chronos --config=$conf --stanza=main --to=$path --background mount >/dev/null
		grep -c " $path .* - fuse.chronos .*allow_other" /proc/self/mountinfo
		stat -c '%U %a' $path/PG_VERSION
		cat $path/PG_VERSION
		$chronos --config=/dev/null --finish=$path mount
		ls -A $path
	}, 'sh', $chronos, $conf, $path);
	is($status, 0, 'mounted, read and finished') or diag($err);
	is($out, "1\nroot 600\n" . slurp_file($node->data_dir . '/PG_VERSION'), 'for all users, with the owners of the backup');
	is_deeply([ glob "$repo/chronos/main/hold/*" ], [], 'nothing is left');
};

subtest 'not while it is in use' => sub {
	my $path = mounted($conf);
	opendir my $inside, "$path/base" or die $!;
	my ($status, $out, $err) = finish($path);
	isnt($status, 0, 'refused');
	like($out . $err, qr/busy.*HINT: .*fuser -vm/s, '... with who it may be');
	closedir $inside;
	finished($path);
	($status, $out, $err) = finish($path);
	is($status, 73, 'nothing is mounted there any more');
	like($out . $err, qr/no backup is mounted on '\Q$path\E'/, '... which is said');
};

subtest 'killed' => sub {
	my $path = mounted($conf);
	is(content("$path/PG_VERSION"), slurp_file($node->data_dir . '/PG_VERSION'), 'it was there');
	my $pid = listed($path)->{pid};
	kill 'KILL', $pid or die $!;
	my $error = 0;
	poll_until(sub { sysopen(my $file, "$path/PG_VERSION", O_RDONLY) and return 0; $error = $! + 0; return $error != ECONNABORTED }, 'it is gone');
	is($error, ENOTCONN, 'the system says that nobody is there');
	is(listed($path)->{state}, 'dead', 'listed as dead');
	my ($status, $out, $err) = run_tool($chronos, '--config=/dev/null', 'mounts');
	like($out, qr/^\Q$path\E .* dead: its process is gone; end it with: chronos mount --finish=\Q$path\E$/m, '... with the way out');
	($status, $out, $err) = chronos($conf, "--to=$path", 'mount');
	is($status, 40, 'no mount on it');
	like($out . $err, qr/mount whose process is gone\n\s*HINT: Free it with: chronos mount --finish=\Q$path\E/, '... with the way out');
	# What it leaves in the repository counts for nothing.
	is(scalar(my @left = glob "$repo/chronos/main/hold/*"), 1, 'its hold is left');
	($status, $out, $err) = chronos($conf, '--dry-run', '--output=text', '--repo1-retention-full=1', 'expire');
	is($status, 0, 'expire goes on') or diag($out . $err);
	finished($path);
	$path = mounted($conf);
	is(scalar(@left = glob "$repo/chronos/main/hold/*"), 1, 'the next mount has removed what was left');
	finished($path);
};

subtest 'a process that does not answer' => sub {
	my $path = mounted($conf);
	my $pid = listed($path)->{pid};
	kill 'STOP', $pid;
	is(listed($path)->{state}, 'silent', 'is listed as such');
	kill 'CONT', $pid;
	finished($path);
};

# --- failures -------------------------------------------------------------------------------------

# An errno of reading a file, 0 if that went well, and the seconds it took.
sub failure
{
	my ($path) = @_;
	my $begin = time;
	my $read = content($path);
	my $error = defined $read ? 0 : $! + 0;
	return ($error, time - $begin);
}

subtest 'damage is EIO, and the rest is read' => sub {
	my ($bundle) = sort { -s $b <=> -s $a } glob "$repo/backup/main/$labels[0]/bundle/*";
	open my $object, '+<:raw', $bundle or die $!;
	my $size = -s $bundle;
	seek $object, int($size / 2), 0;
	read $object, my $former, 16;
	seek $object, int($size / 2), 0;
	print $object ~$former;
	close $object;
	my $path = mounted($conf, "--set=$labels[0]");
	my (%bad, $good);
	require File::Find;
	File::Find::find({ no_chdir => 1, wanted => sub {
		return if !-f $_;
		my ($error) = failure($_);
		if ($error) { $bad{ $_ =~ s{^\Q$path\E/}{}r } = $error } else { ++$good }
	} }, $path);
	cmp_ok(scalar(keys %bad), '>=', 1, 'something cannot be read: ' . join ' ', sort keys %bad);
	is(join(' ', sort values %bad), join(' ', (EIO) x keys %bad), '... which is an I/O error');
	cmp_ok($good, '>', 900, 'all others can');
	my $log = slurp_file("$logs/main-mount.log");
	for my $name (sort keys %bad)
	{
		like($log, qr{ERROR: file 'pg_(?:data/)?\S*\Q$name\E' cannot be read: .*\Q$bundle\E}, '... the log says why, and where');
	}
	cmp_ok(listed($path)->{failures}, '>=', 1, 'the list counts it');
	finished($path);
	open $object, '+<:raw', $bundle or die $!;
	seek $object, int($size / 2), 0;
	print $object $former;
	close $object;
};

subtest 'a repository that goes away, and comes back' => sub {
	my $path = mounted($conf);
	rename $repo, "$repo.away" or die $!;
	my ($error, $seconds) = failure("$path/$table");
	is($error, EIO, 'an I/O error');
	cmp_ok($seconds, '<', 10, '... at once');
	rename "$repo.away", $repo or die $!;
	poll_until(sub { (failure("$path/$table"))[0] == 0 }, 'it is read again', 30);
	finished($path);
};

# --- the backup stays -----------------------------------------------------------------------------

subtest 'expire leaves it alone' => sub {
	my $path = mounted($conf, "--set=$labels[2]");
	is((chronos($conf, '--type=full', '--expire-auto=n', 'backup'))[0], 0, 'another full backup');
	my ($status, $out, $err) = chronos($conf, "--set=$labels[0]", 'expire');
	isnt($status, 0, 'not by its label');
	like($out . $err, qr/backup \Q$labels[2]\E, which depends on it, is mounted on '\Q$path\E'\n\s*HINT: End the mount with: chronos mount --finish=\Q$path\E/,
		'... which says what keeps it');
	($status, $out, $err) = chronos($conf, '--repo1-retention-full=1', 'expire');
	is($status, 0, 'nor by retention') or diag($out . $err);
	my %left = map { $_ => 1 } labels($conf);
	ok($left{ $labels[0] } && $left{ $labels[2] }, 'it and what it depends on are there');
	is((failure("$path/$table"))[0], 0, '... and read');
	($status, $out, $err) = chronos($conf, 'stop');
	($status, $out, $err) = chronos($conf, '--repo=1', '--force', 'stanza-delete');
	isnt($status, 0, 'nor by deleting the stanza');
	like($out . $err, qr/cannot be deleted: backup \Q$labels[2]\E is mounted on '\Q$path\E'/, '... which says so');
	is((chronos($conf, 'start'))[0], 0, 'all goes on');
	finished($path);
	is((chronos($conf, '--repo1-retention-full=1', 'expire'))[0], 0, 'then it goes');
	is(scalar(() = labels($conf)), 1, '... with all others');
};

# --- places ---------------------------------------------------------------------------------------

subtest 'where nothing is mounted' => sub {
	my $file = "$base/a file";
	open my $out, '>', $file or die $!;
	close $out;
	my $full = place();
	mkdir "$full/x";
	my $inside = $node->data_dir . '/look';
	mkdir $inside or die $!;
	mkdir "$repo/look" or die $!;
	my $taken = mounted($conf);
	for (
		[ "$base/none", 73, qr/does not exist\n\s*HINT: Make it with: mkdir -p/ ],
		[ $file, 73, qr/is no directory\n\s*HINT: / ],
		[ $full, 40, qr/is not empty\n\s*HINT: / ],
		[ $inside, 32, qr/lies in the data directory '.*'\n\s*HINT: / ],
		[ "$repo/look", 32, qr/lies in the repository '.*'\n\s*HINT: / ],
		[ $taken, 40, qr/is mounted on '.*' already\n\s*HINT: End that with: chronos mount --finish=/ ])
	{
		my ($path, $code, $why) = @$_;
		my ($status, $said, $err) = chronos($conf, "--to=$path", 'mount');
		is($status, $code, "not on $path");
		like($said . $err, $why, '... with the reason and the way out');
	}
	rmdir $inside;
	rmdir "$repo/look";
	finished($taken);
	my ($status, $said, $err) = chronos($conf, "--to=$full", '--set=20200101-000000F', 'mount');
	is($status, 40, 'the place is looked at first');
	($status, $said, $err) = chronos($conf, '--to=' . place(), '--set=20200101-000000F', '--background', 'mount');
	is($status, 75, 'a backup that there is not, also in the background');
	like($said . $err, qr/backup set 20200101-000000F is not valid/, '... which is said');
	is((chronos($conf, 'mount'))[0], 37, 'a place must be named');
};

# --- a bucket -------------------------------------------------------------------------------------

subtest 'from a bucket' => sub {
	my $server = S3Server->new(buckets => ['look']);
	my $link = $server->slow_link(rtt => 0);
	my $far = write_config("$base/far.conf", pg => $node->data_dir, port => $node->port, socket => $node->host,
		$server->options('look', port => $link->{port}), 'repo1-path' => '/r', 'repo1-bundle' => 'y', 'repo1-block' => 'y',
		'archive-check' => 'n', 'io-timeout' => 3, 'log-level-file' => 'info');
	is((chronos($far, 'stanza-create'))[0], 0, 'stanza');
	my ($status, $out, $err) = chronos($far, '--type=full', 'backup');
	is($status, 0, 'backup') or diag($out . $err);
	my $path = mounted($far);
	is_restored($far, $path, 'latest', $oid => '');
	my $facts = listed($path);
	diag("$facts->{fetches} fetches for $facts->{'fetched-bytes'} bytes");
	cmp_ok($facts->{fetches}, '<', 300, 'far fewer requests than files');
	finished($path);
	$path = mounted($far);
	$server->stop;
	my ($error, $seconds) = failure("$path/$table");
	is($error, EIO, 'a bucket that is gone is an I/O error');
	# The kernel asks twice: ahead of the reader, and for it.
	cmp_ok($seconds, '<', 20, '... in time');
	# The hold cannot be removed any more, which keeps nobody.
	finished($path);
};

done_testing();
