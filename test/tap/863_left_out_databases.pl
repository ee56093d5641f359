# A restore of one database alone recovers over whatever the WAL does to the others, of which there are no pages: also to
# pages of which it has no image, as VACUUM changes them where there are no checksums and everything does where
# full_page_writes is off. It does so without a setting that would hide what is wrong with the database that is there.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $pages = 20000;
for my $images ('on', 'off')
{
	my $node = chronos_node("images_$images", start => 0, options => { 'repo1-bundle' => 'y', 'compress-type' => 'zst', 'process-max' => 2 });
	my $conf = $node->{chronos_conf};
	# Pages that are made have one, too.
	my $checksums = $images eq 'off' ? 'enable' : 'disable';
	run_tool('pg_checksums', "--$checksums", '-D', $node->data_dir);
	$node->append_conf('postgresql.conf', "full_page_writes = $images\nwal_log_hints = off\nautovacuum = off\nmax_wal_size = 200MB");
	$node->start;
	is($node->safe_psql('postgres', 'SHOW data_checksums'), $images eq 'off' ? 'on' : 'off', 'a cluster with checksums or without');
	my $space = private_directory();
	$node->safe_psql('postgres', "CREATE TABLESPACE away LOCATION '$space'");
	for my $database (qw(shop other far))
	{
		$node->safe_psql('postgres', "CREATE DATABASE $database" . ($database eq 'far' ? ' TABLESPACE away' : ''));
		$node->safe_psql($database, qq{
			CREATE TABLE one AS SELECT i AS id, repeat(md5(i::text), 3) AS word FROM generate_series(1, $pages) i;
			CREATE INDEX ON one (id); CREATE INDEX ON one USING hash (word);
			CREATE TABLE cut AS SELECT i AS id FROM generate_series(1, $pages) i;
			SELECT count(*) FROM one; CHECKPOINT});
	}
	is((chronos($conf, '--type=full', 'backup'))[0], 0, "full_page_writes = $images: backup");
	for my $database (qw(shop other far))
	{
		$node->safe_psql($database, $_) for 'VACUUM one', 'UPDATE one SET word = word || 1 WHERE id % 100 = 5', 'DELETE FROM one WHERE id % 10 = 6',
		  'VACUUM one', 'DELETE FROM cut WHERE id > 5000', 'VACUUM cut', "INSERT INTO cut SELECT i FROM generate_series(1, $pages) i",
		  "INSERT INTO one SELECT i, md5(i::text) FROM generate_series(1, $pages) i", 'CHECKPOINT', 'DELETE FROM one WHERE id % 10 = 7', 'VACUUM one';
	}
	my $question = q{SELECT count(*) || md5(string_agg(o::text, '|' ORDER BY o::text)) FROM one o};
	my $expected = $node->safe_psql('shop', $question);
	my $file = $node->safe_psql('shop', q{SELECT pg_relation_filepath('one')});
	$node->safe_psql('postgres', q{SELECT pg_create_restore_point('here')});
	# What is behind the target is nobody's: there is no end to what the archive may have.
	$node->safe_psql('other', 'INSERT INTO one SELECT * FROM one');
	wait_archived($node);

	my $restore = sub {
		my ($name, @more) = @_;
		my $to = private_directory();
		my $map = private_directory();
		my ($status, $out, $err) = chronos($conf, "--pg1-path=$to", '--db-include=shop', "--tablespace-map=away=$map", '--type=name', '--target=here',
			'--target-action=promote', '--archive-mode=off', '--log-level-console=info', 'restore', @more);
		is($status, 0, "$name: restored") or diag($out . $err);
		like($out, qr/pages of databases that are left out.*: [1-9]\d* changes/, '... with pages for the WAL') or diag($out . $err);
		return $to;
	};
	my $to = $restore->('one database');
	my $server = restored_node("restored_$images", $to);
	is($server->safe_psql('shop', $question), $expected, 'a server recovers, and has the database as it was');
	is($server->safe_psql('shop', 'SHOW ignore_invalid_pages'), 'off', '... with no more put up with than ever');
	$server->safe_psql('postgres', "DROP DATABASE $_") for qw(other far);
	is($server->safe_psql('shop', $question), $expected, '... and the others can be dropped');
	$server->stop;

	# What is missing of the database itself ends recovery as ever.
	$to = $restore->('again');
	truncate "$to/$file", 8192 or die $!;
	my $damaged = restored_node("damaged_$images", $to, fail_ok => 1, wait => 0);
	poll_until(sub { slurp_file($damaged->logfile) =~ /WAL contains references to invalid pages/ }, 'a database with pages missing does not come up');
	pass('a database with pages missing does not come up');
	$node->stop;
}
done_testing();
