# Keys and passphrases show nowhere: not in what the tools print at their most talkative, not in an
# error, a log, the answer to an SQL statement or the arguments of a process. SecretWatch looks in every
# test; here it is seen to find, and led to where secrets are closest at hand.
# Enough with one version of PostgreSQL: its subject is what is printed
use strict;
use warnings;
use ChronosTest;
use POSIX ();
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;

my $server = S3Server->new(buckets => ['one']);
my %options = ($server->options('one'), 'repo1-path' => '/repo', 'repo1-cipher-type' => 'aes-256-cbc',
	'repo1-cipher-pass' => 'battery staple 508', 'io-timeout' => 2, 'log-level-console' => 'trace');
my $node = chronos_node('primary', options => \%options);
my $conf = $node->{chronos_conf};
$node->append_conf('postgresql.conf', "log_min_messages = debug1\nchronos.log_level = 'trace'\n")
  if $node->safe_psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name = 'chronos.log_level'});
$node->reload;

# It finds.
run_tool('printf', 'battery %s 508', 'staple');
my $pid = fork // die $!;
if (!$pid) { exec { 'perl' } '/a/chronos', '-e', 'select undef, undef, undef, 0.8', 'battery staple 508' or POSIX::_exit(1) }
waitpid $pid, 0;
$node->safe_psql('postgres', "SELECT 'battery ' || 'staple 508'");
is_deeply([ SecretWatch::take_finds() ],
	[ "answer to 'SELECT 'battery ' || 'staple 508''", 'arguments of /a/chronos', "output of 'printf battery %s 508 staple'" ],
	'a secret in an output, an answer and the arguments of a process is found');

# Everything that handles them.
for my $command ([ '--type=full', 'backup' ], [ 'check' ], [ '--type=incr', 'backup' ], [ 'info' ], [ '--output=json', 'info' ],
	[ 'expire' ], [ 'verify' ], [ 'repo-ls' ], [ 'repo-get', 'backup/main/backup.info' ], [ 'config-list' ], [ 'maintenance' ])
{
	my ($status, $out, $err) = chronos($conf, @$command);
	is($status, 0, "@$command") or diag($out . $err);
}
wait_archived($node);
my $dir = PostgreSQL::Test::Utils::tempdir();
chmod 0700, $dir;
is((chronos($conf, "--pg1-path=$dir", $_, 'restore'))[0], 0, "restore $_") for '--plan', '--delta';
my ($auto) = slurp_file("$dir/postgresql.auto.conf");
SecretWatch::look('postgresql.auto.conf of a restore', $auto);
for my $statement ('SELECT * FROM chronos.settings', 'SELECT * FROM chronos.check()', 'SELECT * FROM chronos.backups',
	'SELECT * FROM chronos.jobs', q{SELECT chronos.backup_now('diff')}, 'SELECT * FROM pg_settings', 'SELECT * FROM pg_stat_activity')
{
	my ($status, $out, $err) = $node->psql('postgres', $statement);
	is($status, 0, $statement) or diag($err);
}

# And what goes wrong with them.
my %wrong = ('the secret' => { 'repo1-s3-key-secret' => 'a wrong secret of 508' }, 'the passphrase' => { 'repo1-cipher-pass' => 'another horse 508' },
	'the token' => { 'repo1-s3-token' => 'a token out of date 508' },
	'the customer key' => { 'repo1-s3-sse-customer-key' => 'no base64, as it must be, 508' });
for my $what (sort keys %wrong)
{
	my $other = write_config(PostgreSQL::Test::Utils::tempdir() . '/other.conf', pg => $node->data_dir, port => $node->port,
		socket => $node->host, %options, %{ $wrong{$what} });
	for my $command ('check', 'info', 'repo-ls')
	{
		my ($status, $out, $err) = chronos($other, $command);
		next if $what eq 'the passphrase' && $command eq 'repo-ls';
		next if $what eq 'the token';    # what the store thinks of a token is its own matter
		ok($status != 0 || $out =~ /error/i, "$command with $what wrong says so") or diag($out . $err);
	}
}
is_deeply([ SecretWatch::take_finds() ], [], 'nothing of it shows a secret');

$node->stop('immediate');
$server->stop;
done_testing();
