# A backup that one of the repositories has not got is no success: whoever asked, the job, its schedule,
# health, metrics and alerts say which one has none, and why; and nothing says "ok" until it has one.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $second = PostgreSQL::Test::Utils::tempdir() . '/second';
mkdir $second or die $!;
my $node = chronos_node('primary', conf => "chronos.health_interval = 1\n",
	options => { 'repo2-path' => $second, 'repo2-retention-full' => 9, 'backup-repos' => 'all', 'health-disk-free' => '0' });
my $conf = $node->{chronos_conf};
sub sql { return $node->safe_psql('postgres', $_[0]) }
sub rule { return sql("SELECT state || ' ' || message FROM chronos.health WHERE rule = '$_[0]'") }
sub becomes_true
{
	my ($query, $name) = @_;
	return ok(eval { poll_until(sub { sql("SELECT $query") eq 't' }, $name, 60); 1 }, $name);
}

my ($status, $out, $err) = chronos($conf, 'stanza-create');
is($status, 0, 'the stanza is in both') or diag($out . $err);
sql('CREATE TABLE t (i int); SELECT pg_switch_wal()');
wait_archived($node);
chmod 0500, "$second/backup/main" or die $!;

($status, $out, $err) = $node->psql('postgres', q{SELECT chronos.backup_now('full')});
like($err, qr/backup failed: backup \d{8}-\d{6}F is in repo1, but not in repo2: /, 'who asked for the backup is told');
is(sql(q{SELECT state || ' ' || (label ~ 'F$') || ' ' || error_code || ' ' || (error LIKE '%not in repo2%') FROM chronos.jobs ORDER BY id DESC LIMIT 1}),
	'failed true 104 true', 'the job failed, with the label of what there is');
like(rule('backup_failed'), qr/^critical .*not in repo2/, 'the rule about jobs has it');
like(rule('backup_age'), qr/^warning repo2: there is no backup/, 'and the one about age: a repository without any is a finding');
# Once a year: the next minute would cover what has failed.
my $cron = sql(q{SELECT concat_ws(' ', extract(minute FROM t)::int, extract(hour FROM t)::int, extract(day FROM t)::int, extract(month FROM t)::int, '*')
		FROM (SELECT now() - interval '20 minutes' AS t) AS past});
sql(qq{SELECT chronos.schedule('both', 'incr', '$cron', retries => 1, retry_delay => '1 s')});
sql(q{UPDATE chronos.schedule_entries SET cron = cron, considered_until = now() - interval '1 hour'});
becomes_true(q{count(*) > 0 FROM chronos.jobs WHERE schedule = 'both' AND attempt = 2 AND state = 'failed' AND error LIKE '%not in repo2%'},
	'a schedule tries it again, and has failed') or diag(sql('SELECT * FROM chronos.jobs'));
like(sql(q{SELECT last_state || last_error FROM chronos.schedules}), qr/^failed.*not in repo2/, 'and shows it');
sql(q{SELECT chronos.unschedule('both')});
becomes_true(q{NOT EXISTS (SELECT FROM chronos.current_jobs() WHERE finished_at IS NULL)}, 'no job is left');
becomes_true(q{EXISTS (SELECT FROM chronos.health_state WHERE rule = 'backup_age' AND state = 'warning')}, 'an alert is sent');
is(sql(q{SELECT string_agg(labels->>'repo_key', ',') FROM chronos.metrics WHERE name = 'chronos_repo_last_backup_timestamp'}), '1', 'a metric by repository');
($status, $out, $err) = chronos($conf, '--output=json', 'health');
like($out, qr/"repositories":\[\{[^}]*"repo":1,"state":"ok"\},\{[^}]*"repo":2,"state":"critical"\}/, 'and the command, by repository') or diag($out);

# A backup for the other one alone mends nothing.
sql(q{SELECT chronos.start_job('incr', '{"repo": 1}')});
becomes_true(q{count(*) = 1 FROM chronos.jobs WHERE type IN ('incr', 'full') AND state = 'succeeded'}, 'one for repo1 alone');
like(rule('backup_age'), qr/^warning repo2: there is no backup/, 'leaves repo2 without');

# Nor has any.
chmod 0500, "$node->{chronos_repo}/backup/main" or die $!;
($status, $out, $err) = $node->psql('postgres', q{SELECT chronos.backup_now('full')});
chmod 0700, "$node->{chronos_repo}/backup/main" or die $!;
like($err, qr/backup failed: .*2 error\(s\).*: repo1: .*Permission denied.*; repo2: .*Permission denied/,
	'where it is in none, each says why');

# A job that cannot even be written down: its session has no database.
sql(q{ALTER SYSTEM SET chronos.database = 'nowhere'});
$node->reload;
becomes_true(q{current_setting('chronos.database') = 'nowhere'}, 'a database that is not there');
my $lost = sql(q{SELECT chronos.start_backup('full')});
becomes_true(qq{state = 'failed' FROM chronos.current_jobs() WHERE id = $lost}, 'no job can run');
like(rule('backup_failed'), qr/^critical the last job \($lost, full\) failed: database "nowhere" does not exist/, 'and health knows');
sql(q{ALTER SYSTEM RESET chronos.database});
$node->reload;
becomes_true(q{current_setting('chronos.database') = 'postgres'}, 'and back');

chmod 0700, "$second/backup/main" or die $!;
like(sql(q{SELECT chronos.backup_now('full')}), qr/F$/, 'with both there, a backup');
like(rule($_), qr/^ok /, "mends $_") for qw(backup_failed backup_age);

sql(q{ALTER SYSTEM SET chronos.health_backup_age = '1s'});
$node->reload;
becomes_true(q{state = 'critical' AND message LIKE '%repo1: age%' AND message LIKE '%repo2: age%' FROM chronos.health WHERE rule = 'backup_age'},
	'too old in each of them is critical');
$node->stop;
done_testing();
