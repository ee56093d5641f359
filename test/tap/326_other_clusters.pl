# A restore replaces the cluster that it restores, and nothing of another one: neither what the original
# goes on using where it is restored beside it, nor what somebody else has at a place that was mistyped.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
mkdir "$base/$_", 0700 for qw(space theirs own);
my $node = chronos_node('original');
my $conf = $node->{chronos_conf};
$node->safe_psql('postgres', "CREATE TABLESPACE space LOCATION '$base/space'");
$node->safe_psql('postgres', 'CREATE TABLE t TABLESPACE space AS SELECT generate_series(1, 10) AS id');
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'a backup');
wait_archived($node);

sub files { return slurp_tree($_[0]) }

# Beside the original, as for a test: the backup says where the tablespace was, and there it still is.
my $beside = private_directory();
system('cp', $node->data_dir . '/PG_VERSION', $beside) == 0 or die 'cp';    # of an earlier attempt
mkdir "$beside/base", 0700;
$node->safe_psql('postgres', 'CHECKPOINT');
my $before = files("$base/space");
for my $option ('--delta', '--force', '--save-current', '--delta --force')
{
	my ($status, $out, $err) = chronos($conf, "--pg1-path=$beside", split(' ', $option), 'restore');
	is($status, 40, "$option beside the original is refused");
	like($err, qr/there the cluster in '.*original.*', which is not to be replaced, has its tablespace 'space'/, 'with whose it is');
	like($err, qr/--tablespace-map/, 'and what helps');
	is_deeply(files("$base/space"), $before, 'the tablespace is as it was');
}
my ($status, $out, $err) = chronos($conf, "--pg1-path=$beside", '--delta', '--plan', 'restore');
like($out, qr/cannot be done/, 'the plan says it before');
my $map = "--tablespace-map=space=$base/own";
for my $attempt ('first', 'second')
{
	is((chronos($conf, "--pg1-path=$beside", '--delta', $map, 'restore'))[0], 0, "to a place of its own, the $attempt time");
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), '10', 'the original has its rows');
$node->stop;
is((chronos($conf, '--delta', 'restore'))[0], 0, 'in place --delta is what it was');

# Every directory of a database has a PG_VERSION. What lies in a data directory is no place for another one.
my ($database) = glob $node->data_dir . '/base/1';
my ($in_space) = glob "$base/space/PG_*/*";
my $ours = files($node->data_dir);
for my $inside ($database, $node->data_dir . '/copy', $node->data_dir . '/pg_wal')
{
	for my $option ('--delta', '--force', '--save-current', '')
	{
		($status, $out, $err) = chronos($conf, "--pg1-path=$inside", split(' ', $option), $map, 'restore');
		is($status, 40, "restore $option into $inside is refused");
		like($err, qr/lies in '.*original.*', the data directory of a cluster/, 'with where that is');
	}
}
is_deeply(files($node->data_dir), $ours, 'the cluster is as it was');
my $foreign = private_directory();
write_to("$foreign/$_") for 'PG_VERSION', 'precious';
for my $case ([ 'a directory of a database in a tablespace', $in_space ], [ 'a directory that has nothing else of a cluster', $foreign ])
{
	my ($name, $path) = @$case;
	my $was = files($path);
	isnt((chronos($conf, "--pg1-path=$path", '--delta', $map, 'restore'))[0], 0, "$name is refused");
	is_deeply(files($path), $was, 'and as it was');
}
sub write_to { my ($path) = @_; return PostgreSQL::Test::Utils::append_to_file($path, "15\n") }

# Another cluster's.
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->start;
$other->safe_psql('postgres', "CREATE TABLESPACE theirs LOCATION '$base/theirs'");
$other->safe_psql('postgres', 'CREATE TABLE t TABLESPACE theirs AS SELECT generate_series(1, 10) AS id');
$other->stop;
for my $case ([ 'tablespace', "--tablespace-map=space=$base/theirs" ], [ 'link', $map, '--link-map=pg_wal=' . $other->data_dir . '/pg_wal' ])
{
	my ($name, @options) = @$case;
	($status, $out, $err) = chronos($conf, "--pg1-path=$beside", '--delta', @options, 'restore');
	is($status, 40, "another cluster's $name is not cleaned by --delta");
	like($err, qr/is not where the cluster in '\Q$beside\E' has $name/, 'but said to be none of this one');
}
# Also one whose pg_control is lost or damaged: its WAL says whose it is.
my $control = $other->data_dir . '/global/pg_control';
rename $control, "$base/pg_control" or die $!;
for my $damage ('lost', 'cut', 'garbage')
{
	PostgreSQL::Test::Utils::append_to_file($control, $damage eq 'cut' ? 'x' : 'x' x 8192) if $damage ne 'lost';
	my $theirs = files($other->data_dir);
	($status, $out, $err) = chronos($conf, '--pg1-path=' . $other->data_dir, $map, '--delta', 'restore');
	is($status, 58, "another cluster whose pg_control is $damage is not replaced by --delta");
	like($err, qr/is the data directory of another cluster: its system identifier is \d+ .*as its WAL says/, 'it is known by its WAL');
	is_deeply(files($other->data_dir), $theirs, 'nothing of it was changed');
	unlink $control;
}
rename "$base/pg_control", $control or die $!;
$other->start;
is($other->safe_psql('postgres', 'SELECT count(*) FROM t'), '10', 'it has its rows');
$other->stop;
done_testing();
