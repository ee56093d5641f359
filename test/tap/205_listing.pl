# What is listed comes back, under any name that a file can have, from either tool; what cannot be
# listed is left out, loudly, and keeps nothing else from being backed up. What is no tablespace and
# what belongs to the file system is none of the cluster's; what cannot be read is known at once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use File::Path qw(make_path remove_tree);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

seed();
my $node = chronos_node('names', options => { 'compress-type' => 'gz', 'process-max' => 2 },
	conf => "allow_in_place_tablespaces = on\n");
my ($data, $conf, $repo) = ($node->data_dir, $node->{chronos_conf}, $node->{chronos_repo});
my $base = PostgreSQL::Test::Utils::tempdir();
mkdir "$base/ts" or die $!;
$node->safe_psql('postgres', $_)
  for "CREATE TABLESPACE ts LOCATION '$base/ts'",
  'CREATE TABLE spaced TABLESPACE ts AS SELECT i, md5(i::text) AS t FROM generate_series(1, 1000) i',
  "CREATE TABLESPACE in_place LOCATION ''",
  'CREATE TABLE placed TABLESPACE in_place AS SELECT i, md5(i::text) AS t FROM generate_series(1, 3000) i';
my $oid = $node->safe_psql('postgres', q{SELECT oid FROM pg_tablespace WHERE spcname = 'in_place'});
ok(-d "$data/pg_tblspc/$oid" && !-l "$data/pg_tblspc/$oid", 'there is a tablespace in place');

# Names of all bytes but those that no name can have, and line feed.
my (%content, %links);
sub random_name
{
	my @bytes = grep { $_ != 0 && $_ != 10 && $_ != ord('/') } 0 .. 255;
	my @likely = map { ord } split //, " \t=\"'[]{}#\\:,|\r\x7f\xe9~.";
	my $name = join '', map { chr(rand() < 0.5 ? $likely[ rand @likely ] : $bytes[ rand @bytes ]) } 1 .. 1 + rand 12;
	return $name =~ /^\.{1,2}$|^pgsql_tmp/ ? random_name() : $name;
}
sub put
{
	my ($name) = @_;
	return if -e "$data/$name" || -l "$data/$name";
	my $text = rand() < 0.1 ? '' : "content $name " x (1 + rand 50);
	open my $out, '>', "$data/$name" or die "$name: $!";
	print $out $text;
	close $out;
	$content{$name} = $text;
}
for (1 .. 12)
{
	my $dir = random_name();
	next if -e "$data/$dir" || -l "$data/$dir" || !mkdir "$data/$dir";
	put("$dir/" . random_name()) for 1 .. 5;
}
put(random_name()) for 1 .. 40;
put($_) for ' ', '=', '={}', 'a={"x":1}', '[a]', '[a', ']', '"', "\r", "t\t", "\x7f", "\xff", '\\', '#', 'a=', "\x01", 'n' x 240;
for (1 .. 6)
{
	# A link whose name begins with < pgBackRest takes for an expression of its own, and does not restore.
	my ($name) = grep { !/^</ } map { random_name() } 1 .. 9;
	my $to = "$base/to " . random_name() =~ s/\s+$//r;
	next if -e "$data/$name" || -l "$data/$name" || -e $to || $to =~ m{/\.*$};
	mkdir $to or die $!;
	symlink $to, "$data/$name" or die $!;
	$links{$name} = $to;
	put("$name/" . random_name());
}

# What has no place in a manifest, or in the cluster.
my ($real) = map { s{.*/}{}r } glob "$base/ts/PG_*";
my ($database) = map { s{.*/}{}r } glob "$base/ts/$real/*";
my @left_out = ("a\nb", "dir\nectory", "li\nnk", "pg_tblspc/x/$real/$database/s\nt", 'pg_tblspc/foo', 'pg_tblspc/16384.bak',
	'pg_tblspc/99999', 'n' x 254, 'nowhere', 'base/loop');
sub touch { my ($file) = @_; open my $out, '>', $file or die "$file: $!"; print $out 'x'; close $out; }
touch("$data/a\nb");
mkdir "$data/dir\nectory" or die $!;
touch("$data/dir\nectory/x");
symlink "$base", "$data/li\nnk" or die $!;
touch("$base/ts/$real/$database/s\nt");
touch("$data/pg_tblspc/foo");
mkdir "$data/pg_tblspc/16384.bak" or die $!;
symlink '/nowhere', "$data/pg_tblspc/99999" or die $!;
touch("$data/" . 'n' x 254);
symlink '/no/where', "$data/nowhere" or die $!;
symlink "$data/base/loop", "$data/base/loop" or die $!;
make_path("$data/lost+found/x", "$data/base/lost+found");
touch("$data/tablespace_map");

