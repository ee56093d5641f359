# Standbys of the unusual kinds are backed up rightly or refused plainly: one that replays an hour late, one that follows
# another standby, one whose primary_conninfo leads to another cluster, one without sessions (hot_standby = off), one
# of another cluster. After a refusal nothing is listed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = chronos_node('primary', conf => "archive_timeout = 0\nautovacuum = off\nwal_keep_size = 1GB\n");
my $repo = $primary->{chronos_repo};
my $base = PostgreSQL::Test::Utils::tempdir();
$primary->safe_psql('postgres', 'CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 1000) i');
is((chronos($primary->{chronos_conf}, 'stanza-create'))[0], 0, 'there is a stanza');
$primary->backup('base');

subtest 'one that replays late' => sub {
	my $late = follower('late', $primary, 'base', "recovery_min_apply_delay = '1h'\n");
	$primary->safe_psql('postgres', 'INSERT INTO t VALUES (0)');
	wait_archived($primary);
	my $label = backed_up($late);
	is($late->safe_psql('postgres', 'SELECT count(*) FROM t WHERE id = 0'), '0', 'the row has not come there yet');
	is(restored($label, '--type=immediate'), '1000', 'nor to the backup');
	is(restored($label), '1001', 'and it does come from the archive');
	$late->stop;
};

subtest 'one that follows a standby' => sub {
	my $first = follower('first', $primary, 'base');
	$first->backup('of_first');
	my $second = follower('second', $first, 'of_first');
	# Idle in a segment that the backup needs: the primary is found through the other standby.
	$primary->safe_psql('postgres', 'INSERT INTO t VALUES (-1); CHECKPOINT');
	$primary->wait_for_catchup($first, 'replay');
	$first->wait_for_catchup($second, 'replay', $primary->lsn('write'));
	backed_up($second);
	$primary->safe_psql('postgres', 'CREATE ROLE limited REPLICATION LOGIN; GRANT EXECUTE ON FUNCTION pg_switch_wal() TO limited');
	$primary->wait_for_catchup($first, 'replay');
	$first->wait_for_catchup($second, 'replay', $primary->lsn('write'));
	$primary->safe_psql('postgres', 'INSERT INTO t VALUES (-1); CHECKPOINT');
	$primary->wait_for_catchup($first, 'replay');
	$first->wait_for_catchup($second, 'replay', $primary->lsn('write'));
	$second->safe_psql('postgres', "ALTER SYSTEM SET primary_conninfo = '" . $first->connstr =~ s/'/''/gr . " user=limited'");
	$second->reload;
	$second->poll_query_until('postgres', q{SELECT setting ~ 'limited' FROM pg_settings WHERE name = 'primary_conninfo'}) or die;
	refused($second, 82, qr/idle primary does not end its segment, and the primary cannot be asked: .*standby/s,
		'a role that may not know whom that follows cannot ask', '--archive-timeout=2');
	$second->stop;
	$first->stop;
};

my $other = chronos_node('other', repo => "$base/other", conf => "archive_timeout = 0\nautovacuum = off\nwal_keep_size = 1GB\n");
$other->backup('base');

subtest 'one that is told of a wrong primary' => sub {
	my $lost = follower('lost', $primary, 'base');
	$primary->safe_psql('postgres', 'INSERT INTO t VALUES (-2); CHECKPOINT');
	$primary->wait_for_catchup($lost, 'replay');
	$lost->safe_psql('postgres', "ALTER SYSTEM SET primary_conninfo = '" . $other->connstr =~ s/'/''/gr . "'");
	$lost->reload;
	$lost->poll_query_until('postgres', 'SELECT setting ~ $$\y' . $other->port . q{$$ FROM pg_settings WHERE name = 'primary_conninfo'}) or die;
	my $segment = $other->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
	refused($lost, 82, qr/the primary cannot be asked: .*another cluster/s, 'that is told', '--archive-timeout=2');
	is($other->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())'), $segment, 'and the other one is left alone');
	$lost->stop;
};

subtest 'one of another cluster' => sub {
	my $stranger = follower('stranger', $other, 'base');
	refused($stranger, 51, qr/do not match stanza version/, 'is refused');
	$stranger->stop;
};
$other->stop;

subtest 'one without sessions' => sub {
	my $mute = PostgreSQL::Test::Cluster->new('mute');
	$mute->init_from_backup($primary, 'base', has_streaming => 1);
	$mute->append_conf('postgresql.conf', "hot_standby = off\n");
	configure($mute);
	# pg_ctl waits for sessions that do not come.
	command_ok([ 'pg_ctl', '-W', '-D', $mute->data_dir, '-l', $mute->logfile, 'start' ], 'it is started');
	poll_until(sub { -e $mute->logfile && slurp_file($mute->logfile) =~ /started streaming WAL/ }, 'it follows');
	refused($mute, 56, qr/hot.standby/i, 'the reason is named');
	command_ok([ 'pg_ctl', '-D', $mute->data_dir, '-m', 'immediate', 'stop' ], 'it is stopped');
};
$primary->stop;
done_testing();

sub configure
{
	my ($node) = @_;
	$node->{chronos_conf} = write_config($base . '/' . $node->name . '.conf',
		path => $repo, pg => $node->data_dir, port => $node->port, socket => $node->host, 'archive-timeout' => 20);
	return;
}

sub follower
{
	my ($name, $of, $backup, $conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($of, $backup, has_streaming => 1);
	$node->append_conf('postgresql.conf', $conf) if defined $conf;
	configure($node);
	$node->start;
	return $node;
}

sub labels
{
	my ($status, $out) = chronos($primary->{chronos_conf}, '--output=json', 'info');
	my $stanza = decode_json($out)->[0] // { backup => [] };
	return map { $_->{label} } @{ $stanza->{backup} };
}

# Returns the label.
sub backed_up
{
	my ($node) = @_;
	my ($status, $out, $err) = chronos($node->{chronos_conf}, '--type=full', '--backup-standby=y', 'backup');
	is($status, 0, $node->name . ' is backed up') or diag("$out$err");
	return (labels())[-1];
}

sub refused
{
	my ($node, $code, $why, $what, @options) = @_;
	my $before = () = labels();
	my ($status, $out, $err) = chronos($node->{chronos_conf}, '--type=full', '--backup-standby=y', @options, 'backup');
	is($status, $code, $node->name . ' is refused') or diag("$out$err");
	like("$out$err", $why, $what);
	is(scalar(() = labels()), $before, 'nothing is listed');
	return;
}

my $copies;
# How many rows there are.
sub restored
{
	my ($label, @options) = @_;
	my $directory = private_directory();
	my ($status, $out, $err) = chronos($primary->{chronos_conf}, "--pg1-path=$directory", '--archive-mode=off', "--set=$label", @options,
		@options ? '--target-action=promote' : (), 'restore');
	is($status, 0, 'it is restored') or diag("$out$err");
	my $copy = restored_node('copy' . ++$copies, $directory, bare => 1);
	my $rows = $copy->safe_psql('postgres', 'SELECT count(*) FROM t');
	$copy->stop('immediate');
	return $rows;
}
