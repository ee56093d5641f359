# Where a recovery ends: a hole in the archive stops it, by name, instead of ending it; of two
# timelines that both went on nobody chooses for the user; what the plan decided is what the server
# follows, also when a history file is lost.
use strict;
use warnings;
use ChronosTest;
use Digest::SHA qw(sha1_hex);
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = chronos_node('primary', options => { 'archive-timeout' => 20 }, conf => "wal_keep_size = '1GB'\n");
my ($conf, $repo) = @$node{qw(chronos_conf chronos_repo)};
my $archive = archive_directory($node);

sub insert
{
	my ($on, $id) = @_;
	$on->safe_psql('postgres', "INSERT INTO t VALUES ($id)");
	return wait_archived($on);
}

sub rows { my ($on) = @_; return $on->safe_psql('postgres', q{SELECT string_agg(id::text, ',' ORDER BY id) FROM t}) }

sub restored { return (restored_rows($conf, @_))[0] }

sub refused
{
	my ($name, $code, $pattern, @arguments) = @_;
	my $dir = private_directory();
	my ($status, $out, $err) = chronos($conf, "--pg1-path=$dir", @arguments, 'restore');
	is($status, $code, "$name: refused");
	like($out . $err, $pattern, "$name: and says why") or diag($out . $err);
	ok(!-e "$dir/PG_VERSION", "$name: nothing was changed");
	return $out . $err;
}

# A hole ------------------------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE TABLE t (id int)');
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'a backup');
my %segment = map { $_ => insert($node, $_) } 1 .. 4;
$node->safe_psql('postgres', 'CREATE TABLE bulk AS SELECT repeat(md5(i::text), 9) FROM generate_series(1, 4000) i');
$segment{5} = insert($node, 5);
$node->safe_psql('postgres', q{SELECT pg_create_restore_point('later')});
$segment{6} = insert($node, 6);
my $lost = $segment{3};
my ($file) = glob "$archive/*/$lost-*";
my $gone = "$repo/gone";
rename $file, $gone or die $!;

my ($status, $out) = chronos($conf, '--pg1-path=' . private_directory(), '--plan', 'restore');
like($out, qr/cannot pass WAL that is missing in the archive: $lost.*cannot be done/s, 'the plan names the hole');
isnt($status, 0, 'and says so to programs');
my ($target) = refused('hole', 55, qr/$lost/) =~ m{--target=([0-9A-F]+/[0-9A-F]+)};
ok(defined $target, 'with a target that is before it');
is(restored('before_hole', '--type=lsn', "--target=$target", '--target-action=promote'), '1,2', 'which is the last commit there');
is(restored('immediate', '--type=immediate', '--target-action=promote'), '', 'the end of the backup can be had');

# Only the WAL knows where a transaction ended: in front of the hole, or not.
sub xid { my ($id) = @_; return $node->safe_psql('postgres', "SELECT xmin FROM t WHERE id = $id") }
my ($before, $behind) = (xid(2), xid(5));
is(restored('xid_before_hole', '--type=xid', "--target=$before", '--target-action=promote'), '1,2', 'a transaction before the hole can be had');
refused('xid behind the hole', 55, qr/cannot pass WAL that is missing in the archive: $lost.*--type=lsn --target=\Q$target\E/s, '--type=xid', "--target=$behind");
refused('name behind the hole', 55, qr/cannot pass WAL/, '--type=name', '--target=later');

rename $gone, $file or die $!;
my $dir = private_directory();
is((chronos($conf, "--pg1-path=$dir", '--archive-mode=off', 'restore'))[0], 0, 'restored while the archive was whole');
rename $file, $gone or die $!;
my $copy = restored_node('stops', $dir, wait => 0, fail_ok => 1);
poll_until(sub { !-e $copy->data_dir . '/postmaster.pid' }, 'the server stops', 60);
my $log = PostgreSQL::Test::Utils::slurp_file($copy->logfile);
like($log, qr/WAL segment $lost is missing in the archive, but later WAL exists/, 'recovery is told of the hole');
unlike($log, qr/archive recovery complete/, 'and does not end there');
rename $gone, $file or die $!;
$copy->_update_pid(-1);
$copy->start;
$copy->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'no end of recovery';
is(rows($copy), '1,2,3,4,5,6', 'with the segment back it goes on to the end');
$copy->stop('immediate');

