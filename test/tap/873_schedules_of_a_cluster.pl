# One chronos.backup_role and the same schedules on a primary and two standbys: each run is made once, by the right
# server, and the history of the primary, which all of them have, says by which. With standby it is one of the standbys;
# a run whose standby is killed is made by the other one; one that no standby takes is a failure until one comes. With
# prefer_standby the primary makes it where no standby comes, with any whoever is first. A run during which the primary
# is lost is made by the one that takes its place.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use File::Find;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ScheduleClock;
use Test::More;
use Time::HiRes qw(time);

# Slow: there is time to do something about a backup that is under way.
my %slow = ('compress-type' => 'bz2', 'compress-level' => 9, 'process-max' => 1, 'repo1-bundle' => 'n');
my $primary = chronos_node('primary', conf => <<C, options => \%slow);
autovacuum = off
chronos.health_interval = 0
wal_keep_size = 1GB
chronos.backup_role = 'standby'
C
my $base = PostgreSQL::Test::Utils::tempdir();
my $repo = $primary->{chronos_repo};
my $conf = $primary->{chronos_conf};
install_schedule_clock($primary);
$primary->safe_psql('postgres', 'CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 1000) i');
is((chronos($conf, 'stanza-create'))[0], 0, 'there is a stanza');
$primary->backup('base');
my %standby = map { $_ => standby_node($_, $_ eq 'one' ? %slow : ()) } 'one', 'two';
my $day = 0;
my $listed = 0;
clock('01:59:30', $primary, values %standby);
$primary->safe_psql('postgres', q{SELECT chronos.schedule('nightly', 'full', '0 1 * * *', 'UTC')});
$primary->wait_for_catchup($_, 'replay') for values %standby;

subtest 'a standby' => sub {
	next_run($primary, values %standby);
	is_made_once('standby', qr/data directory '\S+(?:one|two)_data\S*' on host/);
	my $label = (labels())[-1]->{label};
	poll_until(sub { of_both(q{bool_and(finished_at IS NOT NULL)}) eq 'true true' }, 'both know');
	is(of_both(q{string_agg(state, ',' ORDER BY state)}), 'skipped succeeded', 'one has made it, and neither has tried twice');
	like($standby{$_}->safe_psql('postgres', 'SELECT last_state, last_error FROM chronos.schedules'),
		qr/^skipped\|made by .*: $label$/, "standby $_ has the history") for 'one', 'two';
	$_->restart for values %standby;
	next_run_is_not_yet($primary, values %standby);
	is(scalar(() = labels()), $listed, 'a standby that is started anew makes nothing again');
};

subtest 'whichever' => sub {
	role('any');
	next_run($primary, values %standby);
	is_made_once(undef, qr/^made by|^$/);
};

subtest 'a standby that is killed' => sub {
	role('standby');
	next_run($primary, $standby{one});
	poll_until(sub { glob "$repo/backup/main/2*F/pg_data/base/*/*.bz2" && under_way() }, 'one is at work', 120);
	$standby{one}->stop('immediate');
	clock(undef, $standby{two});
	is_made_once('standby', qr/two_data/);
	$standby{one}->start;
	next_run_is_not_yet($primary, values %standby);
	is(scalar(() = labels()), $listed, 'it is not made again by the one that was killed');
};

subtest 'no standby' => sub {
	role('prefer_standby');
	$_->stop for values %standby;
	next_run($primary);
	is_made_once('primary', qr/^$/);
	$_->start for values %standby;
	next_run_is_not_yet(values %standby);
	is(scalar(() = labels()), $listed, 'a standby that comes late makes nothing again');
};

subtest 'a failover' => sub {
	role('any');
	$primary->wait_for_catchup($_, 'replay') for values %standby;
	next_run($primary);
	poll_until(sub { glob "$repo/backup/main/2*F/pg_data/base/*/*.bz2" && under_way() }, 'the primary is at work', 120);
	$primary->stop('immediate');
	# What a lost primary was about to store is left alone for ten minutes.
	my @unfinished = under_way();
	is(scalar(@unfinished), 1, 'it has left a backup that is not whole');
	my $age = sub {
		find(sub { utime time - 700, time - 700, $_ or die "$_: $!" }, @unfinished);
		return 1;
	};
	$standby{one}->stop;
	$standby{two}->promote;
	clock(undef, $standby{two});
	$primary = $standby{two};
	poll_until(sub { slurp_file($primary->logfile) =~ /is tried again in .* begun before this server was promoted/ }, 'that is waited for', 60);
	$age->();
	is_made_once('primary', qr/^$/);
};

