# What a configuration says and does not mean is told: with the file, the line and why, by commands, by
# chronos.check() and by chronos.settings; secrets are not in it. And warnings and errors go where
# pgBackRest sends them, so that a job of cron is heard although its output is thrown away.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
mkdir "$base/$_" for qw(repo log lock pg);

# --- Where lines go: for any levels the same stream gets the same classes from both tools.
sub write_file { my ($file, $text) = @_; open my $out, '>', $file or die $!; print $out $text; close $out; chmod 0640, $file; return $file }
my $levels = write_file("$base/levels.conf", <<C);
[global]
repo1-path=$base/repo
log-path=$base/log
lock-path=$base/lock
log-level-file=off
[main]
pg1-path=$base/pg
C

# "out: INFO", "err: WARN", ...: the classes of lines in each stream; "text" is what is no line of a log.
sub classes
{
	my ($tool, $conf, @arguments) = @_;
	my ($status, $out, $err) = run_tool($tool, "--config=$conf", '--stanza=main', @arguments);
	my %found;
	for ([ out => $out ], [ err => $err ])
	{
		my ($stream, $text) = @$_;
		$found{"$stream: " . (/^(?:[-0-9:. ]{23} )?(?:P\d\d +)?(ERROR|WARN|INFO|DETAIL): / ? $1 : next)} = 1 for split /\n/, $text;
	}
	return ($status, join ', ', sort keys %found);
}

