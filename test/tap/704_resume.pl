# A full backup that was killed is gone on with, whichever tool began it: chronos takes over what
# pgBackRest has stored, pgBackRest what chronos has. What is in the repository is not stored again,
# and what comes of it is restored by both alike, and to the data.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Digest::SHA qw(sha1_hex);
use File::Path qw(remove_tree);
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $base = PostgreSQL::Test::Utils::tempdir();
my $conf = "$base/chronos.conf";
my ($pgbackrest_version) = `pgbackrest version` =~ /(\d+(?:\.\d+)+)/;
my $node = PostgreSQL::Test::Cluster->new('source');
$node->init(allows_streaming => 1, extra => ['--data-checksums']);
$node->append_conf('postgresql.conf', <<C);
archive_mode = on
archive_command = '[ ! -e $conf ] || pgbackrest --config=$conf --stanza=main archive-push %p'
autovacuum = off
C
$node->start;
# Incompressible, so that a backup with the slowest level lasts long enough to be killed.
$node->safe_psql('postgres',
	"CREATE TABLE t$_ AS SELECT i, md5(random()::text) || md5(random()::text) AS t FROM generate_series(1, 40000) i")
  for 1 .. 12;
$node->safe_psql('postgres', 'CHECKPOINT');
my $state = table_state($node, 't7');

