# An object store that fails at random, under archiving, backups, restores and expire: whatever was
# acknowledged is there afterwards and can be restored, and nothing hangs beyond its deadline.
#
# TEST_SEED repeats a run, TEST_FAULTS sets its length (default 200, 2000 with CHECK_LONG).
# Enough with one version of PostgreSQL: its subject is the bucket
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;
use Time::HiRes qw(time);

my $seed = seed();
my $wanted = $ENV{TEST_FAULTS} // campaign(200, short => 60, long => 2000);
my $io_timeout = 2;
# A verb gives an outage five times io-timeout and makes a few requests after the copy; an operation
# that the faults made fail must have ended by then too.
my $deadline = 90;

my $server = S3Server->new(buckets => ['faulty']);
my $proxy = $server->fault_proxy;
my $node = chronos_node('primary', options => {
	$server->options('faulty', port => $proxy->{port}), 'repo1-path' => '/repo',
	'io-timeout' => $io_timeout, 'process-max' => 2, 'repo1-retention-full' => 2,
	'compress-type' => 'lz4', 'repo1-bundle' => 'n', 'archive-timeout' => 60,
	'log-level-console' => 'detail' });
my $conf = $node->{chronos_conf};
# The same repository without the faults between.
my $direct = write_config(PostgreSQL::Test::Utils::tempdir() . '/direct.conf', pg => $node->data_dir,
	port => $node->port, socket => $node->host, $server->options('faulty'), 'repo1-path' => '/repo',
	'process-max' => 2);

$node->safe_psql('postgres', 'CREATE TABLE ledger (id serial, note text)');
# Larger than a part and not to be compressed, so that there are uploads in parts.
$node->safe_psql('postgres', q{CREATE TABLE large AS
	SELECT string_agg(md5(random()::text || j::text), '') AS t FROM generate_series(1, 9000) i, generate_series(1, 60) j GROUP BY i});
my (%outcome, $latest);
my ($faults, $round, $restored) = (0, 0, 0);

# Runs something under a name and checks its time; returns what it returned.
sub timed
{
	my ($name, $code) = @_;
	my $begin = time;
	my @result = $code->();
	my $took = time - $begin;
	cmp_ok($took, '<', $deadline, sprintf '%s ended within its deadline (%.1f s)', $name, $took)
	  if $took >= $deadline;
	return wantarray ? @result : $result[0];
}

sub work
{
	$node->safe_psql('postgres',
		"INSERT INTO ledger (note) SELECT 'round $round ' || repeat(md5(i::text), 20) FROM generate_series(1, 3000) i; SELECT pg_switch_wal()");
	return;
}

sub backup
{
	my $type = (qw(full diff incr incr))[ int rand 4 ];
	my ($label, $err);
	my $status = timed("backup $type",
		sub { $node->psql('postgres', "SELECT chronos.backup_now('$type')", stdout => \$label, stderr => \$err) });
	++$outcome{ $status == 0 ? 'backup' : 'backup failed' };
	$latest = $label if $status == 0;
	like($err, qr/ERROR: .+/, "a backup that fails says why") if $status != 0;
	return;
}

sub restore
{
	my $dir = PostgreSQL::Test::Utils::tempdir();
	chmod 0700, $dir;
	my ($status, $out, $err) = timed('restore', sub { chronos($conf, "--pg1-path=$dir", '--type=immediate', '--archive-mode=off', 'restore') });
	++$outcome{ $status == 0 ? 'restore' : 'restore failed' };
	return if $status != 0;
	# Whatever it fetched through the faults is what lies in the bucket.
	my ($label) = $out =~ /restore backup set (\S+?),/;
	$label //= 'latest';
	my $clean = PostgreSQL::Test::Utils::tempdir();
	chmod 0700, $clean;
	my @set = $label eq 'latest' ? () : ("--set=$label");
	($status, $out, $err) = pgbackrest($direct, "--pg1-path=$clean", '--type=immediate', '--archive-mode=off', @set, 'restore');
	is($status, 0, "pgBackRest restores $label") or diag($out . $err);
	my ($here, $there) = map { slurp_tree($_, 'backup_label' => 0) } $dir, $clean;
	# One carries the date; 2.45 does not yet make the other unusable without its backup_label.
	delete @$_{qw(postgresql.auto.conf global/pg_control)} for $here, $there;
	is_deeply($here, $there, "a restore through faults is whole ($label)");
	return;
}

