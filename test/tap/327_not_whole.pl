# A restore begins only where all that it reads is there: a plan that says "can be done" reads no backup of which the
# repository has lost a part, and with --delta nothing is removed for one.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use Test::More;

# Enough with one version of PostgreSQL: what is looked at is the repository.
my $node = chronos_node('primary');
my $conf = $node->{chronos_conf};
my $backups = "$node->{chronos_repo}/backup/main";
$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT generate_series(1, 10) AS id');
my $full = $node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
$node->safe_psql('postgres', 'INSERT INTO t VALUES (11)');
my $incr = $node->safe_psql('postgres', q{SELECT chronos.backup_now('incr')});
$node->stop;
my $before = slurp_tree($node->data_dir);

sub planned { return (chronos($conf, '--delta', '--plan', 'restore'))[1] }
sub refused
{
	my ($name, $said) = @_;
	my $plan = planned();
	like($plan, qr/problem: .*$said/, "$name: a problem of the plan");
	like($plan, qr/verdict: +cannot be done/, 'which cannot be done');
	my ($status, $out, $err) = chronos($conf, '--delta', 'restore');
	isnt($status, 0, 'the restore is refused');
	like($err, qr/$said/, 'for the same reason');
	is_deeply(slurp_tree($node->data_dir), $before, 'nothing was changed for it');
	return;
}

like(planned(), qr/verdict: +can be done/, 'both are there');
rename "$backups/$full", "$backups/../moved" or die $!;
refused('the full backup is gone', "backup $full is not whole in repo1: 'backup/main/$full/bundle/1' is missing");
symlink "$backups/../moved", "$backups/$full" or die $!;
like(planned(), qr/verdict: +can be done/, 'a link to where it was moved will do');
unlink "$backups/$full";
rename "$backups/../moved", "$backups/$full" or die $!;
my $bundle = "$backups/$incr/bundle/1";
my $size = -s $bundle;
system('cp', $bundle, "$backups/../bundle") == 0 or die;
truncate $bundle, $size - 1 or die $!;
refused('a bundle is cut', "backup $incr is not whole in repo1: 'backup/main/$incr/bundle/1' has " . ($size - 1) . " of $size bytes");
like((chronos($conf, "--set=$full", '--delta', '--plan', 'restore'))[1], qr/verdict: +can be done/, 'a backup that does not read it can be had');
system('cp', "$backups/../bundle", $bundle) == 0 or die;
is((chronos($conf, '--delta', 'restore'))[0], 0, 'whole again it is restored');
done_testing();
