# What is acknowledged survives a power failure, also where somebody was killed before the names that lead
# to it were durable, and the file is offered again: at each sync of a push its program is killed, then the
# push is repeated to its end. A name counts once the directory that holds it has been synced after it was made.
# Not with another version of PostgreSQL: a library that is loaded into the engine is made for the C library that the engine brings
use strict;
use warnings;
use ChronosTest;
use File::Path qw(remove_tree);
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $library = "$base/killed_at_sync.so";
my $compiler = $ENV{CC} // 'cc';
system("$compiler -shared -fPIC -O1 -o $library $FindBin::RealBin/../support/killed_at_sync.c >$base/cc.log 2>&1") == 0
  or die slurp_file("$base/cc.log");

my $node = chronos_node('primary', conf => "archive_mode = off\n");
my ($conf, $repo) = @$node{qw(chronos_conf chronos_repo)};
$node->safe_psql('postgres', 'CREATE TABLE t (i int)');
my $segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (1)');
my $wal = $node->data_dir . '/pg_wal';
my $partial = "$segment.partial";
system('cp', "$wal/$segment", "$wal/$partial") == 0 or die;
append_to_file("$wal/00000002.history", "1\t0/1800000\tno reason\n");
my $history = sprintf '%s.00000028.backup', $segment;
append_to_file("$wal/$history", "START WAL LOCATION: 0/1000028 (file $segment)\n");
is((chronos($conf, 'stanza-create'))[0], 0, 'a stanza');
rename $repo, "$repo.fresh" or die $!;

# Names that were made and whose directory was not synced since; files that were not synced at all.
sub not_durable
{
	my ($log, $object) = @_;
	my (%open, %content);
	for (split /\n/, slurp_file($log))
	{
		my ($what, $name) = /^(make|sync) (.*)/ or die $_;
		if ($what eq 'make') { $open{$name} = 1 }
		elsif (-d $name) { m{^\Q$name\E/[^/]+$} and delete $open{$_} for keys %open }
		else { $content{ $name =~ s/\.pgbackrest\.tmp$//r } = 1 }
	}
	my @lost = $content{$object} ? () : ("content of $object");
	for (my $name = $object; $name =~ m{^\Q$repo\E/}; $name =~ s{/[^/]*$}{})
	{
		push @lost, $name if $open{$name};
	}
	return join "\n", @lost;
}

for my $file ($segment, $partial, $history, '00000002.history')
{
	my @bad;
	my $kills = 0;
	for my $at (1 .. 40)
	{
		remove_tree($repo);
		system('cp', '-a', "$repo.fresh", $repo) == 0 or die;
		unlink "$base/log";
		local $ENV{SYNC_LOG} = "$base/log";
		local $ENV{LD_PRELOAD} = $library;
		my ($status) = do { local $ENV{SYNC_KILL_AT} = $at; chronos($conf, 'archive-push', "$wal/$file") };
		my ($again, $out, $err) = chronos($conf, 'archive-push', "$wal/$file");
		is($again, 0, "$file is pushed after a kill at sync $at") or diag($out . $err);
		my ($object) = grep { !/tmp$/ && -f } glob "$repo/archive/main/*/$file* $repo/archive/main/*/*/$file*";
		my $lost = not_durable("$base/log", $object // 'nothing');
		push @bad, "killed at sync $at:\n$lost" if $lost ne '';
		last if $status == 0;
		++$kills;
	}
	cmp_ok($kills, '>', 2, "$file: there were moments to be killed at");
	is(join("\n", @bad), '', "$file: whatever was acknowledged is durable");
}
$node->stop;
done_testing();
