# backup-repos: one backup mode, one reading of the cluster, a backup in every repository asked for, each
# with its own codec, passphrase, bundles and prior; one that fails is reported and the others complete.
# Enough with one version of PostgreSQL: its subject is the second repository
use strict;
use warnings;
use ChronosTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;

my $server = S3Server->new(buckets => ['first']);
my $link = $server->slow_link(rtt => 0);
my $second = PostgreSQL::Test::Utils::tempdir() . '/second';
mkdir $second or die $!;
my $node = chronos_node('primary',
	options => { $server->options('first', port => $link->{port}), 'repo1-path' => '/repo', 'repo1-bundle' => 'n',
		'repo2-path' => $second, 'repo2-retention-full' => 1, 'repo2-cipher-type' => 'aes-256-cbc',
		'repo2-cipher-pass' => 'another kept from view', 'repo2-compress-type' => 'gz', 'repo2-block' => 'n', 'io-timeout' => 1,
		'process-max' => 2, 'compress-type' => 'lz4' });
my $conf = $node->{chronos_conf};

sub labels
{
	my ($repo) = @_;
	my ($status, $out, $err) = chronos($conf, "--repo=$repo", '--output=json', 'info');
	my @labels = $out =~ /"label":"(\d{8}-\d{6}F[^"]*)"/g;
	return @labels;
}
sub restored
{
	my ($repo, $note, @how) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	chmod 0700, $dir;
	my ($status, $out, $err) = chronos($conf, "--repo=$repo", "--pg1-path=$dir", '--archive-mode=off', @how, 'restore');
	is($status, 0, "restore from repo$repo, $note") or diag($out . $err);
	my $again = restored_node("again$repo$note", $dir);
	my $state = table_state($again, 'ledger');
	$again->stop;
	return $state;
}

$node->safe_psql('postgres', 'CREATE TABLE ledger AS SELECT i, md5(i::text) FROM generate_series(1, 50000) i; CHECKPOINT');
my ($status, $out, $err) = chronos($conf, '--backup-repos=all', '--type=full', 'backup');
is($status, 0, 'a full backup into both') or diag($out . $err);
my $starts = () = slurp_file($node->logfile) =~ /pg_backup_start\(/g;
is($starts, 1, 'the server was in backup mode once');
my ($one, $two) = ([ labels(1) ], [ labels(2) ]);
is(scalar @$one, 1, 'listed in the bucket');
is_deeply($two, $one, 'and under the same label in the directory');
like(slurp_file("$second/backup/main/$two->[0]/backup.manifest"), qr/^Salted__/, 'which is encrypted');
ok((grep { m{/pg_data/PG_VERSION\.lz4$} } $server->keys_below('first', 'repo/backup/')), 'the bucket has lz4, unbundled');
ok(-d "$second/backup/main/$two->[0]/bundle", 'the directory bundles');
my $state = table_state($node, 'ledger');
wait_archived($node);
is(restored($_, 'full'), $state, "repo$_ holds everything") for 1, 2;

# Each goes on from what it has: a further full backup in one of them only.
($status, $out, $err) = chronos($conf, '--repo=2', '--type=full', 'backup');
is($status, 0, 'a backup into one of them') or diag($out . $err);
$node->safe_psql('postgres', 'UPDATE ledger SET md5 = md5 || 1 WHERE i % 100 = 0; CHECKPOINT');
($status, $out, $err) = chronos($conf, '--backup-repos=1,2', '--type=incr', 'backup');
is($status, 0, 'an incremental backup into both') or diag($out . $err);
like((labels(1))[-1], qr/^\Q$one->[0]\E_.*I$/, 'repo1 goes on with the first full backup');
unlike((labels(2))[-1], qr/^\Q$one->[0]\E/, 'repo2 with the later one');
like((labels(2))[-1], qr/I$/, 'incrementally');
is(scalar(grep { /F$/ } labels(2)), 1, 'and each has expired by its own rules');
is(scalar(grep { /F$/ } labels(1)), 1, 'each');
$state = table_state($node, 'ledger');
wait_archived($node);
is(restored($_, 'incr'), $state, "repo$_ holds the changes") for 1, 2;

# One away.
$link->command('stall');
my $before = scalar labels(2);
($status, $out, $err) = chronos($conf, '--backup-repos=all', '--type=diff', '--no-archive-check', '--no-expire-auto', 'backup');
is($status, 104, 'one that fails is an error') or diag($out . $err);
like($out . $err, qr/ERROR: [^\n]*repo1: /, 'which names it') or diag($out . $err);
is(scalar labels(2), $before + 1, 'the other has the backup');
$link->command('go');

($status, $out, $err) = chronos($conf, '--backup-repos=1,3', 'backup');
is($status, 32, 'an unknown repository is refused');
like($out . $err, qr/'1,3' is not valid for 'backup-repos' option/, 'by name');

# The same from SQL.
open my $file, '>>', $conf or die $!;
print $file "\n[global:backup]\nbackup-repos=all\n";
close $file;
my @before = (scalar labels(1), scalar labels(2));
my $job = $node->safe_psql('postgres', q{SELECT chronos.start_backup('diff')});
$node->poll_query_until('postgres', "SELECT state = 'succeeded' FROM chronos.jobs WHERE id = $job") or die 'the job did not end';
is_deeply([ scalar labels(1), scalar labels(2) ], [ map { $_ + 1 } @before ], 'a job backs up to both');

# The store of the first dies in the middle of a restore.
($status, $out, $err) = chronos($conf, '--type=full', 'backup');
is($status, 0, 'a full backup of both') or diag($out . $err);
is((labels(1))[-1], (labels(2))[-1], 'under one label');
$state = table_state($node, 'ledger');
wait_archived($node);
$node->stop('immediate');
my $dir = PostgreSQL::Test::Utils::tempdir();
chmod 0700, $dir;
$link->command('rtt 200');
my ($restore_out, $restore_err) = ('', '');
my $restore = IPC::Run::start([ $chronos, "--config=$conf", '--stanza=main', "--pg1-path=$dir", '--archive-mode=off',
	'--log-level-console=detail', 'restore' ], '>', \$restore_out, '2>', \$restore_err);
poll_until(sub { (() = glob "$dir/base/*/*") > 100 }, 'the restore has begun to copy', 60);
$server->command('crash');
$link->command('reset');
ok($restore->finish, 'a restore whose repository dies ends well') or diag($restore_out . $restore_err);
my $copied = () = $restore_out =~ /DETAIL: restore file /g;
# Warnings go to standard error, what is told in detail to standard output.
my @stood_in = $restore_err =~ /WARN: (repo1: .*; repo2 stood in)/g;
cmp_ok(scalar @stood_in, '>', 0, 'with files from the other repository, which it says') or diag($restore_out . $restore_err);
cmp_ok(scalar @stood_in, '<', 100, 'but not of each of them');
cmp_ok($copied, '>', 500, 'each file of which is told in detail');
# That the WAL ends somewhere nobody says without the first.
$server->command('restart');
$link->command('rtt 0');
my $again = restored_node('againafter', $dir);
is(table_state($again, 'ledger'), $state, 'and holds everything');
$again->stop;
$_->stop for $link, $server;
done_testing();
