# `make install` beside a server that runs: whoever starts an engine or loads the module meanwhile gets the
# old one or the new one, whole, and what runs is not touched. The module and the engine agree on the place.
use strict;
use warnings;
use Cwd qw(getcwd);
use File::Copy qw(copy);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use Test::More;

my $base = tempdir(CLEANUP => 1);
my $bin = "$base/bin";
# As large as an engine, so that copying it takes a while.
my $program = "$base/engine";
copy('/bin/sleep', $program) or die $!;
open my $file, '>>', $program or die $!;
print $file "\0" x 30_000_000;
close $file or die $!;
chmod 0755, $program;
my @make = ('make', '-s', 'install-engine', "ENGINE=$program", "CHRONOS_BINDIR=$bin", "bindir=$base/server");
is(system(@make), 0, 'an engine is installed');

my $running = fork // die $!;
exec "$bin/chronos", '3600' if $running == 0;
my $installing = fork // die $!;
if ($installing == 0)
{
	for (1 .. 10) { system(@make) == 0 or exit 1 }
	exit 0;
}
my ($starts, $failures) = (0, 0);
while (waitpid($installing, 1) == 0)
{
	my $pid = fork // die $!;
	if ($pid == 0) { exec "$bin/chronos", '0' or exit 1 }
	waitpid $pid, 0;
	++$starts;
	++$failures if $? != 0;
}
is($?, 0, 'it is installed ten times more');
is($failures, 0, "none of $starts starts meanwhile has failed");
is(waitpid($running, 1), 0, 'who was started before runs on');
kill 'TERM', $running;
waitpid $running, 0;
is_deeply([ sort map { s{.*/}{}r } glob "$bin/{*,.[!.]*}" ], ['chronos'], 'and nothing else is left there');

# --- The module, which servers map: what is installed here is as large, and nothing is compiled for it.
my $server_library = "$base/lib";
mkdir $server_library or die $!;
copy($program, "$base/chronos_backup.so") or die $!;
copy('chronos_backup.control', $base) or die $!;
my $whole = -s $program;
my @make_module = ('make', '-s', '-C', $base, '-f', getcwd() . '/Makefile', '-o', 'chronos_backup.so', 'install-lib',
	"pkglibdir=$server_library");
is(system(@make_module), 0, 'a module is installed');
open my $mapped, '<', "$server_library/chronos_backup.so" or die $!;
my $first = (stat $mapped)[1];
$installing = fork // die $!;
if ($installing == 0)
{
	for (1 .. 5) { system(@make_module) == 0 or exit 1 }
	exit 0;
}
my ($looks, $partial) = (0, 0);
while (waitpid($installing, 1) == 0)
{
	++$looks;
	select undef, undef, undef, 0.001;    # a copy takes longer
	++$partial if (-s "$server_library/chronos_backup.so" // 0) != $whole;
}
is($?, 0, 'it is installed five times more');
is($partial, 0, 'whoever looks for it meanwhile finds one that is whole') or diag("$partial of $looks");
isnt((stat "$server_library/chronos_backup.so")[1], $first, 'it is another file');
is(-s $mapped, $whole, 'and the one that is mapped stays as it was');
is_deeply([ map { s{.*/}{}r } glob "$server_library/*" ], ['chronos_backup.so'], 'and nothing else is left there');

# --- A former release had it beside the server's programs, where a restore_command may name it.
mkdir "$base/server" or die $!;
copy('/bin/false', "$base/server/chronos") or die $!;
system(@make);
is(readlink "$base/server/chronos", "$bin/chronos", 'a former engine becomes a link to this one');

# --- Servers of packages share one engine: the last one's module takes it along.
my $root = "$base/root";
for my $major (17, 18)
{
	my $library = "$root/usr/lib/postgresql/$major/lib";
	make_path($library);
	open my $module, '>', "$library/chronos_backup.so" or die $!;
	print $module "\0/usr/local/bin/chronos\0";
	close $module or die $!;
}
sub make_for
{
	my ($target, $major) = @_;
	my $server = "/usr/lib/postgresql/$major";
	return system("make -s $target DESTDIR='$root' ENGINE='$program' bindir=$server/bin pkglibdir=$server/lib >'$base/said'");
}
my $shared = "$root/usr/local/bin/chronos";
make_for('install-engine', 17);
is(make_for('uninstall', 17), 0, 'one of two modules is uninstalled');
ok(!-e "$root/usr/lib/postgresql/17/lib/chronos_backup.so", 'it is gone');
ok(-x $shared, 'and the engine, which the other one starts, is not');
is(make_for('uninstall', 18), 0, 'the other one is uninstalled');
ok(!-e $shared, 'and the engine with it');

# --- Each installation has a place of its own, and the module is told.
sub place
{
	my (@settings) = @_;
	return (qx{make -s -n -B build/module-0/extension/settings.o MODULE_DIR=build/module-0 @settings} =~ /-DCHRONOS_EXECUTABLE='"([^"]*)"'/)[0];
}
is(place('bindir=/usr/lib/postgresql/17/bin'), '/usr/local/bin/chronos', 'with servers of packages one engine serves all versions');
is(place('bindir=/opt/pg/bin'), '/opt/pg/bin/chronos', 'elsewhere it is beside the server\'s programs');
is(place('bindir=/opt/pg/bin', 'CHRONOS_BINDIR=/usr/bin'), '/usr/bin/chronos', 'or where it is told to be');
done_testing();
