# A standby in one command: what comes out of the repository catches up by the archive, and then streams. The primary is
# asked first, as the standby will ask it: what would not let it in, is another cluster, or is not where the archive leads
# to, is refused before a byte is changed, and so is a slot that is not for it. A former primary that has written on comes
# back by --delta, without pg_rewind.
use strict;
use warnings;
use ChronosTest;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = chronos_node('primary', conf => "wal_keep_size = 0\nmax_connections = 30\n");
my $conf = $primary->{chronos_conf};
my $to_primary = 'host=' . $primary->host . ' port=' . $primary->port;

$primary->safe_psql('postgres', 'CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 10000)');
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'full backup');
$primary->safe_psql('postgres', 'INSERT INTO t VALUES (10001)');
wait_archived($primary);

sub replica { my ($directory, @arguments) = @_; return chronos($conf, "--pg1-path=$directory", @arguments, 'replica') }

# What would run on it, once it is there: beside the others, archiving nothing before it is promoted.
sub start_standby
{
	my ($name, $directory, %params) = @_;
	my $node = restored_node($name, $directory, wait => 0, conf => "archive_mode = on\n", %params);
	wait_for_server($node, "$name answers");
	return $node;
}

sub streams
{
	my ($node, $name) = @_;
	ok($node->poll_query_until('postgres', q{SELECT status = 'streaming' FROM pg_stat_wal_receiver}), "$name: streams");
	return;
}

sub wait_caught_up
{
	my ($from, $node) = @_;
	my $end = $from->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
	$node->poll_query_until('postgres', "SELECT pg_last_wal_replay_lsn() >= '$end'") or die 'never caught up';
	return;
}

# Up and streaming -----------------------------------------------------------------------------------

# Higher than any WAL in the archive tells.
$primary->append_conf('postgresql.conf', "max_connections = 70\nmax_locks_per_transaction = 100\n");
$primary->restart;
$primary->safe_psql('postgres', 'CREATE TABLE later (id int)');

my $first = private_directory();
my @slot = ('--primary-slot=first', '--create-slot');
my ($status, $out, $err) = replica($first, "--primary-conninfo=$to_primary", @slot, '--plan');
is($status, 0, 'a plan') or diag($out . $err);
like($out, qr/^replica: restore plan\n    primary: +host=\S+ port=\d+, timeline 1, WAL up to \S+\n    slot: +first, which is made on the primary$/m, 'says whom it follows');
like($out, qr/setting: +max_connections = '70' for this recovery/, 'and what the primary has that the archive does not know of');
ok(!-e "$first/PG_VERSION", 'nothing is restored by it');
is($primary->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), '0', 'and no slot made');
my $plan = JSON::PP::decode_json((replica($first, "--primary-conninfo=$to_primary", @slot, '--plan', '--output=json'))[1]);
is_deeply([ @{ $plan->{primary} }{qw(timeline slot slot-is-new)} ], [ 1, 'first', JSON::PP::true ], 'and for programs');
is($plan->{type}, 'standby', 'that of a standby');

($status, $out, $err) = replica($first, "--primary-conninfo=$to_primary", @slot);
is($status, 0, 'a replica') or diag($out . $err);
like($out . $err, qr/pg_ctl -D \Q$first\E -w start.*then streams from host=/s, 'says what starts it and what comes then');
is($primary->safe_psql('postgres', 'SELECT slot_name, slot_type, active, restart_lsn IS NULL FROM pg_replication_slots'), 'first|physical|f|t',
	'its slot is there and holds nothing back yet');
my $standby = start_standby('first', $first);
streams($standby, 'the first');
is($standby->safe_psql('postgres', 'SHOW max_connections'), '70', 'with the settings of the primary');
is($standby->safe_psql('postgres', 'SHOW primary_slot_name'), 'first', 'by its slot');
$primary->safe_psql('postgres', 'INSERT INTO later VALUES (1)');
wait_caught_up($primary, $standby);
is(table_state($standby, 't'), table_state($primary, 't'), 'it has all');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM later'), '1', 'also what was not archived');

