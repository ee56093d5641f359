# The dashboard in a real browser: it draws what the repository holds, within its own policy, takes
# nothing for markup, can be used by keyboard, and fits a phone. Screenshots are left in
# TEST_SCREENSHOTS for people to look at.
#
# Not with another version of PostgreSQL: it needs a browser, and no server
use strict;
use warnings;
use ChronosTest;
use HttpTest;
use JSON::PP ();
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my ($chromium) = grep { -x $_ } map { ("/usr/bin/$_") } qw(chromium chromium-browser google-chrome);

my $base = PostgreSQL::Test::Utils::tempdir();
my $shots = $ENV{TEST_SCREENSHOTS} && -w $ENV{TEST_SCREENSHOTS} ? $ENV{TEST_SCREENSHOTS} : $base;
my $repo = "$base/<b>repo";    # a name that would be markup where markup is taken
mkdir $repo or die;
system('tar', '-C', $repo, '--zstd', '-xf', "$ENV{TEST_FIXTURES_DIR}/zst-bundle-block.tar.zst") == 0 or die 'unpack';
my ($top) = grep { -d "$_/backup" } ($repo, glob "'$repo'/*");
my ($stanza) = map { /([^\/]+)$/ } glob "'$top/backup'/*";
my $port = free_port();
my $server = IPC::Run::start([ $chronos, '--no-config', "--stanza=$stanza", "--repo1-path=$top", "--lock-path=$base/lock",
		"--spool-path=$base/spool", "--http-listen=127.0.0.1:$port", 'serve' ], '<', \undef, '>', "$base/serve.log", '2>&1');
wait_for_http($port) or die 'chronos serve is not ready';
my ($code, $page) = get($port, '/', Host => "127.0.0.1:$port", Accept => 'text/html');
is($code, 200, 'the page is served');
like($page, qr/<script nonce="[0-9a-f]{32}">/, 'with its script');
if (!$chromium)
{
	diag('chromium is not installed: nobody has looked at the dashboard');
	$server->signal('TERM');
	$server->finish;
	done_testing();
	exit 0;
}

# Returns what it printed; what the page's console said is on standard error.
sub browse
{
	my (@options) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ $chromium, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars',
			'--enable-logging=stderr', "--user-data-dir=$base/profile", '--virtual-time-budget=5000', @options,
			"http://127.0.0.1:$port/" ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
	return ($out, join "\n", grep { /CONSOLE/ } split /\n/, $err);
}

my ($dom, $console) = browse('--window-size=1200,2000', '--dump-dom');
is($console, '', 'nothing is refused by the policy, and nothing fails');
like($dom, qr/<h1 id="title">chronos: \Q$stanza\E</, 'the page has drawn itself');
my @marks = $dom =~ /<g [^>]*tabindex="(-?\d)" role="button" aria-label="([^"]*)"/g;
# They were taken within a minute and lie far back: one mark stands for all.
is(scalar(@marks) / 2, 1, 'the backups are on the time line');
is($marks[0], '0', 'where the keyboard enters');
like($marks[1], qr/^3 backups in repo1, ended between .*: 1 full, 1 differential, 1 incremental$/, 'and says what it is');
my $rules = JSON::PP::decode_json((get($port, '/api/status.json'))[1])->{rules};
cmp_ok(scalar @$rules, '>=', 13, 'the rules are there');
is(scalar(() = $dom =~ /<td class="label rule">/g), scalar @$rules, 'every rule has its row');
like($dom, qr/&lt;b&gt;repo/, 'what looks like markup is text');
unlike($dom, qr/<b>repo/, 'and nothing else');
like($dom, qr/<summary>All 3 backups as a table<\/summary>/, 'the drawing is there as a table too');

for my $view ([ 'desktop-light', '1200,1900' ], [ 'desktop-dark', '1200,1900', '--blink-settings=preferredColorScheme=0' ], [ 'phone-light', '500,2600' ],
	[ 'phone-dark', '500,2600', '--blink-settings=preferredColorScheme=0' ])
{
	my ($name, $size, @more) = @$view;
	browse("--window-size=$size", @more, "--screenshot=$shots/dashboard-$name.png");
	cmp_ok(-s "$shots/dashboard-$name.png" // 0, '>', 30000, "$name: $shots/dashboard-$name.png");
}
$server->signal('TERM');
$server->finish;
done_testing();
