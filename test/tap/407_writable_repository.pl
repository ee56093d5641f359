# What somebody can do who can write an encrypted repository and does not know its passphrase: take
# away, and put back what was there before. Nothing that he makes, changes, cuts, exchanges or joins is
# restored or replayed. docs/security.md rests on this.
use strict;
use warnings;
use ChronosTest;
use File::Copy qw(copy);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = chronos_node('primary', options => { 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => 'writable 407', 'log-level-console' => 'off' });
my ($conf, $repo) = @$node{qw(chronos_conf chronos_repo)};
sub value { return $node->safe_psql('postgres', $_[0]) }
value('CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 2000) i');
my $first = value(q{SELECT chronos.backup_now('full')});
my $info_before = slurp_file("$repo/backup/main/backup.info");
wait_archived($node);
my $second = value(q{SELECT chronos.backup_now('full')});
wait_archived($node);
my @dir = map { my $d = PostgreSQL::Test::Utils::tempdir(); chmod 0700, $d; $d } 1 .. 2;

# As whoever has the directory; the files are the owner's.
sub put { my ($file, $text) = @_; chmod 0640, $file; open my $out, '>', $file or die "$file: $!"; print $out $text; close $out; return }
sub damages
{
	my ($what, $change, @files) = @_;
	my %whole = map { $_ => slurp_file($_) } @files;
	put($_, $change->($whole{$_})) for @files;
	my ($status, $out, $err) = chronos($conf, '--output=text', 'verify');
	is($status, 28, "$what: verify finds it") or diag($out . $err);
	($status, $out, $err) = chronos($conf, "--pg1-path=$dir[0]", "--set=$second", '--type=immediate', '--archive-mode=off', 'restore');
	isnt($status, 0, "$what: a restore does not follow it") or diag($out . $err);
	put($_, $whole{$_}) for @files;
	system('find', $dir[0], '-mindepth', '1', '-delete') == 0 or die;
	return;
}

my @manifests = map { "$repo/backup/main/$second/backup.manifest$_" } '', '.copy';
my $other = slurp_file("$repo/backup/main/$first/backup.manifest");
seed();
my $at = 32 + int rand length($other) - 64;
my $flip = sub { my ($text, $where) = @_; substr($text, $where, 1) ^= "\x01"; return $text };
damages("a bit of a manifest at $at", sub { $flip->($_[0], $at) }, @manifests);
damages('a bit of its salt', sub { $flip->($_[0], 9) }, @manifests);
damages('a manifest cut short at a block', sub { substr($_[0], 0, 16 * int(length($_[0]) / 32)) }, @manifests);
damages('two manifests joined', sub { substr($_[0], 0, 512) . substr($other, 512) }, @manifests);
damages('the manifest of another backup', sub { $other }, @manifests);
damages('a manifest in clear', sub { "[backup]\nbackup-label=\"$second\"\n" }, @manifests);
my @bundles = sort { -s $b <=> -s $a } glob "$repo/backup/main/$second/bundle/*";
my $theirs = (sort { -s $b <=> -s $a } glob "$repo/backup/main/$first/bundle/*")[0];
damages('a bit of a bundle', sub { $flip->($_[0], int(length($_[0]) / 2)) }, $bundles[0]);
damages('the bundle of another backup', sub { slurp_file($theirs) }, $bundles[0]);

# WAL: what is not the segment is no answer, and no end of the archive either.
my @wal = sort glob "$repo/archive/main/*-1/*/*-*";
my @segments = grep { m{/[0-9A-F]{24}-[0-9a-f]{40}} } @wal;
my ($segment) = $segments[-1] =~ m{/([0-9A-F]{24})-};
for ([ 'a bit of a segment', sub { $flip->($_[0], int(length($_[0]) / 2)) } ], [ 'the content of another segment', sub { slurp_file($segments[0]) } ])
{
	my ($what, $change) = @$_;
	my $whole = slurp_file($segments[-1]);
	put($segments[-1], $change->($whole));
	(my $status) = chronos($conf, '--archive-timeout=1', 'archive-get', $segment, "$dir[1]/got");
	cmp_ok($status, '>', 1, "$what is neither given nor called missing");
	ok(!-e "$dir[1]/got", 'nothing of it is there');
	put($segments[-1], $whole);
}

# What he can: put back what was valid. The manifests are still there, so the next run puts it right;
# without them there would be nothing to see.
put("$repo/backup/main/backup.info$_", $info_before) for '', '.copy';
my ($status, $out) = chronos($conf, '--output=json', 'info');
unlike($out, qr/"label":"$second"/, 'an older backup.info is valid');
chronos($conf, 'expire');
($status, $out) = chronos($conf, '--output=json', 'info');
like($out, qr/"label":"$second"/, 'and what it does not know is found by its manifest');
($status, $out, my $err) = chronos($conf, '--output=text', 'verify');
is($status, 0, 'as it was') or diag($out . $err);
$node->stop;
done_testing();