# What a standby cannot be made of ----------------------------------------------------------------------

my $refused = private_directory();
sub refused
{
	my ($name, $code, $pattern, @arguments) = @_;
	my ($is, $said, $complaint) = replica($refused, @arguments);
	is($is, $code, "$name: refused");
	like($said . $complaint, $pattern, "$name: and says why") or diag($said . $complaint);
	is_deeply([ glob "$refused/*" ], [], "$name: nothing was changed");
	return;
}
$primary->safe_psql('postgres', q{CREATE ROLE nobody LOGIN; CREATE ROLE follower LOGIN REPLICATION PASSWORD 'a secret of 880'});
refused('no primary named', 37, qr/requires option: primary-conninfo/);
refused('no connection string', 32, qr/option 'primary-conninfo': it is no connection string/, '--primary-conninfo=host');
refused('a password in argv', 32, qr/must not have a password in it.*passfile=FILE/s, "--primary-conninfo=$to_primary password=secret");
refused('nobody there', 56, qr/unable to connect as a standby to host=.*port=1: .*running server/s, '--primary-conninfo=host=127.0.0.1 port=1');
refused('no right to stream', 56, qr/nobody.*ALTER ROLE \.\.\. REPLICATION/s, "--primary-conninfo=$to_primary user=nobody");
refused('itself no slot', 31, qr/no replication slot 'absent'.*--create-slot/s, "--primary-conninfo=$to_primary", '--primary-slot=absent');
refused('a slot in use', 57, qr/'first'.*is active for PID.*slot of its own/s, "--primary-conninfo=$to_primary", '--primary-slot=first');
refused('no name', 32, qr/no name of a replication slot/, "--primary-conninfo=$to_primary", '--primary-slot=First');
refused('a slot to make without a name', 31, qr/not valid without option 'primary-slot'/, "--primary-conninfo=$to_primary", '--create-slot');
refused('another primary_conninfo', 31, qr/not valid for --recovery-option/, "--primary-conninfo=$to_primary", '--recovery-option=primary_conninfo=host=x');

my $stranger = PostgreSQL::Test::Cluster->new('stranger');
$stranger->init(allows_streaming => 1);
$stranger->start;
refused('another cluster', 58, qr/is another cluster \(system identifier \d+\)/, '--primary-conninfo=host=' . $stranger->host . ' port=' . $stranger->port);
$stranger->append_conf('postgresql.conf', "wal_level = minimal\nmax_wal_senders = 0\n");
$stranger->restart;
refused('max_wal_senders = 0', 56, qr/raise max_wal_senders/, '--primary-conninfo=host=' . $stranger->host . ' port=' . $stranger->port);
$stranger->stop;

# The password of the server is in a file, not in the environment of whoever runs this.
my $hba = $primary->data_dir . '/pg_hba.conf';
my $rules = slurp_file($hba);
my $word = "$to_primary user=follower";
append_to_file("$hba.new", "local replication follower scram-sha-256\n$rules");
rename "$hba.new", $hba or die $!;
$primary->reload;
{
	local $ENV{PGPASSWORD} = 'a secret of 880';
	refused('a password in the environment', 56, qr/passfile=FILE.*Variables of this environment/s, "--primary-conninfo=$word");
}
my $passfile = PostgreSQL::Test::Utils::tempdir() . '/pass';
append_to_file($passfile, '*:*:replication:follower:a secret of 880');
chmod 0600, $passfile;
$primary->safe_psql('postgres', q{SELECT pg_create_physical_replication_slot('second')});
my $second = private_directory();
($status, $out, $err) = replica($second, "--primary-conninfo=$word passfile=$passfile", '--primary-slot=second');
is($status, 0, 'a password in a file, a slot that is there') or diag($out . $err);
unlike($out . $err, qr/passfile=/, 'the log has nothing of the connection string but the place');
my $by_password = start_standby('second', $second);
streams($by_password, 'with a password');

