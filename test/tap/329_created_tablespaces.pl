# PostgreSQL replays CREATE TABLESPACE at the original location, wherever it runs. Beside the original cluster
# that is where this one has its files: nothing that we start, and nothing that was restored, writes there.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
mkdir "$base/$_", 0700 for qw(later third known);
my $node = chronos_node('original');
my $conf = $node->{chronos_conf};
sub ask { return $node->safe_psql('postgres', $_[0]) }
sub now { return ask('SELECT clock_timestamp()') }

is((chronos($conf, '--type=full', 'backup'))[0], 0, 'a backup');
my $first = (sort map { m{/([^/]+)$} } glob "$node->{chronos_repo}/backup/main/*F")[-1] // '';
my $early = now();
ask('CREATE TABLE between_them AS SELECT 1');
my $right_before = now();
ask("CREATE TABLESPACE later LOCATION '$base/later'");
ask('CREATE TABLE precious TABLESPACE later AS SELECT g AS id, 0 AS v FROM generate_series(1, 2000) g');
my $moment = now();
ask('CREATE TABLE other AS SELECT 1');
ask(q{SELECT pg_create_restore_point('behind')});
my $xid = ask('SELECT txid_current()');
ask('UPDATE precious SET v = 1');
ask('VACUUM precious');
wait_archived($node);
ask('CHECKPOINT');
my $before = slurp_tree("$base/later");

sub untouched
{
	my ($what) = @_;
	is_deeply(slurp_tree("$base/later"), $before, "$what: the tablespace of the original is as it was");
}

# A drill.
my $refusal = qr/recovery would create tablespace \d+ .*at '\Q$base\E\/later'/;
for my $target ([], ['--type=time', "--target=$moment"], ['--type=time', "--target=$right_before"],
	['--type=name', '--target=behind'], ['--type=xid', "--target=$xid"])
{
	my ($status, $out, $err) = chronos($conf, @$target, 'drill');
	isnt($status, 0, "drill @$target is refused");
	like($err, $refusal, 'with what it would come to');
	like($err, qr/backup that was taken after CREATE TABLESPACE/, 'and what helps');
	unlike($err, qr/--save-current|\bmv\b/, 'and nothing that does not');
	untouched("drill @$target");
}
my ($status, $out, $err) = chronos($conf, '--type=time', "--target=$early", 'drill');
is($status, 0, 'a drill to a moment before passes') or diag($err);
untouched('a drill to a moment before');
($status, $out, $err) = chronos($conf, '--type=immediate', 'drill');
is($status, 0, 'so does one of the backup alone') or diag($err);

# Also where the location is free: a drill would leave something there.
rename "$base/later", "$base/aside" or die $!;
mkdir "$base/later", 0700;
($status, $out, $err) = chronos($conf, 'drill');
isnt($status, 0, 'a drill is refused where the location is empty');
is_deeply([glob "$base/later/*"], [], 'and it stays empty');
rmdir "$base/later";
rename "$base/aside", "$base/later" or die $!;

# A restore beside the original.
my $beside = private_directory();
my @beside = ($conf, "--pg1-path=$beside", '--archive-mode=off');
($status, $out, $err) = chronos(@beside, '--plan', 'restore');
like($out, qr/problem.*$refusal/, 'the plan of a restore beside it names it');
like($out, qr/cannot be done/, 'and says no');
my ($lsn) = $out =~ /--type=lsn --target=(\S+) recovers up to there/ or diag($out);
($status, $out, $err) = chronos(@beside, 'restore');
isnt($status, 0, 'the restore itself is refused');
like($err, $refusal, 'with the same');
ok(!-e "$beside/global/pg_control", 'nothing can be started there');
($status, $out, $err) = chronos(@beside, '--delta', '--type=lsn', "--target=$lsn", '--target-action=promote', 'restore');
is($status, 0, 'the position that it names can be restored') or diag($err);
my $copy = restored_node('before_it', $beside, bare => 1);
is($copy->safe_psql('postgres', q{SELECT count(*) FROM pg_tablespace WHERE spcname = 'later'}), '0', 'and is before the tablespace');
$copy->stop;
untouched('a server on a restore to that position');

