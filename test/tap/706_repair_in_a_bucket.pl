# repair in an encrypted repository in a bucket: objects are written anew from each other, a backup
# that nobody can read is moved object by object, and pgBackRest reads what is left. The key that
# stands in backup.info alone is not invented, and any older copy of the file brings it back.
# Enough with one version of PostgreSQL: its subject is the bucket
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;

my $server = S3Server->new(buckets => ['one']);
my $node = chronos_node('main', options => { $server->options('one'), 'repo1-path' => '/repo', 'compress-type' => 'gz',
	'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'mends what is broken', 'archive-timeout' => 60 });
my $conf = $node->{chronos_conf};
for my $type ('full', 'incr', 'full')
{
	my ($status, $out, $err) = chronos($conf, 'backup', "--type=$type");
	is($status, 0, "a $type backup") or diag "$out$err";
}
my %seen;
my ($full, $incr, $last) = grep { !$seen{$_}++ } map { m{repo/backup/main/(2[\w-]+)/} ? $1 : () } keys_of('backup/main/2');

my $early = get('backup/main/backup.info');
is(status(), 0, 'nothing to repair');
for my $name ('backup/main/backup.info', 'archive/main/archive.info.copy', "backup/main/$full/backup.manifest")
{
	damage($name);
}
is(status(), 2, 'three objects cannot be read');
is(status('--force'), 0, 'they are written anew');
is(status(), 0, 'and nothing is left to do');

for my $name ("backup/main/$last/backup.manifest", "backup/main/$last/backup.manifest.copy",
	"backup/main/backup.history/" . substr($last, 0, 4) . "/$last.manifest.gz")
{
	damage($name);
}
my @before = keys_of("backup/main/$last/");
is(status('--force'), 0, 'a backup that nobody can read is set aside');
is_deeply([ keys_of("backup/main/$last/") ], [], 'away from where it was');
is(scalar(grep { m{/backup/main/\Q$last\E/} } keys_of('chronos/main/aside/')), scalar @before, 'with all its objects')
  or diag join "\n", @before, keys_of('chronos/main/aside/');

damage($_) for 'backup/main/backup.info', 'backup/main/backup.info.copy';
my ($status, $out) = chronos($conf, 'repair', '--force');
is($status, 3, 'a key that is lost cannot be invented');
like($out, qr/older copy/, 'but put back');
put('backup/main/backup.info', $early);
is(status('--force'), 0, 'with an older copy everything that is there is found');
my $err;
($status, $out, $err) = chronos($conf, 'verify');
is($status, 0, 'verify finds nothing') or diag "$out$err";
($status, $out, $err) = pgbackrest($conf, 'info');
like($out, qr/full backup: \Q$full\E.*incr backup: \Q$incr\E/s, 'pgBackRest lists what is left');
unlike($out, qr/\Q$last\E/, 'and nothing else');
$node->stop;
done_testing();

sub status
{
	my ($code, $o, $e) = chronos($conf, 'repair', @_);
	note "$o$e";
	return $code;
}
sub keys_of { return $server->keys_below('one', "repo/$_[0]") }
sub get { return (split / /, $server->command("get '/one/repo/$_[0]'"))[1] }
sub put { my ($name, $base64) = @_; $base64 =~ s/\s//g; $server->command("put '/one/repo/$name' '$base64'") }
sub damage { put($_[0], encode_base64("garbage\n", '')) }
