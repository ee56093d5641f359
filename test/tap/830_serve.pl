# `chronos serve` alone needs a repository and a configuration, no server: it answers what existing
# checks, dashboards and alerts ask, tells strangers nothing, survives what is no request, and its
# memory does not grow with what it is asked.
use strict;
use warnings;
use ChronosTest;
use HttpTest;
use IO::Socket::INET;
use IPC::Run ();
use JSON::PP ();
use MIME::Base64 ();
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = seed();
my $base = PostgreSQL::Test::Utils::tempdir();
my $fixtures = $ENV{TEST_FIXTURES_DIR};
system('tar', '-C', $base, '--zstd', '-xf', "$fixtures/zst-bundle-block.tar.zst") == 0 or die 'unpack';
my ($repo) = grep { -d "$_/backup" } ($base, glob "$base/* $base/*/*");
my ($stanza) = map { /([^\/]+)$/ } glob "$repo/backup/*";

# A process of its own in the background; ends with the test.
sub serve
{
	my ($port, @options) = @_;
	my ($out, $err) = ('', '');
	unshift @options, "--repo1-path=$repo" if !grep { /^--repo1-path=/ } @options;
	my $handle = IPC::Run::start([ $chronos, '--no-config', "--stanza=$stanza",
			"--lock-path=$base/lock", "--spool-path=$base/spool", '--log-level-console=info',
			'--health-backup-age=3650d',
			"--http-listen=$port", @options, 'serve' ], '<', \undef, '>', \$out, '2>', \$err);
	return { handle => $handle, out => \$out, err => \$err };
}

sub stop
{
	my ($server) = @_;
	$server->{handle}->signal('TERM');
	$server->{handle}->finish;
	return $server->{handle}->result(0);
}

sub pid_of { return $_[0]{handle}{KIDS}[0]{PID} }

sub resident_kib
{
	open my $in, '<', "/proc/$_[0]/status" or return 0;
	return (join('', <$in>) =~ /^VmRSS:\s+(\d+)/m)[0];
}

my $port = free_port();
my $server = serve("localhost:$port");
ok(wait_for_http($port), 'it is ready once it has read the repository');
is((get($port, '/healthz'))[0], 200, 'it is alive');

