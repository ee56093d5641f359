# A repository gets a new passphrase while a server archives into it: in two phases, between which
# both passphrases work, and in one go when the configuration holds both. pgBackRest reads and writes
# with the new one afterwards. Killed anywhere, one of the two passphrases opens everything.
# Enough with one version of PostgreSQL: its subject is the repository
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use File::Path qw(make_path);
use Test::More;
use Time::HiRes qw(usleep);

my $base = PostgreSQL::Test::Utils::tempdir();
my @pass = map { "passphrase number $_" } 0 .. 40;
my $node = PostgreSQL::Test::Cluster->new('rekeyed');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf',
	"archive_mode = on\narchive_command = 'pgbackrest --config=$base/live.conf --stanza=main archive-push %p'\n");
$node->start;
configure('live', $pass[0]);

is((pgbackrest("$base/live.conf", 'stanza-create'))[0], 0, 'an encrypted stanza');
is((pgbackrest("$base/live.conf", qw(backup --type=full)))[0], 0, 'with a full backup');
two_phases();
in_one_go();
refused();
killed();
$node->stop;
from_sql();
done_testing();

# What the command line does, an administrator does in SQL.
sub from_sql
{
	my %encrypted = ('repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => $pass[0]);
	my $server = chronos_node('sql', options => \%encrypted);
	$server->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
	PostgreSQL::Test::Utils::append_to_file("$base/new.pass", $pass[1]);
	chmod 0600, "$base/new.pass";
	my $rows = q{SELECT count(*) FILTER (WHERE action = 'written') FROM chronos.rekey};
	is($server->safe_psql('postgres', "$rows(1, 'prepare', '$base/new.pass')"), 2, 'SQL prepares: two copies');
	my $text = PostgreSQL::Test::Utils::slurp_file($server->{chronos_conf});
	open my $out, '>', $server->{chronos_conf} or die $!;
	print $out $text =~ s/\Q$pass[0]\E/$pass[1]/r;
	close $out;
	is($server->safe_psql('postgres', "$rows(1, 'finish')"), 2, 'and finishes: two main files');
	is($server->safe_psql('postgres', 'SELECT count(*) FROM chronos.backups'), 1, 'the backup is there with the new passphrase');
	unlike(PostgreSQL::Test::Utils::slurp_file($server->logfile), qr/passphrase number/, 'no passphrase in the server log');
	$server->stop;
}

sub configure
{
	my ($name, $pass, %options) = @_;
	return write_config("$base/$name.conf", path => "$base/repo", pg => $node->data_dir, port => $node->port,
		socket => $node->host, 'lock-path' => "$base/lock", 'spool-path' => "$base/spool", 'log-level-console' => 'off',
		'log-level-stderr' => 'off', 'compress-type' => 'gz', 'repo1-cipher-type' => 'aes-256-cbc',
		'repo1-cipher-pass' => $pass, %options);
}

# A segment of WAL reaches the repository.
sub archive_one
{
	$node->safe_psql('postgres', "SELECT pg_create_restore_point('something to archive')");
	return wait_archived($node);
}

# Labels that a tool sees, "-" if it cannot open the repository.
sub labels
{
	my ($tool, $conf) = @_;
	my ($status, $out) = run_tool($tool, "--config=$conf", '--stanza=main', qw(info --output=json));
	# Not parsed: pgBackRest quotes what it failed to decrypt, which is no JSON.
	my %labels = map { $_ => 1 } $out =~ /"label":"(\d{8}-\d{6}F[^"]*)"/g;
	return join(' ', sort keys %labels) || '-';
}

sub opens
{
	my ($number) = @_;
	my $by_pgbackrest = labels('pgbackrest', configure('probe', $pass[$number]));
	return $by_pgbackrest ne '-' && $by_pgbackrest eq labels($chronos, "$base/probe.conf");
}

sub with_new
{
	my ($pass, @command) = @_;
	local $ENV{CHRONOS_NEW_CIPHER_PASS} = $pass;
	return chronos(@command);
}

sub two_phases
{
	my $before = labels('pgbackrest', "$base/live.conf");
	my ($status, $out, $err) = with_new($pass[1], "$base/live.conf", qw(rekey --phase=prepare --output=json));
	is($status, 0, 'prepare') or diag $err;
	is_deeply([ map { "$_->{name} $_->{action}" } @{ decode_json($out) } ],
		[
			'archive/main/archive.info none', 'backup/main/backup.info none',
			'archive/main/archive.info.copy written', 'backup/main/backup.info.copy written'
		],
		'writes the copies');
	unlike($out . $err, qr/passphrase number/, 'and no secret');
	ok(opens(0), 'the old passphrase opens it');
	ok(opens(1), 'so does the new one');
	archive_one();
	configure('live', $pass[1]);
	archive_one();
	pass('WAL is archived before and after the configuration is switched');
	($status) = chronos("$base/live.conf", qw(rekey --phase=finish));
	is($status, 0, 'finish');
	ok(!opens(0), 'the old passphrase opens nothing any more');
	ok(opens(1), 'the new one does');
	is(labels('pgbackrest', "$base/live.conf"), $before, 'the same backups');
	archive_one();
	($status, $out) = pgbackrest("$base/live.conf", qw(backup --type=incr));
	is($status, 0, 'pgBackRest goes on with an incremental backup') or diag $out;
	($status, $out) = pgbackrest("$base/live.conf", 'verify', '--log-level-console=info');
	is($status, 0, 'and verifies');
	unlike($out, qr/ERROR|invalid|missing/i, 'without a finding');
	($status, $out) = chronos("$base/live.conf", qw(backup --type=incr));
	is($status, 0, 'and so do we') or diag $out;
	for my $tool ('pgbackrest', $chronos)
	{
		my $dir = "$base/restored" . ($tool eq $chronos);
		mkdir $dir, 0700;
		($status, $out) = run_tool($tool, "--config=$base/live.conf", '--stanza=main', "--pg1-path=$dir", 'restore');
		is($status, 0, "restored by $tool") or diag $out;
		ok(-f "$dir/global/pg_control", 'to the end');
	}
	return;
}

