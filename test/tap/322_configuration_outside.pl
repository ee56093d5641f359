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

# The commands that a restore has printed.
sub commands
{
	return join ' && ', $_[0] =~ /^    (\S.*)$/mg;
}

# Runs them as somebody would, and waits for the end of recovery.
sub start_as_printed
{
	my ($node, $out, $log) = @_;
	is(system('(' . commands($out) . ") >'$log' 2>&1 </dev/null"), 0, 'which does') or diag slurp_file($log);
	ok($node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), 'recovery ends');
}

my $base = PostgreSQL::Test::Utils::tempdir();
my $node = chronos_node('origin', start => 0);
my $conf = $node->{chronos_conf};
my $data = $node->data_dir;
my $etc = "$base/etc/some main";
# pg_createcluster includes an empty conf.d.
mkdir $_ or die "mkdir $_: $!" for "$base/etc", $etc, "$etc/conf.d", "$etc/empty.d", "$base/shared";
append_to_file("$base/shared/s.conf", "maintenance_work_mem = '33MB'\n");
# What the rules of access name; with include since 16.
my $major = `pg_config --version` =~ /(\d+)/ ? $1 : 0;
my @included = ('users.txt', $major >= 16 ? ('hba.d/1.conf', 'more_hba', 'ident_more') : ());
my $includes = $major >= 16 ? "include_dir hba.d\ninclude more_hba\ninclude_if_exists none\n" : '';
# Since 19 there is a fourth one.
my $hosts = -f "$data/pg_hosts.conf";
my @files = (qw(postgresql.conf pg_hba.conf pg_ident.conf), $hosts ? 'pg_hosts.conf' : ());
rename "$data/$_", "$etc/$_" or die "$_: $!" for @files;
my $hba = slurp_file("$etc/pg_hba.conf");
unlink "$etc/pg_hba.conf";
append_to_file("$etc/pg_hba.conf", "local postgres \@users.txt trust\n$includes$hba");
append_to_file("$etc/pg_ident.conf", "include ident_more\n") if $major >= 16;
mkdir "$etc/hba.d" if $major >= 16;
append_to_file("$etc/$_", $_ eq 'users.txt' ? "nobody\n" : "# $_\n") for @included;
append_to_file("$etc/postgresql.conf", <<"C");
data_directory = '$data'
hba_file = '$etc/pg_hba.conf'
ident_file = '$etc/pg_ident.conf'
include_dir = 'conf.d'
include_dir = 'empty.d'
include '$base/shared/s.conf'
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
rename "$base/shared", "$base/gone/shared" or die $!;
my $new = "$base/new data";
mkdir $new, 0700;
($rc, $out, $err) = chronos($conf, "--pg1-path=$new", 'restore', '--plan');
is($rc, 0, 'plan') or diag $out . $err;
like($out, qr/configuration: .*\Q$etc\E\/postgresql\.conf/, 'the plan names the files');
like($out, qr/set aside: +recovery_target_name = 'stale' \(site\.conf line 2\)/, 'and knows what they say');
ok(!-e "$new/chronos_config", 'and changes nothing');
# Where the configuration says another directory, that is told, but not where it is the same by another name.
my ($above, $last) = $data =~ m{^(.*)/([^/]+)$};
symlink $above, "$base/link" or die $!;
my $another = qr/uses another data directory/;
unlike((chronos($conf, "--pg1-path=$base/link/$last", '--delta', 'restore', '--plan'))[1], $another, 'a directory behind a link is the same');
like((chronos($conf, "--pg1-path=$new", 'restore', '--plan'))[1], $another, 'another one is not');
($rc, $out, $err) = chronos($conf, '--log-level-console=warn', "--drill-path=$base", 'drill');
is($rc, 0, 'drill') or diag $out . $err;
unlike($out . $err, $another, 'a drill, whose server has settings of its own, says nothing of it');
my $silent = "$base/silent";
mkdir $silent, 0700;
($rc, $out, $err) = chronos($conf, "--pg1-path=$silent", '--log-level-console=off', 'restore');
is("$rc$out", '0', 'a restore whose console is off prints nothing') or diag $out . $err;
system('rm', '-rf', $silent);
($rc, $out, $err) = chronos($conf, "--pg1-path=$new", '--log-level-console=warn', 'restore');
is($rc, 0, 'restore') or diag $out . $err;
my $there = "$new/chronos_config$etc";
is(slurp_file("$there/$_"), slurp_file("$base/gone/some main/$_"), "$_ is handed out")
  for @files, 'conf.d/site.conf', @included;
ok(-d "$there/empty.d", 'an empty directory that is included, too');
is((stat "$there/pg_hba.conf")[2] & 07777, 0600, 'for the owner only');
like($out, qr/^    cp -a .*^    pg_ctl -D .* start$/ms, 'and the commands that start the server are printed, whatever is logged')
  or diag $out . $err;
append_to_file("$new/postgresql.auto.conf", "archive_mode = off\nport = " . $node->port . "\n");
start_as_printed($node, $out, "$base/start.log");
is($node->safe_psql('postgres', 'SHOW maintenance_work_mem'), '33MB', 'a file that is included from elsewhere is put back');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL'), '0', 'so are those of the rules of access')
  if $major >= 16;
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), '2', 'with all rows');
is($node->safe_psql('postgres', 'SHOW work_mem'), '7MB', 'and the settings of the cluster');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_settings WHERE name IN ('config_file', 'hba_file', 'ident_file',"
		  . " 'hosts_file') AND starts_with(setting, '$there/')"), scalar @files, 'all of it as it was handed out');
system('pg_ctl', '-w', '-s', '-D', $new, '-m', 'fast', 'stop') == 0 or die 'pg_ctl stop';

# The configuration lies in the data directory, and parts of it do not.
my $inside = chronos_node('inside', start => 0);
mkdir $_ or die "mkdir $_: $!" for "$base/parts", "$base/parts/empty.d", "$base/parts/full.d";
$inside->append_conf('postgresql.conf', "include_dir '$base/parts/empty.d'\ninclude_dir '$base/parts/full.d'\n");
append_to_file("$base/parts/full.d/1.conf", "work_mem = '9MB'\n");
append_to_file("$base/parts/users", "nobody\n");
append_to_file($inside->data_dir . '/pg_hba.conf', "local postgres \@$base/parts/users trust\n");
$inside->start;
($rc, $out, $err) = chronos($inside->{chronos_conf}, $_) and is($rc, 0, $_) || diag $out . $err for qw(stanza-create backup);
$inside->stop;
my @restore = ($inside->{chronos_conf}, '--delta', '--log-level-console=warn', '--archive-mode=off', 'restore');
($rc, $out, $err) = chronos(@restore);
is("$rc" . commands($out), '0', 'where all of it is still there, nothing is printed') or diag $out . $err;
system('rm', '-rf', "$base/parts");
($rc, $out, $err) = chronos(@restore, '--type=immediate');
is($rc, 0, 'restore without them') or diag $out . $err;
like($out, qr/pg_wal_replay_resume/, 'what a pause at the target means is printed, too');
($rc, $out, $err) = chronos(@restore);
like($out, qr/^    .*cp -a .*^    pg_ctl -D .* start$/ms, 'now the commands that put them back are') or diag $out . $err;
start_as_printed($inside, $out, "$base/inside.log");
is($inside->safe_psql('postgres', 'SHOW work_mem'), '9MB', 'and the settings in them count');
system('pg_ctl', '-w', '-s', '-D', $inside->data_dir, '-m', 'fast', 'stop') == 0 or die 'pg_ctl stop';
done_testing();
