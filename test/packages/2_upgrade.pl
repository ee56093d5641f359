# An upgrade of the packages under a running server that archives, with a backup under way, stops neither
# and loses nothing. Engine and module of two releases work together either way round, chronos.check()
# says which restart ends that, and apt does not leave a new module with an old engine.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use File::Path qw(make_path);
use PackageTest;
use Test::More;
use Time::HiRes qw(sleep);

# --- The next release: the same programs, which call themselves something else.
my ($version) = package_file('chronos-backup') =~ /_([\d.]+)-/;
my $next_version = $version =~ s/\d+$/9/r;
sub next_release
{
	my ($name) = @_;
	my $tree = "/tmp/next/$name";
	my $new = "/tmp/next/$name.deb";
	make_path('/tmp/next');
	runs("$name is unpacked", 'dpkg-deb', '-R', package_file($name), $tree);
	my @controls = glob "$tree/usr/share/postgresql/*/extension/chronos_backup.control";
	append_to($_ =~ s/\.control$/--$version--$next_version.sql/r, "-- nothing is new\n") for @controls;
	for my $file (grep { -f } glob("$tree/usr/bin/*"), glob("$tree/usr/lib/postgresql/*/lib/*.so"), "$tree/DEBIAN/control", @controls)
	{
		my $content = slurp($file);
		$content =~ s/\Q$version\E/$next_version/g;
		open my $out, '>', $file or die "$file: $!";
		print $out $content;
		close $out or die "$file: $!";
	}
	runs("$name $next_version is packed", 'dpkg-deb', '-b', $tree, $new);
	return $new;
}
my $engine = next_release('chronos-backup');
my $module = next_release("postgresql-$major-chronos-backup");
sub install { return runs("apt installs $_[0]", 'apt-get', 'install', '-y', '-q', @_) }
sub release_note { return sql(q{SELECT coalesce(string_agg(message || '. ' || hint, ' '), '') FROM chronos.check() WHERE test = 'version'}) }

# --- A load: a row in each transaction, and a segment of WAL every half second.
sql('CREATE TABLE load (i bigint PRIMARY KEY)');
my $load = fork // die "fork: $!";
if ($load == 0)
{
	my $stop = 0;
	local $SIG{TERM} = sub { $stop = 1 };
	for (my $i = 1; !$stop; ++$i)
	{
		my ($text, $status) = output(as_postgres('psql', '-X', '-At', '-d', 'postgres', '-c', "INSERT INTO load VALUES ($i)", '-c', 'SELECT pg_switch_wal()'));
		# A restart of the server is announced in a file: only then may a connection fail.
		redo if $status != 0 && -e '/tmp/restarting' && sleep 0.1;
		die "row $i: $text" if $status != 0;
		sleep 0.5;
	}
	exit 0;
}
my $failures = sql('SELECT failed_count FROM pg_stat_archiver');
sub archiving_goes_on
{
	my ($when) = @_;
	my $before = archived();
	ok(poll_until(sub { archived() >= $before + 3 }, "archiving $when"), "$when: WAL goes on");
	is(sql('SELECT failed_count FROM pg_stat_archiver'), $failures, "$when: no push has failed");
}
archiving_goes_on('before');

# --- A new engine under the old module. A backup is held in the middle of its work meanwhile.
my ($resident) = values %{ { engines('archive') } };
like($resident, qr{/usr/bin/chronos$}, 'the archiver has a resident engine');
my $job = sql(q{SELECT chronos.start_backup('full')});
my @working;
ok(poll_until(sub { @working = sort keys %{ { engines('backup') } }; @working >= 2 }, 'the backup has begun'), 'a backup has begun');
kill 'STOP', @working;
install($engine);
kill 'CONT', @working;
like(output('chronos', 'version'), qr/^chronos \Q$next_version\E /, 'the new engine is there');
archiving_goes_on('with a new engine');
is(sql("SELECT chronos.wait($job, '120 s')"), 'succeeded', 'the backup that was under way succeeds');
like(sql(q{SELECT chronos.backup_now('incr')}), qr/I$/, 'the old module has backups made by the new engine');
like(release_note(), qr/^chronos is version \Q$next_version\E, the module .* \Q$version\E\. Restart PostgreSQL/, 'chronos.check() says that the server is to be restarted');
my ($replaced) = values %{ { engines('archive') } };
like($replaced, qr{/usr/bin/chronos(?:\.dpkg-tmp)? \(deleted\)$}, 'the resident engine runs on as the program that was replaced');
runs('a reload', 'pg_ctlcluster', $major, 'main', 'reload');
ok(poll_until(sub { my %now = engines('archive'); %now && !grep { !m{/usr/bin/chronos$} } values %now }, 'new resident engine'),
	'starts the resident engine anew');
archiving_goes_on('with the new engine in the archiver');

# --- The new module, which the running server does not load.
install($module);
archiving_goes_on('with a new module on the disk');
like(release_note(), qr/Restart PostgreSQL/, 'the running module is the old one');
like(sql(q{SELECT chronos.backup_now('incr')}), qr/I$/, 'which goes on to work');
sub restart
{
	append_to('/tmp/restarting', '');
	runs('a restart', 'pg_ctlcluster', $major, 'main', 'restart');
	poll_until(sub { eval { sql('SELECT 1') } }, 'the server is back');
	unlink '/tmp/restarting';
	$failures = sql('SELECT failed_count FROM pg_stat_archiver');
}
restart();
like(release_note(), qr/^the SQL objects of chronos_backup are of version \Q$version\E.*ALTER EXTENSION chronos_backup UPDATE\.$/,
	'after the restart both are of the new release, and the SQL objects are to follow');
sql('ALTER EXTENSION chronos_backup UPDATE');
is(release_note(), '', 'which they do');
archiving_goes_on('after the restart');

# --- The other way round: a new module with an old engine. By force only.
my ($refused, $status) = output('apt-get', 'install', '-y', '-q', '--allow-downgrades', '--no-remove', package_file('chronos-backup'));
isnt($status, 0, 'apt refuses an engine that is older than the module') or diag($refused);
runs('dpkg can be forced', 'dpkg', '--force-depends', '--force-downgrade', '-i', package_file('chronos-backup'));
archiving_goes_on('with an old engine');
restart();
archiving_goes_on('with an old engine in the archiver');
like(sql(q{SELECT chronos.backup_now('incr')}), qr/I$/, 'the new module has backups made by the old engine');
like(release_note(), qr/^chronos is version \Q$version\E, the module .* \Q$next_version\E\. Upgrade chronos \(Debian package chronos-backup\)/,
	'chronos.check() says that chronos is to be upgraded');
runs('which it is', 'dpkg', '-i', $engine);
is(release_note(), '', 'and that helps at once');

# --- Nothing was lost.
kill 'TERM', $load;
waitpid $load, 0;
is($?, 0, 'the load never met an error');
my $rows = sql('SELECT max(i) FROM load');
is(sql('SELECT count(*) FROM load'), $rows, "all $rows rows of it are there");
ok(settled(), 'all WAL is archived');
runs('every backup and every segment is whole', 'chronos', '--stanza=main', 'verify');
runs('the server is stopped', 'pg_ctlcluster', $major, 'main', 'stop', '-m', 'fast');
runs('and restored', 'chronos', '--stanza=main', '--delta', 'restore');
runs('and started', 'pg_ctlcluster', $major, 'main', 'start');
ok(poll_until(sub { sql('SELECT pg_is_in_recovery()') eq 'f' }, 'recovery ends'), 'and recovers');
is(sql('SELECT count(*) FROM load'), $rows, 'to the last row');
done_testing();
