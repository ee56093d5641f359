# Traps of the server's own making that no other test meets: two ways to archive configured at once,
# secrets that a reload would write to the log, and a restored cluster that would go on archiving into
# the repository of the one it was made from.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = chronos_node('primary',
	options => { 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'right horse' });
my $conf = $node->{chronos_conf};
$node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
my $first = wait_archived($node);

# Secrets are in the configuration file alone: no setting of the server can hold one, whoever looks.
is( $node->safe_psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name LIKE 'chronos.%' AND name ~ 'pass|secret|key|token'}),
	0, 'no setting of the server holds a secret');
my $settings = $node->safe_psql('postgres', q{SELECT name, value FROM chronos.settings WHERE name ~ 'cipher-pass$'});
is($settings, 'repo1-cipher-pass|<redacted>', 'the view settings does not show the passphrase');
my $offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "chronos.process_max = 2\n");
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('chronos.process_max') = '2'}) or die 'no reload';
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/right horse/, 'nor does the log, after a reload neither');

# 15 takes the library and says nothing, 16 and later start the archiver only when that is mended.
$node->append_conf('postgresql.conf', "archive_command = 'false'\n");
$offset = -s $node->logfile;
$node->reload;
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
poll_until(sub { PostgreSQL::Test::Utils::slurp_file($node->logfile, $offset) =~ /archive_command/ },
	'the log names archive_command', 90);
like(PostgreSQL::Test::Utils::slurp_file($node->logfile, $offset), qr/archive_command/,
	'an archive_command beside the library is named in the log');
$node->append_conf('postgresql.conf', "archive_command = ''\n");
$node->reload;
my $second = wait_archived($node);
cmp_ok($second, 'gt', $first, 'without it archiving goes on, and nothing is lost');
$node->stop;

# A restored cluster inherits archive_mode and archive_library. With --archive-mode=off it is
# promoted and writes, and the repository gets nothing of it.
sub archived { return join ' ', sort map { s/.*\///r } glob "$node->{chronos_repo}/archive/main/*-1/* $node->{chronos_repo}/archive/main/*-1/*/*" }
my $before = archived();
my $dir = PostgreSQL::Test::Utils::tempdir();
chmod 0700, $dir;
my ($status, $out, $err) = chronos($conf, "--pg1-path=$dir", '--archive-mode=off', 'restore');
is($status, 0, 'restored for a look') or diag($out . $err);
my $look = restored_node('look', $dir);
is($look->safe_psql('postgres', 'SHOW archive_mode'), 'off', 'archive_mode is off in it');
$look->safe_psql('postgres', 'CREATE TABLE t (); SELECT pg_switch_wal()');
$look->stop;
is(archived(), $before, 'the repository got nothing of it, no new timeline either');

done_testing();