sub expire
{
	my ($status) = timed('expire', sub { chronos($conf, 'expire') });
	++$outcome{ $status == 0 ? 'expire' : 'expire failed' };
	return;
}

# Every segment that the server takes for archived is in the repository, from the oldest on that a
# backup needs.
sub check_wal
{
	my %stored = map { m{/([0-9A-F]{24})-[0-9a-f]{40}} ? ($1 => 1) : () } $server->keys_below('faulty', 'repo/archive/main/');
	my @stored = sort keys %stored;
	my $last = $node->safe_psql('postgres', q{SELECT last_archived_wal FROM pg_stat_archiver});
	return 0 if $last !~ /^[0-9A-F]{24}$/;
	my @missing;
	for (my $segment = $stored[0]; $segment le $last; $segment = next_segment($segment))
	{
		push @missing, $segment if !$stored{$segment};
	}
	is("@missing", '', "round $round: every acknowledged segment up to $last is stored");
	return scalar @stored;
}

sub next_segment
{
	my ($name) = @_;
	my ($timeline, $log, $number) = map { hex } unpack '(A8)3', $name;
	$number = ($number + 1) & 0xff;
	++$log if $number == 0;
	return sprintf '%08X%08X%08X', $timeline, $log, $number;
}

work();
wait_archived($node);
while ($faults < $wanted || $round < 4)
{
	++$round;
	$proxy->command("seed " . ($seed + $round) . ' ' . (0.02 + rand 0.1));
	work();
	backup();
	$round % 2 ? restore() : expire();
	work();
	$proxy->command('clear');
	my ($requests, $met, @names) = split / /, $proxy->command('count');
	$faults += $met;
	diag("round $round: $met faults in $requests requests: @names");
	wait_archived($node);
	check_wal();

	my ($status, $out, $err) = chronos($direct, 'info', '--output=json');
	is($status, 0, "round $round: the repository can be listed") or diag($err);
	my %listed = map { $_ => 1 } $out =~ /"label":"([^"]+)"/g;
	# Retention takes old ones; the latest it never takes.
	ok($listed{$latest}, "round $round: acknowledged $latest is listed") if defined $latest;
}

my $failed = $outcome{'backup failed'} // 0;
diag('outcomes: ' . join ', ', map { "$_ $outcome{$_}" } sort keys %outcome);
ok($faults >= $wanted, "$faults faults were met");
backup();
is($outcome{'backup failed'} // 0, $failed, 'without faults a backup works at once');
my ($status, $out, $err) = pgbackrest($direct, 'verify');
is($status, 0, 'pgBackRest verifies what is there') or diag($out . $err);
unlike($out . $err, qr/checksum invalid: [1-9]|missing: [1-9]|size invalid: [1-9]|other: [1-9]/,
	'and every backup is whole') or diag($out);

my $state = table_state($node, 'ledger');
wait_archived($node);
$node->stop('immediate');
my $dir = PostgreSQL::Test::Utils::tempdir();
chmod 0700, $dir;
($status, $out, $err) = chronos($direct, "--pg1-path=$dir", '--archive-mode=off', 'restore');
is($status, 0, 'the latest backup restores') or diag($out . $err);
my $again = restored_node('again', $dir);
is(table_state($again, 'ledger'), $state, 'to the last acknowledged segment');
$again->stop;
$_->stop for $proxy, $server;
done_testing();