for my $form ([ 'gz' ], [ 'bz2', 'aes-256-cbc' ])
{
	my ($codec, $cipher) = @$form;
	subtest "chronos goes on with pgBackRest's, $codec " . ($cipher // 'clear') =>
	  sub { goes_on('pgbackrest', 'chronos', $codec, $cipher) };
}
subtest "pgBackRest goes on with chronos'" => sub { goes_on('chronos', 'pgbackrest', 'gz') };
subtest 'pgBackRest of another version begins anew' => sub { begins_anew() };
$node->stop;
done_testing();

sub make_repo
{
	my ($codec, $cipher) = @_;
	my $repo = "$base/repo";
	remove_tree($repo);
	mkdir $repo or die $!;
	# Without its stanza the archiver would fail, and then wait for a minute.
	unlink $conf;
	write_config("$conf.new", path => $repo, pg => $node->data_dir, port => $node->port, socket => $node->host,
		'compress-type' => $codec, 'compress-level' => 9, 'process-max' => 1,
		'repo1-bundle' => 'n', 'manifest-save-threshold' => '1MiB', 'log-level-console' => 'detail',
		$cipher ? ('repo1-cipher-type' => $cipher, 'repo1-cipher-pass' => 'a secret of the test') : ());
	is((pgbackrest("$conf.new", 'stanza-create'))[0], 0, 'stanza');
	rename "$conf.new", $conf or die $!;
	return $repo;
}

sub command
{
	my ($tool) = @_;
	return ($tool eq 'chronos' ? $chronos : 'pgbackrest', "--config=$conf", '--stanza=main');
}

# Runs a full backup and kills it when its manifest has been saved with some files in it. Returns
# the label.
sub interrupted
{
	my ($tool, $repo) = @_;
	my $backup = IPC::Run::start([ command($tool), '--type=full', 'backup' ], '>', "$base/out", '2>', "$base/err");
	my ($label, $saved);
	poll_until(
		sub {
			my ($partial) = glob "$repo/backup/main/2*F/backup.manifest.copy" or return;
			($label) = $partial =~ m{/(2[^/]+F)/};
			# The first one is saved before anything is copied, and is replaced as a whole.
			my $inode = (stat $partial)[1] // return;
			$saved //= $inode;
			return $inode != $saved && stored_files($repo, $label) > 6;
		},
		'a backup with something in it', 60);
	$backup->kill_kill(grace => 0);
	ok(!-e "$repo/backup/main/$label/backup.manifest", "$tool is killed in the middle");
	# A process that copies for pgBackRest ends by itself.
	poll_until(sub { !grep { command_line($_) =~ /\Q$conf\E.*backup/s } glob '/proc/[0-9]*' }, 'the end of its processes');
	return $label;
}

sub command_line
{
	my ($process) = @_;
	open my $in, '<', "$process/cmdline" or return '';
	return <$in> // '';
}

# How many files of databases there are a copy of, be it whole or not.
sub stored_files
{
	my ($repo, $label) = @_;
	my $count = () = glob "$repo/backup/main/$label/pg_data/base/*/*";
	return $count;
}

sub goes_on
{
	my ($first, $second, $codec, $cipher) = @_;
	my $repo = make_repo($codec, $cipher);
	my $label = interrupted($first, $repo);
	# It wants its own version in the partial manifest; all else it reads as it is.
	set_version("$repo/backup/main/$label/backup.manifest.copy", $pgbackrest_version) if $second eq 'pgbackrest';
	my $before = slurp_tree("$repo/backup/main/$label");
	my ($status, $out, $err) = run_tool(command($second), '--type=full', 'backup');
	is($status, 0, "backup by $second") or diag($out, $err);
	like("$out$err", qr/resumable backup $label of same type exists/, 'goes on');
	my $says = $second eq 'chronos' ? 'match file from interrupted backup' : 'checksum resumed file';
	my $kept = () = "$out$err" =~ /$says/g;
	cmp_ok($kept, '>=', 2, "keeps $kept files");
	unlike("$out$err", qr/did not have expected checksum/, 'and finds all of them whole');
	my $after = slurp_tree("$repo/backup/main/$label");
	my $same = grep { /base/ && $before->{$_} =~ / / && ($after->{$_} // '') eq $before->{$_} } keys %$before;
	cmp_ok($same, '>=', $kept - 1, 'which are as they were');
	restores($repo, $label);
	return;
}

sub begins_anew
{
	my $repo = make_repo('gz');
	my $label = interrupted('chronos', $repo);
	my ($status, $out, $err) = run_tool(command('pgbackrest'), '--type=full', 'backup');
	is($status, 0, 'backup by pgbackrest') or diag($out, $err);
	like("$out$err", qr/backup '$label' cannot be resumed: new pgBackRest version/, 'says why');
	ok(!-d "$repo/backup/main/$label", 'removes what there was');
	my ($new) = map { m{([^/]+)$} } grep { !-l } glob "$repo/backup/main/2*F";
	restores($repo, $new);
	return;
}

# Both restore it alike; the data are those of the server; nothing in the repository is wrong.
sub restores
{
	my ($repo, $label) = @_;
	my %tree;
	for my $tool ('chronos', 'pgbackrest')
	{
		my $data = "$base/restored";
		mkdir $data, 0700 or die $!;
		my ($status, $out, $err) = run_tool(command($tool), "--pg1-path=$data", "--set=$label", '--type=immediate',
			'--target-action=promote', 'restore');
		is($status, 0, "restored by $tool") or diag($out, $err);
		$tree{$tool} = slurp_tree($data);
		# 2.45 does not yet make pg_control unusable without its backup_label.
		delete $tree{$tool}{$_} for 'postgresql.auto.conf', 'recovery.signal', 'global/pg_control';
		if ($tool eq 'pgbackrest')
		{
			my $restored = restored_node("restored_" . $label =~ tr/-/_/r, $data);
			is(table_state($restored, 't7'), $state, 'to the data');
			$restored->stop;
		}
		remove_tree($data);
	}
	is_deeply($tree{chronos}, $tree{pgbackrest}, 'both restore it alike');
	my ($status, $out, $err) = pgbackrest($conf, '--log-level-console=info', 'verify');
	my @bad = grep { /(?:missing|invalid|mismatch|other): *[1-9]|ERROR|WARN/ } split /\n/, "$out\n$err";
	is("@bad", '', 'pgbackrest verify finds nothing wrong') or diag($out);
	return;
}

# Writes another version into a manifest. Its checksum is over the entries as one JSON object of
# objects, in their order, but for itself.
sub set_version
{
	my ($file, $version) = @_;
	my $text = slurp_file($file);
	$text =~ s/^backrest-version=".*"$/backrest-version="$version"/m or die "no version in $file";
	my ($json, $section) = ('{', undef);
	for my $line (split /\n/, $text)
	{
		if ($line =~ /^\[(.*)\]$/)
		{
			$json .= (defined $section ? '},' : '') . "\"$1\":{";
			$section = $1;
		}
		elsif (my ($key, $value) = $line =~ /^([^=]+)=(.*)$/)
		{
			next if $key eq 'backrest-checksum';
			$json .= ($json =~ /\{$/ ? '' : ',') . "\"$key\":$value";
		}
	}
	# The checksum stands in a section of its own at the end, which is the first one again.
	$json =~ s/\},"backrest":\{$//;
	my $checksum = sha1_hex("$json}}");
	$text =~ s/^backrest-checksum=".*"$/backrest-checksum="$checksum"/m or die "no checksum in $file";
	open my $out, '>', $file or die $!;
	print $out $text;
	close $out;
	return;
}
