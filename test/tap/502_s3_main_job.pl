# The main job on an object store over TLS: the server archives to a bucket and is backed up into it,
# is lost, and comes back; pgBackRest reads and writes the same bucket; no key and no passphrase shows
# in any output, log or command line.
# Enough with one version of PostgreSQL: its subject is the bucket
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use S3Server;
use POSIX ();
use Test::More;
use Time::HiRes ();

my $server = S3Server->new(buckets => [ 'path', 'host' ]);
my $passphrase = 'pass-phrase-that-must-not-show';
my @secrets = ($server->{secret}, $passphrase);
my ($said, $restored) = ('', 0);

# Looks at every command line there is, all the time, as anybody on the machine can.
my $command_lines = PostgreSQL::Test::Utils::tempdir() . '/command_lines';
my $watcher = fork // die $!;
if ($watcher == 0)
{
	my %seen;
	open my $out, '>', $command_lines or die $!;
	$out->autoflush(1);
	local $SIG{TERM} = sub { POSIX::_exit(0) };
	while (1)
	{
		for my $file (glob '/proc/[0-9]*/cmdline')
		{
			open my $in, '<', $file or next;
			my $line = do { local $/; <$in> } // next;
			next if $line !~ /chronos|pgbackrest/ || $line =~ /s3_server/ || $seen{$line}++;
			print $out "$line\n";
		}
		Time::HiRes::usleep(2000);
	}
}

# Keeps what a tool says for the end, where it is searched for secrets.
sub heard
{
	my ($status, $out, $err) = @_;
	$said .= $out . $err;
	return ($status, $out, $err);
}

# Restores by one tool and says what the tables hold; further arguments go to the restore.
sub state_restored
{
	my ($tool, $conf, @arguments) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	chmod 0700, $dir;
	my ($status, $out, $err) = heard($tool->($conf, "--pg1-path=$dir", @arguments, 'restore'));
	is($status, 0, "restore @arguments") or diag($out . $err);
	return "restore failed: $err" if $status != 0;
	my $node = restored_node('restored' . ++$restored, $dir);
	my $state = table_state($node, 'ledger');
	$node->stop;
	return $state;
}

sub main_job
{
	my ($style, %options) = @_;
	my $node = chronos_node($style, options => {
		$server->options($style, style => $style), 'repo1-path' => '/backups of/the team',
		'process-max' => 2, 'log-level-file' => 'debug', %options });
	my $conf = $node->{chronos_conf};
	my $insert = sub {
		$node->safe_psql('postgres', "INSERT INTO ledger SELECT '$_[0] ' || i FROM generate_series(1, 300) i");
	};
	$node->safe_psql('postgres', 'CREATE TABLE ledger (note text)');
	# Larger than a part, so that there is a multipart upload, and not to be compressed.
	$node->safe_psql('postgres', q{CREATE TABLE large AS
		SELECT string_agg(md5(random()::text || j::text), '') AS t FROM generate_series(1, 9000) i, generate_series(1, 60) j GROUP BY i});
	$insert->('first');
	my $full = $node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
	like($full, qr/F$/, 'full backup');
	sleep 2;    # the format tells the end of a backup by whole seconds
	$insert->('second');
	my $second = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	my $second_state = table_state($node, 'ledger');
	$node->safe_psql('postgres', q{SELECT pg_switch_wal()});
	$insert->('third');
	wait_archived($node);

	my ($status, $out, $err) = heard(chronos($conf, 'info'));
	is($status, 0, 'info') or diag($err);
	my (undef, $other) = heard(pgbackrest($conf, 'info'));
	s/(\d\d:\d\d:\d\d)\+00/$1/g for $out, $other;    # 2.45 does not name the zone
	is($out, $other, 'info prints what pgBackRest prints of the bucket');
	($status, $out, $err) = heard(chronos($conf, 'check'));
	is($status, 0, 'check') or diag($out . $err);

	my ($label) = $node->safe_psql('postgres', q{SELECT chronos.backup_now('incr')});
	like($label, qr/^\Q$full\E_\d{8}-\d{6}I$/, 'incr backup');
	# Bundled as ours: its verify calls an empty file, which bundles do not store, missing when a
	# backup without bundles refers to one.
	($status, $out, $err) = heard(pgbackrest($conf, '--type=incr', '--repo1-bundle', '--no-archive-check', 'backup'));
	is($status, 0, 'pgBackRest takes an incr on top') or diag($out . $err);
	($status, $out, $err) = heard(pgbackrest($conf, 'verify'));
	is($status, 0, 'pgBackRest verifies the bucket');
	unlike($out . $err, qr/invalid|missing: [1-9]/, 'and finds nothing wrong') or diag($out . $err);
	$insert->('fourth');
	my $last_state = table_state($node, 'ledger');
	wait_archived($node);
	for my $query ('SELECT * FROM pg_settings', 'SELECT * FROM chronos.settings', 'SELECT * FROM chronos.jobs',
		'SELECT * FROM chronos.backups', 'SELECT * FROM chronos.check()', 'SELECT * FROM pg_stat_activity')
	{
		$said .= $node->safe_psql('postgres', $query);
	}
	$node->stop('immediate');    # lost

	is(state_restored(\&chronos, $conf, '--archive-mode=off'), $last_state,
		'chronos restores the backup of pgBackRest, and to the end of the WAL');
	is(state_restored(\&pgbackrest, $conf, "--set=$label", '--archive-mode=off'), $last_state,
		'pgBackRest restores the backup of chronos');
	is(state_restored(\&chronos, $conf, '--type=time', "--target=$second", '--target-action=promote', '--archive-mode=off'),
		$second_state, 'chronos restores to a point in time');

	open my $in, '<', $conf or die $!;
	my $text = do { local $/; <$in> };
	my ($log_path) = $text =~ /^log-path=(.*)$/m;
	$said .= join '', map { slurp_file($_) } glob("$log_path/*.log"), $node->logfile;
	return;
}