# WAL that comes after the plan: archive-get looks at each segment before it is replayed.
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'a backup that has the tablespace');
($status, $out, $err) = chronos($conf, 'drill');
is($status, 0, 'a drill of it passes') or diag($err);
untouched('a drill of a backup that has it');
my $late = private_directory();
($status, $out, $err) = chronos($conf, "--pg1-path=$late", '--archive-mode=off', "--tablespace-map=later=$base/known", 'restore');
is($status, 0, 'so can it be restored, to another place') or diag($err);
ask("CREATE TABLESPACE third LOCATION '$base/third'");
ask('CREATE TABLE more TABLESPACE third AS SELECT generate_series(1, 1000) AS id');
wait_archived($node);
ask('CHECKPOINT');
my $third = slurp_tree("$base/third");
my $stopped = restored_node('late', $late, bare => 1, wait => 0, fail_ok => 1);
poll_until(sub { slurp_file($stopped->logfile) =~ /database system is shut down/ }, 'the server ends', 60);
my $log = slurp_file($stopped->logfile);
like($log, qr/WAL segment \w+ creates tablespace \d+ .*at '\Q$base\E\/third'/, 'its server is stopped before that segment');
like($log, qr/FATAL:  could not restore file/, 'and does not take that for the end of the WAL');
is_deeply(slurp_tree("$base/third"), $third, 'the new tablespace of the original is as it was');
untouched('a server that met WAL newer than its plan');
is(ask('SELECT count(*), sum(v) FROM precious'), '2000|2000', 'the original has its rows');
$node->restart;
is(ask('SELECT count(*), sum(v) FROM precious'), '2000|2000', 'also when it reads them anew');

# In the place of the original what is there is of a life that the recovery does not lead to: mixed with it,
# rows of the future would be there again.
$node->stop;
my @in_place = ($conf, "--set=$first", '--type=time', "--target=$moment");
my $cluster = slurp_tree($node->data_dir);
for my $refused ([@in_place, '--delta'], [@in_place, '--force'], [$conf, "--set=$first", '--delta'])
{
	my ($config, @options) = @$refused;
	($status, $out, $err) = chronos($config, @options, 'restore');
	isnt($status, 0, "in place @options is refused");
	like($err, qr/$refusal.*--save-current/s, 'with what helps');
	is_deeply(slurp_tree($node->data_dir), $cluster, 'before anything is changed');
}
($status, $out, $err) = chronos(@in_place, '--save-current', 'restore');
is($status, 0, 'in place --save-current') or diag($err);
is(scalar(my @saved = glob "$base/later/PG_*.saved-*"), 1, 'the files of the former life are moved aside');
$node->start;
$node->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'}) or die 'not paused';
is(ask('SELECT count(*), sum(v) FROM precious'), '2000|0', 'the rows of that moment, and no others');
# What this server made itself is no reason to stop when it replays that again.
$node->stop('immediate');
$node->start;
$node->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'}) or die 'not paused';
is(ask('SELECT count(*), sum(v) FROM precious'), '2000|0', 'also after a crash in the recovery');
$node->stop('immediate');

