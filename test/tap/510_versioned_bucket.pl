# A bucket with versions, after somebody has expired what was needed: repo-target-time shows the repository
# as it was, and restores from it, WAL and all.
# Enough with one version of PostgreSQL: its subject is the bucket
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;

my $server = S3Server->new(buckets => ['versioned']);
$server->command('versioning versioned');
my $node = chronos_node('primary', options => { $server->options('versioned'), 'repo1-path' => '/repo',
	'repo1-retention-full' => 1, 'process-max' => 2, 'compress-type' => 'lz4' });
my $conf = $node->{chronos_conf};

sub labels
{
	my ($status, $out, $err) = chronos($conf, @_, '--output=json', 'info');
	is($status, 0, "info @_") or diag($out . $err);
	return join ' ', $out =~ /"label":"(\d{8}-\d{6}F)"/g;
}

$node->safe_psql('postgres', 'CREATE TABLE ledger AS SELECT i, md5(i::text) FROM generate_series(1, 20000) i');
my ($status, $out, $err) = chronos($conf, '--type=full', 'backup');
is($status, 0, 'the first backup') or diag($out . $err);
my $first = labels();
my $state = table_state($node, 'ledger');
my $segment = wait_archived($node);
sleep 2;    # versions are told apart by whole seconds
my $then = $node->safe_psql('postgres', q{SELECT to_char(now() - interval '1 s', 'YYYY-MM-DD HH24:MI:SSOF')});
sleep 1;
$node->safe_psql('postgres', 'DROP TABLE ledger');
($status, $out, $err) = chronos($conf, '--type=full', 'backup');
is($status, 0, 'a second backup, which expires the first') or diag($out . $err);
$node->stop('immediate');

unlike(labels(), qr/\Q$first\E/, 'the first is gone');
my @then = ('--repo=1', "--repo1-target-time=$then");
is(labels(@then), $first, 'at the target time it was the only one');
my $dir = PostgreSQL::Test::Utils::tempdir();
chmod 0700, $dir;
($status, $out, $err) = chronos($conf, @then, "--pg1-path=$dir", '--archive-mode=off', '--type=immediate',
	'--target-action=promote', 'restore');
is($status, 0, 'and is restored') or diag($out . $err);
my $again = restored_node('again', $dir);
is(table_state($again, 'ledger'), $state, 'with what was dropped since, and the WAL it needs');
$again->stop;
($status, $out, $err) = chronos($conf, @then, 'verify');
is($status, 0, 'verify reads it too') or diag($out . $err);
$server->stop;
done_testing();
