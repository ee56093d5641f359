# A standby runs no jobs and says so, and with archive_mode = always an upload that hangs there holds up
# neither replay nor its shutdown. The engine is one that misbehaves on demand.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $base = PostgreSQL::Test::Utils::tempdir();
sub engine_of
{
	my ($name, $behaviour) = @_;
	open my $out, '>', "$base/$name" or die "$base/$name: $!";
	print $out "archive=$behaviour\n";
	close $out;
}
sub configuration
{
	my ($name, $archive_mode) = @_;
	return <<"C";
shared_preload_libraries = 'chronos_backup'
archive_mode = $archive_mode
archive_library = 'chronos_backup'
chronos.executable = '$FindBin::RealBin/../support/fake_engine.py'
chronos.config_file = '$base/$name'
C
}
engine_of('primary', 'ok');
engine_of('standby', 'hang');

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', configuration('primary', 'on'));
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION chronos_backup; CREATE TABLE t (n int)');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', configuration('standby', 'always'));
$standby->start;

for my $call ("start_backup('full')", "backup_now('full')", 'stanza_create()')
{
	my ($out, $err);
	$standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT chronos.$call", stdout => \$out, stderr => \$err);
	like($err, qr/ERROR:  25006: .* while the server is in recovery\nHINT:  .* on the primary\./,
		"$call is refused on a standby");
}
is($standby->safe_psql('postgres', 'SELECT count(*) FROM chronos.jobs'), '0', 'looking is allowed');

$primary->safe_psql('postgres', 'INSERT INTO t VALUES (1); SELECT pg_switch_wal(); INSERT INTO t VALUES (2)');
poll_until(sub { -e "$base/standby.log" && slurp_file("$base/standby.log") =~ /^push /m },
	'standby archives', 60);
my $begin = time;
$primary->safe_psql('postgres', 'CREATE DATABASE doomed');
$primary->safe_psql('postgres', 'DROP DATABASE doomed');
$primary->safe_psql('postgres', 'INSERT INTO t VALUES (3)');
$primary->wait_for_catchup($standby, 'replay');
my $took = time - $begin;
cmp_ok($took, '<', 5, "DROP DATABASE is replayed while the standby's upload hangs ($took s)");
is($standby->safe_psql('postgres', 'SELECT count(*) FROM t'), '3', 'and so is what follows');

$begin = time;
$standby->stop('fast');
$took = time - $begin;
cmp_ok($took, '<', 3, "and the standby stops in time ($took s)");

# After promotion it is a primary like any other.
engine_of('standby', 'ok');
$standby->start;
$standby->promote;
like($standby->safe_psql('postgres', "SELECT chronos.backup_now('full')"), qr/F$/, 'after promotion jobs run');
$standby->stop('fast');
$primary->stop('fast');
done_testing();
