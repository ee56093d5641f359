# The storage contract, the one every kind of repository passes, against a real object store over
# TLS, with both ways of addressing a bucket.
use strict;
use warnings;
use S3Server;
use Test::More;

my $unit = $ENV{TEST_UNIT_STORAGE} // '';
die 'TEST_UNIT_STORAGE names no executable' if !-x $unit;
my $server = S3Server->new(buckets => [ 'contract', 'versioned' ]);
$server->command('versioning versioned');

$ENV{TEST_S3_BUCKET} = 'contract';
$ENV{TEST_S3_ENDPOINT} = "https://localhost:$server->{https}";
$ENV{TEST_S3_HOST_STYLE} = "https://s3.test:$server->{https}";
$ENV{TEST_S3_KEY} = $server->{key};
$ENV{TEST_S3_SECRET} = $server->{secret};
$ENV{TEST_S3_CA_FILE} = $server->{ca};
my $out = `$unit --gtest_also_run_disabled_tests --gtest_brief=1 --gtest_filter='*S3PathStyle*:*S3HostStyle*:*S3Server*' 2>&1`;
is($?, 0, 'the contract holds') or diag($out);
like($out, qr/\[  PASSED  \] (?:4[5-9]|[5-9]\d) tests/, 'and all of it ran') or diag($out);
unlike($out, qr/SKIPPED/, 'nothing was skipped');
$server->stop;
done_testing();
