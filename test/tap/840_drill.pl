# A restore drill proves a backup and leaves no trace: what the restored cluster answers is what the
# original held, damage and wrong answers make it fail by name, and whatever moment it is killed in,
# its server ends with it and the next drill removes the rest. The original server does not notice.
use strict;
use warnings;
use ChronosTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $scratch = PostgreSQL::Test::Utils::tempdir_short();
my $far = PostgreSQL::Test::Utils::tempdir();
my $node = chronos_node('primary', options => { 'drill-path' => $scratch });
my $conf = $node->{chronos_conf};
my $repo = $node->{chronos_repo};

$node->safe_psql('postgres', "CREATE TABLESPACE far LOCATION '$far'");
$node->safe_psql('postgres', <<'S');
CREATE TABLE ledger (id serial PRIMARY KEY, note text);
INSERT INTO ledger (note) SELECT 'row ' || i FROM generate_series(1, 20000) i;
CREATE TABLE away (id int) TABLESPACE far;
INSERT INTO away SELECT generate_series(1, 100);
CREATE TABLE secret (id int);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
INSERT INTO secret VALUES (1);
CREATE DATABASE app;
ALTER DATABASE app SET session_preload_libraries = 'no_such_library';
CREATE DATABASE "My ""odd""; 'db' = 5% \ $(x)";
CREATE DATABASE "dbname=postgres user=nobody";
CREATE DATABASE "Two lines";
CREATE DATABASE dropped;
S
# Since 19 the server makes none of such a name; its catalog can have it all the same.
$node->safe_psql('postgres', qq{SET allow_system_table_mods = on; UPDATE pg_database SET datname = E'Two\\nlines' WHERE datname = 'Two lines'});
my $longest = 'L' x 63;
$node->safe_psql('postgres', qq{CREATE DATABASE "$longest"});
# As an interrupted DROP DATABASE leaves it: nobody can connect to it any more.
$node->safe_psql('postgres', q{UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'dropped'});
$node->safe_psql('template1', 'SELECT 1');
my $label = $node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
$node->safe_psql('postgres', q{INSERT INTO ledger (note) VALUES ('kept')});
# A backup is chosen for a time target by the second in which it ended.
$node->poll_query_until('postgres', q{SELECT clock_timestamp() > finished_at + interval '1 second' FROM chronos.backups})
  or die 'the clock stands still';
my $moment = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
usleep(1_100_000);
$node->safe_psql('postgres', q{DELETE FROM ledger WHERE note <> 'kept'});
wait_archived($node);
my $archived = $node->safe_psql('postgres', 'SELECT archived_count, failed_count FROM pg_stat_archiver');
my $objects = repository_objects();

passes();
answers_wrongly();
stops_at_a_time();
finds_its_marker();
keeps_on_request();
is_killed();
names_damage();
refuses();
runs_as_a_job();
ends_as_a_job();
works_through_scripts();
done_testing();

sub drill { return chronos($conf, 'drill', '--log-level-console=off', '--log-level-stderr=info', @_) }

sub leftovers { return glob("$scratch/*") }

