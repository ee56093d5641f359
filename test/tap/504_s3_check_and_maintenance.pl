# chronos check tries every permission that a bucket must give and names the one it does not;
# chronos maintenance aborts uploads that nobody will end.
# Enough with one version of PostgreSQL: its subject is the bucket
use strict;
use warnings;
use ChronosTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;

my $server = S3Server->new(buckets => ['limited']);
my ($key, $secret) = ('limitedkey', 'limitedsecret0123456789');
$server->command("user limited $key $secret");

sub allow_all_but
{
	my ($missing) = @_;
	my $statement = sub {
		my ($effect, @actions) = @_;
		return { Effect => $effect, Principal => { AWS => ['arn:aws:iam:::user/limited'] },
			Action => [ map { "s3:$_" } @actions ],
			Resource => [ 'arn:aws:s3:::limited', 'arn:aws:s3:::limited/*' ] };
	};
	my @statements = $statement->('Allow', qw(ListBucket ListBucketMultipartUploads GetObject PutObject
		DeleteObject AbortMultipartUpload));
	# Whoever has written an object may read it, unless that is denied.
	push @statements, $statement->('Deny', $missing) if $missing ne '';
	my $policy = JSON::PP->new->canonical->encode({ Version => '2012-10-17', Statement => \@statements });
	$server->command("policy limited '$policy'");
	return;
}

allow_all_but('');
my $node = chronos_node('primary', options => { $server->options('limited'), 'repo1-path' => '/repo',
	'repo1-s3-key' => $key, 'repo1-s3-key-secret' => $secret, 'archive-timeout' => 10, 'log-level-console' => 'warn' });
my $conf = $node->{chronos_conf};
wait_archived($node);
my @before = $server->keys_below('limited', 'repo/chronos');
my ($status, $out, $err) = chronos($conf, 'check');
is($status, 0, 'all permissions: check succeeds') or diag($out . $err);
like($out, qr/^ok +repo1 storage: .*list, write, read, remove, upload in parts, abort of uploads, list of uploads$/m,
	'and says what it has tried');
is_deeply([ $server->keys_below('limited', 'repo/chronos') ], \@before, 'nothing of the trial is left');

# With ListBucket a missing object says 404, without 403: everything else looks like it then.
my %named = (ListBucket => 'list', PutObject => 'write', GetObject => 'read', DeleteObject => 'remove');
for my $missing (sort keys %named)
{
	allow_all_but($missing);
	($status, $out, $err) = chronos($conf, 'check');
	cmp_ok($status, '!=', 0, "without s3:$missing check fails");
	like($out, qr/^FAILED +repo1 storage $named{$missing}: .*403.*\n +HINT: .*s3:$missing\b/m, "and names s3:$missing")
	  or diag($out . $err);
	unlike($out . $err, qr/\Q$secret\E/, 'without a secret');
}
for my $missing (qw(AbortMultipartUpload ListBucketMultipartUploads))
{
	allow_all_but($missing);
	(undef, $out) = chronos($conf, 'check');
	like($out, qr/^note +repo1 storage \w+ of uploads: .*\n +HINT: .*s3:$missing\b/m, "s3:$missing is missed, but only noted")
	  or diag($out);
}
allow_all_but('');

# Uploads that a crash has left, of this stanza and of another.
$server->command("upload '/limited/repo/$_'")
  for 'backup/main/20260101-000000F/bundle/1', 'archive/main/15-1/x', 'backup/other/y';
$server->command("upload '/limited/elsewhere/z'");
sleep 2;
($status, $out) = chronos($conf, 'maintenance');
is($out, "nothing to do\n", 'uploads of the last day may still be under way');
($status, $out) = chronos($conf, '--upload-age=1s', '--dry-run', 'maintenance');
is(() = $out =~ /would abort upload (?:backup|archive)\/main\//g, 2, '--dry-run lists those of the stanza') or diag($out);
unlike($out, qr/other|elsewhere/, 'and no others');
($status, $out, $err) = chronos($conf, '--upload-age=1s', 'maintenance');
is($status, 0, 'maintenance') or diag($out . $err);
is(() = $out =~ /aborted upload (?:backup|archive)\/main\//g, 2, 'aborts them');
($status, $out) = run_tool($chronos, "--config=$conf", '--upload-age=1s', 'maintenance');
is(() = $out =~ /aborted upload backup\/other\/y/g, 1, 'without a stanza: of all stanzas of the repository');
unlike($out, qr/elsewhere/, 'never beyond the repository');

# A bucket that is full: the reason is named, and archiving goes on when there is room again.
$server->command('quota 1');
($status, $out) = chronos($conf, 'check');
like($out, qr/QuotaExceeded.*\n +HINT: .*quota/i, 'a full bucket is told') or diag($out);
$server->command('quota 0');
wait_archived($node);
pass('archiving went on');
$node->stop;
$server->stop;
done_testing();
