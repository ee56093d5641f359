# The way to a bucket: through a proxy where one is named, verified by the authority that is named, and
# never with a protocol older than TLS 1.2, whatever the machine allows.
use strict;
use warnings;
use ChronosTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use S3Server;
use Socket;
use Test::More;
use Time::HiRes qw(usleep);

delete @ENV{qw(https_proxy HTTPS_PROXY no_proxy NO_PROXY all_proxy ALL_PROXY)};
my $server = S3Server->new(buckets => ['one']);
my $base = PostgreSQL::Test::Utils::tempdir();
mkdir "$base/pg";
my $number = 0;

sub config
{
	my (%more) = @_;
	return write_config($base . '/' . ++$number . '.conf', pg => "$base/pg", $server->options('one'), 'repo1-path' => '/repo',
		'io-timeout' => 1, %more);
}
sub asks { return chronos(shift, 'repo-ls') }

# A proxy.
my $proxy = S3Server::Tool->start('connect_proxy.py');
my $conf = config();
my ($status, $out, $err) = asks($conf);
is($status, 0, 'directly') or diag($out . $err);
is($proxy->ask('count'), '', 'past the proxy that nobody named');
{
	local $ENV{https_proxy} = "http://127.0.0.1:$proxy->{hello}";
	($status, $out, $err) = asks($conf);
	is($status, 0, 'through the proxy') or diag($out . $err);
	like($proxy->ask('count'), qr/^localhost:$server->{https}=\d+$/, 'which makes a tunnel to the bucket');
	local $ENV{no_proxy} = 'localhost';
	($status, $out, $err) = asks($conf);
	is($status, 0, 'with no_proxy') or diag($out . $err);
	is($proxy->ask('count'), '', 'it is passed by');
}
{
	local $ENV{https_proxy} = 'http://127.0.0.1:9';
	($status, $out, $err) = asks($conf);
	isnt($status, 0, 'a proxy that is not there is an error');
	like($out . $err, qr/proxy|127\.0\.0\.1/i, 'which names it') or diag($out . $err);
}

# The authority.
($status, $out, $err) = asks(config('repo1-storage-ca-file' => undef));
isnt($status, 0, 'a certificate of an unknown authority is refused');
like($out . $err, qr/certificate/, 'with the reason') or diag($out . $err);
like($out . $err, qr/HINT: .*repo1?-storage-ca-file/, 'and the option that helps') or diag($out . $err);
($status) = asks(config('repo1-storage-ca-file' => undef, 'repo1-storage-verify-tls' => 'n'));
is($status, 0, 'unless verification is switched off');

# Old protocols, on a machine whose OpenSSL would allow them.
open my $file, '>', "$base/openssl.cnf" or die $!;
print $file "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = old\n[old]\nMinProtocol = TLSv1\nCipherString = DEFAULT\@SECLEVEL=0\n";
close $file;
local $ENV{OPENSSL_CONF} = "$base/openssl.cnf";
for my $protocol (qw(tls1_1 tls1_2 tls1_3))
{
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my ($log, $in) = ('', '');
	my $old = IPC::Run::start([ 'openssl', 's_server', '-accept', "127.0.0.1:$port", '-cert', $server->{crt}, '-key', $server->{private_key},
		"-$protocol", '-www' ], '<', \$in, '>', \$log, '2>&1');
	poll_until(sub { $old->pump_nb; $log =~ /ACCEPT/ }, "s_server for $protocol: $log", 20);
	my ($known) = run_tool('openssl', 's_client', '-connect', "localhost:$port", "-$protocol", '-CAfile', $server->{ca});
	is($known, 0, "$protocol is spoken here") or diag($log);
	($status, $out, $err) = asks(config('repo1-storage-port' => $port));
	if ($protocol eq 'tls1_1')
	{
		like($out . $err, qr/(?:protocol version|unsupported protocol|alert)/, 'TLS 1.1 is refused') or diag($out . $err);
	}
	else
	{
		# The handshake is done; what answers is no store.
		unlike($out . $err, qr/protocol version|unsupported protocol/, "$protocol is taken") or diag($out . $err);
	}
	$old->kill_kill;
}
$_->stop for $proxy, $server;
done_testing();