sub servers_below
{
	my ($dir) = @_;
	return grep { (readlink($_) // '') =~ /^\Q$dir\E/ } glob '/proc/[0-9]*/cwd';
}

# Without PATH or settings to help it: the server's own process starts the drill.
sub runs_as_a_job
{
	$node->safe_psql('postgres', 'CREATE ROLE op LOGIN IN ROLE chronos_driller');
	my $job = $node->safe_psql('postgres', q{
		SET SESSION AUTHORIZATION op;
		SELECT chronos.drill(assertions => ARRAY['SELECT count(*) FROM ledger => 1'], reason => 'by SQL')});
	is($node->safe_psql('postgres', "SELECT chronos.wait($job)"), 'succeeded', 'a drill runs as a job')
	  or diag($node->safe_psql('postgres', "SELECT error, hint FROM chronos.jobs WHERE id = $job"));
	is($node->safe_psql('postgres', "SELECT label FROM chronos.jobs WHERE id = $job"), $label, 'its record has the label');
	is($node->safe_psql('postgres', q{SELECT passed, label, type, reason, checks->0->>'actual', restore_time > '0s',
			recovery_time > '0s' FROM chronos.drills WHERE reason = 'by SQL'}),
		"t|$label|default|by SQL|as expected|t|t", 'the view drills shows it, but no answer');
	$job = $node->safe_psql('postgres',
		"SELECT chronos.drill(target => '$moment', assertions => ARRAY['SELECT count(*) FROM ledger => 7'])");
	is($node->safe_psql('postgres', "SELECT chronos.wait($job)"), 'failed', 'a wrong answer fails the job');
	like($node->safe_psql('postgres', "SELECT error FROM chronos.jobs WHERE id = $job"),
		qr/SELECT count\(\*\) FROM ledger: another value|1 of 1 checks failed/, 'whose error says which');
	for my $time ('infinity', '-infinity', '4000-01-01 00:00:00 BC')
	{
		$job = $node->safe_psql('postgres', "SELECT chronos.drill(target => '$time')");
		is($node->safe_psql('postgres', "SELECT chronos.wait($job)"), 'failed', "no drill goes to $time");
		my ($shown) = $time =~ /^(-?infinity|4000-01-01)/;
		like($node->safe_psql('postgres', "SELECT error FROM chronos.jobs WHERE id = $job"),
			qr/time '\Q$shown\E(?: 00:00:00\.000000\+00 BC)?'/, 'whose error says so');
	}
	like((chronos($conf, 'health'))[1], qr/drill.*the last restore drill failed/s, 'health knows of it');
	no_trace('a drill as a job');
	return;
}

# A job is cancelled, or its engine is killed: the drill's server ends, the live one goes on.
sub ends_as_a_job
{
	for my $how ('cancelled', 'killed')
	{
		my $job = $node->safe_psql('postgres', q{SELECT chronos.drill(assertions => ARRAY['SELECT true FROM pg_sleep(60)'])});
		poll_until(sub { my ($file) = glob("$scratch/chronos-drill-*/data/postmaster.pid"); $file && slurp_file($file) =~ /ready/ },
			'the server of a job', 60);
		if ($how eq 'cancelled') { $node->safe_psql('postgres', "SELECT chronos.cancel($job)") }
		else
		{
			my $postmaster = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/ ? $1 : die;
			# The youngest engine with that role: guard first, worker last.
			my @engines = grep { slurp_file("/proc/$_/cmdline") =~ /\0job\0drill/ } engines_below($postmaster);
			kill 'KILL', $engines[-1];
		}
		is($node->safe_psql('postgres', "SELECT chronos.wait($job, '1 minute')"), $how eq 'cancelled' ? 'cancelled' : 'failed',
			"a drill $how as a job is on record as that");
		poll_until(sub { !servers_below($scratch) }, "the server of a job that was $how is gone", 30);
		is((chronos($conf, 'maintenance'))[0], 0, "maintenance after a drill that was $how");
		no_trace("a job $how");
		is($node->safe_psql('postgres', 'SELECT 1'), 1, 'the live server goes on');
	}
	return;
}

# contrib/scripts, as runbooks call them.
sub works_through_scripts
{
	local $ENV{CHRONOS} = $chronos;
	local $ENV{CHRONOS_CONFIG} = $conf;
	local $ENV{PGBACKREST_STANZA} = 'main';
	local $ENV{PGBACKREST_TYPE} = 'diff';
	my ($status, undef, $err) = run_tool('contrib/scripts/pgbackrest_backup.sh');
	is($status, 0, 'pgbackrest_backup.sh') or diag($err);
	is($node->safe_psql('postgres', 'SELECT type FROM chronos.backups ORDER BY finished_at DESC LIMIT 1'), 'diff',
		'takes the backup it is told to');
	my $base = PostgreSQL::Test::Utils::tempdir_short();
	{
		local $ENV{PGDATA_RESTORE_DIR} = "$base/data";
		local $ENV{PITR_TARGET_TIME} = $moment;
		mkdir "$base/far";
		my ($done, $out, $log) = run_tool('contrib/scripts/pgbackrest_restore_drill.sh', "--tablespace-map=far=$base/far");
		is($done, 0, 'pgbackrest_restore_drill.sh restores into PGDATA_RESTORE_DIR') or diag($out . $log);
		like($out, qr/recover to:\s+time /, 'says what it will do first');
		ok(-e "$base/data/global/pg_control", 'and does it');
	}
	($status, my $out) = run_tool('contrib/scripts/restore-backup.sh', 'latest', "$base/data", 'true');
	like($out, qr/restore plan/, 'restore-backup.sh ... true only plans');
	($status, $out, $err) = run_tool('contrib/scripts/restore-backup.sh', $label, "$base/test");
	is($status, 0, 'restore-backup.sh LABEL DIRECTORY') or diag($err);
	like($out, qr/result:\s+passed/, 'proves the backup');
	ok(-e "$base/test/data/PG_VERSION", 'and keeps it');
	return;
}

# What the repository holds, but for the records of drills and what archiving notes when it has time.
sub repository_objects
{
	return join "\n", sort grep { !m{^chronos(?:/main(?:/(?:drills|commit).*)?)?$} } keys %{ slurp_tree($repo) };
}

sub no_trace
{
	my ($name) = @_;
	is_deeply([ leftovers() ], [], "$name: no directory is left");
	is_deeply([ servers_below($scratch) ], [], "$name: no server is left");
	return;
}

sub passes
{
	my ($status, $out, $err) = drill('--output=json', '--amcheck', '--reason=quarterly',
		"--assert=SELECT count(*) FROM ledger => 1",
		"--assert=SELECT note = 'kept' FROM ledger",
		"--assert=SELECT count(*) FROM away => 100",
		"--assert=SELECT count(*) FROM secret => 1",
		"--assert=\\connect app SELECT current_database() => app",
		qq{--assert=\\connect "My ""odd""; 'db' = 5% \\ \$(x)" SELECT current_database() = \$\$My "odd"; 'db' = 5% \\ \$(x)\$\$},
		'--assert=\connect "dbname=postgres user=nobody" SELECT current_database() => dbname=postgres user=nobody',
		"--assert=\\connect $longest SELECT current_database() => $longest",
		'--exec=psql -XAtc "SHOW archive_mode" | grep off',
		'--exec=test "$(psql -XAtc "SHOW shared_preload_libraries")" = ""');
	is($status, 0, 'a drill passes') or diag($err);
	my $report = eval { decode_json($out) } // {};
	ok($report->{passed}, 'and says so');
	is($report->{backup}{label}, $label, 'of the latest backup');
	is(scalar(grep { $_->{passed} } @{ $report->{checks} }), scalar @{ $report->{checks} }, 'every check passed')
	  or diag($out);
	is(scalar(grep { $_->{kind} eq 'amcheck' } @{ $report->{checks} }), 7, 'amcheck looked at every database, whatever its name, that can be connected to');
	like($report->{'server-version'}, qr/^PostgreSQL \d+/, 'the version is reported');
	like($report->{'last-commit'}, qr/^\d{4}-/, 'so is the last transaction');
	like($report->{'last-lsn'}, qr{^[0-9A-F]+/[0-9A-F]+$}, 'and the last LSN');
	my ($database) = grep { $_->{name} eq 'postgres' } @{ $report->{databases} };
	cmp_ok($database->{tables}, '>=', 3, 'tables are counted');
	cmp_ok($report->{$_}, '>', 0, "$_ was measured") for qw(restore-seconds recovery-seconds check-seconds);
	no_trace('a drill that passed');
	is($node->safe_psql('postgres', 'SELECT archived_count, failed_count FROM pg_stat_archiver'),
		$archived, 'the original server archived nothing for it');
	is(repository_objects(), $objects, 'the repository has nothing new but the record');
	my ($listed, $history) = drill('--list', '--output=json');
	is($listed, 0, 'drills are listed');
	my $record = (decode_json($history))->[-1];
	is($record->{reason}, 'quarterly', 'the record has the reason');
	like($record->{record}, qr/^\d{8}T\d{6}Z-passed-[0-9a-f]{8}\.json$/, 'and a name that says how it ended');
	my (undef, $text) = drill('--list');
	like($text, qr/passed  \Q$label\E  default$/m, 'people can read the list');
	return;
}

sub answers_wrongly
{
	my ($status, $out, $err) = drill('--assert=SELECT count(*) FROM ledger => 20000', '--assert=SELECT true',
		'--assert=SELECT no_such_column FROM ledger', '--assert=DELETE FROM ledger RETURNING true',
		"--assert=COPY ledger TO PROGRAM 'touch $scratch/escaped'",
		'--exec=echo out of order; exit 3', '--output=markdown');
	isnt($status, 0, 'a wrong answer makes the drill fail');
	like($err, qr/drill failed: 5 of 6 checks failed/, 'the error counts them');
	like($out, qr/^\| assert \| SELECT count\(\*\) FROM ledger \| 20000 \| 1 \| .*\*\*failed\*\*/m,
		'the report shows question, expected and answer');
	like($out, qr/column "no_such_column" does not exist/, 'and the error of what is no answer');
	like($out, qr/permission denied for table ledger|DELETE in a read-only transaction/, 'a question cannot write');
	like($out, qr/permission denied to COPY|must be superuser/, 'nor run programs');
	like($out, qr/exit status 3: out of order/, 'a command that fails shows its last line');
	like($out, qr/\| assert \| SELECT true \| t \| t \| .*\| ok \|/, 'what is right stays right');
	no_trace('a drill that failed');
	return;
}

sub stops_at_a_time
{
	my ($status, $out, $err) = drill('--type=time', "--target=$moment", '--output=json',
		'--assert=SELECT count(*) FROM ledger => 20001');
	is($status, 0, 'a drill can have a target') or diag($err);
	my $report = eval { decode_json($out) } // {};
	is($report->{type}, 'time', 'the report names its type');
	cmp_ok($report->{'data-age-seconds'}, '<', 10, 'the age of the data counts from the target');
	($status, $out, $err) = drill('--type=name', '--target=never_made', '--output=json');
	isnt($status, 0, 'a target that the WAL does not have is a failure');
	$report = eval { decode_json($out) } // {};
	is($report->{failure}{phase}, 'restore', 'before anything is restored');
	like($report->{failure}{message}, qr/has no restore point 'never_made'/, 'and named');
	# In the last segment, but behind what was written of it.
	my ($segment) = sort { $b cmp $a } map { m{/([0-9A-F]{24})-[^/]*$} ? $1 : () }
	  glob "$node->{chronos_repo}/archive/main/*/*/*";
	my $behind = sprintf '%X/%X', hex(substr $segment, 8, 8), (hex(substr $segment, 16) << 24) + 0xFFFFF0;
	($status, $out, $err) = drill('--type=lsn', "--target=$behind", '--output=json');
	isnt($status, 0, 'a target that is not reached is a failure');
	$report = eval { decode_json($out) } // {};
	is($report->{failure}{phase}, 'restore', 'before anything is restored, here too');
	like($report->{failure}{message}, qr/is behind the last record in the archive/, 'and explained');
	no_trace('a drill that missed its target');
	return;
}

sub finds_its_marker
{
	$node->safe_psql('postgres', 'CREATE TABLE just_made (id int)');
	my ($status, $out, $err) = drill('--marker', q{--assert=SELECT to_regclass('just_made') IS NOT NULL});
	is($status, 0, 'what was just written is found in the restored cluster') or diag($err);
	like($out, qr/ok\s+marker: restore point chronos drill \S+ -> reached/, 'at the mark');
	$archived = $node->safe_psql('postgres', 'SELECT archived_count, failed_count FROM pg_stat_archiver');
	return;
}

sub keeps_on_request
{
	my $to = "$scratch/mine";
	my ($status, $out, $err) = drill("--to=$to", '--keep', '--port=5433');
	is($status, 0, 'a drill goes where it is told') or diag($err);
	ok(-s "$to/data/global/pg_control", 'and the cluster is kept');
	is_deeply([ servers_below($scratch) ], [], 'without a server');
	my ($command) = $out =~ /start it with:\s+(.*)/;
	my $pid = fork // die $!;
	if ($pid == 0) { open STDERR, '>', '/dev/null'; exec split / /, $command or POSIX::_exit(1) }
	poll_until(sub { -S "$to/socket/.s.PGSQL.5433" && (run_tool('psql', '-XAt', '-h', "$to/socket", '-p', 5433,
		'-d', 'postgres', '-c', 'SELECT count(*) FROM ledger'))[1] eq "1\n" }, 'the kept server answers');
	pass('and started again with the command of the report');
	kill 'INT', $pid;
	waitpid $pid, 0;
	($status, undef, $err) = drill("--to=$to");
	isnt($status, 0, 'no other drill takes what is kept');
	like($err, qr/belongs to a drill that was told to keep it/, 'and says whose it is');
	is((chronos($conf, 'maintenance'))[0], 0, 'maintenance runs');
	ok(-d "$to/data", 'and leaves it alone');
	mkdir "$scratch/chronos-drill-foreign" or die $!;
	open my $file, '>', "$scratch/chronos-drill-foreign/precious" or die $!;
	close $file;
	is((chronos($conf, 'maintenance'))[0], 0, 'maintenance meets a directory without marker');
	ok(-e "$scratch/chronos-drill-foreign/precious", 'which it leaves alone too');
	system 'rm', '-r', $to, "$scratch/chronos-drill-foreign";
	return;
}

# Starts a drill and kills it without warning when CODE says so; returns what is left then.
sub kill_drill
{
	my ($name, $code, @options) = @_;
	my $pid = fork // die $!;
	if ($pid == 0)
	{
		open STDOUT, '>', '/dev/null';
		open STDERR, '>', '/dev/null';
		exec $chronos, "--config=$conf", '--stanza=main', 'drill', @options or POSIX::_exit(1);
	}
	poll_until($code, "moment $name of a drill", 60);
	kill 'KILL', $pid;
	waitpid $pid, 0;
	is($? & 127, 9, "killed $name");
	return;
}

sub is_killed
{
	my $data = sub { (glob("$scratch/chronos-drill-*/data"))[0] // "$scratch/none" };
	my $ready = sub { -e $data->() . '/postmaster.pid' && slurp_file($data->() . '/postmaster.pid') =~ /ready/ };
	my $to = PostgreSQL::Test::Utils::tempdir_short() . '/there';
	my %moment = (
		'while it restores' => [ sub { -e $data->() . '/PG_VERSION' || -e $data->() . '/backup.manifest' } ],
		'while the server starts' => [ sub { -e $data->() . '/postmaster.pid' } ],
		'while it asks' => [ $ready, '--assert=SELECT true FROM pg_sleep(30)' ],
		'while it runs a command' => [ $ready, '--exec=sleep 5' ],
		'in a directory of choice' => [ sub { -e "$to/data/postmaster.pid" }, "--to=$to" ]);
	if (!$ENV{CHECK_LONG}) { delete $moment{$_} for 'while the server starts', 'while it runs a command' }
	for my $name (sort keys %moment)
	{
		my ($code, @options) = @{ $moment{$name} };
		kill_drill($name, $code, @options);
		poll_until(sub { !servers_below($scratch) && !servers_below($to) }, "the server $name is gone", 30);
		pass("$name: its server ends with it");
		my ($status, $out) = chronos($conf, 'maintenance', '--dry-run');
		like($out, qr/would remove what a drill left in/, "$name: a dry run names what is left");
		isnt(scalar(() = leftovers()), 0, "$name: and removes nothing");
		if ($name =~ /asks/) { is((drill())[0], 0, "$name: the next drill removes it") }
		else { like((chronos($conf, 'maintenance'))[1], qr/^removed what a drill left in/m, "$name: maintenance removes it") }
		no_trace($name);
		ok(!-e $to, "$name: nothing elsewhere either");
	}
	my $pid = fork // die $!;
	if ($pid == 0)
	{
		open STDOUT, '>', '/dev/null';
		open STDERR, '>', '/dev/null';
		exec $chronos, "--config=$conf", '--stanza=main', 'drill', '--assert=SELECT true FROM pg_sleep(30)'
		  or POSIX::_exit(1);
	}
	poll_until($ready, 'a drill that is asked to end', 60);
	kill 'TERM', $pid;
	waitpid $pid, 0;
	is($? >> 8, 63, 'asked to end, it ends');
	no_trace('asked to end');
	return;
}

sub names_damage
{
	my ($bundle) = glob("$repo/backup/main/$label/bundle/*");
	rename $bundle, "$bundle.away" or die $!;
	my ($status, $out, $err) = drill('--output=json');
	isnt($status, 0, 'a damaged backup makes the drill fail');
	my $report = eval { decode_json($out) } // {};
	is($report->{failure}{phase}, 'restore', 'while it restores');
	like($report->{failure}{message}, qr/bundle/, 'it names what is missing');
	rename "$bundle.away", $bundle or die $!;
	open my $file, '+<', $bundle or die $!;
	binmode $file;
	seek $file, int((-s $bundle) / 2), 0;
	read $file, my $bytes, 8;
	seek $file, int((-s $bundle) / 2), 0;
	print $file $bytes ^ ("\xff" x 8);
	close $file;
	($status, $out, $err) = drill('--output=json');
	isnt($status, 0, 'so do flipped bytes');
	$report = eval { decode_json($out) } // {};
	like($report->{failure}{message} // '', qr{pg_data|base/|error restoring}, 'it names the file');
	open $file, '+<', $bundle or die $!;
	seek $file, int((-s $bundle) / 2), 0;
	print $file $bytes;
	close $file;
	my $start = $node->safe_psql('postgres', 'SELECT wal_start FROM chronos.backups');
	my ($segment) = glob("$repo/archive/main/*/*/$start-*");
	rename $segment, "$repo/segment.away" or die $!;
	($status, $out, $err) = drill();
	isnt($status, 0, 'so does WAL that is missing');
	like($err, qr/WAL that backup \Q$label\E needs is not in the archive/, 'which is named');
	rename "$repo/segment.away", $segment or die $!;
	no_trace('a drill of damage');
	my (undef, $list) = drill('--list');
	like($list, qr/FAILED  \Q$label\E  default  .*needs is not in the archive/, 'the list tells of it');
	is((drill())[0], 0, 'all mended, it passes again');
	is($node->safe_psql('postgres', 'SELECT archived_count, failed_count FROM pg_stat_archiver'),
		$archived, 'through all this the original server archived nothing for a drill');
	return;
}

sub refuses
{
	my ($status, undef, $err) = drill('--type=standby');
	isnt($status, 0, 'a drill without an end is refused');
	($status, undef, $err) = drill('--setting=archive_mode=on');
	like($err, qr/'archive_mode' cannot be set/, 'so is what would make it archive');
	($status, undef, $err) = drill("--to=$repo");
	like($err, qr/contains files/, 'so is a directory in use');
	my $data = $node->data_dir;
	for my $option ("--to=$data", "--to=$data/new", "--drill-path=$data", "--drill-path=$data/base")
	{
		($status, undef, $err) = drill($option, '--marker');
		is($status, 32, "$option is refused");
		like($err, qr/lies in the data directory '\Q$data\E'/, '... and why');
	}
	is(join(' ', grep { -e } "$data/new", glob "$data/chronos-drill-* $data/base/chronos-drill-*"), '', 'nothing was made in the data directory');
	($status, undef, $err) = drill('--bin-path=/usr/bin');
	like($err, qr/has no postgres of version/, 'and a wrong directory of programs');
	($status, undef, $err) = drill("--to=$scratch/" . 'x' x 100);
	like($err, qr/too long for a path with a socket/, 'and a path that no socket fits in');
	no_trace('a refused drill');
	return;
}
