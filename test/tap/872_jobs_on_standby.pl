# With chronos.backup_role = any backup_now() works on a standby and backs that up; other jobs do not, and without it
# none does. A job there can be cancelled and is seen in chronos.jobs, and comes into the history when the standby is
# promoted; its numbers go on then where those of the former primary end.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = chronos_node('primary', conf => "autovacuum = off\nchronos.health_interval = 0\n");
my $base = PostgreSQL::Test::Utils::tempdir();
$primary->safe_psql('postgres', 'CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 1000) i');
like($primary->safe_psql('postgres', q{SELECT chronos.backup_now('full')}), qr/F$/, 'the primary is backed up');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
my $conf = write_config("$base/standby.conf",
	path => $primary->{chronos_repo}, pg => $standby->data_dir, port => $standby->port, socket => $standby->host);
$standby->append_conf('postgresql.conf', "chronos.config_file = '$conf'");
$standby->start;
sub refused
{
	my ($call, $hint, $what) = @_;
	my ($out, $err);
	$standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT chronos.$call", stdout => \$out, stderr => \$err);
	like($err, qr/ERROR:  25006: .*in recovery\nHINT:  .*$hint/, $what);
}
refused("backup_now('full')", 'chronos\.backup_role', 'a backup is refused, with the way to have it');
$standby->append_conf('postgresql.conf', "chronos.backup_role = 'any'");
$standby->reload;
poll_until(sub { $standby->safe_psql('postgres', 'SHOW chronos.backup_role') eq 'any' }, 'the setting is read');
refused("start_job('expire', '{}')", 'on the primary', 'other jobs are refused all the same');

my $label;
for my $type ('full', 'incr')
{
	$primary->safe_psql('postgres', 'INSERT INTO t SELECT max(id) + 1 FROM t');
	$primary->wait_for_catchup($standby, 'replay');
	$label = $standby->safe_psql('postgres', "SELECT chronos.backup_now('$type')");
	like($label, $type eq 'full' ? qr/F$/ : qr/I$/, "$type backup of the standby");
}
like(slurp_file("$primary->{chronos_repo}/backup/main/$label/backup.manifest"), qr/^option-backup-standby=true$/m, 'it is one of a standby');
is($standby->safe_psql('postgres', q{SELECT string_agg(type || ' ' || state, ',' ORDER BY id) FROM chronos.jobs}),
	'full succeeded,full succeeded,incr succeeded', 'the view has its jobs behind those of the primary');
is($standby->safe_psql('postgres', 'SELECT chronos.cancel(chronos.start_backup($$full$$))'), 't', 'one can be cancelled');
poll_until(sub { $standby->safe_psql('postgres', q{SELECT count(*) FROM chronos.jobs WHERE finished_at IS NULL}) eq '0' }, 'it ends');
like($standby->safe_psql('postgres', q{SELECT string_agg(DISTINCT state, ',' ORDER BY state) FROM chronos.jobs}), qr/^cancelled,succeeded$/, 'and is told');
unlike(slurp_file($standby->logfile), qr/could not record/, 'nothing that cannot be written is tried');

# The primary goes on with numbers of its own.
like($primary->safe_psql('postgres', q{SELECT chronos.backup_now('incr')}), qr/I$/, 'the primary goes on') for 1 .. 4;
$primary->wait_for_catchup($standby, 'replay');
my $last = $standby->safe_psql('postgres', 'SELECT max(id) FROM chronos.job_history');
$primary->stop('fast');
$standby->promote;
poll_until(sub { $standby->safe_psql('postgres', q{SELECT count(*) FROM chronos.job_history WHERE state = 'cancelled'}) eq '1' },
	'the history is caught up with', 180);
like($standby->safe_psql('postgres', q{SELECT chronos.backup_now('full')}), qr/F$/, 'after promotion jobs run');
cmp_ok($standby->safe_psql('postgres', 'SELECT max(id) FROM chronos.job_history'), '>', $last, 'with a number of their own');
is($standby->safe_psql('postgres', 'SELECT count(*) = count(DISTINCT id) FROM chronos.job_history WHERE id >= ' . $last), 't', 'after all others');
$standby->stop('fast');
done_testing();
