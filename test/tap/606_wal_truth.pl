# What is said of the archive is true: commit times are those of the server, a lag and its reason
# show, and WAL that archive-push-queue-max dropped is on record - in the spool while the repository
# is away, in the repository when it is back - and ends the windows before it.
use strict;
use warnings;
use ChronosTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $node = chronos_node('primary', conf => "track_commit_timestamp = on\nautovacuum = off\n",
	options => { 'archive-push-queue-max' => '64MiB' });
my ($conf, $repo) = ($node->{chronos_conf}, $node->{chronos_repo});
my ($spool) = PostgreSQL::Test::Utils::slurp_file($conf) =~ /^spool-path=(.*)$/m;

sub value { return $node->safe_psql('postgres', $_[0]) }

my $first = value(q{SELECT chronos.backup_now('full')});
value("CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g");
my $last = value('SELECT timestamp FROM pg_last_committed_xact()');
my $segment = wait_archived($node);
$node->poll_query_until('postgres', "SELECT to_time = '$last' FROM chronos.recovery_windows")
  or die 'the time of the last commit does not show';
is(value("SELECT to_lsn = pg_lsn '0/0' + ('x' || substr('$segment', 17))::bit(32)::bigint * 16777216 + 16777216,
	from_time <= to_time, ends, starts_after_gap, last_wal FROM chronos.recovery_windows"),
	"t|t|newest|f|$segment", 'the window of the backup ends with the archived WAL and its last commit');
is(value("SELECT string_agg(state || ' ' || last_wal, ',') FROM chronos.wal_archive"), "stored $segment",
	'all WAL is one range');
is(value('SELECT lag_segments, lag_bytes < 16777216, lag_time, dropped_count, last_error IS NULL FROM chronos.wal_status'),
	'0|t|00:00:00|0|t', 'nothing is behind');
my ($status, $out, $err) = chronos($conf, 'archive-get', '--ls');
is($status, 0, 'archive-get --ls');
like($out, qr/^archived WAL\n.*\Q$segment\E.*^missing WAL\n^recovery windows\n.*$first/ms, 'says so too');
($status, $out, $err) = chronos($conf, 'info', '--wal', '--output=json');
is(JSON::PP::decode_json($out)->{window}[0]{label}, $first, 'and info --wal');

# Outage, shorter than the limit: it waits, and says for what.
rename $repo, "$repo.away" or die $!;
sub fill { value('CREATE TABLE IF NOT EXISTS u (); DROP TABLE u; SELECT pg_switch_wal()') for 1 .. $_[0]; return }
fill(3);
$node->poll_query_until('postgres', q{SELECT lag_segments = 3 AND lag_time > '1 s' AND last_error ~ 'archive.info'
	AND last_error_wal IS NOT NULL AND exposed_time > '1 s' FROM chronos.wal_status}) or die 'lag does not show';
is(value('SELECT dropped_count, disk_free_bytes > 0, bytes_per_second > 0, disk_full_in > interval \'0\' FROM chronos.wal_status'),
	'0|t|t|t', 'nothing is dropped before the limit, and there is a forecast');

# Longer: exactly what is too much is dropped.
fill(4);
$node->poll_query_until('postgres', 'SELECT dropped_count >= 3 FROM chronos.wal_status') or die 'nothing is dropped';
is(value('SELECT lag_segments, dropped_count FROM chronos.wal_status'), '4|3', 'down to the limit');
like(PostgreSQL::Test::Utils::slurp_file($node->logfile),
	qr/WARNING:  chronos: dropped WAL file '[0-9A-F]{24}' because archive queue exceeded 64MB.*take a backup/s, 'with a warning');
my @recorded = split /\n/, PostgreSQL::Test::Utils::slurp_file("$spool/chronos/main/dropped/segments");
is(scalar(@recorded), 3, 'each is on record in the spool');

# As archive_command, and from any directory.
my $ready = value(q{SELECT min(substr(name, 1, 24)) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'});
chdir '/';
($status, $out, $err) = chronos($conf, '--archive-push-queue-max=32MiB', 'archive-push', $node->data_dir . "/pg_wal/$ready");
is($status, 0, 'archive-push acknowledges it too');
like($out . $err, qr/WARN: dropped WAL file '$ready' because archive queue exceeded 32MB/, 'with a warning');

# Back again.
rename "$repo.away", $repo or die $!;
value('CREATE TABLE v (i int)');
wait_archived($node);
poll_until(sub { !-s "$spool/chronos/main/dropped/segments" }, 'the record is handed on', 60);
my @gaps = glob "$repo/chronos/main/gap/*-1/*";
ok(@gaps >= 1, 'the gap is recorded in the repository');
my $second = value(q{SELECT chronos.backup_now('full')});
wait_archived($node);
# One may have been on its way to the repository when that came back.
my @lost = sort grep { my $name = $_; !glob "$repo/archive/main/*-1/*/$name-*" }
  PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /dropped WAL file '(\w{24})'/g;
is(join(' ', map { my ($from, $to) = split / /; my @range;
		for (; $from le $to; substr($from, 16) = sprintf '%08X', 1 + hex substr $from, 16) { push @range, $from } @range }
	split /\n/, value(q{SELECT first_wal || ' ' || last_wal FROM chronos.wal_archive WHERE state = 'dropped'})),
	"@lost", 'exactly what was dropped and is not there shows as dropped');
ok(@lost >= 1, 'which is something');
is(value(q{SELECT count(*) FROM chronos.wal_archive WHERE state = 'missing'}), 0, 'nothing else is missing');
is(value("SELECT label || ' ' || ends || ' ' || starts_after_gap FROM chronos.recovery_windows ORDER BY label"),
	"$first gap false\n$second newest true", 'the next backup begins a new window');

# Unknown names and wrong use.
is((chronos($conf, 'archive-get', '--ls', '--output=xml'))[0], 32, 'an unknown form of output is refused');
is((run_tool($chronos, "--config=$conf", 'info', '--wal'))[0], 37, 'a stanza is needed');
$node->stop;

# What the server gives up because it was archived is to be found there: not so if another command
# throws it away, or if the repository is set back to what it was.
$node = chronos_node('believer', conf => "autovacuum = off\n", options => { 'archive-timeout' => 5 });
($conf, $repo) = @$node{qw(chronos_conf chronos_repo)};
sub health { return value("SELECT string_agg(state, ' ' ORDER BY rule DESC) FROM chronos.health WHERE rule IN ('wal_gap', 'rpo')") }
sub archived { return value('SELECT last_archived_wal FROM pg_stat_archiver') }
sub archived_by
{
	my ($setting, $there) = @_;
	value("ALTER SYSTEM $_") for @$setting;
	$node->reload;
	poll_until(sub { fill(1); my @stored = glob archive_directory($node) . "/*/" . archived() . "-*"; $there == @stored }, "@$setting", 60);
	return;
}
value(q{SELECT chronos.backup_now('full')});
wait_archived($node);
is(health(), 'ok ok', 'what was archived last is there');
is((chronos($conf, 'health'))[0], 0, 'to the command too');
$node->stop;
($status, $out) = chronos($conf, 'health');
is($status, 1, 'a server that cannot be asked is not taken for a sound one');
like($out, qr/^critical  server_silent: the server cannot be asked: .*\n +HINT: .*--no-online/m, 'and that is told');
is((chronos($conf, '--no-online', 'health'))[0], 0, 'where the repositories alone are asked for nothing is missed');
is((chronos($conf, '--pg1-path=/nonexistent/pgdata', '--reset-pg1-socket-path', 'health'))[0], 0, 'nor on a host without a cluster');
$node->start;
archived_by([ q{SET archive_library = ''}, q{SET archive_command = '/bin/true'} ], 0);
is(health(), 'critical unknown', 'WAL that is thrown away is missed, and nobody knows what would be lost');
($status, $out) = chronos($conf, 'health');
is($status, 1, 'the command finds it too');
like($out, qr/^critical  wal_gap: the server believes to have archived [0-9A-F]{24}, which is in no repository: repo1 ends with [0-9A-F]{24}$/m, 'and says so');
like($out, qr/^ +HINT: What archives is .*: archive_command = '\/bin\/true'/m, 'and names the setting');
is((chronos($conf, '--no-online', 'health'))[0], 0, 'which a repository alone does not tell');
archived_by([ 'RESET archive_library', 'RESET archive_command' ], 1);
wait_archived($node);
value(q{SELECT chronos.backup_now('full')});
wait_archived($node);
is(health(), 'critical ok', 'archived again there is a gap, as before') or diag(value('TABLE chronos.health'));
PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $repo, "$repo.old");
fill(2);
wait_archived($node);
rename $repo, "$repo.newer" or die $!;
rename "$repo.old", $repo or die $!;
is(health(), 'critical unknown', 'a repository that was set back has lost its end');
like(value(q{SELECT message FROM chronos.health WHERE rule = 'wal_gap'}), qr/believes to have archived/, 'which is told');
value(q{SELECT pg_stat_reset_shared('archiver')});
unlike(value(q{SELECT message FROM chronos.health WHERE rule = 'wal_gap'}), qr/believes to have archived/, 'nothing is promised of what the server does not know');

# A backup whose WAL does not arrive says why, not only where the reason is to be found.
my ($directory) = glob archive_directory($node) . '/0*';
chmod 0500, $directory or die $!;
my (undef, undef, $complaint) = $node->psql('postgres', q{SELECT chronos.backup_now('full')});
like($complaint, qr/was not archived before.*HINT:.*The archiver fails with [0-9A-F]{24}: .*Permission denied/s, 'the error of the archiver is in the hint');
chmod 0750, $directory or die $!;
$node->stop;

done_testing();