# A segment that ends before its WAL does --------------------------------------------------------------
# Nobody has noticed when it was stored: its checksum is right.

my ($bulk, $follows) = @segment{ 5, 6 };

sub with_damage
{
	my ($name, $change, $check) = @_;
	my $content = PostgreSQL::Test::Utils::slurp_file($node->data_dir . "/pg_wal/$bulk");
	$change->($content);
	my ($stored) = glob "$archive/*/$bulk-*";
	rename $stored, $gone or die $!;
	my $damaged = ($stored =~ s/-[^-]*$//r) . '-' . sha1_hex($content);
	PostgreSQL::Test::Utils::append_to_file($damaged, $content);
	my ($code, $words) = (chronos($conf, '--output=text', 'verify'))[0, 1];
	$check->($code, $words);
	unlink $damaged or die $!;
	rename $gone, $stored or die $!;
	return;
}

my $page = 8192;
for my $case ([ 'a page of zeros', sub { substr($_[0], 40 * $page, $page) = "\0" x $page } ],
	[ 'garbage from a page on', sub { substr($_[0], 40 * $page) = 'g' x (length($_[0]) - 40 * $page) } ],
	[ 'half a page lost', sub { substr($_[0], 40 * $page + 4096, 4096) = "\0" x 4096 } ],
	[ 'a page of an older segment', sub { substr($_[0], 40 * $page, $page) = substr($_[0], 40 * $page, 8) . pack('Q<', 40 * $page + (2 << 24)) . 'x' x ($page - 16) } ])
{
	my ($name, $change) = @$case;
	with_damage($name, $change, sub {
			is($_[0], 28, "$name: verify fails");
			like($_[1], qr/$bulk.*the WAL in it cannot be read: .*\n.*cannot go beyond/, "$name: and names it");
		});
}
my $damaged = private_directory();
is((chronos($conf, "--pg1-path=$damaged", '--archive-mode=off', 'restore'))[0], 0, 'restored before the damage');
with_damage('the rest of an older life', sub { substr($_[0], 40 * $page) = substr($_[0], 40 * $page) =~ s/[^\0]/\0/gr }, sub {
		my ($code, $words) = @_;
		is($code, 28, 'a segment that ends early, with another behind it: verify fails');
		like($words, qr/$bulk.*the WAL in it ends at \S+, but $follows follows it/, 'and says so');
		my $plan = (chronos($conf, '--pg1-path=' . private_directory(), '--plan', 'restore'))[1];
		like($plan, qr/WAL segment $bulk is damaged from .*cannot be done/s, 'so does the plan');
		my ($reach) = $plan =~ m{--target=([0-9A-F]+/[0-9A-F]+)};
		is(restored('before_damage', '--type=lsn', "--target=$reach", '--target-action=promote'), '1,2,3,4', 'with a target that can be had');
		isnt((chronos($conf, '--pg1-path=' . private_directory(), 'restore'))[0], 0, 'without one the restore says so');
		my $stops = restored_node('stops_too', $damaged, wait => 0, fail_ok => 1);
		poll_until(sub { !-e $stops->data_dir . '/postmaster.pid' }, 'the server stops', 60);
		my $said = PostgreSQL::Test::Utils::slurp_file($stops->logfile);
		like($said, qr/the WAL in segment $bulk ends at \S+, but later WAL exists: $follows/, 'recovery is told');
		unlike($said, qr/archive recovery complete/, 'and does not end there');
	});

# A standby promoted by accident -------------------------------------------------------------------

rename $file, $gone or die $!;
my $standby_dir = private_directory();
is((chronos($conf, "--pg1-path=$standby_dir", '--type=standby', '--recovery-option=primary_conninfo=' . $node->connstr, 'restore'))[0],
	0, 'a standby');
my $standby = restored_node('standby', $standby_dir, wait => 0,
	conf => "archive_mode = on\narchive_library = ''\nshared_preload_libraries = ''\n"
	  . "archive_command = '$chronos --config=$conf --stanza=main --pg1-path=$standby_dir archive-push \"%p\"'\n");
$node->wait_for_catchup($standby->name);
is(rows($standby), '1,2,3,4,5,6', 'what the archive lacks comes from the primary');
rename $gone, $file or die $!;
$standby->promote;
insert($standby, 100);
usleep(1_200_000);    # times in the repository have seconds
insert($node, 7);
my $words = refused('two timelines', 58, qr/both went on/);
like($words, qr/--target-timeline=1 .*--target-timeline=2 /s, 'each choice has its command');
is(restored('first', '--target-timeline=1'), '1,2,3,4,5,6,7', 'the one that goes on');
is(restored('second', '--target-timeline=2'), '1,2,3,4,5,6,100', 'the other one');
# Where it is the beginning of a timeline that is missing, what is before lies on the one it left.
my ($first) = glob "$archive/00000002*/*-*" or die 'no WAL of timeline 2';
my $next_name = $first =~ s/([0-9A-F]{8})(?=-)/sprintf '%08X', 1 + hex $1/er;
rename $first, $next_name or die $!;
($target) = refused('beginning', 55, qr/cannot pass WAL/, '--target-timeline=2') =~ m{--target=([0-9A-F]+/[0-9A-F]+)};
ok(defined $target, 'the target before a beginning is on the timeline that was left');
is(restored('before_beginning', '--target-timeline=2', '--type=lsn', "--target=$target", '--target-action=promote'), '1,2,3,4,5,6', 'and can be had');
rename $next_name, $first or die $!;
# The segment of the fork is read from the new timeline: its copy goes up to the fork as well.
my ($fork) = PostgreSQL::Test::Utils::slurp_file("$archive/00000002.history") =~ m{^1\t(\S+)\t} or die 'no fork';
my ($parents) = glob $first =~ s/00000002(?=[0-9A-F]{8})/00000001/gr =~ s/-[^-]*$/-*/r or die 'no segment of the fork';
rename $parents, $gone or die $!;
is(restored('at_fork', '--target-timeline=2', '--type=lsn', "--target=$fork", '--target-action=promote'), '1,2,3,4,5,6',
	'a target up to the fork does not need the segment of the timeline that was left');
rename $gone, $parents or die $!;
like((chronos($conf, '--output=json', 'health'))[1], qr/"rule":"timelines_diverge","since":[^,]*,"state":"critical"/, 'health tells');

# Its history is lost, and the one of the next timeline knows it -------------------------------------

$standby->safe_psql('postgres', 'CHECKPOINT');
$standby->stop('fast');
my $third = private_directory();
is((chronos($conf, "--pg1-path=$third", '--target-timeline=2', 'restore'))[0], 0, 'timeline 2 goes on');
my $next = restored_node('next', $third,
	conf => "archive_mode = on\narchive_library = ''\nshared_preload_libraries = ''\n"
	  . "archive_command = '$chronos --config=$conf --stanza=main --pg1-path=$third archive-push \"%p\"'\n");
insert($next, 200);
$next->stop('fast');
unlink "$archive/00000002.history" or die $!;
is(restored('third', '--target-timeline=3'), '1,2,3,4,5,6,100,200', 'the lost history is put together from the next');
like(join('', (chronos($conf, '--pg1-path=' . private_directory(), '--target-timeline=3', '--plan', 'restore'))[1, 2]),
	qr/00000002\.history is lost; .*timeline 3, and 'chronos --stanza=main repair --force' puts it back/, 'the plan names what mends it');
like(join('', (chronos($conf, 'verify'))[1, 2]), qr/00000002\.history.*'chronos --stanza=main repair --force' puts it back/s, 'so does verify');
my $rule_of_gap = sub { my ($rule) = grep { $_->{rule} eq 'wal_gap' } @{ JSON::PP::decode_json((chronos($conf, '--output=json', 'health'))[1])->{rules} }; return $rule };
is($rule_of_gap->()->{state}, 'warning', 'health warns of it');
like($rule_of_gap->()->{hint}, qr/'chronos --stanza=main repair --force' puts it back/, 'and says the same');
($status, $out) = chronos($conf, 'repair');
is($status, 2, 'repair has something to do');
like($out, qr/00000002\.history is missing\s+would be put together from the history of timeline 3/, 'and says what');
ok(!-e "$archive/00000002.history", 'before it does anything');
is((chronos($conf, 'repair', '--force'))[0], 0, 'repaired');
like(PostgreSQL::Test::Utils::slurp_file("$archive/00000002.history"), qr{\A1\t[0-9A-F]+/[0-9A-F]+\t}, 'it is written back');
unlike(join('', (chronos($conf, 'verify'))[1, 2]), qr/00000002\.history/, 'and verify misses nothing');
is((chronos($conf, 'archive-push', $standby->data_dir . '/pg_wal/00000002.history'))[0], 0, 'the real one is the same');

# Of one that says nothing it is not enough that it can be read.
open my $nothing, '>', "$archive/00000002.history" or die $!;
print $nothing "# nothing\n";
close $nothing;
like(join('', (chronos($conf, 'verify'))[1, 2]), qr/00000002\.history.*names no timeline before its own/s, 'a history without an origin is damage');
PostgreSQL::Test::Utils::append_to_file("$archive/00000002.history", "rubbish\n");
is((chronos($conf, 'repair', '--force'))[0], 0, 'a damaged one too is written anew');
unlike(PostgreSQL::Test::Utils::slurp_file("$archive/00000002.history"), qr/rubbish/, 'without its damage');
ok((glob "$repo/chronos/main/aside/*/archive/main/*/00000002.history"), 'which is kept aside');

rename "$archive/00000003.history", "$repo/third" or die $!;
($status, $out) = chronos($conf, 'repair', '--force');
is($status, 3, 'what no later history contains is not invented');
like($out, qr/00000003\.history is missing\s+cannot be mended here: .*archive-push/, 'and what helps is said');
ok(!-e "$archive/00000003.history", 'nothing is written');
is($rule_of_gap->()->{state}, 'critical', 'for health WAL to which nothing leads is lost');
like($rule_of_gap->()->{message}, qr/history of timeline 3: no backup of an older timeline leads to its WAL/, 'and it says which');
rename "$repo/third", "$archive/00000003.history" or die $!;

# Nothing tells where timelines 2 and 3 began, and a later one is not from there.
rename "$archive/0000000$_.history", "$repo/history$_" or die $! for 2, 3;
PostgreSQL::Test::Utils::append_to_file("$archive/00000004.history", "1\t$fork\tno recovery target specified\n");
my @named = sort((join '', (chronos($conf, '--pg1-path=' . private_directory(), '--plan', 'restore'))[1, 2])
	=~ /timeline (\d), whose history is lost, is not on the way to timeline 4/g);
is("@named", '2 3', 'what lies on timelines without a history is named as not restored');
unlink "$archive/00000004.history" or die $!;
rename "$repo/history$_", "$archive/0000000$_.history" or die $! for 2, 3;

# Another server that began a timeline of the same number -------------------------------------------

my $other = private_directory() . '/00000003.history';
open my $history, '>', $other or die $!;
print $history "1\t0/3000000\tno recovery target specified\n";
close $history;
($status, $out, my $err) = chronos($conf, 'archive-push', $other);
is($status, 45, 'a second origin of a timeline is refused');
like($out . $err, qr/Two servers have been promoted/, 'and the server is told');
ok((glob "$repo/chronos/main/conflict/*-1/00000003.history-*"), 'and kept');
is(restored('still', '--target-timeline=3'), '1,2,3,4,5,6,100,200', 'the first one still leads there');

$node->stop('immediate');
done_testing();
