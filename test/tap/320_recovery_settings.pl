# What a cluster's own files say about a recovery was meant for another one: a restore keeps it out,
# names it, and ends where it was told to. Targets, file names and directories may contain whatever a
# file system and a shell allow.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $node = chronos_node('origin');
my $conf = $node->{chronos_conf};
sub at { return $node->safe_psql('postgres', $_[0]) }

# None of it disturbs a server that is not recovering, so that it is found out years later.
$node->append_conf('postgresql.conf', <<"C");
Recovery_Target_XID = '3'
include 'stale/more.conf'
C
mkdir $node->data_dir . '/stale';
append_to_file($node->data_dir . '/stale/more.conf', <<"C");
recovery_target_timeline = 'current'
recovery_target_action = 'shutdown'
recovery_target_inclusive = off
recovery_end_command = 'touch $base/ended'
archive_cleanup_command = 'touch $base/cleaned'
recovery_min_apply_delay = '1h'
hot_standby = off
C
at('CREATE TABLE t (n int); INSERT INTO t VALUES (1)');
my ($rc, $out, $err) = chronos($conf, '--type=full', 'backup');
is($rc, 0, 'backup') or diag $out . $err;
at(q{INSERT INTO t VALUES (2)});
at(q{SELECT pg_create_restore_point(E'C:\\\\new'), pg_create_restore_point(E'two\nlines\\\\')});
at(q{INSERT INTO t VALUES (3)});
wait_archived($node);

sub rows { return $_[0]->safe_psql('postgres', 'SELECT count(*) FROM t') }

# To the end, with a configuration file whose path both the server's parser and a shell would read
# otherwise.
my $nasty = qq{$base/a \$HOME "b" `touch executed` 'c' \\n %f\nline};
mkdir $nasty or die "mkdir $nasty: $!";
system('cp', '-p', $conf, "$nasty/chronos.conf") == 0 or die 'cp';
my $data = "$base/end";
mkdir $data, 0700;
($rc, $out, $err) = chronos("$nasty/chronos.conf", "--pg1-path=$data", 'restore', '--plan');
is($rc, 0, 'plan') or diag $out . $err;
like($out, qr/^ +set aside: +Recovery_Target_XID = '3' \(postgresql\.conf line \d+\)$/m, 'it names a target');
like($out, qr/^ +set aside: +recovery_target_action = 'shutdown' \(more\.conf line 2\)$/m,
	'of an included file as well');
like($out, qr/^ +set aside: +$_/m, "and $_")
  for qw(recovery_target_inclusive recovery_end_command archive_cleanup_command recovery_min_apply_delay);
like($out, qr/hot_standby = 'on' for this recovery/, 'what must be on for a pause is on');
($rc, $out, $err) = chronos("$nasty/chronos.conf", "--pg1-path=$data", 'restore');
is($rc, 0, 'restore') or diag $out . $err;
my $end = restored_node('end', $data);
is(rows($end), '3', 'recovery goes to the end');
$end->stop;
ok(!-e "$base/$_", "nothing was $_") for qw(ended cleaned);
ok(!-e "$data/executed", 'nothing was executed');

# To names that need quoting.
for my $case ([ 'C:\\new', '2' ], [ "two\nlines\\", '2' ])
{
	my ($target, $expected) = @$case;
	my $dir = "$base/named" . length $target;
	mkdir $dir, 0700;
	($rc, $out, $err) = chronos($conf, "--pg1-path=$dir", '--type=name', "--target=$target",
		'--target-action=promote', 'restore');
	is($rc, 0, 'restore to a name') or diag $out . $err;
	my $named = restored_node('named' . length $target, $dir);
	is(rows($named), $expected, 'recovery stops there');
	$named->stop;
}

# The file that the server reads gives back what was given to us, whatever the bytes. A name has to be
# that of a restore point; a database without an encoding of its own makes them of any bytes.
seed();
$node->safe_psql('postgres', q{CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'});
my @values = map {
	join '', map { ("'", '\\', '$', '"', '`', '%', '#', ' ', "\n", "\t", "\r", chr(1 + int rand 255))[ int rand 12 ] }
	  1 .. 1 + int rand 30
} 1 .. 12;
$node->safe_psql('bytes', join ';', map { sprintf q{SELECT pg_create_restore_point(E'%s')}, join '', map { sprintf '\\x%02x', ord } split // } @values);
wait_archived($node);
for my $round (1 .. @values)
{
	my $value = $values[ $round - 1 ];
	my $dir = "$base/round";
	system('rm', '-rf', $dir);
	mkdir $dir, 0700;
	($rc, $out, $err) = chronos($conf, "--pg1-path=$dir", '--type=name', "--target=$value", 'restore');
	is($rc, 0, "round $round") or diag $out . $err;
	my $read = `postgres -D $dir -C recovery_target_name 2>&1`;
	is($read, "$value\n", "round $round comes back");
}

# Targets that the server would not read are refused before anything is touched, with a label or
# without one.
my ($label) = slurp_file("$node->{chronos_repo}/backup/main/backup.info") =~ /^(\d{8}-\d{6}F)=/m;
my $kept = "$base/kept";
system('cp', '-a', $data, $kept) == 0 or die 'cp';
for my $case ([ 'time', '2026-02-30 10:00:00' ], [ 'time', '2026-11-20 08:00:00 EDT' ],
	[ 'time', 'yesterday noon' ], [ 'time', 'infinity' ], [ 'time', '2099-01-01 00:00:00+00' ],
	[ 'xid', 'abc' ], [ 'xid', '-1' ], [ 'xid', '0' ], [ 'xid', '18446744073709551616' ],
	[ 'name', 'n' x 70 ], [ 'lsn', '7F/0' ], [ 'lsn', 'x' ])
{
	my ($type, $target) = @$case;
	for my $set ([], ["--set=$label"])
	{
		for my $plan ([], ['--plan'])
		{
			($rc, $out, $err) = chronos($conf, "--pg1-path=$kept", "--type=$type", "--target=$target",
				@$set, '--delta', 'restore', @$plan);
			isnt($rc, 0, "$type '$target' @$set @$plan") or diag $out . $err;
		}
	}
}
($rc) = chronos($conf, "--pg1-path=$kept", '--target-timeline=0', '--delta', 'restore');
isnt($rc, 0, 'nor is there a timeline 0');
ok(-e "$kept/global/pg_control" && !-e "$kept/recovery.signal", 'the directory is as it was');
$node->stop;
done_testing();
