# Bad input and broken surroundings give an error that says what was being done, to what, and why,
# and nothing is lost: the next try in good order works.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = chronos_node('primary',
	options => { 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'right horse' });
my $conf = $node->{chronos_conf};
my $repo = $node->{chronos_repo};
my $base = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS id');
my $label = $node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
wait_archived($node);

# fails NAME, STATUS, PATTERN, ARGUMENTS...
sub fails
{
	my ($name, $expected, $pattern, @arguments) = @_;
	my ($status, $out, $err) = run_tool($chronos, @arguments);
	is($status, $expected, "$name: exit status") or diag($out . $err);
	like($out . $err, $pattern, "$name: says so");
	unlike($out . $err, qr/right horse|wrong horse/, "$name: no passphrase in it");
	unlike($out . $err, qr/[^\x09\x0a\x20-\x7e\x80-\xff]/, "$name: no binary in it");
	return $out . $err;
}

sub variant
{
	my ($name, $change) = @_;
	my $text = PostgreSQL::Test::Utils::slurp_file($conf);
	$change->() for ($text);
	my $file = "$base/$name.conf";
	open my $out, '>', $file or die $!;
	chmod 0600, $file;
	print $out $text;
	close $out;
	return $file;
}

my @dir = map { my $d = PostgreSQL::Test::Utils::tempdir(); chmod 0700, $d; $d } 1 .. 3;
my @restore = ('--stanza=main', "--pg1-path=$dir[0]", 'restore');

# Three ways to have the passphrase wrong, three messages.
my $wrong = variant('wrong', sub { s/right horse/wrong horse/ });
my $none = variant('none', sub { s/repo1-cipher.*\n//g });
fails('wrong passphrase', 95, qr/passphrase.*wrong|wrong.*passphrase/i, "--config=$wrong", @restore);
fails('no passphrase for an encrypted repository', 95, qr/encrypted/i, "--config=$none", @restore);
my $plain_repo = "$base/plain";
mkdir $plain_repo;
my $plain = variant('plain', sub { s/repo1-cipher.*\n//g; s/repo1-path=.*/repo1-path=$plain_repo/ });
is((run_tool($chronos, "--config=$plain", '--stanza=main', 'stanza-create'))[0], 0, 'a repository in clear');
my $superfluous = variant('superfluous', sub { s/repo1-path=.*/repo1-path=$plain_repo/ });
fails('passphrase for a repository in clear', 95, qr/not encrypted/i, "--config=$superfluous", @restore);

# Configuration.
fails('unknown option', 31, qr/invalid option '--proces-max=2'.*process-max/s, "--config=$conf", '--proces-max=2', @restore);
fails('bad value', 32, qr/process-max/, "--config=$conf", '--process-max=0', @restore);
fails('secret on the command line', 31, qr/repo1-cipher-pass/, "--config=$conf", '--repo1-cipher-pass=x', @restore);
fails('no such configuration', 55, qr/\Q$base\E\/missing\.conf/, "--config=$base/missing.conf", @restore);
fails('no stanza', 37, qr/stanza/, "--config=$conf", 'restore');
my $unreadable = variant('unreadable', sub { });
chmod 0000, $unreadable;
fails('unreadable configuration', 41, qr/unreadable\.conf.*user id/s, "--config=$unreadable", @restore);
my $open = variant('open', sub { });
chmod 0644, $open;
like(join('', (run_tool($chronos, "--config=$open", '--stanza=main', 'info'))[ 1, 2 ]), qr/open\.conf.*(?:0?640|readable)/s,
	'a configuration with a secret that everybody can read is warned of');

# Labels and targets.
fails('bad label', 75, qr/bogus/, "--config=$conf", '--set=bogus', @restore);
fails('unknown label', 75, qr/20200101-000000F.*\Q$label\E/s, "--config=$conf", '--set=20200101-000000F', @restore);
fails('target before all that can be recovered', 75, qr/2020-01-01.*\Q$label\E/s, "--config=$conf", '--type=time',
	'--target=2020-01-01 00:00:00+00', @restore);
fails('bad time', 29, qr/bogus/, "--config=$conf", '--type=time', '--target=bogus', @restore);
fails('target without a type', 31, qr/target/, "--config=$conf", '--target=x', @restore);
fails('type without a target', 37, qr/target/, "--config=$conf", '--type=time', @restore);

# Directories.
fails('running server', 38, qr/running/, "--config=$conf", '--stanza=main', '--delta', 'restore');
open my $foreign, '>', "$dir[1]/something" or die $!;
close $foreign;
fails('foreign directory', 40, qr/contains files/, "--config=$conf", '--stanza=main', "--pg1-path=$dir[1]", 'restore');
fails('foreign directory, with delta', 40, qr/contains files/, "--config=$conf", '--stanza=main', "--pg1-path=$dir[1]", '--delta', 'restore');
ok(-e "$dir[1]/something", 'what was there is still there');

# The repository.
rename $repo, "$repo.away" or die $!;
fails('repository missing', 55, qr/\Q$repo\E/, "--config=$conf", @restore);
my ($ret, $out, $err) = $node->psql('postgres', q{SELECT chronos.backup_now('full')});
isnt($ret, 0, 'a backup without its repository directory fails');
like($err, qr/\Q$repo\E/, 'and names it');
unlike($err, qr/right horse/, 'without a passphrase');
rename "$repo.away", $repo or die $!;

for my $info (qw(backup/main/backup.info archive/main/archive.info))
{
	rename "$repo/$info", "$repo/$info.good" or die $!;
	open my $damaged, '>', "$repo/$info" or die $!;
	print $damaged "Salted__garbage that nobody can read";
	close $damaged;
	my ($status, $text) = chronos($conf, 'info');
	like($text, qr/\Q$label\E/, "damaged $info: its copy is used");
	rename "$repo/$info.good", "$repo/$info" or die $!;
}

# WAL with the same name and other content is refused; the same content is not.
my ($segment) = map { /([0-9A-F]{24})-/ } sort glob "$repo/archive/main/*-1/*/*-*";
my $wal = "$base/$segment";
is((chronos($conf, "--pg1-path=" . $node->data_dir, 'archive-get', $segment, $wal))[0], 0, 'a segment is got');
my @push = ("--config=$conf", '--stanza=main', 'archive-push', $wal);
is((run_tool($chronos, @push))[0], 0, 'pushing the same segment again is a success');
open my $file, '+<:raw', $wal or die $!;
seek $file, 100_000, 0;
print $file 'other content';
close $file;
fails('WAL with other content', 45, qr/\Q$segment\E.*already exists.*different checksum/s, @push);
($ret) = chronos($conf, 'archive-get', $segment, "$base/again");
is($ret, 0, 'the stored one is as it was');

# Another cluster.
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init(allows_streaming => 1);
my $other_conf = variant('other', sub { s/pg1-path=.*/'pg1-path=' . $other->data_dir/e });
fails('WAL of another cluster', 103, qr/system-id/, "--config=$other_conf", '--stanza=main', 'archive-push',
	glob($other->data_dir . '/pg_wal/0*'));
fails('stanza of another cluster', 28, qr/match/, "--config=$other_conf", '--stanza=main', '--no-online', 'stanza-create');

# And all is well.
my $later = $node->safe_psql('postgres', q{SELECT chronos.backup_now('full')});
cmp_ok($later, 'gt', $label, 'the next backup works');
is((chronos($conf, "--pg1-path=$dir[2]", '--archive-mode=off', 'restore'))[0], 0, 'and restores');
$node->stop;

done_testing();
