# A look is the cluster as it was at a moment: what is asked of it is answered as the server answered then, tables that
# have been dropped since among it, for every kind of target, from a directory and from a bucket, through encryption,
# bundles, and a chain of blocks. Nobody can change it, nobody else sees its mount, and little is fetched for it. It
# keeps its backup from expire; whatever ends it, its server ends too and nothing of it stays. What it cannot read is an
# error in time, never something else. Where it cannot be, it says so before anything is done.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Digest::MD5 qw(md5_hex);
use Errno qw(EINTR);
use Fcntl qw(O_RDONLY O_RDWR);
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;
use Time::HiRes qw(setitimer ITIMER_REAL time usleep);

# What pgBackRest here cannot read is read by nobody else here.
delete $ENV{CHRONOS_REPO1_BLOCK};
my $scratch = PostgreSQL::Test::Utils::tempdir_short();
my $base = PostgreSQL::Test::Utils::tempdir();
my $count = 0;

# --- what is looked at ----------------------------------------------------------------------------

my $node = chronos_node('primary', options => {
		'repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'zst',
		'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'a secret of 851',
		'drill-path' => $scratch, 'io-timeout' => 4 });
my $conf = $node->{chronos_conf};
my $repo = $node->{chronos_repo};
my $space = private_directory();
$node->safe_psql('postgres', "CREATE TABLESPACE other LOCATION '$space'");
$node->safe_psql('postgres', q{
	CREATE TABLE dropped (id int PRIMARY KEY, word text);
	INSERT INTO dropped SELECT i, md5(i::text) FROM generate_series(1, 20000) i;
	CREATE TABLE far TABLESPACE other AS SELECT i AS id, repeat(md5(i::text), 3) AS word FROM generate_series(1, 20000) i;
	CREATE TABLE big (id serial PRIMARY KEY, word text);
	INSERT INTO big (word) SELECT repeat(md5(i::text), 3) FROM generate_series(1, 450000) i;
	CREATE TABLE long (id int, word text);
	INSERT INTO long SELECT g, string_agg(md5((g * i)::text), '') FROM generate_series(1, 40) g, generate_series(1, 3000) i GROUP BY g;
	CREATE UNLOGGED TABLE unlogged AS SELECT generate_series(1, 100) AS id;
	CREATE VIEW sums AS SELECT id % 10 AS digit, count(*) AS rows FROM dropped GROUP BY 1;
	CREATE FUNCTION double(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
	CREATE ROLE somebody;
	ANALYZE});
# Some databases more, as many files.
for my $name (1 .. 2)
{
	$node->safe_psql('postgres', "CREATE DATABASE app$name");
	$node->safe_psql("app$name", "CREATE TABLE app AS SELECT generate_series(1, 1000 * $name) AS id");
}

# What is asked of the server at each moment, and of the look at that.
my @questions = (
	[ postgres => q{SELECT count(*), md5(string_agg(d::text, '|' ORDER BY id)) FROM dropped d} ],
	[ postgres => q{SELECT word FROM dropped WHERE id IN (17, 4000, 20000) ORDER BY id} ],
	[ postgres => q{SELECT * FROM sums ORDER BY digit} ],
	[ postgres => q{SELECT count(*), sum(id), md5(string_agg(word, '|' ORDER BY id, word)) FROM far} ],
	[ postgres => q{SELECT id, word FROM big WHERE id % 3 = 0 AND id BETWEEN 100000 AND 100300 ORDER BY id} ],
	[ postgres => q{SELECT max(id), min(id) FROM big} ],
	[ postgres => q{SELECT d.word = left(b.word, 32), count(*) FROM dropped d JOIN big b USING (id) WHERE id < 500 GROUP BY 1 ORDER BY 1} ],
	[ postgres => q{SELECT md5(string_agg(word, '|' ORDER BY id)) FROM long} ],
	[ postgres => q{SELECT double(21)} ],
	[ postgres => q{SELECT relname, relkind, reltablespace, relpersistence FROM pg_class WHERE oid >= 16384 ORDER BY relname COLLATE "C"} ],
	[ postgres => q{SELECT rolname, rolsuper FROM pg_roles ORDER BY rolname COLLATE "C"} ],
	[ postgres => q{SELECT datname, pg_encoding_to_char(encoding) FROM pg_database ORDER BY datname COLLATE "C"} ],
	[ app2 => q{SELECT count(*), sum(id) FROM app} ]);

# An answer, or that there is none.
sub ask
{
	my ($where, $database, $question) = @_;
	my ($status, $out) = run_tool('psql', '-XAtq', '-d', "$where dbname=$database", '-c', $question);
	return $status == 0 ? $out =~ s/\n$//r : "no answer ($status)";
}

sub error_of
{
	my ($where, $database, $question) = @_;
	my ($status, $out, $err) = run_tool('psql', '-XAtq', '-d', "$where dbname=$database", '-c', $question);
	return $status == 0 ? "none, but $out" : $err;
}

sub answers
{
	my ($where) = @_;
	my ($status, $dump) = run_tool('pg_dump', '--schema-only', '-d', "$where dbname=postgres");
	$dump =~ s/^\\(?:un)?restrict .*\n//mg;
	return join "\n--\n", "pg_dump $status\n$dump", map { "@$_\n" . ask($where, @$_) } @questions;
}

my $live = 'host=' . $node->host . ' port=' . $node->port;
my %at;

is((chronos($conf, '--type=full', 'backup'))[0], 0, 'full backup');
$node->safe_psql('postgres', q{UPDATE big SET word = word || 'x' WHERE id % 5000 = 0; INSERT INTO far VALUES (0, 'new'); CHECKPOINT});
is((chronos($conf, '--type=diff', 'backup'))[0], 0, 'diff');
$node->safe_psql('postgres', q{UPDATE dropped SET word = word || 'y' WHERE id % 700 = 0; DELETE FROM far WHERE id % 100 = 0; CHECKPOINT});
is((chronos($conf, '--type=incr', 'backup'))[0], 0, 'incr');
$at{immediate} = answers($live);
$node->safe_psql('postgres', q{
	UPDATE big SET word = 'changed' WHERE id BETWEEN 100100 AND 100200; INSERT INTO far SELECT i, 'more' FROM generate_series(30000, 31000) i;
	ALTER TABLE dropped ADD later int DEFAULT 5; CREATE TABLE made_later AS SELECT 1 AS one; VACUUM far});
$at{name} = answers($live);
$node->safe_psql('postgres', q{SELECT pg_create_restore_point('here')});
$node->safe_psql('postgres', q{DROP TABLE made_later; TRUNCATE long; INSERT INTO big (word) VALUES ('the last'); CREATE ROLE another});
my $lsn = $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
$at{lsn} = answers($live);
$node->safe_psql('postgres', q{UPDATE dropped SET word = upper(word) WHERE id % 2 = 0; DELETE FROM big WHERE id = 100250});
usleep(1_100_000);
my $moment = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$at{time} = answers($live);
usleep(1_100_000);
# What has happened.
$node->safe_psql('postgres', q{DROP TABLE dropped CASCADE});
$node->safe_psql('postgres', q{DELETE FROM far; DROP FUNCTION double; VACUUM far; UPDATE big SET word = '' WHERE id < 100});
$at{default} = answers($live);
wait_archived($node);
is(scalar(keys %{ { reverse %at } }), 5, 'five moments that differ');
my $cluster_bytes = $node->safe_psql('postgres', q{SELECT sum(pg_database_size(oid)) FROM pg_database});
my $file_count = scalar grep { !/ -> |^\d+$/ } values %{ slurp_tree($node->data_dir) };
diag(sprintf 'a cluster of %.0f MB, %d files', $cluster_bytes / 1e6, $file_count);
my @labels = map { $_->{label} } @{ JSON::PP::decode_json((chronos($conf, '--output=json', 'info'))[1])->[0]{backup} };

# --- looks ----------------------------------------------------------------------------------------

# A test that dies leaves no look behind, whose server would go on with it.
my @started;
END
{
	local $?;
	kill 'KILL', grep { waitpid($_, POSIX::WNOHANG()) == 0 } @started;
}

# Starts the command and does not wait.
sub start_look
{
	my ($config, @arguments) = @_;
	my %look = (name => ++$count, command => [ $chronos, "--config=$config", '--stanza=main', '--log-level-console=off', '--log-level-stderr=info', "--drill-path=$scratch", @arguments, 'look' ], begin => time);
	$look{$_} = "$base/look$count.$_" for 'out', 'err';
	append_to_file($look{$_}, '') for 'out', 'err';
	$look{pid} = fork() // die $!;
	if ($look{pid} == 0)
	{
		open STDOUT, '>', $look{out} or POSIX::_exit(1);
		open STDERR, '>', $look{err} or POSIX::_exit(1);
		exec { $look{command}[0] } @{ $look{command} } or POSIX::_exit(1);
	}
	push @started, $look{pid};
	return \%look;
}

# Whether the command has ended, and how.
sub has_ended
{
	my ($look) = @_;
	return 1 if defined $look->{status};
	return 0 if waitpid($look->{pid}, POSIX::WNOHANG()) == 0;
	$look->{status} = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	$look->{ended} = time;
	return 1;
}

sub said { my ($look) = @_; return slurp_file($look->{out}) . slurp_file($look->{err}) }

# One that can be asked. It is a failure of the test if it does not come to that.
sub look
{
	my $look = start_look(@_);
	poll_until(sub { slurp_file($look->{out}) =~ /^End it/m || has_ended($look) }, 'a look');
	my $out = slurp_file($look->{out});
	if ($out !~ /^psql -h (\S+) -p (\d+) -U (\S+) postgres$/m) { diag(said($look)); die 'there is no look' }
	($look->{socket}, $look->{where}) = ($1, "host=$1 port=$2 user=$3");
	$look->{directory} = $look->{socket} =~ s{/socket$}{}r;
	($look->{seconds}) = $out =~ /after ([\d.]+) s$/m;
	$look->{all_seconds} = time - $look->{begin};
	return $look;
}

sub holds { return glob "$repo/chronos/main/hold/*" }

sub servers
{
	return grep { (readlink($_) // '') =~ /^\Q$scratch\E/ } glob '/proc/[0-9]*/cwd';
}

sub nothing_is_left
{
	my ($name) = @_;
	is_deeply([ glob "$scratch/*" ], [], "$name: no directory is left");
	is_deeply([ servers() ], [], '... no server');
	is_deeply([ holds() ], [], '... no hold');
	return;
}

# Asked to end: what was fetched, in bytes and fetches.
sub end_look
{
	my ($look, $how) = @_;
	kill $how // 'TERM', $look->{pid};
	poll_until(sub { has_ended($look) }, 'the end of a look', 60);
	is($look->{status}, 0, 'a look ends when it is asked to') or diag(said($look));
	my ($size, $unit, $fetches) = said($look) =~ /the look ends: ([\d.]+)(B|KB|MB|GB) in (\d+) fetches, \d+ failures/;
	my %bytes = (B => 1, KB => 1024, MB => 1 << 20, GB => 1 << 30);
	return (($size // 0) * $bytes{ $unit // 'B' }, $fetches // 0);
}

# --- where there is no device ---------------------------------------------------------------------

subtest 'without the device' => sub {
	my $cover = "$base/cover";
	open my $file, '>', $cover or die $!;
	close $file;
	chmod 0, $cover;
	my @command = ($chronos, "--config=$conf", '--stanza=main', "--drill-path=$scratch", 'look');
	if (-e '/dev/fuse')
	{
		@command = ('unshare', '--user', '--map-root-user', '--mount', 'sh', '-c',
			'mount --bind "$1" /dev/fuse && shift && exec setpriv --bounding-set=-all --inh-caps=-all "$@"', 'sh', $cover, @command);
	}
	my ($status, $out, $err) = run_tool(@command);
	isnt($status, 0, 'no look');
	like($out . $err, qr{unable to mount: (?:user id \d+ may not open /dev/fuse\n\s*HINT: Its mode is usually 0666|this machine has no /dev/fuse\n\s*HINT: Load it with "modprobe fuse")},
		'... and what to do is said');
	nothing_is_left('without the device');
};
if (!sysopen my $device, '/dev/fuse', O_RDWR)
{
	diag("/dev/fuse: $!; what needs it is not claimed here");
	done_testing();
	exit;
}

# --- answers --------------------------------------------------------------------------------------

my %options = (
	time => [ '--type=time', "--target=$moment" ], name => [ '--type=name', '--target=here' ], lsn => [ '--type=lsn', "--target=$lsn" ],
	immediate => ['--type=immediate'], default => []);
for my $kind (sort keys %options)
{
	subtest "as of the target: $kind" => sub {
		my $look = look($conf, @{ $options{$kind} });
		diag(sprintf 'psql line after %.1f s, of the command %.1f s', $look->{seconds}, $look->{all_seconds});
		like(slurp_file($look->{out}), qr/^backup \Q$labels[2]\E of repo1, /, 'it says which backup');
		is(answers($look->{where}), $at{$kind}, 'every answer is that of the server then');
		my $recovering = ask($look->{where}, 'postgres', 'SELECT pg_is_in_recovery()');
		is($recovering, $kind =~ /time|default/ ? 'f' : 't', 'it stands still at its target, unless somebody would wait for ever there');
		like(error_of($look->{where}, 'postgres', $_), qr/cannot execute .* in a read-only transaction|during recovery/, "read-only: $_")
		  for 'CREATE TABLE mine ()', 'DELETE FROM far', q{SELECT nextval('big_id_seq')};
		if ($recovering eq 'f') { is(ask($look->{where}, 'postgres', 'SELECT count(*) FROM unlogged'), '0', 'an unlogged table is empty') }
		else { like(error_of($look->{where}, 'postgres', 'SELECT count(*) FROM unlogged'), qr/unlogged relations during recovery/, 'an unlogged table says that it is none') }
		unlike(slurp_file('/proc/self/mountinfo'), qr/\Q$scratch\E/, 'nobody sees its mount');
		like(slurp_file("/proc/$look->{pid}/mountinfo"), qr{ \Q$look->{directory}/mount\E .* - fuse\.chronos }, '... but itself');
		is_deeply([ glob "$look->{directory}/mount/*" ], [], '... and where it lies there is nothing');
		is((stat $look->{socket})[2] & 07777, 0700, 'no other user reaches it');
		is(scalar(my @held = holds()), 1, 'the backup is held');
		my ($bytes, $fetches) = end_look($look, $kind eq 'lsn' ? 'INT' : 'TERM');
		diag(sprintf '%.1f MB fetched in %d', $bytes / 1e6, $fetches);
		cmp_ok($bytes, '>', 1_000_000, 'what was read was fetched');
		cmp_ok($bytes, '<', $cluster_bytes * 0.4, '... and far from all');
		nothing_is_left($kind);
	};
}

subtest 'all of a large table, by two looks at once' => sub {
	my $all = q{SELECT count(*), sum(id), md5(string_agg(word, '|' ORDER BY id)) FROM big};
	my $first = look($conf);
	my $second = look($conf, '--type=name', '--target=here');
	is(ask($first->{where}, 'postgres', $all), ask($live, 'postgres', $all), 'one has the table of now');
	is(answers($second->{where}), $at{name}, 'the other one answers as of then');
	my $in_between = ask($second->{where}, 'postgres', $all);
	my ($bytes) = end_look($first);
	cmp_ok($bytes, '>', 50_000_000, 'all of the table was fetched');
	is(ask($second->{where}, 'postgres', $all), $in_between, 'and goes on when the first one has ended');
	isnt($in_between, ask($live, 'postgres', $all), '... with its own table');
	end_look($second);
	nothing_is_left('two looks');
};

subtest 'a drill that restores nothing' => sub {
	my @drill = ('--instant', "--drill-path=$scratch", '--log-level-console=off', '--log-level-stderr=info');
	my ($status, $out, $err) = chronos($conf, @drill, '--type=time', "--target=$moment", '--output=json', '--reason=instant',
		'--assert=SELECT count(*) FROM dropped => 20000', q{--assert=SELECT word = 'changed' FROM big WHERE id = 100150},
		'--assert=\connect app2 SELECT count(*) FROM app => 2000', '--exec=psql -XAtc "SHOW recovery_prefetch" | grep off', 'drill');
	is($status, 0, 'passes') or diag($out . $err);
	my $report = JSON::PP::decode_json($out);
	is($report->{backup}{label}, $labels[2], '... with the backup that a restore would take');
	is($report->{'restore-seconds'}, undef, '... without a time for a restore');
	cmp_ok($report->{backup}{fetched}, '>', 1_000_000, '... and says what it has read');
	cmp_ok($report->{backup}{fetched}, '<', $report->{backup}{size} * 0.4, '... which is far from all');
	nothing_is_left('an instant drill');
	($status, $out, $err) = chronos($conf, @drill, '--assert=SELECT count(*) FROM far => 7', 'drill');
	isnt($status, 0, 'a wrong answer makes it fail');
	like($out, qr/was read: +\S+ of \S+; of the rest this proves nothing\n/, '... the report is for people too');
	($status, $out, $err) = chronos($conf, @drill, '--keep', 'drill');
	isnt($status, 0, 'what was not restored cannot be kept');
	my ($bundle) = sort { -s $b <=> -s $a } glob "$repo/backup/main/$labels[0]/bundle/*";
	my $size = -s $bundle;
	rename $bundle, "$bundle.away" or die $!;
	append_to_file($bundle, "\0" x $size);
	($status, $out, $err) = chronos($conf, @drill, 'drill');
	isnt($status, 0, 'what the server needs and is damaged makes it fail');
	like($out . $err, qr/The last file that could not be read: .*\Q$bundle\E/, '... which is named');
	rename "$bundle.away", $bundle or die $!;
	nothing_is_left('an instant drill that failed');
};

# --- what keeps, what ends ------------------------------------------------------------------------

subtest 'the backup stays meanwhile' => sub {
	my $look = look($conf, '--type=name', '--target=here');
	my ($status, $out, $err) = chronos($conf, "--set=$labels[2]", 'expire');
	isnt($status, 0, 'expire does not take it');
	like($out . $err, qr/backup \Q$labels[2]\E cannot be expired: it is mounted on '\Q$look->{directory}\E\/mount'\n\s*HINT: It is that of a look, which ends with process $look->{pid} of host /,
		'... and says what keeps it');
	is(ask($look->{where}, 'app2', 'SELECT count(*) FROM app'), '2000', 'it is still read');
	end_look($look);
};

# Of a process that was root, or whose program nobody may read, what /proc has about it is root's.
subtest 'by who was root before' => sub {
	my $hidden = "$base/chronos";
	system 'cp', $chronos, $hidden;
	chmod 0111, $hidden;
	local $chronos = $hidden;
	my $look = look($conf, '--type=immediate', '--cmd=' . $ENV{CHRONOS});
	is(ask($look->{where}, 'app1', 'SELECT count(*) FROM app'), '1000', 'it is one like others');
	end_look($look);
	nothing_is_left('by who was root');
};

subtest 'killed' => sub {
	my $look = look($conf, '--type=immediate');
	kill 'KILL', $look->{pid};
	poll_until(sub { has_ended($look) && !servers() }, 'the end of a killed look and its server', 30);
	pass('its server ends with it');
	isnt(scalar(() = glob "$scratch/*"), 0, 'its directory is left');
	my $next = look($conf, '--type=immediate');
	is_deeply([ glob "$scratch/*" ], [ $next->{directory} ], 'the next look removes that');
	is(answers($next->{where}), $at{immediate}, '... and answers');
	end_look($next);
	nothing_is_left('after a killed one');
};

subtest 'its server is killed' => sub {
	my $look = look($conf, '--type=immediate');
	my ($postmaster) = map { m{/(\d+)/cwd$} } grep { slurp_file(s{cwd$}{cmdline}r) =~ /config_file=/ } servers();
	kill 'KILL', $postmaster // die 'no postmaster';
	poll_until(sub { has_ended($look) }, 'the end of a look without a server', 60);
	isnt($look->{status}, 0, 'the look ends, which is an error');
	like(said($look), qr/the restored server ended with signal 9/, '... that says so');
	nothing_is_left('without a server');
};

subtest 'asked to end before it is a look' => sub {
	my $look = start_look($conf);
	poll_until(sub { scalar(my @held = holds()) > 0 || has_ended($look) }, 'its mount');
	kill 'TERM', $look->{pid};
	poll_until(sub { has_ended($look) }, 'the end of what is none yet', 60);
	is($look->{status}, 63, 'it ends') or diag(said($look));
	nothing_is_left('asked to end early');
};

# A small file system for what is written: of a namespace, by who is root there, for who is none.
subtest 'the disk is full' => sub {
	my $small = PostgreSQL::Test::Utils::tempdir_short();
	my $script = "$base/small.sh";
	open my $file, '>', $script or die $!;
	print $file <<'S';
mount -t tmpfs -o size=300m,mode=700 tmpfs "$1" && shift
uid=$1 gid=$2; shift 2
exec unshare --user --map-user=$uid --map-group=$gid "$@"
S
	close $file;
	my $out = "$base/small.out";
	my $err = "$base/small.err";
	append_to_file($_, '') for $out, $err;
	my $pid = fork() // die $!;
	if ($pid == 0)
	{
		open STDOUT, '>', $out or POSIX::_exit(1);
		open STDERR, '>', $err or POSIX::_exit(1);
		exec 'unshare', '--user', '--map-root-user', '--mount', 'sh', $script, $small, $<, (split / /, $()[0],
			$chronos, "--config=$conf", '--stanza=main', '--log-level-console=off', '--log-level-stderr=info', "--drill-path=$small", 'look' or POSIX::_exit(1);
	}
	my $full = { pid => $pid, out => $out, err => $err };
	push @started, $pid;
	poll_until(sub { slurp_file($out) =~ /^End it/m || has_ended($full) }, 'a look on a small disk');
	my ($socket, $port, $user) = slurp_file($out) =~ /^psql -h (\S+) -p (\d+) -U (\S+) postgres$/m or diag(said($full));
	# By the way that it sees: its file system is nobody else's.
	my $where = "host=/proc/$pid/root$socket port=$port user=$user";
	is(ask($where, 'postgres', 'SELECT count(*) FROM far'), '0', 'there is one');
	my ($status, $said, $why) = run_tool('psql', '-XAtq', '-d', "$where dbname=postgres", '-c', 'SET default_transaction_read_only = off',
		'-c', q{CREATE TABLE filling AS SELECT i, repeat(md5(i::text), 30) AS word FROM generate_series(1, 300000) i});
	isnt($status, 0, 'more cannot be written than there is room for') or diag($said);
	poll_until(sub { has_ended($full) }, 'the end of a look without room', 60);
	isnt($full->{status}, 0, 'the look ends rather than show what is not so');
	like(said($full), qr/unable to keep in '\Q$small\E.*: .*No space left on device/, '... and says why');
	is_deeply([ holds() ], [], '... no hold is left');
};

# --- nothing is written elsewhere -----------------------------------------------------------------

subtest 'a tablespace that was created after the backup' => sub {
	my $later = private_directory();
	$node->safe_psql('postgres', "CREATE TABLESPACE later LOCATION '$later'");
	$node->safe_psql('postgres', 'CREATE TABLE precious TABLESPACE later AS SELECT generate_series(1, 1000) AS id');
	wait_archived($node);
	$node->safe_psql('postgres', 'CHECKPOINT');
	my $before = slurp_tree($later);
	for my $command (['look'], [ '--instant', 'drill' ])
	{
		my ($status, undef, $err) = run_tool($chronos, "--config=$conf", '--stanza=main', "--drill-path=$scratch", @$command);
		isnt($status, 0, "@$command is refused");
		like($err, qr/recovery would create tablespace \d+ .*at '\Q$later\E'/, 'with what it would come to');
		is_deeply(slurp_tree($later), $before, 'and that is as it was');
	}
	nothing_is_left('refused');
	$node->safe_psql('postgres', 'DROP TABLE precious');
	$node->safe_psql('postgres', 'DROP TABLESPACE later');
};

# --- a bucket -------------------------------------------------------------------------------------

subtest 'from a bucket that is far away' => sub {
	my $server = S3Server->new(buckets => ['look']);
	my $link = $server->slow_link(rtt => 0);
	my $far = write_config("$base/far.conf", pg => $node->data_dir, port => $node->port, socket => $node->host,
		$server->options('look', port => $link->{port}), 'repo1-path' => '/r', 'repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'zst',
		'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'another secret of 851', 'io-timeout' => 4);
	is((chronos($far, 'stanza-create'))[0], 0, 'stanza');
	$node->append_conf('postgresql.conf', "chronos.config_file = '$far'");
	$node->restart;
	# Files that no server reads: nobody who looks waits for them.
	my $foreign = $node->data_dir . '/of_somebody';
	mkdir $foreign or die $!;
	for my $number (1 .. 3000)
	{
		open my $file, '>', "$foreign/$number" or die $!;
		print $file md5_hex($number) x (10 + $number % 100);
		close $file;
	}
	my ($status, $out, $err) = chronos($far, '--type=full', 'backup');
	is($status, 0, 'backup') or diag($out . $err);
	$node->safe_psql('postgres', q{UPDATE big SET word = word || 'z' WHERE id % 1000 = 0; INSERT INTO far SELECT i, 'again' FROM generate_series(1, 100) i});
	$node->safe_psql('postgres', q{SELECT pg_create_restore_point('there')});
	my $then = answers($live);
	$node->safe_psql('postgres', 'DROP TABLE far');
	wait_archived($node);
	$link->command('rtt 50');
	my $requests = $server->command('requests');
	my $look = look($far, '--type=name', '--target=there');
	my $needed = $server->command('requests') - $requests;
	diag(sprintf '50 ms: psql line after %.1f s, of the command %.1f s, %d requests', $look->{seconds}, $look->{all_seconds}, $needed);
	cmp_ok($needed, '<', 70, 'the requests are those of what a server reads, not of the files that there are');
	my $begin = time;
	is(answers($look->{where}), $then, 'every answer is that of the server then');
	diag(sprintf 'answers after %.1f s and %d more requests', time - $begin, $server->command('requests') - $requests - $needed);
	# A server takes it that no signal cuts off what it reads or writes. The kernel mostly reads ahead, and then waits by
	# itself; for a part of a page that is written it asks on behalf of the process, which has signals here all the time.
	my $table = ask($look->{where}, 'postgres', q{SELECT pg_relation_filepath('big')});
	{
		local $SIG{ALRM} = sub { };
		sysopen my $data, "/proc/$look->{pid}/root$look->{directory}/mount/data/$table", O_RDWR or die "$table: $!";
		$link->command('rtt 300');
		my (@done, $error);
		for my $number (1 .. 4)
		{
			setitimer(ITIMER_REAL, 0.01, 0.01);
			sysseek $data, $number * 10_000_000, 0;
			push @done, sysread($data, my $piece, 8192) // "read: $!";
			sysseek $data, $number * 10_000_000 + 5_000_000, 0;
			push @done, syswrite($data, 'x' x 100) // "write: $!";
			setitimer(ITIMER_REAL, 0);
		}
		is("@done", join(' ', (8192, 100) x 4), 'what a process reads and writes is not cut off by a signal');
		$link->command('rtt 50');
	}
	my ($bytes, $fetches) = end_look($look);
	diag(sprintf '%.1f MB fetched in %d', $bytes / 1e6, $fetches);
	cmp_ok($bytes, '<', $cluster_bytes * 0.6, 'far from all is fetched');
	nothing_is_left('from a bucket');
	is((chronos($far, 'repo-ls', 'chronos/main/hold'))[1], '', '... nor is its hold in the bucket, though it was ended by a signal');

	# A repository that hangs.
	$look = look($far, '--type=name', '--target=there');
	my $all = q{SELECT count(*), sum(id), md5(string_agg(word, '|' ORDER BY id)) FROM big};
	is(ask($look->{where}, 'app1', 'SELECT count(*) FROM app'), '1000', 'a look');
	$link->command('stall');
	$begin = time;
	like(error_of($look->{where}, 'postgres', $all), qr/could not read blocks? .*Input\/output error/, 'what does not come is an error');
	my $seconds = time - $begin;
	diag(sprintf 'after %.1f s', $seconds);
	cmp_ok($seconds, '<', 30, '... in time');
	is(ask($look->{where}, 'app1', 'SELECT count(*) FROM app'), '1000', 'what is here is answered');
	$link->command('go');
	my $expected = ask($live, 'postgres', $all);
	my $answer = '';
	poll_until(sub { ($answer = ask($look->{where}, 'postgres', $all)) !~ /^no answer/ }, 'the repository is back', 60);
	is($answer, $expected, 'and all is answered when it comes again');
	$link->command('stall');
	$begin = time;
	end_look($look);
	cmp_ok(time - $begin, '<', 30, 'it ends in time while its repository hangs');
	$link->command('go');

	# Each file an object: those that are read are requested, and no others.
	my $single = write_config("$base/single.conf", pg => $node->data_dir, port => $node->port, socket => $node->host,
		$server->options('look', port => $link->{port}), 'repo1-path' => '/single', 'repo1-bundle' => 'n', 'compress-type' => 'zst');
	$link->command('rtt 0');
	is((chronos($single, 'stanza-create'))[0], 0, 'stanza');
	$node->append_conf('postgresql.conf', "chronos.config_file = '$single'");
	$node->restart;
	is((chronos($single, '--type=full', 'backup'))[0], 0, 'a backup that is not bundled');
	wait_archived($node);
	$link->command('rtt 50');
	$requests = $server->command('requests');
	$look = look($single, '--type=immediate');
	$needed = $server->command('requests') - $requests;
	diag(sprintf 'not bundled: psql line after %.1f s, %d requests', $look->{seconds}, $needed);
	cmp_ok($needed, '<', 250, 'of files that are not bundled those are requested that a server reads');
	is(ask($look->{where}, 'app1', 'SELECT count(*) FROM app'), '1000', '... and others are when they are asked for');
	end_look($look);
	nothing_is_left('not bundled');
};

done_testing();