seed();
my @level = (qw(off error warn info), undef);
# Newer ones are silent on standard error unless told otherwise; ours is heard as before.
my $same_default = (run_tool('pgbackrest', 'help', 'expire', 'log-level-stderr'))[1] =~ /default: warn/;
my @commands = ([ 'expire', '--no-log-timestamp' ], ['expire'], ['start'], [qw(restore --delta)], ['stop'], ['start']);
my @tried;
for my $command (@commands)
{
	# All pairs of levels would take a minute: each command some of them.
	for (1 .. 5)
	{
		my ($console, $stderr) = ($level[ rand @level ], $level[ rand($same_default ? @level : $#level) ]);
		my @options = ((defined $console ? "--log-level-console=$console" : ()), (defined $stderr ? "--log-level-stderr=$stderr" : ()));
		my @result = map { unlink glob "$base/lock/*.stop"; [ classes($_, $levels, @options, @$command) ] } $ENV{CHRONOS}, 'pgbackrest';
		push @tried, "@options @$command: chronos $result[0][1]; pgbackrest $result[1][1]" if $result[0][1] ne $result[1][1];
	}
}
is(join("\n", @tried), '', 'each stream gets what pgBackRest sends there');
my ($status, $out, $err) = run_tool($ENV{CHRONOS}, "--config=$levels", '--stanza=main', 'expire');
isnt($status, 0, 'a command that fails');
like($err, qr/^ERROR: \[/m, 'is heard with its output thrown away');
unlike($out, qr/ERROR|WARN/, 'and in one place only');

# --- Lines that do not mean what they look like.
my $node = chronos_node('primary', options => { 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'hush hush 405', 'log-level-console' => 'off' });
my $conf = $node->{chronos_conf};
($status, $out, $err) = chronos($conf, 'info');
unlike($err, qr/WARN/, 'a configuration that means what it says gives no warning') or diag($err);
is($node->safe_psql('postgres', q{SELECT count(*) FROM chronos."check"() WHERE test = 'configuration'}), 0, 'nor in check()');

my $text = slurp_file($conf);
my $lines = () = $text =~ /\n/g;
write_file($conf, $text . <<'C');
[Global]
repo1-path=/elsewhere
[global:bakup]
process-max=2
[mian]
repo1-path=/elsewhere
[global]
drill-path=/var/tmp # small
repo1-cipher-pas=hush hush 405
Repo1-Cipher-Pass=hush hush 405
[main:restore]
pg1-pth=/x
C
my %expected = ('[Global]' => 1, '[global:bakup]' => 3, '[mian]' => 5, 'drill-path=/var/tmp # small' => 8,
	'repo1-cipher-pas=<redacted>' => 9, 'Repo1-Cipher-Pass=<redacted>' => 10, 'pg1-pth=<redacted>' => 12);
($status, $out, $err) = chronos($conf, '--log-level-stderr=off', 'expire');
for my $line (sort { $expected{$a} <=> $expected{$b} } keys %expected)
{
	my $number = $lines + $expected{$line};
	like($err, qr/\Q$conf\E', line $number: \Q$line\E/, "$line is shown, whatever the levels are");
}
unlike($out . $err, qr/hush/, 'and no secret');
is(() = $err =~ /^WARN/mg, scalar(keys %expected), 'each once') or diag($err);
my $found = $node->safe_psql('postgres', q{SELECT string_agg(message, E'\n') FROM chronos."check"() WHERE test = 'configuration' AND ok});
like($found, qr/line @{[ $lines + $expected{$_} ]}: \Q$_\E/, "chronos.check() shows $_") for keys %expected;
$found = $node->safe_psql('postgres', q{SELECT string_agg(value, E'\n') FROM chronos.settings WHERE name = '(warning)'});
like($found, qr/line @{[ $lines + $expected{$_} ]}: \Q$_\E/, "chronos.settings shows $_") for keys %expected;
unlike($found, qr/hush/, 'without secrets');
$node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
unlike(slurp_file($node->logfile), qr/hush/, 'no secret in the log of the server');
($status, $out, $err) = run_tool('env', 'PGBACKREST_REPO1_PTH=/x', 'pgbackrest_repo1_path=/x', $ENV{CHRONOS}, "--config=$levels", 'info');
like($err, qr/invalid option 'repo1-pth'.*Did you mean repo1-path/s, 'a misspelt variable is named');
like($err, qr/'pgbackrest_repo1_path' is not read/, 'and one that nothing reads');

# --- A check is not content with what stops every backup, or every expire, only because it does not need it itself.
for my $case ([ 'repo1-retention-full', 0, 'backup' ], [ 'start-fast', 'yes', 'backup' ], [ 'compress-type', 'gzip', 'archive-push' ])
{
	my ($option, $value, $command) = @$case;
	write_file($conf, $text =~ s/^$option=.*\n//mr =~ s/^\[global\]\n/[global]\n$option=$value\n/r);
	($status, $out, $err) = chronos($conf, '--no-archive-check', 'check');
	is($status, 32, "$option=$value: check fails") or diag($out . $err);
	like($out, qr/^FAILED +configuration: .*line 2: $option=$value\n +HINT: .*: the command $command will refuse it/m, 'with the line, and who needs it');
	is($node->safe_psql('postgres', q{SELECT ok FROM chronos."check"() WHERE test = 'configuration' AND message LIKE '%line 2: %'}), 'f', 'in SQL too');
	isnt((chronos($conf, '--type=full', 'backup'))[0], 0, 'so it is') if $command eq 'backup';
}
# A key that stands twice stops them just so, in whichever section they read.
for my $section (qw(global global:backup main main:backup))
{
	write_file($conf, "$text\n[$section]\nstop-auto=y\nstop-auto=n\n");
	my $line = () = slurp_file($conf) =~ /\n/g;
	($status, $out, $err) = chronos($conf, '--no-archive-check', 'check');
	is($status, 32, "twice in [$section]: check fails") or diag($out . $err);
	like($out, qr/^FAILED +configuration: .*line $line: stop-auto=n\n +HINT: It was set before in section '\[\Q$section\E\]': the command backup will refuse it/m,
		'with the line, and who needs it');
	is($node->safe_psql('postgres', qq{SELECT ok FROM chronos."check"() WHERE test = 'configuration' AND message LIKE '%line $line: %'}), 'f', 'in SQL too');
	is((chronos($conf, '--type=full', 'backup'))[0], 31, 'so it is');
}

# --- chronos.check() is asked by a server, and judges what commands on a shell read all the same.
{
	my ($data, $port, $sockets) = ($node->data_dir, $node->port, $node->host);
	my $wrong = sub {
		my ($line, $with) = @_;
		write_file($conf, ($text =~ s/^\Q$line\E=.*\n//mr) . $with);
		return $node->safe_psql('postgres', q{SELECT string_agg(status || ' ' || test || ': ' || message || ' ' || hint, E'\n') FROM chronos."check"() WHERE NOT ok});
	};
	my $other = private_directory();
	mkdir "$other/here" or die $!;
	my $restored = private_directory();
	system('cp', '-a', "$data/global", "$data/PG_VERSION", $restored) == 0 or die;
	for my $path ("$other/gone", "$other/here", $restored)
	{
		like($wrong->('pg1-path', "pg1-path=$path\n"), qr/^failure cluster: .*pg1-path=\Q$data\E in the configuration/s, "pg1-path of another place ($path) is found, with the way out");
		($status, $out, $err) = chronos($conf, 'check');
		isnt($status, 0, 'as by the command');
	}
	symlink $data, "$other/link" or die $!;
	is($wrong->('pg1-path', "pg1-path=$other/link\n"), '', 'another name of the data directory is none');
	is($wrong->('pg1-path', ''), '', 'nor is none at all, where the server knows it');
	like($wrong->('pg1-port', "pg1-port=1\n"), qr/^failure connection: commands on a shell do not reach this server: pg1-port is 1, and .* port $port.*pg1-port=$port/, 'a port that is not the one of this server');
	like($wrong->('pg1-socket-path', "pg1-socket-path=$other\n"), qr/^failure connection: .*pg1-socket-path is '\Q$other\E', and the sockets of this server are in '\Q$sockets\E'/, 'sockets that are not');
	symlink $sockets, "$other/sockets" or die $!;
	is($wrong->('pg1-socket-path', "pg1-socket-path=$other/sockets\n"), '', 'another name of their directory is none');
	is($wrong->('no line', "[global]\nbackup-standby=y\n"), '', 'backups of a standby only may be what is meant');
	($status, $out, $err) = chronos($conf, 'check');
	is($status, 0, 'by the command as well') or diag($out . $err);
	like($out, qr/^note +backup-standby: .*each one is refused$/m, 'which says that there will be none here');
	is((chronos($conf, '--type=full', 'backup'))[0], 56, 'as each backup does');
	is($wrong->('no line', "[global]\nbackup-standby=prefer\n"), '', 'prefer is not');
	write_file($conf, $text);
}

# --- The passphrase: wrong, missing, not needed, and damage are four things, whoever reads.
write_file($conf, $text);
my $label = $node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
sub variant { my ($name, $change) = @_; local $_ = $text; $change->(); return write_file("$base/$name.conf", $_) }
my %asked = (
	wrong => [ variant('wrong', sub { s/hush hush/other/ }), qr/wrong passphrase/ ],
	none => [ variant('none', sub { s/repo1-cipher.*\n//g }), qr/is encrypted but repo1-cipher-type is none/ ]);
my $segment = wait_archived($node);
my $target = PostgreSQL::Test::Utils::tempdir();
chmod 0700, $target;
my %readers = (
	verify => [qw(--output=text verify)], info => ['info'], check => ['check'], expire => ['expire'], backup => [qw(--type=full backup)],
	'archive-get' => [ 'archive-get', $segment, "$base/got" ], restore => [ "--pg1-path=$target", 'restore' ], annotate => [ "--set=$label", '--annotation=a=b', 'annotate' ],
	'archive-push' => [ 'archive-push', "pg_wal/$segment" ], hold => [ "--set=$label", 'hold' ], health => ['health']);
# A verdict over many rules has its own, and only above 125 a server stops instead of ending its recovery.
my %status = (health => 1, 'archive-get' => 200);
for my $what (sort keys %asked)
{
	my ($with, $says) = @{ $asked{$what} };
	for my $reader (sort keys %readers)
	{
		chdir $node->data_dir;
		($status, $out, $err) = chronos($with, '--log-level-console=warn', @{ $readers{$reader} });
		chdir $base;
		like($out . $err, $says, "$what: $reader says so") or diag($out . $err);
		is($status, $status{$reader} // 95, "$what: $reader has the exit status of a wrong passphrase");
		unlike($out . $err, qr/the stanza hangs on|has a stanza-create been performed/, "$what: $reader does not send anybody elsewhere");
	}
}
for my $file (qw(backup/main/backup.info archive/main/archive.info.copy))
{
	my $whole = slurp_file("$node->{chronos_repo}/$file");
	for my $at (20, int(length($whole) / 2), length($whole) - 1)
	{
		my $changed = $whole;
		substr($changed, $at, 1) = chr(ord(substr($changed, $at, 1)) ^ 1);
		write_file("$node->{chronos_repo}/$file", $changed);
		($status, $out, $err) = chronos($conf, qw(--output=text verify));
		is($status, 28, "$file damaged at $at: verify finds it");
		like($out, qr/\Q@{[ $file =~ s{.*\/}{}r ]}\E/, 'and names it');
		unlike($out, qr/wrong passphrase/, 'and does not doubt the passphrase') if $at > 20;
	}
	write_file("$node->{chronos_repo}/$file", $whole);
}
$node->stop;
done_testing();