# What a health check of today gets from the port.
for my $path ('/', '/health')
{
	my ($status, $body, $headers) = get($port, $path);
	is($status, 200, "$path is healthy");
	my $json = JSON::PP::decode_json($body);
	is(join(' ', sort keys %$json), 'last_backup_age_hours messages status timestamp', 'with the keys of the runbook');
	is($json->{status}, 'healthy', 'healthy') or diag($body);
	like($body, qr/"last_backup_age_hours":"\d+"/, 'the age is a text');
	like($json->{timestamp}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'the time is UTC');
	is($headers->{'content-type'}, 'application/json', 'as JSON');
}
my ($status, $page, $headers) = get($port, '/', Accept => 'text/html,*/*');
is($status, 200, 'a browser gets a page');
like($headers->{'content-type'}, qr{^text/html}, 'of HTML');
like($page, qr/^<!DOCTYPE html>/, 'from its beginning');
unlike($page, qr{(?:src|href)="(?:https?:)?//}, 'without anything from elsewhere');
unlike($page, qr/innerHTML|\@NONCE\@/, 'that parses nothing as markup');
my ($nonce) = $headers->{'content-security-policy'} =~ /script-src 'nonce-([0-9a-f]+)'/;
like($page, qr/<script nonce="$nonce">/, 'whose script is the one that the policy allows');
is($headers->{'x-frame-options'}, 'DENY', 'and that nobody frames');

($status, my $metrics, $headers) = get($port, '/metrics');
is($status, 200, 'metrics');
like($headers->{'content-type'}, qr{^text/plain; version=0\.0\.4}, 'for Prometheus');
for my $name (qw(pgbackrest_backup_info pgbackrest_backup_since_last_completion_seconds pgbackrest_backup_duration_seconds
	pgbackrest_stanza_status pgbackrest_repo_status pgbackrest_wal_archive_status pgbackrest_last_backup_timestamp
	s3_bucket_size_bytes chronos_rule_state))
{
	like($metrics, qr/^# TYPE $name gauge\n$name\{/m, $name);
}
my @bad = grep { !/^(?:# (?:HELP|TYPE) \w+ .+|\w+\{(?:\w+="(?:[^"\\\n]|\\.)*",?)*\} -?[0-9.e+]+)$/ } split /\n/, $metrics;
is("@bad", '', 'every line is of the format');
($status, $metrics, $headers) = get($port, '/metrics', Accept => 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5');
like($headers->{'content-type'}, qr{^application/openmetrics-text}, 'OpenMetrics for who asks');
like($metrics, qr/\n# EOF\n\z/, 'ends as that demands');

($status, my $body) = get($port, '/api/status.json');
my $json = JSON::PP::decode_json($body);
is(scalar @{ $json->{repositories}[0]{backups} }, 3, 'the dashboard gets every backup');

# Methods, paths, bodies.
($status, $body, $headers) = get($port, '/metrics', method => 'HEAD');
is("$status|$body", '200|', 'HEAD has no body');
cmp_ok($headers->{'content-length'}, '>', 1000, 'but its length');
for my $method (qw(POST PUT DELETE PATCH OPTIONS))
{
	($status, $body, $headers) = get($port, '/health', method => $method);
	is($status, 405, "$method is not allowed");
}
is((get($port, $_))[0], 404, "nothing at $_")
  for '/nothing', '/../../../../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '//etc/passwd', '/metrics/', '/health%00';
like(raw_request($port, "GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\nabc"), qr/^HTTP\/1\.1 413/, 'a body is refused unread');
like(raw_request($port, "GET /health HTTP/1.1\r\nHost: localhost\r\n" . ("X-A: " . 'b' x 1000 . "\r\n") x 40 . "\r\n"), qr/^HTTP\/1\.1 4\d\d/, 'so are headers without end');
is((get($port, '/health', Host => 'attacker.example'))[0], 421, 'another name than that of this machine is none of it');
like(raw_request($port, "GET /health HTTP/1.0\r\n\r\n"), qr/^HTTP\/1\.\d 200/, 'a check that names no host is answered');
like(raw_request($port, "GET /health HTTP/1.1\r\nHost: localhost\r\nRange: bytes=" . join(',', map { "$_-" } 1 .. 1500) . "\r\nConnection: close\r\n\r\n"),
	qr/^HTTP\/1\.1 200/, 'ranges are overlooked');
my $two = raw_request($port, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
is(scalar(() = $two =~ /HTTP\/1\.1 200/g), 2, 'two requests at once get two answers');

# Whoever stands between reads the same as this server: one request has one answer, or the connection ends.
for my $case ([ 'two hosts', "Host: localhost\r\nHost: attacker.example\r\n" ], [ 'a name with a blank', "Host : attacker.example\r\n" ],
	[ 'a folded line', "Host: local\r\n host\r\n" ], [ 'two lengths', "Host: localhost\r\nContent-Length: 0\r\nContent-Length: 48\r\n" ],
	[ 'a line without a colon', "Host: localhost\r\nnothing\r\n" ], [ 'a NUL', "Host: localhost\0.attacker.example\r\n" ])
{
	my $both = raw_request($port, "GET /health HTTP/1.1\r\n$case->[1]\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
	is(join(' ', $both =~ /HTTP\/1\.1 (\d+)/g), '400', "$case->[0]: refused, and nothing more is read");
}
is(join(' ', raw_request($port, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n") =~ /HTTP\/1\.1 (\d+)/g),
	'200', 'who expects leave to send a body that there is none of gets one answer');
is((get($port, '/health', Host => $_))[0], 200, "$_ is this machine") for 'LocalHost', "localhost.:$port", "[::1]:$port";
is((get($port, '/health', Host => $_))[0], 421, "$_ is not") for 'localhost.attacker.example', '127.0.0.1.attacker.example', 'localhost@attacker.example', '[::1', '[', '[::1]x', 'localhost:attacker.example', 'localhost:80:80', 'localhost:123456';

# Also not while others wait.
my @dripping = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) } 1 .. 40;
my $drips = fork() // die "fork: $!";
if (!$drips)
{
	local $SIG{PIPE} = 'IGNORE';
	for my $byte (split //, "GET /health HTTP/1.1\r\nX: " . 'a' x 100) { syswrite $_, $byte for @dripping; sleep 0.1 }
	POSIX::_exit(0);
}
sleep 0.3;
my $waits_from = time;
is((get($port, '/healthz'))[0], 200, 'it answers while forty others send a byte at a time');
cmp_ok(time - $waits_from, '<', 6, 'soon');
kill 'KILL', $drips;
waitpid $drips, 0;
close $_ for @dripping;

# Clients that say nothing, or one byte at a time, take no thread for long.
my @silent = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) } 1 .. 30;
print {$_} 'GET / HT' for @silent;
my $begin = time;
($status) = get($port, '/healthz');
is($status, 200, 'it answers while thirty others do not finish their requests');
cmp_ok(time - $begin, '<', 8, 'after a while at most');
close $_ for @silent;

# Whatever comes, a refusal at most. The long run is for CHECK_LONG.
my $pid = pid_of($server);
my $runs = $ENV{CHECK_LONG} ? 5000 : 300;
my @words = ('GET', 'HEAD', '/', '/health', '/metrics', ' ', 'HTTP/1.1', 'HTTP/9', "\r\n", "\n", "\0", 'Host: localhost', ':', 'Content-Length: ',
	'-1', '99999999999999999999', 'Transfer-Encoding: chunked', '%', '%zz', '?', '&', '=', '..', "\xff\xfe", 'A' x 3000, 'Range: bytes=0-', 'Expect: 100-continue',
	'Authorization: Basic ', 'Connection: keep-alive', 'Accept: text/html');
my %seen;
for my $run (1 .. $runs)
{
	my $bytes = join '', map { $words[ rand @words ] } 1 .. 1 + rand 25;
	$bytes = "GET /health HTTP/1.1\r\n$bytes" if $run % 3 == 0;
	my $answer = raw_request($port, "$bytes\r\n\r\n", 0.05);
	my ($code) = ($answer // '') =~ /^HTTP\/1\.1 (\d+)/;
	++$seen{ $code // 'none' };
	if ($code && $code >= 500) { fail("run $run of seed $seed: $code"); last }
}
is((get($port, '/healthz'))[0], 200, "it survives $runs requests that are none: " . join ', ', map { "$_ x$seen{$_}" } sort keys %seen);
is(pid_of($server), $pid, 'in the same process');

# Two hundred requests a second; nothing grows, nobody waits.
my $seconds = $ENV{CHECK_LONG} ? 60 : 6;
get($port, $_) for ('/metrics', '/api/status.json') x 50;
my $before = resident_kib($pid);
my $from = time;
my ($failed, $slowest, $count) = get_steadily($port, $seconds, qr/^200$/, qw(/health /metrics /api/status.json /healthz));
my $took = time - $from;
my $after = resident_kib($pid);
is($failed, 0, sprintf('%d requests in %.1f s, the slowest in %.0f ms', $count, $took, 1000 * $slowest));
# A sanitizer keeps what is freed, up to 256 MiB, so as to know who uses it then.
cmp_ok($after - $before, '<', $ENV{TEST_SANITIZED} ? 256 * 1024 : 2048, "memory does not grow: $before KiB before, $after KiB after");
is(stop($server), 0, 'a signal is how it ends');
like(${ $server->{out} } . ${ $server->{err} }, qr{serving on http://localhost:$port}, 'it has said where it serves');

# Beyond this machine: only with a token, or when told to.
($status, my $out, my $err) = run_tool($chronos, '--no-config', "--stanza=$stanza", "--repo1-path=$repo", '--http-listen=0.0.0.0:0', 'serve');
is($status, 32, 'an open port without a token is refused');
like($out . $err, qr/http-token-file/, 'with a way out');
my $token = 'secret-' . 'x' x 30;
open my $file, '>', "$base/token" or die;
print $file "$token\n";
close $file;
$server = serve("*:$port", "--http-token-file=$base/token");
ok(wait_for_http($port), 'readiness needs no token');
is((get($port, '/health'))[0], 401, 'all else does');
is((get($port, '/health', Authorization => "Bearer $token"))[0], 200, 'which is borne');
is((get($port, '/health', Authorization => 'Basic ' . MIME::Base64::encode_base64("any:$token", '')))[0], 200, 'or a password');
is((get($port, '/health', Authorization => "Bearer ${token}x"))[0], 401, 'and compared whole');
stop($server);
unlike(${ $server->{out} } . ${ $server->{err} }, qr/\Q$token\E/, 'no log has it');

# TLS.
system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout $base/key.pem -out $base/cert.pem >$base/openssl.log 2>&1") == 0 or die 'openssl';
$server = serve("localhost:$port", "--http-tls-cert-file=$base/cert.pem", "--http-tls-key-file=$base/key.pem");
my $answer = '';
for (1 .. 100)
{
	$answer = `curl -s --cacert $base/cert.pem https://localhost:$port/readyz 2>&1`;
	last if $answer eq "ok\n";
	sleep 0.1;
}
is($answer, "ok\n", 'it serves TLS');
is(`curl -s -o $base/body -w '%{http_code}' --cacert $base/cert.pem https://localhost:$port/metrics`, '200', 'whole pages too');
is(raw_request($port, "GET /health HTTP/1.1\r\n\r\n", 3) // '', '', 'and nobody else');
is(`curl -s --cacert $base/cert.pem https://localhost:$port/healthz`, "ok\n", 'which does it no harm');
stop($server);

# What the server said last is the present for a while only: here its health worker looks every second,
# and the last look was 29 s ago.
mkdir $_ or die for "$base/data", "$base/data/pg_stat_tmp";
sub write_note
{
	my ($at, $interval) = @_;
	open my $note, '>', "$base/data/pg_stat_tmp/chronos_health" or die;
	print $note "server at=$at interval=$interval archive_mode=on archived_count=5 ready_segments=0 in_recovery=n\n",
	  "job id=4 type=full state=running requested_at=@{[ $at - 60 ]} started_at=@{[ $at - 60 ]} bytes_done=5 bytes_total=10\n",
	  "schedule name=nightly type=full enabled=y next_run=@{[ $at + 3600 ]}\n";
	close $note;
}
sub status { return JSON::PP::decode_json((get($port, '/api/status.json'))[1]) }
sub state_of { my ($name) = @_; return (map { $_->{state} } grep { $_->{rule} eq $name } @{ status()->{rules} })[0] // 'none' }
write_note(int(time) - 29, 1);
my $alert = "--alert-command=cat >>$base/alerts; echo >>$base/alerts";
# Not that it speaks: on a slow machine it was silent, and said so, before there was anybody to tell.
sub alerts
{
	return -e "$base/alerts" ? grep { $_->{state} ne 'ok' } map { JSON::PP::decode_json($_) } grep { /\S/ } split /\n/, slurp_file("$base/alerts") : ();
}
$server = serve("localhost:$port", "--pg1-path=$base/data", $alert);
ok(wait_for_http($port), 'beside a data directory it is ready');
my $known = status();
is($known->{facts}{server}{known} ? 1 : 0, 1, 'what the server said half a minute ago holds');
cmp_ok($known->{facts}{server}{age}, '>=', 29, 'and says how old it is');
is($known->{facts}{server}{limit}, 32, 'and how old it may become');
is(scalar @{ $known->{jobs} }, 1, 'its jobs are there');
is(state_of('wal_lag'), 'ok', 'and a verdict about its WAL');
for (1 .. 100) { last if !status()->{facts}{server}{known}; sleep 0.1 }
my $silent = status();
is($silent->{facts}{server}{known} ? 1 : 0, 0, 'a few seconds later it is not known any more');
is($silent->{server}, undef, 'and nobody is shown what it was');
is_deeply([ $silent->{jobs}, $silent->{schedules} ], [ [], [] ], 'nor jobs that ran then');
is(state_of($_), 'unknown', "$_ is unknown") for 'wal_lag', 'backup_failed', 'rpo', 'disk_pg_wal';
is(state_of('server_silent'), 'warning', 'that it is silent is a finding');
like((get($port, '/health'))[1], qr/"status":"degraded".*|server_silent.*"degraded"/s, 'in the summary too');
for (1 .. 100) { last if alerts(); sleep 0.1 }
is(join(' ', map { "$_->{rule} $_->{state}" } alerts()), 'server_silent warning', 'who is to be told of alarms is told, once');
my $numbers = (get($port, '/metrics'))[1];
like($numbers, qr/^chronos_facts_known\{facts="server",stanza="$stanza"\} 0$/m, 'and in numbers');
like($numbers, qr/^chronos_facts_age_seconds\{facts="repositories",stanza="$stanza"\} \d+$/m, 'as is the age of everything else');
unlike($numbers, qr/^chronos_wal_ready_segments/m, 'without those that were the server\'s');
my $since = (map { $_->{since} } grep { $_->{rule} eq 'server_silent' } @{ status()->{rules} })[0];
sleep 2.2;    # what it remembers is written every two seconds
stop($server);
write_note(int(time) - 5000, 60);
$server = serve("localhost:$port", "--pg1-path=$base/data", $alert);
ok(wait_for_http($port), 'started again');
is((map { $_->{since} } grep { $_->{rule} eq 'server_silent' } @{ status()->{rules} })[0], $since, 'it remembers since when');
is(status()->{facts}{server}{known} ? 1 : 0, 0, 'what was said an hour ago is not known from the beginning');
is(scalar(my @told = alerts()), 1, 'and whom it has told');

# A change in the repository is seen at once, long before the next look.
my ($info) = glob "$repo/backup/$stanza/backup.info";
my $read_at = status()->{taken_at};
sleep 1.1;
utime undef, undef, $info or die;
for (1 .. 100) { last if status()->{taken_at} > $read_at; sleep 0.1 }
cmp_ok(status()->{taken_at}, '>', $read_at, 'a change of backup.info is looked at when it comes');
my ($taken) = (get($port, '/health'))[1] =~ /"timestamp":"([^"]*)"/;
sleep 1.1;
like((get($port, '/health'))[1], qr/"timestamp":"$taken"/, 'the time in the summary is that of the look, not of the question');
stop($server);

# A repository that goes away is told of, and nobody has to wait for it.
$server = serve("localhost:$port", '--health-interval=1s');
ok(wait_for_http($port), 'ready again');
rename $repo, "$repo.away" or die;
ok(wait_for_http($port, '/health', 503), 'without its repository it is unhealthy');
like((get($port, '/'))[1], qr/repo_unreachable/, 'and says why');
like((get($port, '/metrics'))[1], qr/^chronos_healthy\{stanza="$stanza"\} 0/m, 'in numbers too');
my $away = status()->{repositories}[0];
is($away->{state}, 'critical', 'the repository is what the rule says of it');
is($away->{known_backups}, 3, 'what was known of it is told as a memory');
cmp_ok($away->{failing_since}, '>=', $away->{read_at}, 'with since when it has been away');
is(scalar @{ $away->{backups} }, 0, 'and not as the present');
# Another watcher of the stanza, whose repository is there, keeps its notes in the same directory.
my $other_port = free_port();
my $other = serve("localhost:$other_port", '--health-interval=1s', "--repo1-path=$repo.away");
ok(wait_for_http($other_port), 'another watcher of the stanza sees another repository');
sleep 2.2;
stop($server);
stop($other);
$server = serve("localhost:$port", '--health-interval=1s');
ok(wait_for_http($port, '/health', 503), 'started again without it');
is(status()->{repositories}[0]{failing_since}, $away->{failing_since}, 'it has been away since then still, whatever others remember');
rename "$repo.away", $repo or die;
ok(wait_for_http($port, '/health', 200), 'until it is back');
stop($server);

done_testing();
