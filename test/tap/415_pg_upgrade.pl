# A cluster goes to a newer major version by pg_upgrade, with the module in both servers. While
# pg_upgrade has them in its hands the module does nothing. Afterwards schedules, history and audit log
# are there; nothing is archived into the former cluster's archive; stanza_upgrade() and a backup lead on,
# and what there was before the upgrade is restored as it was, by the former version's server.
# TEST_OLDER_BINDIR: the programs of an older server that has the module too.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $older_bin = $ENV{TEST_OLDER_BINDIR} // die 'TEST_OLDER_BINDIR does not name the programs of an older server';
my $older = $older_bin =~ s{/bin/?$}{}r;
my ($newer_bin) = grep { -x "$_/pg_upgrade" } split /:/, $ENV{PATH};

my $former = chronos_node('former', install_path => $older);
my $conf = $former->{chronos_conf};
my $repo = $former->{chronos_repo};
my $archive = archive_directory($former);
$former->safe_psql('postgres', $_)
  for 'CREATE TABLE t AS SELECT i, md5(i::text) AS m FROM generate_series(1, 5000) i',
  q{SELECT chronos.schedule('nightly', 'incr', '0 2 * * *', 'Europe/Berlin', retries => 2)},
  q{SELECT chronos.schedule('often', 'full', '* * * * *', 'UTC', enabled => false)};
is($former->safe_psql('postgres', q{SELECT chronos.backup_now('full') > ''}), 't', 'a backup by the former server');
$former->safe_psql('postgres', q{UPDATE t SET m = m || 'x' WHERE i % 3 = 0});
wait_archived($former);
my $state = table_state($former, 't');
my $before = $former->safe_psql('postgres', 'SELECT clock_timestamp()');
$former->safe_psql('postgres', 'DELETE FROM t WHERE i > 4000');
wait_archived($former);
my %kept = map { $_ => $former->safe_psql('postgres', $_) } (
	'SELECT name, type, cron, timezone, retries, enabled FROM chronos.schedules ORDER BY name',
	'SELECT id, type, state, label, requested_at FROM chronos.job_history ORDER BY id',
	'SELECT finished_at, operation, arguments, requested_by FROM chronos.audit_log ORDER BY finished_at, operation, arguments::text');
my ($label) = map { m{([^/]+)$} } glob "$repo/backup/main/2*F";
like(join("\n", processes($former)), qr/chronos launcher/, 'a server has a launcher');
$former->stop;

# As pg_upgrade starts it.
system("$older_bin/pg_ctl", '-w', '-s', '-D', $former->data_dir, '-l', $former->logfile, '-o', '-b', 'start') == 0 or die 'pg_ctl -b';
$former->safe_psql('postgres', 'SELECT pg_switch_wal()');
unlike(join("\n", processes($former)), qr/chronos/, 'but not in the hands of pg_upgrade');
ok($former->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'}),
	'nor does it archive');
system("$older_bin/pg_ctl", '-w', '-s', '-D', $former->data_dir, '-m', 'fast', 'stop') == 0 or die 'pg_ctl stop';
my $archived = slurp_tree($archive);

my $latter = chronos_node('latter', start => 0, repo => $repo);
my $work = PostgreSQL::Test::Utils::tempdir();
{
	chdir $work or die $!;
	my ($status, $out, $err) = run_tool("$newer_bin/pg_upgrade", '-b', $older_bin, '-B', $newer_bin, '-d', $former->data_dir,
		'-D', $latter->data_dir, '-p', $former->port, '-P', $latter->port, '-s', $former->host, '--retain');
	is($status, 0, 'pg_upgrade') or diag "$out$err";
}
is_deeply(slurp_tree($archive), $archived, 'neither server has archived anything meanwhile');
my @archives = glob "$repo/archive/main/*-*";
is(scalar @archives, 1, 'nor begun an archive');

$latter->start;
is($latter->safe_psql('postgres', $_), $kept{$_}, 'kept: ' . s/^SELECT.*FROM (\S+) .*$/$1/r) for sort keys %kept;
like($latter->safe_psql('postgres', 'TABLE chronos.backups'), qr/\Q$label\E/, 'the former backup is listed');
$latter->safe_psql('postgres', 'CREATE TABLE since (); SELECT pg_switch_wal()');
ok($latter->poll_query_until('postgres', 'SELECT failed_count > 0 FROM pg_stat_archiver'), 'WAL of another cluster is refused');
like(slurp_file($latter->logfile), qr/stanza-upgrade|stanza_upgrade/, 'and what to do is said');
is_deeply(slurp_tree($archive), $archived, 'nothing of it is in the former archive');
$latter->safe_psql('postgres', 'SELECT chronos.stanza_upgrade()');
wait_archived($latter);
(my $next = archive_directory($latter)) =~ s/-1$/-2/;
ok(-d $next, 'then it is archived, beside the former');
my ($rc, $out, $err) = chronos($latter->{chronos_conf}, 'check');
is($rc, 0, 'check') or diag "$out$err";
is($latter->safe_psql('postgres', q{SELECT chronos.backup_now('incr') > ''}), 't', 'a backup by the latter server');
like($latter->safe_psql('postgres', q{SELECT label FROM chronos.backups ORDER BY label DESC LIMIT 1}), qr/^(?!\Q$label\E)\d{8}-\d{6}F$/,
	'in full, for there is none of it');
$latter->safe_psql('postgres', q{SELECT chronos.schedule('often', 'incr', '* * * * *', 'UTC')});
my $new_state = table_state($latter, 't');

# A moment before the upgrade is in the former cluster's archive.
my %is = (whole => [ "--set=$label" ], moment => [ '--type=time', "--target=$before", '--target-action=promote' ]);
for my $wish (sort keys %is)
{
	my $data = "$work/$wish";
	mkdir $data, 0700;
	($rc, $out, $err) = chronos($latter->{chronos_conf}, "--pg1-path=$data", 'restore', @{ $is{$wish} });
	is($rc, 0, "restored: $wish") or diag "$out$err";
	my $node = restored_node($wish, $data, install_path => $older);
	is(table_state($node, 't'), $wish eq 'moment' ? $state : $new_state, 'to what it was');
	$node->stop;
}
ok($latter->poll_query_until('postgres',
		q{SELECT count(*) > 0 FROM chronos.job_history WHERE schedule = 'often' AND state = 'succeeded'}), 'schedules run');
$latter->safe_psql('postgres', q{SELECT chronos.unschedule('often')});
my $data = "$work/current";
mkdir $data, 0700;
wait_archived($latter);
($rc, $out, $err) = chronos($latter->{chronos_conf}, "--pg1-path=$data", 'restore');
is($rc, 0, 'restored: the latter') or diag "$out$err";
my $node = restored_node('current', $data);
is(table_state($node, 't'), $new_state, 'to what it is');
$node->stop;
($rc, $out, $err) = chronos($latter->{chronos_conf}, 'verify');
is($rc, 0, 'verify has nothing to say against either') or diag "$out$err";
$latter->stop;
done_testing();

# What the server has started, as its processes call themselves.
sub processes
{
	my ($node) = @_;
	my ($server) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	return split /\n/, `ps -o args= --ppid $server`;
}