# A cascade ------------------------------------------------------------------------------------------------

my $third = private_directory();
my $to_standby = 'host=' . $standby->host . ' port=' . $standby->port;
($status, $out, $err) = replica($third, "--primary-conninfo=$to_standby", '--plan');
like($out, qr/it is a standby itself/, 'a cascade is named') or diag($out . $err);
is((replica($third, "--primary-conninfo=$to_standby"))[0], 0, 'and allowed');
my $cascaded = start_standby('third', $third);
streams($cascaded, 'a cascade');
$cascaded->stop;
$by_password->stop;

# The former primary ------------------------------------------------------------------------------------------

# Its WAL gets nowhere from now on.
$primary->append_conf('postgresql.conf', "archive_library = ''\narchive_command = 'false'\n");
$primary->reload;
$primary->safe_psql('postgres', 'INSERT INTO later VALUES (2)');
wait_caught_up($primary, $standby);
$standby->promote;
$standby->safe_psql('postgres', 'INSERT INTO later VALUES (3)');
# Nobody has told it: what it writes is lost, as it would be by pg_rewind.
$primary->safe_psql('postgres', q{INSERT INTO later VALUES (666); UPDATE t SET id = -id; SELECT pg_switch_wal(); CHECKPOINT});
poll_until(sub { -e archive_directory($primary) . '/00000002.history' }, 'the history is archived');
refused('the former primary as the primary', 58, qr/is on timeline 1, and the archive leads to timeline 2.*--target-timeline=1/s, "--primary-conninfo=$to_primary");
is((replica($primary->data_dir, '--delta', "--primary-conninfo=$to_standby"))[0], 38, 'a server that runs there is left alone');
$primary->stop('immediate');

my $former = $primary->data_dir;
($status, $out, $err) = replica($former, "--primary-conninfo=$to_standby", '--primary-slot=former', '--create-slot');
is($status, 40, 'a directory with files is refused without --delta') or diag($out . $err);
is($standby->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), '0', 'without a slot for it');
append_to_file("$former/kept.txt", 'of the former life');
($status, $out, $err) = replica($former, '--delta', "--primary-conninfo=$to_standby", '--primary-slot=former', '--create-slot');
is($status, 0, 'with --delta it is made a standby') or diag($out . $err);
like($out . $err, qr/WARN: 1 WAL segment\(s\) of the cluster in '\Q$former\E' were never archived, the first 0000000100000000[0-9A-F]{8}/, 'which names what only it had');
ok(!-e "$former/kept.txt", 'and removes what is not of the cluster');
append_to_file("$former/postgresql.auto.conf", 'port = ' . $primary->port . "\narchive_mode = off\n");
$primary->start;
streams($primary, 'the former primary');
wait_caught_up($standby, $primary);
is($primary->safe_psql('postgres', q{SELECT string_agg(id::text, ',' ORDER BY id) FROM later}), '1,2,3', 'with the life of the new one');
is(table_state($primary, 't'), table_state($standby, 't'), 'and nothing of its own');
is($primary->safe_psql('postgres', 'SHOW primary_slot_name'), 'former', 'by its new slot');

# What is made of a backup of a former standby has none of its slots.
is((chronos($conf, '--pg1-path=' . $standby->data_dir, '--pg1-port=' . $standby->port, '--pg1-socket-path=' . $standby->host, '--type=full', 'backup'))[0], 0, 'a backup of the new primary');
my $fourth = private_directory();
($status, $out, $err) = replica($fourth, "--primary-conninfo=$to_standby");
is($status, 0, 'a replica of it') or diag($out . $err);
my $without = start_standby('fourth', $fourth);
streams($without, 'without a slot');
is($without->safe_psql('postgres', 'SHOW primary_slot_name'), '', 'and has none');
$without->stop;
$standby->stop('fast');
$primary->stop('fast');
done_testing();
