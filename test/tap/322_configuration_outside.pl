# pg_createcluster of Debian puts the configuration of a cluster outside of its data directory, where no
# backup looks. It is kept beside the backup, and a restore hands it out with a command that starts the
# server.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $node = chronos_node('origin', start => 0);
my $conf = $node->{chronos_conf};
my $data = $node->data_dir;
my $etc = "$base/etc/some main";
# pg_createcluster includes an empty conf.d.
mkdir $_ or die "mkdir $_: $!" for "$base/etc", $etc, "$etc/conf.d", "$etc/empty.d";
# Since 19 there is a fourth one.
my $hosts = -f "$data/pg_hosts.conf";
my @files = (qw(postgresql.conf pg_hba.conf pg_ident.conf), $hosts ? 'pg_hosts.conf' : ());
rename "$data/$_", "$etc/$_" or die "$_: $!" for @files;
append_to_file("$etc/postgresql.conf", <<"C");
data_directory = '$data'
hba_file = '$etc/pg_hba.conf'
ident_file = '$etc/pg_ident.conf'
include_dir = 'conf.d'
include_dir = 'empty.d'
C
append_to_file("$etc/postgresql.conf", "hosts_file = '$etc/pg_hosts.conf'\n") if $hosts;
append_to_file("$etc/conf.d/site.conf", "work_mem = '7MB'\nrecovery_target_name = 'stale'\n");
system('pg_ctl', '-w', '-s', '-D', $data, '-l', $node->logfile, '-o', qq{-c config_file="$etc/postgresql.conf"}, 'start')
  == 0 or die 'pg_ctl start';
$node->safe_psql('postgres', 'CREATE EXTENSION chronos_backup; CREATE TABLE t (n int); INSERT INTO t VALUES (1)');
my ($rc, $out, $err) = chronos($conf, 'stanza-create');
is($rc, 0, 'stanza-create') or diag $out . $err;
($rc, $out, $err) = chronos($conf, 'check');
is($rc, 0, 'check') or diag $out . $err;
like($out . $err, qr/outside of the data directory: .*\Q$etc\E\/postgresql\.conf/, 'check says where the configuration lies');
($rc, $out, $err) = chronos($conf, '--type=full', 'backup');
is($rc, 0, 'backup') or diag $out . $err;
my ($label) = slurp_file("$node->{chronos_repo}/backup/main/backup.info") =~ /^(\d{8}-\d{6}F)=/m;
ok(-f "$node->{chronos_repo}/chronos/main/config/$label", 'its files are kept beside the backup');
is($node->safe_psql('postgres', "INSERT INTO t VALUES (2); SELECT chronos.backup_now('full') > ''"), 't',
	'a backup by the server');
wait_archived($node);
my @kept = glob "$node->{chronos_repo}/chronos/main/config/*";
is(scalar @kept, 2, 'keeps them too');
system('pg_ctl', '-w', '-s', '-D', $data, '-m', 'fast', 'stop') == 0 or die 'pg_ctl stop';

# A new machine: the old configuration is gone.
rename "$base/etc", "$base/gone" or die $!;
my $new = "$base/new data";
mkdir $new, 0700;
($rc, $out, $err) = chronos($conf, "--pg1-path=$new", 'restore', '--plan');
is($rc, 0, 'plan') or diag $out . $err;
like($out, qr/configuration: .*\Q$etc\E\/postgresql\.conf/, 'the plan names the files');
like($out, qr/set aside: +recovery_target_name = 'stale' \(site\.conf line 2\)/, 'and knows what they say');
ok(!-e "$new/chronos_config", 'and changes nothing');
($rc, $out, $err) = chronos($conf, "--pg1-path=$new", 'restore');
is($rc, 0, 'restore') or diag $out . $err;
my $there = "$new/chronos_config$etc";
is(slurp_file("$there/$_"), slurp_file("$base/gone/some main/$_"), "$_ is handed out")
  for @files, 'conf.d/site.conf';
ok(-d "$there/empty.d", 'an empty directory that is included, too');
is((stat "$there/pg_hba.conf")[2] & 07777, 0600, 'for the owner only');
my ($command) = ($out . $err) =~ /(pg_ctl -D .* start)$/m;
ok(defined $command, 'and the command that starts the server is printed') or diag $out . $err;
append_to_file("$new/postgresql.auto.conf", "archive_mode = off\nport = " . $node->port . "\n");
is(system("$command >'$base/start.log' 2>&1 </dev/null"), 0, 'which does') or diag slurp_file("$base/start.log");
ok($node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), 'recovery ends');
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), '2', 'with all rows');
is($node->safe_psql('postgres', 'SHOW work_mem'), '7MB', 'and the settings of the cluster');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_settings WHERE name IN ('config_file', 'hba_file', 'ident_file',"
		  . " 'hosts_file') AND starts_with(setting, '$there/')"), scalar @files, 'all of it as it was handed out');
system('pg_ctl', '-w', '-s', '-D', $new, '-m', 'fast', 'stop') == 0 or die 'pg_ctl stop';
done_testing();