# In directories of databases, too, where all that is the server's has page checksums.
my @stray = ('base/5/README', 'base/5/core', 'base/5/1259.bak', 'global/pg_control.bak', 'base/5/pg_filenode.map.tmp');
for (@stray)
{
	$content{$_} = 'no page' x 3000;
	open my $out, '>', "$data/$_" or die "$_: $!";
	print $out $content{$_};
	close $out;
}

$node->safe_psql('postgres', 'SELECT chronos.stanza_create()');
my ($status, $out, $err) = chronos($conf, 'check');
is($status, 0, 'check has nothing against any of it') or diag("$out$err");
my ($label, $warnings) = ('', '');
$node->psql('postgres', q{SELECT chronos.backup_now('full')}, stdout => \$label, stderr => \$warnings);
like($label, qr/^\d{8}-\d{6}F$/, 'a backup is made') or diag($warnings);
like($warnings, qr/WARNING:  backup \Q$label\E is complete, but: left out of the backup: '/, 'and warns whoever asked for it');
my $job = $node->safe_psql('postgres', q{SELECT state, hint FROM chronos.jobs WHERE type = 'full' ORDER BY id DESC LIMIT 1});
like($job, qr/^succeeded\|left out of the backup: .*; and 7 more$/, 'so does the job');
is($node->safe_psql('postgres', qq{SELECT hint FROM chronos.job_history WHERE label = '$label'}) =~ tr/\n//, 0, 'in one line');
my $log = slurp_file($node->logfile);
unlike($log, qr/invalid page checksum|page misalignment/, 'no page checksums are looked for in what has no pages');
for my $path (@left_out)
{
	my $shown = $path =~ s/\n/?/gr =~ s{^pg_tblspc/x}{}r;
	$shown = 'n' x 100 if $shown =~ /^n{254}/;
	like($log, qr/left out of the backup: '[^'\n]*\Q$shown\E/, "$shown is named in the log");
}

put(random_name()) for 1 .. 10;
($status, $out, $err) = chronos($conf, '--type=incr', 'backup');
is($status, 0, 'an incr too') or diag("$out$err");
like("$out$err", qr/WARN: left out of the backup: '[^']*a\?b'/, 'the command warns as well');
for my $verify ([ 'chronos', \&chronos ], [ 'pgbackrest', \&pgbackrest ])
{
	($status, $out, $err) = $verify->[1]($conf, 'verify');
	is($status, 0, "$verify->[0] finds it whole") or diag("$out$err");
	unlike("$out$err", qr/ERROR|WARN|invalid|missing: [1-9]/, 'without a complaint');
}
my $manifest = slurp_file((glob "$repo/backup/main/*I/backup.manifest")[0]);
unlike($manifest, qr{lost\+found|^pg_[^=]*(?:99999|16384\.bak)}m, 'nothing of it is in the manifest');
is(() = $manifest =~ m{^pg_data/tablespace_map=}mg, 1, 'one tablespace_map is, that of the backup');
my $state = join ' ', table_state($node, 'spaced'), table_state($node, 'placed');

my $restored = 0;
for my $tool ([ 'chronos', \&chronos ], [ 'pgbackrest', \&pgbackrest ])
{
	my ($name, $call) = @$tool;
	my $to = "$base/restored_$name";
	mkdir $to or die $!;
	($status, $out, $err) = $call->($conf, "--pg1-path=$to", "--tablespace-map-all=$base/ts_$name", 'restore');
	is($status, 0, "$name restores it") or diag("$out$err");
	my @wrong = grep { !-f "$to/$_" || slurp_file("$to/$_") ne $content{$_} } sort keys %content;
	is(scalar @wrong, 0, 'every file is there, as it was')
	  or diag(map { my $n = $_; $n =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge; "'$n'\n" } @wrong);
	ok(!-e "$to/a\nb" && !-e "$to/lost+found" && !-l "$to/pg_tblspc/99999" && !-l "$to/nowhere", 'and nothing else');
	if ($name eq 'chronos')
	{
		($status, $out, $err) = chronos($conf, "--pg1-path=$to", "--tablespace-map-all=$base/ts_$name", '--delta', 'restore');
		is($status, 0, 'a second one over it finds its way through all names') or diag("$out$err");
	}
	my $copy = restored_node("copy_$name", $to, bare => 1);
	is(join(' ', table_state($copy, 'spaced'), table_state($copy, 'placed')), $state, 'a server runs with both tablespaces');
	$copy->stop;
}

# A tablespace of the server that is not there is not taken for one that there never was.
my ($ts) = grep { -l && readlink eq "$base/ts" } glob "$data/pg_tblspc/*";
rename "$base/ts", "$base/ts.away" or die $!;
($status, $out, $err) = chronos($conf, '--type=incr', 'backup');
isnt($status, 0, 'a tablespace whose file system is away stops the backup');
like("$out$err", qr/\Q$ts\E.*HINT: .*mounted/s, 'and is named');
rename "$base/ts.away", "$base/ts" or die $!;
rename $ts, "$base/link" or die $!;
($status, $out, $err) = chronos($conf, '--type=incr', 'backup');
is($status, 73, 'one whose link is gone as well');
like("$out$err", qr/tablespace 'ts' of the server has no entry/, 'by name');
rename "$base/link", $ts or die $!;

# Nor is a file of the server's.
my $moved = "$data/" . $node->safe_psql('postgres', q{CREATE TABLE moved AS SELECT 1; SELECT pg_relation_filepath('moved')});
$node->safe_psql('postgres', 'CHECKPOINT');
rename $moved, "$base/moved" or die $!;
symlink "$base/not_mounted", $moved or die $!;
($status, $out, $err) = chronos($conf, '--type=incr', 'backup');
rename "$base/moved", $moved or die $!;
is($status, 41, 'a relation that was moved away, with its file system gone, stops the backup');
like("$out$err", qr/\Q$moved\E.*HINT: .*mounted/s, 'and is named');

SKIP:
{
	skip 'root can read everything', 4 if $< == 0;
	mkdir "$data/closed" or die $!;
	touch("$data/$_") for 'secret1', 'secret2', 'secret3';
	chmod 0, map { "$data/$_" } 'secret1', 'secret2', 'secret3', 'closed' or die $!;
	($status, $out, $err) = chronos($conf, '--type=incr', '--exclude=secret3', 'backup');
	chmod 0700, "$data/closed";
	is($status, 41, 'what cannot be read stops the backup');
	like("$out$err", qr/closed' \(owner .*, mode 0000\).*secret1' \(owner .*secret2'/s, 'before it copies, with all names');
	unlike("$out$err", qr/secret3' \(owner/, 'but those that are excluded');
	like("$out$err", qr/HINT: .*exclude/, 'and says what to do');
	unlink "$data/secret1", "$data/secret2";
	($status, $out, $err) = chronos($conf, '--type=incr', '--exclude=secret3', 'backup');
	is($status, 0, 'as long as there is such a thing') or diag("$out$err");
}
# What a server cannot do without is not left out, whoever asks for it.
for (['pg_xact/', 'the commit status of transactions'], ['base', 'all databases'], ['pg_wal', 'a directory that the server needs'])
{
	my ($exclude, $lost) = @$_;
	my @before = glob "$repo/backup/main/*";
	($status, $out, $err) = chronos($conf, '--type=full', "--exclude=$exclude", 'backup');
	is($status, 32, "a backup without $exclude is refused");
	like("$out$err", qr/exclude '\Q$exclude\E' would take away \Q$lost\E/, 'with what would be lost');
	is(join(' ', glob "$repo/backup/main/*"), "@before", 'before anything is stored');
}
($status, $out, $err) = chronos($conf, '--exclude=pg_xact/', 'check');
is($status, 32, 'check refuses it as well');
like($out, qr/^FAILED  exclude: exclude 'pg_xact\/' would take away/m, 'and says so');
($status, $out, $err) = chronos($conf, '--type=incr', '--exclude=secret3', "--exclude=$data/base", '--exclude= log', 'backup');
is($status, 0, 'what matches nothing stops no backup') or diag("$out$err");
like("$out$err", qr/WARN: exclude '\Q$data\E\/base' matches nothing.*HINT: It is relative to the data directory: 'base'/s, 'but is told');
like("$out$err", qr/WARN: exclude ' log' matches nothing/, 'blanks are part of a name');
done_testing();
