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
my $node = chronos_node('origin');
my $conf = $node->{chronos_conf};
sub at { return $node->safe_psql('postgres', $_[0]) }
at('CREATE TABLE t (n int); INSERT INTO t VALUES (1)');
my $before = at('INSERT INTO t VALUES (1) RETURNING pg_current_xact_id()');
at('DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t)');
my ($rc, $out, $err) = chronos($conf, '--type=full', 'backup');
is($rc, 0, 'backup') or diag $out . $err;
my $xid = at('INSERT INTO t VALUES (2) RETURNING pg_current_xact_id()');
my $aborted = at("BEGIN; INSERT INTO t VALUES (9); SELECT pg_current_xact_id(); ROLLBACK") =~ s/\D+//gr;
at(q{SELECT pg_create_restore_point('here')});
# A backup reaches from the second after its end on.
at('SELECT pg_sleep(1.1)');
my $between = at('SELECT clock_timestamp()');
my $last = at('INSERT INTO t VALUES (3) RETURNING pg_current_xact_id()');
my $after = at('SELECT clock_timestamp()');
# Far enough for what the server's own workers may still write.
my $next = 1000 + at('SELECT pg_snapshot_xmax(pg_current_snapshot())');
wait_archived($node);
$node->stop;

sub plan_of
{
	my (@target) = @_;
	my $dir = "$base/none";
	return chronos($conf, "--pg1-path=$dir", @target, 'restore', '--plan');
}
for my $case ([ 'xid', $xid ], [ 'xid', $aborted ], [ 'xid', $last ], [ 'name', 'here' ], [ 'time', $between ])
{
	my ($type, $target) = @$case;
	($rc, $out, $err) = plan_of("--type=$type", "--target=$target");
	is($rc, 0, "$type $target can be reached") or diag $out . $err;
	like($out, qr/verdict: +can be done/, 'and the plan says so');
}
for my $case ([ 'xid', $next ], [ 'xid', $before ], [ 'xid', 3 ], [ 'name', 'nowhere' ], [ 'name', 'her' ], [ 'time', $after ])
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
for my $case ([ 'xid', $aborted, 2 ], [ 'time', $between, 2 ])
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
done_testing();
