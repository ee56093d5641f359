# Inside the server health is a row per rule for whoever may look, a change of state is told once to
# the log, to those who listen and to receivers outside, over a restart too; and what serves all that
# over HTTP can be killed without the server noticing.
use strict;
use warnings;
use ChronosTest;
use HttpTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $base = PostgreSQL::Test::Utils::tempdir();
mkdir "$base/hooks" or die;
my ($hook_port, $received) = start_receiver("$base/hooks");
my $port = free_port();
my $secret = 'very-secret-path';
my $node = chronos_node('primary', conf => <<C, options => {
wal_level = replica
archive_timeout = 5
chronos.health_interval = 1
chronos.http_listen = 'localhost:$port'
C
		'health-disk-free' => '0',    # how full the disk of this machine is says nothing here
		'alert-webhook-url' => "http://127.0.0.1:$hook_port/generic/$secret",
		'alert-slack-url' => "http://127.0.0.1:$hook_port/slack/$secret",
		'alert-pagerduty-key' => 'R0UTING',
		'alert-pagerduty-url' => "http://127.0.0.1:$hook_port/pagerduty",
		'alert-command' => qq{cat >>$base/command.json; echo "\$ALERT_RULE \$ALERT_STATE" >>$base/command.log},
	});

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub rule_state { return sql("SELECT state FROM chronos.health WHERE rule = '$_[0]'") }

sub becomes_true
{
	my ($code, $name) = @_;
	return ok(eval { poll_until($code, $name, 60); 1 }, $name);
}

sub wait_for_hook
{
	my ($path, $test) = @_;
	for (1 .. 300)
	{
		for my $call ($received->()) { return $call->[1] if $call->[0] =~ /^\/$path/ && $test->($call->[1]) }
		sleep 0.1;
	}
	return;
}

# Without a backup.
is(rule_state('backup_age'), 'critical', 'no backup is critical');
is(sql('SELECT count(*) = count(DISTINCT rule) AND count(*) > 10 FROM chronos.health()'), 't', 'a row per rule');
is(sql(q{SELECT string_agg(rule, ' ' ORDER BY rule) FROM chronos.health WHERE rule IN
	('repo_unreachable', 'wal_lag', 'disk_pg_wal', 'rpo', 'backup_failed', 'verify', 'drill')}),
	'backup_failed disk_pg_wal drill repo_unreachable rpo verify wal_lag', 'those that only a server can tell too');
my $generic = wait_for_hook('generic', sub { $_[0]{rule} eq 'backup_age' });
is($generic->{state}, 'critical', 'the webhook is told');
is($generic->{stanza}, 'main', 'of which cluster');
my $slack = wait_for_hook('slack', sub { $_[0]{text} =~ /backup_age/ });
like($slack->{text}, qr/^critical: backup_age of main: /, 'Slack gets a text');
is($slack->{attachments}[0]{color}, 'danger', 'in red');
my $event = wait_for_hook('pagerduty', sub { $_[0]{dedup_key} eq 'chronos/main/backup_age' });
is($event->{event_action}, 'trigger', 'PagerDuty gets an event');
is($event->{routing_key}, 'R0UTING', 'for the right service');
is($event->{payload}{severity}, 'critical', 'with its severity');
becomes_true(sub { -e "$base/command.json" && slurp_file("$base/command.log") =~ /^backup_age critical$/m }, 'the command has run');
like(slurp_file("$base/command.json"), qr/"rule":"backup_age"/, 'with the alert on its standard input');
ok($node->log_contains(qr/WARNING: .*chronos: health: backup_age is critical \(was unknown\)/), 'and the log has it');