# Whatever the order of creations, drops, commits and ends of segments: what can be done leads to the target and
# leaves the original alone, and what cannot would have come to a creation.
seed();
my $rounds = campaign(1, short => 1, long => 20);
for my $round (1 .. $rounds)
{
	my $living = chronos_node("living$round");
	my $config = $living->{chronos_conf};
	my $do = sub { return $living->safe_psql('postgres', $_[0]) };
	is((chronos($config, '--type=full', 'backup'))[0], 0, "round $round: a backup");
	$do->('CREATE TABLE rows (n int)');
	my (@events, %there);
	my $count = 0;
	for my $number (1 .. 14)
	{
		my ($name, $kind) = ("space$number", (qw(row row create create drop switch))[ rand 6 ]);
		my ($gone) = $kind eq 'drop' ? sort keys %there : ();
		if ($kind eq 'create')
		{
			mkdir "$base/$round$name", 0700 or die $!;
			$do->("CREATE TABLESPACE $name LOCATION '$base/$round$name'");
			$do->("CREATE TABLE in_$name TABLESPACE $name AS SELECT generate_series(1, 500) AS id");
			$there{$name} = "$base/$round$name";
		}
		elsif ($gone)
		{
			$do->("DROP TABLE in_$gone");
			$do->("DROP TABLESPACE $gone");
			delete $there{$gone};
		}
		$do->('SELECT pg_switch_wal()') if $kind eq 'switch';
		my $xid = $do->("INSERT INTO rows VALUES ($number) RETURNING txid_current()");
		push @events, { n => $number, kind => $kind, xid => $xid, lsn => $do->('SELECT pg_current_wal_insert_lsn()'),
			time => $do->('SELECT clock_timestamp()'), gone => $gone };
		$events[-1]{creates} = 1 if $kind eq 'create';
	}
	$do->('INSERT INTO rows VALUES (99)');
	wait_archived($living);
	$do->('CHECKPOINT');
	my $state = sub { return { map { $_ => slurp_tree($there{$_}) } keys %there } };
	my $was = $state->();
	for my $event ((sort { rand() <=> 0.5 } @events)[ 0 .. 5 ])
	{
		my $kind = (qw(time lsn xid))[ rand 3 ];
		my $what = "round $round, $kind $event->{$kind} behind event $event->{n}";
		my $place = private_directory();
		my @arguments = ($config, "--pg1-path=$place", '--archive-mode=off', "--type=$kind", "--target=$event->{$kind}",
			'--target-action=promote', 'restore');
		my ($status, $out, $err) = chronos(@arguments);
		if ($status != 0)
		{
			like($err, qr/would create tablespace/, "$what: refused for a tablespace");
			ok(scalar(grep { $_->{creates} && $_->{n} <= $event->{n} + 1 } @events), "$what: which it would come to");
			next;
		}
		my $copy = restored_node("copy$round" . ++$count, $place, bare => 1);
		is($copy->safe_psql('postgres', 'SELECT max(n) FROM rows'), $event->{n}, "$what: it leads there");
		$copy->stop('immediate');
		is_deeply($state->(), $was, "$what: the original's are as they were");
		# Where the original has dropped one the copy has made it.
		for my $number (1 .. 14)
		{
			PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', glob "$base/${round}space$number/*") if !$there{"space$number"} && -d "$base/${round}space$number";
		}
	}
	$living->stop;
}

# One that lies in the data directory is nobody else's.
my $inside = chronos_node('inside');
$inside->append_conf('postgresql.conf', 'allow_in_place_tablespaces = on');
$inside->restart;
is((chronos($inside->{chronos_conf}, '--type=full', 'backup'))[0], 0, 'a backup without it');
$inside->safe_psql('postgres', q{CREATE TABLESPACE inside LOCATION ''});
$inside->safe_psql('postgres', 'CREATE TABLE in_it TABLESPACE inside AS SELECT 7 AS a');
wait_archived($inside);
for my $backup ('before it was created', 'with it')
{
	($status, $out, $err) = chronos($inside->{chronos_conf}, 'drill', '--assert=SELECT a FROM in_it => 7');
	is($status, 0, "a tablespace in the data directory: a drill of a backup $backup passes") or diag($err);
	is((chronos($inside->{chronos_conf}, '--type=full', 'backup'))[0], 0, 'the next backup');
}
$inside->stop;

done_testing();
