# A server to which a target is given that no WAL leads to finds that out when everything has been restored
# and replayed. The plan says so first: it looks into the WAL.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $node = chronos_node('origin', conf => "max_prepared_transactions = 2\n");
my $conf = $node->{chronos_conf};
sub at { return $node->safe_psql('postgres', $_[0]) }
at('CREATE TABLE t (n int); INSERT INTO t VALUES (1)');
my $before = at('INSERT INTO t VALUES (1) RETURNING pg_current_xact_id()');
at('DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t)');
my ($rc, $out, $err) = chronos($conf, '--type=full', 'backup');
is($rc, 0, 'backup') or diag $out . $err;
my $xid = at('INSERT INTO t VALUES (2) RETURNING pg_current_xact_id()');
my $aborted = at("BEGIN; INSERT INTO t VALUES (9); SELECT pg_current_xact_id(); ROLLBACK") =~ s/\D+//gr;
my $prepared = at("BEGIN; INSERT INTO t VALUES (9); SELECT pg_current_xact_id(); PREPARE TRANSACTION 'p'") =~ s/\D+//gr;
at("ROLLBACK PREPARED 'p'");
my (undef, $savepoint) = split /\s+/, at('BEGIN; SELECT pg_current_xact_id(); SAVEPOINT s; '
	  . 'INSERT INTO t VALUES (9); SELECT xmin FROM t WHERE n = 9; DELETE FROM t WHERE n = 9; COMMIT');
at(q{SELECT pg_create_restore_point('here')});
# A backup reaches from the second after its end on.
at('SELECT pg_sleep(1.1)');
my $between = at('SELECT clock_timestamp()');
my $last = at('INSERT INTO t VALUES (3) RETURNING pg_current_xact_id()');
my $after = at('SELECT clock_timestamp()');
# Far enough for what the server's own workers may still write.
my $next = 1000 + at('SELECT pg_snapshot_xmax(pg_current_snapshot())');
my $lsn = at('SELECT pg_current_wal_insert_lsn()');
wait_archived($node);
# What a switch of segments leaves empty has no record at which a server could stop.
my ($behind, $boundary) = split /\|/, at('SELECT l - 8, l FROM pg_current_wal_lsn() l');
$node->stop;

sub plan_of
{
	my (@target) = @_;
	my $dir = "$base/none";
	return chronos($conf, "--pg1-path=$dir", @target, 'restore', '--plan');
}
for my $case ([ 'xid', $xid ], [ 'xid', $aborted ], [ 'xid', $prepared ], [ 'xid', $last ], [ 'name', 'here' ],
	[ 'time', $between ], [ 'lsn', $lsn ])
{
	my ($type, $target) = @$case;
	($rc, $out, $err) = plan_of("--type=$type", "--target=$target");
	is($rc, 0, "$type $target can be reached") or diag $out . $err;
	like($out, qr/verdict: +can be done/, 'and the plan says so');
}
for my $case ([ 'xid', $next ], [ 'xid', $before ], [ 'xid', 3 ], [ 'xid', $savepoint ], [ 'name', 'nowhere' ],
	[ 'name', 'her' ], [ 'time', $after ], [ 'lsn', $behind ], [ 'lsn', $boundary ])
{
	my ($type, $target) = @$case;
	($rc, $out, $err) = plan_of("--type=$type", "--target=$target");
	isnt($rc, 0, "$type $target cannot be reached");
	like($out, qr/verdict: +cannot be done/, 'and the plan says so') or diag $out . $err;
	($rc, $out, $err) = chronos($conf, "--pg1-path=$base/none", "--type=$type", "--target=$target", 'restore');
	isnt($rc, 0, 'nor is it tried');
	ok(!-e "$base/none/PG_VERSION", 'nothing is written');
}
# And it is true.
for my $case ([ 'xid', $aborted, 2 ], [ 'time', $between, 2 ], [ 'lsn', $lsn, 3 ])
{
	my ($type, $target, $rows) = @$case;
	my $dir = "$base/$type";
	mkdir $dir, 0700;
	($rc, $out, $err) = chronos($conf, "--pg1-path=$dir", "--type=$type", "--target=$target",
		'--target-action=promote', 'restore');
	is($rc, 0, "restore to $type $target") or diag $out . $err;
	my $restored = restored_node("to_$type", $dir);
	is($restored->safe_psql('postgres', 'SELECT count(*) FROM t'), $rows, 'stops there');
	$restored->stop;
}

# What was streamed of a segment that was never completed is searched as well.
my $streaming = chronos_node('streaming', conf => "chronos.wal_stream = on\nchronos.wal_stream_interval = 200ms\nautovacuum = off\narchive_timeout = 0\n");
($node, $conf) = ($streaming, $streaming->{chronos_conf});
at('CREATE TABLE t (n int); INSERT INTO t VALUES (1)');
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'a backup of a server that streams');
at('SELECT pg_sleep(1.1); SELECT pg_switch_wal()');
my $streamed = at('INSERT INTO t VALUES (2) RETURNING pg_current_xact_id()');
at(q{SELECT pg_create_restore_point('streamed')});
my $moment = at('SELECT clock_timestamp()');
at('INSERT INTO t VALUES (3)');
my $too_late = at('SELECT clock_timestamp()');
my $end = at('SELECT pg_current_wal_flush_lsn()');
$node->poll_query_until('postgres', "SELECT streamed_lsn >= '$end' FROM chronos.wal_status") or die 'not streamed';
my $current = at('SELECT pg_walfile_name(pg_current_wal_lsn())');
$node->stop('immediate');
ok(!glob(archive_directory($node) . "/*/$current-*"), 'its last segment is there in pieces only');
for my $case ([ 'xid', $streamed ], [ 'name', 'streamed' ], [ 'time', $moment ])
{
	my ($type, $target) = @$case;
	($rc, $out, $err) = plan_of("--type=$type", "--target=$target");
	is($rc, 0, "$type $target in the streamed part can be reached") or diag $out . $err;
}
for my $case ([ 'xid', $streamed + 1000 ], [ 'name', 'never' ], [ 'time', $too_late ])
{
	my ($type, $target) = @$case;
	($rc, $out, $err) = plan_of("--type=$type", "--target=$target");
	isnt($rc, 0, "$type $target is in no part of it");
	like($out, qr/verdict: +cannot be done/, 'and the plan says so') or diag $out . $err;
}
mkdir "$base/streamed", 0700;
is((chronos($conf, "--pg1-path=$base/streamed", '--type=xid', "--target=$streamed", '--target-action=promote', 'restore'))[0], 0, 'restored into it');
my $to_streamed = restored_node('to_streamed', "$base/streamed");
is($to_streamed->safe_psql('postgres', 'SELECT count(*) FROM t'), 2, 'the server stops there');
$to_streamed->stop;
done_testing();