# The backup resolves it; somebody who listens hears of that.
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN chronos_alert');
like(sql(q{SELECT chronos.backup_now('full')}), qr/F$/, 'a backup');
is(rule_state('backup_age'), 'ok', 'mends it');
is(rule_state('backup_failed'), 'ok', 'its job was a success');
$event = wait_for_hook('pagerduty', sub { $_[0]{dedup_key} eq 'chronos/main/backup_age' && $_[0]{event_action} eq 'resolve' });
ok($event, 'PagerDuty is told that it is over');
my $heard = $listener->query_safe('SELECT 1');
becomes_true(sub { ($heard .= $listener->query_safe('SELECT 1')) =~ /chronos_alert.*"rule":"backup_age","|"state":"ok"/s || $heard =~ /backup_age/ }, 'NOTIFY is heard')
  or diag($heard);
$listener->quit;

# Nothing is repeated, also not after a restart. Who is stopped between telling and noting that down tells again:
# an alert twice is better than none.
sub calls { return map { "$_->[0] " . JSON::PP::encode_json($_->[1]) . "\n" } $received->() }
sub calls_about { my ($rule) = @_; return scalar grep { $_->[0] =~ /^\/generic/ && $_->[1]{rule} eq $rule } $received->() }
is(calls_about('backup_age'), 2, 'two changes, two calls');
becomes_true(sub { sql(q{SELECT announced FROM chronos.health_state WHERE rule = 'backup_age'}) eq 'ok' }, 'it is noted who was told what');
$node->restart;
wait_for_http($port);
sleep 3;
is(calls_about('backup_age'), 2, 'a restart repeats nothing') or diag(calls());

# A receiver that is out of reach is told later; the log is not filled meanwhile.
PostgreSQL::Test::Utils::append_to_file("$base/hooks/refuse", '');
sql(q{ALTER SYSTEM SET chronos.health_backup_duration = '1s'});
sql(q{ALTER SYSTEM SET chronos.health_backup_age = '1s'});
$node->reload;
becomes_true(sub { $node->log_contains(qr/could not be delivered to the webhook: the answer is 500/) }, 'a refusal is logged');
is(calls_about('backup_age'), 2, 'nothing got through');
is(sql(q{SELECT state || ' ' || announced FROM chronos.health_state WHERE rule = 'backup_age'}), 'critical ok', 'the server knows who knows what');
unlink "$base/hooks/refuse";
becomes_true(sub { calls_about('backup_age') == 3 }, 'it is told once it answers');
my $times = () = slurp_file($node->logfile) =~ /health: backup_age is critical \(was ok\)/g;
is($times, 1, 'and the log has it once');

# Over HTTP: what the rules say is what a health check gets, with the facts of the server.
ok(wait_for_http($port, '/health', 503), 'unhealthy over HTTP');
sql('ALTER SYSTEM RESET ALL');
$node->reload;
ok(wait_for_http($port, '/health', 200), 'healthy again') or diag((get($port, '/health'))[1]);
like((get($port, '/metrics'))[1], qr/^chronos_rpo_seconds\{stanza="main"\} \d+/m, 'what the server knows is there');
is(sql(q{SELECT count(*) > 20 FROM chronos.metrics WHERE name LIKE 'pgbackrest_backup_%' AND labels->>'stanza' = 'main'}), 't', 'metrics in SQL too');

# Killed again and again, it comes back, and nothing else happens.
my $postmaster = sql('SELECT pg_postmaster_start_time()');
my ($top) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
sub serving
{
	return grep { (eval { slurp_file("/proc/$_/cmdline") } // '') =~ /\0serve\0/ } engines_below($top);
}
for my $round (1 .. 3)
{
	my @pids = serving();
	cmp_ok(scalar @pids, '>=', 1, "round $round: it runs");
	kill 'KILL', ($round == 2 ? @pids : $pids[-1]);
	ok(wait_for_http($port, '/healthz', 200), 'killed, it serves again');
	wait_for_http($port);
}
is(sql('SELECT pg_postmaster_start_time()'), $postmaster, 'the server was not restarted');
unlike(slurp_file($node->logfile), qr/terminating any other active server processes|reinitializing/, 'nor has anything crashed');

# An address that is not local needs a token; the setting is refused by what serves, not by the server.
sql(qq{ALTER SYSTEM SET chronos.http_listen = '0.0.0.0:$port'});
$node->reload;
becomes_true(sub { $node->log_contains(qr/serve failed: '0\.0\.0\.0:$port' is not local, and there is no token/) }, 'an open port is refused');
sql(q{ALTER SYSTEM SET chronos.http_listen = ''});
$node->reload;
becomes_true(sub { !serving() }, 'empty, nothing is served');

# Who may look, and that secrets stay where they are.
sql('CREATE ROLE watcher LOGIN; GRANT chronos_monitor TO watcher; CREATE ROLE nobody LOGIN');
is($node->safe_psql('postgres', 'SELECT count(*) > 10 FROM chronos.health', extra_params => [ '-U', 'watcher' ]), 't', 'a monitor sees health');
my ($status, undef, $err) = $node->psql('postgres', 'SELECT * FROM chronos.health', extra_params => [ '-U', 'nobody' ]);
like($err, qr/permission denied/, 'nobody else does');
unlike(slurp_file($node->logfile), qr/\Q$secret\E|R0UTING/, 'no secret is in the log');
is(sql(q{SELECT count(*) FROM chronos.settings WHERE value LIKE '%secret-path%' OR value = 'R0UTING'}), '0', 'nor in the settings');

# What verify finds is a rule and a number.
is(rule_state('verify'), 'unknown', 'nothing was verified');
sql('SELECT * FROM chronos.verify()');
is(rule_state('verify'), 'ok', 'verify finds nothing');
is(sql(q{SELECT value FROM chronos.metrics WHERE name = 'pgbackrest_verify_status'}), '1', 'and says so in numbers');
# A run that could not come to its end tells nothing of what it did not reach, whatever the one before it had found.
my ($older) = glob "$node->{chronos_repo}/backup/main/*F";
chronos($node->{chronos_conf}, '--type=incr', 'backup');
chmod 0, $older or die "$older: $!";
is((chronos($node->{chronos_conf}, 'verify'))[0], 28, 'a verify that may not read a backup fails');
chmod 0750, $older or die "$older: $!";
is(rule_state('verify'), 'warning', 'the rule says so');
like(sql(q{SELECT message FROM chronos.health WHERE rule = 'verify'}), qr/could not come to its end: .*Permission denied/, 'and why');
is(sql(q{SELECT value FROM chronos.metrics WHERE name = 'pgbackrest_verify_status'}), '0', 'in numbers too');
like((chronos($node->{chronos_conf}, 'check'))[1], qr/repo1 verify: the last verify, at .*, could not come to its end/, 'check notes it');
chronos($node->{chronos_conf}, '--set=latest', 'verify');
is(rule_state('verify'), 'warning', 'a part of it changes nothing');
is((chronos($node->{chronos_conf}, 'verify'))[0], 0, 'the next whole one');
is(rule_state('verify'), 'ok', 'clears it');
my ($stored) = sort { -s $b <=> -s $a } grep { -f } map { glob "$node->{chronos_repo}/backup/main/*F/$_" } 'bundle/*', 'pg_data/base/*/*';
open my $damage, '+<', $stored or die "$stored: $!";
seek $damage, int((-s $stored) / 2), 0;
print $damage 'damaged';
close $damage;
chronos($node->{chronos_conf}, 'verify', '--full');
is(rule_state('verify'), 'critical', 'damage is critical');
is(sql(q{SELECT value FROM chronos.metrics WHERE name = 'pgbackrest_verify_status'}), '0', 'in numbers too');
sql(q{SELECT chronos.backup_now('full')});

# A server whose WAL does not arrive: lag, and what would be lost.
sql(q{ALTER SYSTEM SET chronos.health_wal_lag = '1s'});
$node->reload;
rename $node->{chronos_repo}, "$node->{chronos_repo}.away" or die;
sql('CREATE TABLE t AS SELECT g FROM generate_series(1, 10000) AS g; SELECT pg_switch_wal()');
becomes_true(sub { rule_state('wal_lag') eq 'critical' }, 'WAL that waits is critical');
is(rule_state('repo_unreachable'), 'critical', 'so is a repository that is away');
cmp_ok(sql(q{SELECT value FROM chronos.metrics WHERE name = 'chronos_rpo_seconds'}), '>=', 1, 'what would be lost is measured');
rename "$node->{chronos_repo}.away", $node->{chronos_repo} or die;
becomes_true(sub { rule_state('wal_lag') eq 'ok' }, 'until it is back');

# The command line asks the server too, and its exit status is for scripts.
my ($code, $out) = chronos($node->{chronos_conf}, 'health');
is($code, 1, 'chronos health: what verify has found is still there');
like($out, qr/^critical\s+verify: /m, 'and it is named');
is(join(' ', $out =~ /^critical\s+(\w+)/mg), 'verify', 'all else is well') or diag($out);
like($out, qr/^ok\s+wal_lag: /m, 'the server was asked');
($code, $out) = chronos($node->{chronos_conf}, '--health-backup-age=1s', '--output=json', 'health');
is($code, 1, 'or not');
like($out, qr/"status":"unhealthy"/, 'in JSON');

$node->stop;
done_testing();