sub in_one_go
{
	my $both = configure('both', $pass[2], 'repo1-cipher-pass-previous' => $pass[1]);
	ok(labels($chronos, $both) ne '-', 'our readers take the previous passphrase too');
	my ($status, $out) = chronos($both, 'rekey');
	is($status, 0, 'in one go') or diag $out;
	ok(opens(2) && !opens(1), 'the new passphrase has replaced the old one');
	configure('live', $pass[2]);
	archive_one();
	return;
}

sub refused
{
	my ($status, $out, $err) =
	  run_tool($chronos, "--config=$base/live.conf", '--new-cipher-pass=x', 'rekey', '--phase=prepare');
	is($status, 31, 'no passphrase on the command line');
	($status) = chronos("$base/live.conf", 'rekey');
	is($status, 37, 'nothing to go by');
	($status) = with_new($pass[3], "$base/live.conf", 'rekey');
	is($status, 31, 'nor when the configuration could not open it afterwards');
	($status, $out, $err) = with_new($pass[3], configure('wrong', 'something else'), qw(rekey --phase=prepare --log-level-stderr=error));
	is($status, 95, 'a wrong passphrase');
	like($err, qr/Nothing was changed/, 'changes nothing');
	ok(opens(2), 'indeed');

	# Nor while somebody of another host works on the stanza.
	my $elsewhere = "$base/repo/chronos/main/run/1-elsewhere";
	make_path($elsewhere =~ s{/[^/]+$}{}r);
	PostgreSQL::Test::Utils::append_to_file($elsewhere, '{"what":"backup","server":"","host":"elsewhere","boot":"b","namespace":"n","pid":"1","start":"1"}' . "\n");
	($status, $out, $err) = with_new($pass[3], configure('next', $pass[2]), qw(rekey --phase=prepare --log-level-stderr=error));
	is($status, 50, 'while a backup of another host runs it is refused');
	like($out . $err, qr/rekey of stanza 'main' .* is not possible while 'backup' of process 1 on host 'elsewhere'/, 'and says who is at work');
	($status, $out, $err) = chronos("$base/live.conf", '--log-level-stderr=error', 'stanza-create');
	is($status, 50, 'so is stanza-create') or diag $out . $err;
	unlink $elsewhere or die $!;

	# A backup that runs keeps it away.
	open my $lock, '>', "$base/lock/main-backup.lock" or die $!;
	print $lock '{"execId":"1-1","pid":1}';
	$lock->flush;
	flock $lock, 2 or die $!;
	($status) = with_new($pass[3], "$base/live.conf", qw(rekey --phase=prepare));
	is($status, 50, 'not while a backup runs');
	close $lock;
	unlink "$base/lock/main-backup.lock";
	return;
}

# SIGKILL at whatever step it has reached.
sub killed
{
	my $now = 2;
	my $interrupted = 0;
	# As long as it takes, on this machine and beside what else runs on it.
	my $span_us = 60_000;
	for my $next (3 .. 22)
	{
		my $both = configure('both', $pass[$next], 'repo1-cipher-pass-previous' => $pass[$now]);
		my $pid = fork // die $!;
		if ($pid == 0)
		{
			exec $chronos, "--config=$both", 'rekey' or die $!;
		}
		usleep(int rand $span_us);
		kill 'KILL', $pid;
		waitpid $pid, 0;
		my $was_interrupted = $? & 127;
		$interrupted++ if $was_interrupted;
		$span_us *= $was_interrupted ? 1.3 : 0.6;
		my ($old, $new) = (opens($now), opens($next));
		ok($old || $new, 'one of the two passphrases opens everything');
		$now = $next if !$old;
		next if $old && !$new;
		my ($status) = chronos($both, 'rekey');
		ok($status == 0 && opens($next), 'and the next run finishes it');
		$now = $next;
	}
	cmp_ok($interrupted, '>', 0, 'it was killed at times');
	my $live = configure('live', $pass[$now]);
	archive_one();
	my ($status, $out) = pgbackrest($live, qw(backup --type=incr));
	is($status, 0, 'pgBackRest goes on with whatever came out of it') or diag $out;
	return;
}