subtest 'path style, in clear' => sub { main_job('path', 'compress-type' => 'zst') };
subtest 'host style, encrypted' => sub {
	main_job('host', 'compress-type' => 'gz', 'repo1-cipher-type' => 'aes-256-cbc',
		'repo1-cipher-pass' => $passphrase);
};
my @keys = $server->keys_below('path', '');
# What only chronos knows of (the times of commits in WAL, for one) has a place beside.
is(join("\n", grep { !m{^backups of/the team/(?:archive|backup|chronos)/main/} } @keys), '',
	'every key lies below the prefix, as pgBackRest has them');

# Whatever is wrong with the access, the message says what.
my $base = PostgreSQL::Test::Utils::tempdir();
for my $case (
	[ 'wrong secret', { 'repo1-s3-key-secret' => 'wrong-' . $server->{secret} }, qr/SignatureDoesNotMatch.*HINT: .*repo1?-s3-key-secret/s ],
	[ 'wrong key', { 'repo1-s3-key' => 'nobody' }, qr/InvalidAccessKeyId.*HINT: .*repo1?-s3-key/s ],
	[ 'wrong bucket', { 'repo1-s3-bucket' => 'nothing' }, qr/NoSuchBucket.*HINT: .*repo1?-s3-bucket/s ],
	[ 'unknown authority', { 'repo1-storage-ca-file' => undef }, qr/certificate.*HINT: .*repo1?-storage-ca-file/s ],
	[ 'nobody there', { 'repo1-storage-port' => 1, 'io-timeout' => 1 }, qr/failed: .*refused|connect/i ],
	[ 'no such host', { 'repo1-s3-endpoint' => 'no.such.host.invalid', 'io-timeout' => 1 }, qr/HINT: .*endpoint/s ])
{
	my ($name, $change, $expected) = @$case;
	my $conf = write_config("$base/wrong.conf", pg => '/nowhere', $server->options('path'),
		'repo1-path' => '/backups of/the team', %$change);
	my ($status, $out, $err) = heard(chronos($conf, 'info'));
	like($out . $err, $expected, "$name is told");
	my ($get) = heard(chronos($conf, 'archive-get', '000000010000000000000001', "$base/wal"));
	cmp_ok($get, '>', 125, "$name: recovery must stop, not end");
}

kill 'TERM', $watcher;
waitpid $watcher, 0;
my $seen = slurp_file($command_lines);
cmp_ok(() = $seen =~ /\n/g, '>', 10, 'command lines were looked at');
$said .= $seen;
for my $secret (@secrets)
{
	unlike($said, qr/\Q$secret\E/, 'no secret in ' . length($said) . ' bytes of output, logs, command lines and answers of the server');
}
$server->stop;
done_testing();
