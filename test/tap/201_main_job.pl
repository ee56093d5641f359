# The main job: a server with the module in it is backed up by one SQL call and archives by itself;
# it is lost; every kind of recovery target gives what the database held at that moment.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $tblspc = PostgreSQL::Test::Utils::tempdir();
my $node = chronos_node('primary');
my $conf = $node->{chronos_conf};
my $restored = 0;

# What the tables held, by the name of the moment.
my (%at, %target);
sub remember
{
	my ($name) = @_;
	$at{$name} = table_state($node, 'ledger') . ' ' . table_state($node, 'ts.far');
	return;
}

$node->safe_psql('postgres', "CREATE TABLESPACE ts1 LOCATION '$tblspc'");
$node->safe_psql('postgres', <<'S');
CREATE SCHEMA ts;
CREATE TABLE ledger (id serial PRIMARY KEY, note text);
CREATE TABLE ts.far (id int, payload text) TABLESPACE ts1;
INSERT INTO ledger (note) SELECT 'before ' || i FROM generate_series(1, 1000) i;
INSERT INTO ts.far SELECT i, repeat('x', 300) FROM generate_series(1, 5000) i;
CREATE DATABASE other;
S
remember('immediate');
my $label = $node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
like($label, qr/^\d{8}-\d{6}F$/, 'backup_now returns the label of the backup');

# A backup is chosen for a time target by the second in which it ended.
$node->poll_query_until('postgres', q{SELECT clock_timestamp() > finished_at + interval '1 second' FROM chronos.backups})
  or die 'the clock stands still';

my $work = sub {
	my ($name) = @_;
	$node->safe_psql('postgres', "INSERT INTO ledger (note) SELECT '$name ' || i FROM generate_series(1, 50) i");
	$node->safe_psql('postgres', "UPDATE ts.far SET payload = '$name' WHERE id % 7 = 0");
};
$work->('name');
$node->safe_psql('postgres', q{SELECT pg_create_restore_point('chosen')});
$target{name} = 'chosen';
remember('name');
$work->('time');
$target{time} = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
remember('time');
$target{xid} = $node->safe_psql('postgres',
	q{BEGIN; INSERT INTO ledger (note) VALUES ('xid'); SELECT pg_current_xact_id(); COMMIT});
remember('xid');
$work->('lsn');
$target{lsn} = $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
remember('lsn');
$work->('end');
$node->safe_psql('postgres', 'DROP DATABASE other');
remember('default');
wait_archived($node);

my ($status, $out, $err) = chronos($conf, 'info');
is($status, 0, 'info') or diag($err);
like($out, qr/status: ok.*full backup: \Q$label\E/s, 'info lists the backup');
my ($other_status, $other) = pgbackrest($conf, 'info');
# Releases of pgBackRest before 2.46 leave out the zone.
s/(:\d\d)\+00/$1/g for $out, $other;
is($out, $other, 'info prints what pgBackRest prints');
is($node->safe_psql('postgres', 'SELECT label, type, page_errors FROM chronos.backups'), "$label|full|f",
	'the view backups has a row of it');
is($node->safe_psql('postgres', q{SELECT type, state, label FROM chronos.jobs}), "full|succeeded|$label",
	'the view jobs tells what ran');

$node->stop('immediate');    # lost

for my $type (qw(immediate name time xid lsn default))
{
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my $ts = PostgreSQL::Test::Utils::tempdir();
	chmod 0700, $dir;
	my @target = exists $target{$type} ? ("--target=$target{$type}") : ();
	my @action = $type eq 'default' ? () : ('--target-action=promote');
	($status, $out, $err) = chronos($conf, "--pg1-path=$dir", "--tablespace-map=ts1=$ts",
		"--type=$type", @target, @action, '--archive-mode=off', 'restore');
	is($status, 0, "restore --type=$type") or diag($out . $err);
	my $again = restored_node("restored_$type", $dir);
	is(table_state($again, 'ledger') . ' ' . table_state($again, 'ts.far'),
		$at{$type}, "$type: the tables hold what they held then");
	is($again->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'other'}),
		$type eq 'default' ? 0 : 1, "$type: so does the catalog");
	$again->stop;
}

# The same directory again, in place: only what differs is written.
$node->start;
$node->safe_psql('postgres', q{TRUNCATE ledger});
$node->stop;
($status, $out, $err) = chronos($conf, '--delta', '--type=time', "--target=$target{time}",
	'--target-action=promote', '--archive-mode=off', 'restore');
is($status, 0, 'restore --delta in place') or diag($out . $err);
$node->start;
$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'no end of recovery';
is(table_state($node, 'ledger') . ' ' . table_state($node, 'ts.far'), $at{time},
	'in place: the tables hold what they held then');
$node->stop;

done_testing();
