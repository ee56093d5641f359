# What comes from outside and stands in a manifest or an info file - names of databases, texts of
# annotations - is stored only if it can be read back: what cannot is refused before anything is
# written, or left out with a warning that prints it safely, and the backup is one that both tools
# restore.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use Digest::SHA;
use File::Find;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = chronos_node('main', options => { 'compress-type' => 'gz', 'repo1-bundle' => 'n' });
my $conf = $node->{chronos_conf};
my $repo = $node->{chronos_repo};

# A user who may create databases, and nothing else. Since 19 the server wants its names on one line: the
# others are those that its catalog can have all the same.
$node->safe_psql('postgres', 'CREATE ROLE maker LOGIN CREATEDB');
my $one_line = $node->safe_psql('postgres', q{SELECT current_setting('server_version_num')::int >= 190000}) eq 't';
for my $name ("a\nb", "c=d [e] \"f\" \\g", "[h]", '#i', "j\rk", '=')
{
	(my $quoted = $name) =~ s/"/""/g;
	my $made = $one_line ? $quoted =~ s/[\r\n]/ /gr : $quoted;
	$node->safe_psql('postgres', qq{SET SESSION AUTHORIZATION maker; CREATE DATABASE "$made"});
	$node->safe_psql('postgres', "SET allow_system_table_mods = on; UPDATE pg_database SET datname = '$quoted' WHERE datname = '$made'")
	  if $made ne $quoted;
}
my ($status, $out, $err) = chronos($conf, 'backup', '--type=full');
is($status, 0, 'a cluster with a database whose name has two lines is backed up') or diag "$out$err";
like("$out$err", qr/WARN: database 'a\?b' \(oid \d+\) is backed up without its name/, 'and the name is printed on one');
my ($label) = glob "$repo/backup/main/2*F";
my $manifest = slurp_file("$label/backup.manifest");
$label =~ s{.*/}{};
like($manifest, qr/^\Qc=d [e] "f" \g={"db-id":\E/m, 'other names stand in the manifest as they are');
unlike($manifest, qr/^b=\{"db-id"/m, 'that one does not');
for my $name ('verify', 'info')
{
	($status, $out, $err) = pgbackrest($conf, $name, $name eq 'info' ? "--set=$label" : ());
	is($status, 0, "pgBackRest reads it: $name") or diag "$out$err";
}
($status, $out, $err) = chronos($conf, 'verify');
is($status, 0, 'verify finds nothing') or diag "$out$err";
for my $tool ($chronos, 'pgbackrest')
{
	my $data = PostgreSQL::Test::Utils::tempdir();
	chmod 0700, $data;
	($status, $out, $err) = run_tool($tool, "--config=$conf", '--stanza=main', "--pg1-path=$data", 'restore',
		'--type=immediate', '--target-action=promote');
	is($status, 0, 'restored by ' . ($tool eq $chronos ? 'chronos' : $tool)) or diag "$out$err";
	my $restored = restored_node($tool eq $chronos ? 'ours' : 'theirs', $data);
	is($restored->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = E'a\nb'}),
		1, 'with that database in it');
	$restored->stop;
}

# Annotations, by every door.
my $before = digest($repo);
my %bad = ("a\nb=x" => 'line feed in the key', "a\"b=x" => 'quote in the key', "k=\e[31m" => 'escape in the text',
	"k=\xff" => 'text that is no UTF-8', ('k' x 67) . '=x' => 'key of 67 bytes');
for my $annotation (sort keys %bad)
{
	for my $command ([ 'backup', '--type=full' ], [ 'annotate', "--set=$label" ])
	{
		($status, $out, $err) = chronos($conf, @$command, "--annotation=$annotation");
		is($status, 32, "$command->[0] refuses an annotation with a $bad{$annotation}") or diag "$out$err";
		unlike("$out$err", qr/[\e\xff]|a\nb/, 'and prints it safely');
	}
}
for my $json ('{"a\nb": "x"}', '{"a\"b": "x"}')
{
	my (undef, undef, $stderr) = $node->psql('postgres', "SELECT chronos.backup_now('full', '$json')");
	like($stderr, qr/annotation/, "SQL refuses $json");
}
for my $key (q{E'a\nb'}, q{'a"b'})
{
	my (undef, undef, $stderr) = $node->psql('postgres', "SELECT chronos.annotate('$label', $key, 'x')");
	like($stderr, qr/annotation/, "annotate() refuses $key");
}
is(digest($repo), $before, 'and nothing has been written');
$node->stop;
done_testing();

# Of the backup directory, to the byte.
sub digest
{
	my ($root) = @_;
	my $sha = Digest::SHA->new(1);
	my @files;
	find(sub { push @files, $File::Find::name if -f }, "$root/backup");
	$sha->add($_)->addfile($_) for sort @files;
	return $sha->hexdigest;
}
