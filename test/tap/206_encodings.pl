# Whatever the encoding of the database: names are the same bytes in the repository, whoever makes the
# backup, and text that comes back into SQL is valid there, so that it can be dumped and restored and
# read by any client - also an error that is cut in the middle of a character or is about a path that
# is no text at all.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use File::Temp qw(tempdir);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $e = "\xc3\xa9";    # as UTF-8

for my $case ([ 'UTF8', $e, $e ], [ 'LATIN1', "\xe9", $e ], [ 'SQL_ASCII', "\xe9", "\xe9" ])
{
	my ($encoding, $own, $stored) = @$case;
	subtest $encoding => sub { names_and_text($encoding, $own, $stored) };
}
done_testing();

# $own: the letter in a client's encoding of that name; $stored: in the repository.
sub names_and_text
{
	my ($encoding, $own, $stored) = @_;
	my $node = chronos_node(lc $encoding, initdb => [ '-E', $encoding, '--locale=C' ],
		options => { 'backup-repos' => 1 });
	my $conf = $node->{chronos_conf};
	local $ENV{PGCLIENTENCODING} = $encoding;
	$node->safe_psql('postgres', qq{CREATE DATABASE "caf$own"});

	my ($status, $out, $err) = chronos($conf, '--type=full', 'backup');
	is($status, 0, 'a backup by command') or diag("$out$err");
	my ($label, $warnings) = ('', '');
	# An annotation is text for both tools: bytes that are none are refused, not stored.
	my $note = $encoding eq 'SQL_ASCII' ? 'the' : "th$own";
	if ($encoding eq 'SQL_ASCII')
	{
		$node->psql('postgres', qq{SELECT chronos.backup_now('full', '{"note": "th$own"}')}, stderr => \$err);
		like($err, qr/annotation 'note' cannot be stored/, 'what is no text is no annotation');
	}
	$node->psql('postgres', qq{SELECT chronos.backup_now('full', '{"note": "$note"}')}, stdout => \$label, stderr => \$warnings);
	is($warnings, '', 'and one by SQL');
	my @manifests = glob "$node->{chronos_repo}/backup/main/*F/backup.manifest";
	is(scalar @manifests, 2, 'there are two');
	like(slurp_file($_), qr/^caf$stored=\{"db-id"/m, 'in both the database has the same name') for @manifests;
	($status, $out, $err) = chronos($conf, '--output=json', "--set=$label", 'info');
	like($out, qr/"note":"th\Q$e\E"/, 'the annotation is UTF-8') if $encoding ne 'SQL_ASCII';
	like($out, qr/"name":"caf\Q$e\E"/, 'and so is the name') if $encoding ne 'SQL_ASCII';
	is($node->safe_psql('postgres', qq{SELECT chronos.backup_info('$label')::text LIKE '%caf$own%'}), 't', 'SQL shows it')
	  if $encoding ne 'SQL_ASCII';
	ok($node->safe_psql('postgres', "SELECT chronos.backup_info('$label') IS NOT NULL"), 'can be asked for');
	my $to = tempdir(CLEANUP => 1);
	($status, $out, $err) = chronos($conf, "--pg1-path=$to", "--db-include=caf$stored", 'restore');
	is($status, 0, 'it can be restored alone') or diag("$out$err");

	# Its name is bytes for who connects to it, and text for who names it.
	($status, $out, $err) = chronos($conf, 'drill', '--drill-path=' . PostgreSQL::Test::Utils::tempdir_short(), '--output=json',
		"--assert=\\connect caf$stored SELECT current_database() => caf$stored");
	is($status, 0, 'a drill asks it') or diag("$out$err");

	# A repository whose path is no text, long enough that the error is cut in the middle of a letter.
	my $config = slurp_file($conf);
	my $base = PostgreSQL::Test::Utils::tempdir();
	open my $file, '>', "$base/file" or die $!;
	close $file;
	for my $shift ('', 'x')
	{
		(my $bad = $config) =~ s{^repo1-path=.*}{"repo1-path=$base/file/$shift\xff\xfe" . "\xc3/" . "$e" x 100 . "/" . $e x 100 . "/" . "$e" x 100}me;
		open my $write, '>', $conf or die $!;
		print $write $bad;
		close $write;
		my $failure = '';
		$node->psql('postgres', q{SELECT chronos.backup_now('full')}, stderr => \$failure);
		like($failure, qr/backup failed/, 'a backup into it fails');
		$node->safe_psql('postgres', "SELECT * FROM chronos.$_") for qw(jobs job_history audit_log wal_status health);
		$node->psql('postgres', 'SELECT * FROM chronos.check()');
		$node->psql('postgres', q{SELECT chronos.hold('20261120-075745F', 'th} . $own . q{')});
	}
	open my $write, '>', $conf or die $!;
	print $write $config;
	close $write;
	my $errors = $node->safe_psql('postgres', q{SELECT error FROM chronos.job_history WHERE error IS NOT NULL});
	like($errors, qr/\\xff\\xfe/, 'the bytes that are no text are shown as numbers');
	like($errors, qr/(?:\Q$own\E){50}/, 'the others as they are') if $encoding ne 'SQL_ASCII';
	for my $client ('LATIN1', 'UTF8')
	{
		local $ENV{PGCLIENTENCODING} = $client;
		$node->safe_psql('postgres', "SELECT * FROM chronos.$_") for qw(jobs job_history audit_log wal_status);
		pass("a client with $client reads all of it");
	}

	my $dump = "$base/dump";
	($status, $out, $err) = run_tool('pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres'));
	is($status, 0, 'the database is dumped') or diag($err);
	$node->safe_psql('postgres', 'CREATE DATABASE again TEMPLATE template0');
	($status, $out, $err) = run_tool('pg_restore', '-1', '-d', $node->connstr('again'), $dump);
	is($status, 0, 'and restored in one transaction') or diag($err);
	my $rows = 'SELECT count(*) FROM chronos.job_history WHERE error IS NOT NULL';
	is($node->safe_psql('again', $rows), $node->safe_psql('postgres', $rows), 'with all its rows');
	# The same texts, seen from a database with another encoding.
	my $other = $encoding eq 'UTF8' ? 'LATIN1' : 'UTF8';
	$node->safe_psql('postgres', "CREATE DATABASE other ENCODING '$other' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql('other', 'CREATE EXTENSION chronos_backup');
	is($node->safe_psql('other', q{SELECT count(*) > 0 FROM chronos.current_jobs() WHERE error LIKE '%\\xff%'}), 't',
		"a database with $other reads them too");
	$node->stop;
}