my ($status, $out, $err) = chronos($conf, 'verify');
is($status, 0, 'all of them are right') or diag("$out$err");
($status, $out, $err) = pgbackrest($conf, '--log-level-console=info', 'verify');
unlike("$status $out$err", qr/^[1-9]|(?:missing|invalid|mismatch|other): *[1-9]|ERROR/, 'and so says pgBackRest');
$standby{two}->stop;
done_testing();

sub standby_node
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($primary, 'base', has_streaming => 1);
	$node->{chronos_conf} = write_config("$base/$name.conf",
		path => $repo, pg => $node->data_dir, port => $node->port, socket => $node->host, %options);
	$node->append_conf('postgresql.conf', "chronos.config_file = '$node->{chronos_conf}'");
	$node->start;
	return $node;
}

sub clock
{
	my ($time, @nodes) = @_;
	$time //= '01:00:10';
	$_->safe_psql('postgres', "SELECT set_clock('2048-11-01 $time+00'::timestamptz + interval '$day days')") for @nodes;
	return;
}

# The day's run is due on those servers.
sub next_run
{
	my (@nodes) = @_;
	++$day;
	clock('01:00:10', @nodes);
	return;
}

# Nothing is due; they look, and have done so.
sub next_run_is_not_yet
{
	my (@nodes) = @_;
	for my $node (@nodes)
	{
		wait_for_server($node, 'the server is up');
		my $begin = time;
		clock('01:30:00', $node);
		poll_until(
			sub {
				my $seen = $node->safe_psql('postgres', q{SELECT extract(epoch FROM last_seen) FROM chronos.heartbeats WHERE subject = 'scheduler'});
				return $seen ne '' && $seen < time - $begin;
			},
			'the schedules are looked at');
	}
	for my $node (@nodes)
	{
		$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM chronos.current_jobs() WHERE finished_at IS NULL')
		  or die 'jobs do not end';
	}
	return;
}

sub role
{
	my ($role) = @_;
	for my $node ($primary, values %standby)
	{
		$node->append_conf('postgresql.conf', "chronos.backup_role = '$role'");
		$node->reload;
		$node->poll_query_until('postgres', "SELECT setting = '$role' FROM pg_settings WHERE name = 'chronos.backup_role'") or die;
	}
	return;
}

sub under_way
{
	return grep { !-e "$_/backup.manifest" } glob "$repo/backup/main/2*F";
}

sub labels
{
	my ($status, $out, $err) = chronos($conf, '--output=json', 'info');
	return @{ decode_json($out)->[0]{backup} };
}

sub is_made_once
{
	my ($of, $who) = @_;
	my $due = sprintf '2048-11-%02d 01:00:00+00', $day + 1;
	my $history = sub {
		return $primary->safe_psql('postgres',
			"SELECT string_agg($_[0], ',' ORDER BY id) FROM chronos.job_history WHERE schedule = 'nightly' AND due_at = '$due'");
	};
	poll_until(sub { $history->(q{(finished_at IS NOT NULL)::text}) =~ /^(?:true,)*true$/ && labels() > $listed }, 'the run is made', 300);
	is($history->('state') =~ s/^(?:failed,)+(?=succeeded)//r, $who eq qr/^$/ ? 'succeeded' : $history->('state'), 'what the history says of it');
	like($history->('coalesce(error, $$$$)') =~ s/^the server stopped[^,]*,//r, $who, 'and who has made it');
	my @backups = labels();
	is(scalar(@backups), $listed + 1, 'there is one backup more') or diag(join ' ', map { $_->{label} } @backups);
	$listed = @backups;
	is($backups[-1]{standby} ? 'standby' : 'primary', $of, "of the $of") if defined $of;
	return;
}

# What the jobs of the two standbys say, of their own alone.
sub of_both
{
	my ($what) = @_;
	return join ' ', sort map { $_->safe_psql('postgres', "SELECT coalesce(($what)::text, '') FROM chronos.current_jobs()") }
	  values %standby;
}
