# chronos.wal_stream: a server that is killed and whose disk is gone loses no more than what it had
# committed since the last shipment - and that whatever happened to the engine, the archiver or the
# repository before. What was streamed goes when the segment is archived, and is never served where
# the segment itself is there.
use strict;
use warnings;
use ChronosTest;
use File::Path qw(remove_tree);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = chronos_node('primary',
	conf => "chronos.wal_stream = on\nchronos.wal_stream_interval = 200ms\nautovacuum = off\n",
	options => { 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'kept from every view', 'repo1-bundle' => 'n' });
my ($conf, $repo) = ($node->{chronos_conf}, $node->{chronos_repo});
sub value { return $node->safe_psql('postgres', $_[0]) }
sub streamed_to { my ($lsn) = @_; $node->poll_query_until('postgres', "SELECT streamed_lsn >= '$lsn' FROM chronos.wal_status") or die 'not streamed'; return }
sub pieces { return glob "$repo/chronos/main/stream/*-1/*/*" }

value('CREATE TABLE t (id serial, at timestamptz DEFAULT clock_timestamp(), filler text)');
value(q{SELECT chronos.backup_now('full')});
my $archived = wait_archived($node);
value(q{INSERT INTO t (filler) SELECT repeat(md5(g::text), 30) FROM generate_series(1, 2000) g});
streamed_to(value('SELECT pg_current_wal_flush_lsn()'));
ok(scalar(my @pieces = pieces()) > 0, 'pieces of the current segment are in the repository');
ok($node->poll_query_until('postgres', q{SELECT exposed_bytes = 0 AND exposed_time = '0' FROM chronos.wal_status}),
	'nothing would be lost now');

# The segment is archived: its pieces go, those of the next one come.
my $segment = wait_archived($node);
poll_until(sub { !glob "$repo/chronos/main/stream/*-1/$segment" }, 'pieces of an archived segment go', 60);
pass('pieces go when the segment is archived');

# Engines are killed; another one goes on.
my $pid = PostgreSQL::Test::Utils::slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/ ? $1 : die;
for (1 .. 5)
{
	kill 'KILL', engines_below($pid);
	value('INSERT INTO t (filler) SELECT repeat(md5(g::text), 30) FROM generate_series(1, 100) g');
	usleep(300_000);
}
streamed_to(value('SELECT pg_current_wal_flush_lsn()'));
pass('streaming goes on after its engine was killed');

# The repository is away for a while, in which a segment becomes complete.
rename $repo, "$repo.away" or die $!;
value('INSERT INTO t (filler) SELECT repeat(md5(g::text), 30) FROM generate_series(1, 100) g');
$node->poll_query_until('postgres', 'SELECT stream_error IS NOT NULL AND exposed_bytes > 0 FROM chronos.wal_status')
  or die 'the failure does not show';
value('SELECT pg_switch_wal()');
rename "$repo.away", $repo or die $!;

# While the archiver stands still, complete segments are streamed to their end.
my $archiver = value(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'archiver'});
kill 'STOP', $archiver;
my ($number) = (0);
for (1 .. 2)
{
	value('INSERT INTO t (filler) SELECT repeat(md5(g::text), 30) FROM generate_series(1, 3000) g');
	value('SELECT pg_switch_wal()');
}
value("INSERT INTO t (filler) SELECT 'committed ' || g FROM generate_series(1, 10) g");
streamed_to(value('SELECT pg_current_wal_flush_lsn()'));

# The pgBackRest view of the repository has nothing of it.
my ($status, $out, $err) = pgbackrest($conf, 'verify', '--log-level-console=info');
unlike($out . $err, qr/ERROR|stream/, 'pgBackRest does not mind');

# Transactions that are committed one by one, until the server dies.
my @acknowledged;
my $end = time + 3;
while (time < $end)
{
	push @acknowledged, value(q{INSERT INTO t (filler) VALUES ('one by one') RETURNING id || ' ' || extract(epoch FROM at)});
}
my $shipped_at = value('SELECT extract(epoch FROM streamed_at) FROM chronos.wal_status');
kill 'CONT', $archiver;
kill 'KILL', $archiver, engines_below($pid), $pid;
poll_until(sub { !kill 0, $pid }, 'the server dies', 30);
remove_tree($node->data_dir);
$node->_update_pid(0);

my $dir = PostgreSQL::Test::Utils::tempdir();
chmod 0700, $dir;
($status, $out, $err) = chronos($conf, "--pg1-path=$dir", '--archive-mode=off', 'restore');
is($status, 0, 'restored') or diag($out . $err);
my $again = restored_node('again', $dir);
my %there = map { $_ => 1 } split /\n/, $again->safe_psql('postgres', q{SELECT id FROM t});
my @due = map { (split)[0] } grep { (split)[1] < $shipped_at } @acknowledged;
ok(@due > 3, 'some were committed before the last shipment: ' . @due . ' of ' . @acknowledged);
is(join(' ', grep { !$there{$_} } @due), '', 'every one of them is back');
is($again->safe_psql('postgres', q{SELECT count(*) FROM t WHERE filler LIKE 'committed %'}), 10,
	'with what was in segments that were never archived');
like(PostgreSQL::Test::Utils::slurp_file($again->logfile),
	qr/WARN: segment \w{24} is not in the archive; put together from \d+ streamed piece\(s\) in repo1, up to \S+: the WAL ends there/,
	'and the log says where that came from');
is($again->safe_psql('postgres', 'SELECT timeline_id FROM pg_control_checkpoint()'), 2, 'on a timeline of its own');
$again->stop;

done_testing();
