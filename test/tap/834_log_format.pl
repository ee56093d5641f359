# Each command leaves in its log file who ran it, with which options (no secret), and how it ended.
# With log-format=json file and standard error hold one object per line, and nothing else.
use strict;
use warnings;
use ChronosTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Sys::Hostname;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
mkdir "$base/$_" for 'log', 'repo', 'pg';
my $me = (getpwuid $<)[0];
my $secret = 'hunter2-hunter2';
sub config
{
	my ($name, %options) = @_;
	return write_config("$base/$name.conf", path => "$base/repo", pg => "$base/pg", 'log-path' => "$base/log",
		'log-level-file' => 'info', 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => $secret, %options);
}
my $text = config('text');
my $json = config('json', 'log-format' => 'json', 'log-level-stderr' => 'warn');

# --- Text.
is((chronos($text, 'stop'))[0], 0, 'a command that succeeds');
my $log = slurp_file("$base/log/main-stop.log");
my $who = quotemeta "$me@" . hostname();
like($log, qr/P00   INFO: stop command begin chronos \S+ by $who: .*--config=\S+.*--stanza=main/, 'who, on which machine, with what');
like($log, qr/stop command end: completed successfully/, 'and how it ended');
my $status = (chronos($text, '--set=20260101-000000F', 'unhold'))[0];
isnt($status, 0, 'a command that fails');
like(slurp_file("$base/log/main-unhold.log"), qr/unhold command begin .* by $who: .*--set=20260101-000000F.*\n.*ERROR: \[\d+\]: .*unhold command end: aborted with exception \[\d+\]/s,
	'is in the log of its own');
like(slurp_file("$base/log/main-unhold.log"), qr/--repo1-cipher-pass=<redacted>/, 'secrets are redacted');
for my $command ('annotate', 'hold')
{
	chronos($text, '--set=20260101-000000F', $command, $command eq 'hold' ? '--reason=court' : '--annotation=a=b');
	like(slurp_file("$base/log/main-$command.log"), qr/$command command begin/, "so is $command");
}

# --- JSON.
unlink glob "$base/log/*";
($status, my $out, my $err) = chronos($json, '--set=20260101-000000F', 'unhold');
my @lines = split /\n/, slurp_file("$base/log/main-unhold.log");
my @objects = map { decode_json($_) } @lines;
cmp_ok(scalar @objects, '>=', 3, 'each line of the file is an object');
my ($begin, $error) = ($objects[0], grep { $_->{level} eq 'error' } @objects);
like($begin->{message}, qr/^unhold command begin .* by $who: /, 'the first says who did what');
is_deeply([ @$error{qw(command stanza code)} ], [ 'unhold', 'main', $status ], 'an error has its code, and where it is from');
like($error->{timestamp}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$/, 'times are RFC 3339');
is_deeply([ grep { $_->{process} != $begin->{process} } @objects ], [], 'one run has one process id');
my @told = map { decode_json($_) } split /\n/, $err;
is($told[-1]{code}, $status, 'standard error is JSON too');
like($out, qr/P00   INFO: unhold command begin/, 'and the console is for people');
unlike(join('', @lines) . $err, qr/$secret/, 'no secret');
is((chronos($text, 'start'))[0], 0);
done_testing();
