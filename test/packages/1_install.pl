# The packages alone, with what they depend on, make a server that backs itself up: the engine is found
# where the package has it, the directories belong to whom they should, manual and completion are there, a
# cluster of pg_createcluster is restored and started by the command that the restore prints, and serve
# runs as its unit has it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IO::Socket::INET;
use PackageTest;
use Test::More;

# --- What is installed, and where. Every server here is one that a test has made.
mkdir '/etc/postgresql-common';
append_to('/etc/postgresql-common/createcluster.conf', "create_main_cluster = false\n");
runs('apt knows what the release has', 'apt-get', '-o', 'Acquire::Check-Valid-Until=false', 'update', '-q');
runs('apt installs the packages', 'apt-get', 'install', '-y', '-q', '--no-install-recommends', @packages);
BAIL_OUT('nothing is installed') if !-x '/usr/bin/chronos';
like(output('dpkg', '-S', '/usr/bin/chronos'), qr/^chronos-backup: /, 'the engine is in its own package');
ok(!-e "/usr/lib/postgresql/$major/bin/chronos", 'and not among the programs of a server');
like(output('dpkg', '-S', "/usr/lib/postgresql/$major/lib/chronos_backup.so"), qr/^postgresql-$major-chronos-backup: /,
	'the module is in the package of its server version');
for my $directory ('/var/lib/chronos', '/var/log/pgbackrest', '/var/spool/pgbackrest')
{
	is(output('stat', '-c', '%U:%G %a', $directory), "postgres:postgres 750\n", "$directory is the server's");
}
is(output('stat', '-c', '%U:%G %a', '/etc/chronos'), "root:postgres 750\n", '/etc/chronos is the administrator\'s, and the server may read it');
for my $page ('man1/chronos.1.gz', 'man5/chronos.conf.5.gz')
{
	ok(-s "/usr/share/man/$page", "the manual has $page");
}
sub completed
{
	my (@words) = @_;
	my $script = '. /usr/share/bash-completion/completions/chronos; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _chronos; echo "${COMPREPLY[*]}"';
	return output('bash', '-c', $script, 'bash', 'chronos', @words);
}
like(completed('rest'), qr/\brestore\b/, 'bash completes a command');
like(completed('restore', '--save'), qr/^--save-current\b/, 'its options');
like(completed('restore', '--type', '=', 'imm'), qr/^immediate$/, 'the values that an option has for that command');
is(completed('backup', '--type', '=', 'imm'), "\n", 'and not those for another one');

# --- A cluster as Debian makes them.
my $conf = "/etc/postgresql/$major/main/postgresql.conf";
runs('a cluster is made', 'pg_createcluster', $major, 'main');
append_to($conf, <<"C");
listen_addresses = ''
shared_preload_libraries = 'chronos_backup'
archive_mode = on
archive_library = 'chronos_backup'
C
my $example = slurp('/usr/share/doc/chronos-backup/examples/chronos.conf');
ok($example =~ s{^#pg1-path=.*$}{pg1-path=$data}m, 'the example names a data directory');
append_to('/etc/chronos/chronos.conf', "$example\n[global:backup]\nstart-fast=y\n");
runs('the cluster starts', 'pg_ctlcluster', $major, 'main', 'start');
is(sql('SHOW chronos.executable'), '/usr/bin/chronos', 'the module knows the packaged engine');
sql('CREATE EXTENSION chronos_backup');
sql('CREATE TABLE t AS SELECT generate_series(1, 100000) AS i');
sql('SELECT chronos.stanza_create()');
is(sql(q{SELECT string_agg(test || ': ' || message, ', ') FROM chronos.check() WHERE NOT ok}), '', 'chronos.check() finds nothing wrong');
is(sql(q{SELECT count(*) FROM chronos.check() WHERE test = 'version'}), '0', 'module and engine are of one release');
like(sql(q{SELECT chronos.backup_now('full')}), qr/^\d{8}-\d{6}F$/, 'a full backup');
sql('INSERT INTO t SELECT 0');
ok(settled(), 'and WAL after it');

# --- Back to a moment, by the commands of the README.
my @restores = grep { /^chronos --stanza=main restore / } split /\n/, output('sh', '-c', 'zcat -f /usr/share/doc/chronos-backup/README.md*');
is(scalar(@restores), 2, 'the README plans a restore and does it');
my $moment = sql('SELECT clock_timestamp()');
sql('DELETE FROM t');
ok(settled(), 'rows are deleted by mistake');
runs('the server is stopped', 'pg_ctlcluster', $major, 'main', 'stop', '-m', 'fast');
runs($_, 'sh', '-c', s/--target='.*?'/--target='$moment'/r) for @restores;
runs('it starts', 'pg_ctlcluster', $major, 'main', 'start');
ok(poll_until(sub { sql('SELECT pg_get_wal_replay_pause_state()') eq 'paused' }, 'the moment is reached'), 'it recovers to that moment');
is(sql('SELECT count(*) FROM t'), '100001', 'the rows are there');
sql('SELECT pg_wal_replay_resume()');
ok(poll_until(sub { sql('SELECT pg_is_in_recovery()') eq 'f' }, 'recovery ends'), 'and it goes on from there');
ok(settled(), 'with an archive');

# --- The worst day.
runs('the server is stopped', 'pg_ctlcluster', $major, 'main', 'stop', '-m', 'fast');
runs('its data is lost', 'sh', '-c', "rm -rf $data/*");
my $said = runs('chronos restores it, called by root', 'chronos', '--stanza=main', '--log-level-console=info', 'restore');
my ($start) = $said =~ /(pg_ctlcluster \d+ main start)/;
is($start, "pg_ctlcluster $major main start", 'and says how this cluster is started') or diag($said);
runs('which starts it', 'sh', '-c', $start // 'false');
ok(poll_until(sub { sql('SELECT pg_is_in_recovery()') eq 'f' }, 'recovery ends'), 'it recovers');
is(sql('SELECT count(*) FROM t'), '100001', 'everything is there');
like(sql(q{SHOW restore_command}), qr{^"?/usr/bin/chronos"? }, 'restore_command names the packaged engine');

# --- serve, as the unit has it.
my $port = do { my $free = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!; $free->sockport };
append_to('/etc/chronos/chronos.conf', "\n[global:serve]\nhttp-listen=localhost:$port\n");
my ($unit) = map { chomp; $_ } grep { m{/chronos-serve\@\.service$} } `dpkg -L chronos-backup`;
my ($command) = slurp($unit) =~ /^ExecStart=(.*)$/m;
my ($user) = slurp($unit) =~ /^User=(.*)$/m;
is($user, 'postgres', 'serve does not run as root');
$command =~ s/%i/main/;
my $pid = fork // die "fork: $!";
exec 'runuser', '-u', $user, '--', 'sh', '-c', "exec $command" if $pid == 0;
sub answer
{
	my ($path) = @_;
	my $socket = IO::Socket::INET->new("127.0.0.1:$port") or return '';
	print $socket "GET $path HTTP/1.0\r\nHost: localhost\r\n\r\n";
	local $/;
	return readline $socket // '';
}
ok(poll_until(sub { answer('/readyz') =~ m{^HTTP/1\.1 200} }, 'serve is ready'), 'serve runs and has read the repository');
like(answer('/metrics'), qr/^chronos_/m, 'and has metrics');
kill 'TERM', $pid;
waitpid $pid, 0;
done_testing();
