# The dashboard as it is at three in the morning: eight weeks, five hundred backups, a gap, a repository
# that is away, a job that runs, a verify that failed. The state agrees with itself, what is not known is
# said to be so, marks can be told apart and hit on a phone, and for a moment there is the command that
# restores to it, or why there is none. Screenshots are left in TEST_SCREENSHOTS for people to look at.
#
# Not with another version of PostgreSQL: it needs a browser, and no server
use strict;
use warnings;
use ChronosTest;
use HttpTest;
use IPC::Run ();
use JSON::PP ();
use POSIX qw(strftime);
use PostgreSQL::Test::Utils;
use SyntheticRepo qw(segment write_file);
use Test::More;

my ($chromium) = grep { -x $_ } map { ("/usr/bin/$_") } qw(chromium chromium-browser google-chrome);

my $base = PostgreSQL::Test::Utils::tempdir();
my $shots = $ENV{TEST_SCREENSHOTS} && -w $ENV{TEST_SCREENSHOTS} ? $ENV{TEST_SCREENSHOTS} : $base;
my $hostile = '<script>document.title="taken"</script><b>x</b>';
my $now = time;
my $begin = $now - 56 * 86400;

# The end of backup number `n` of 500, and the segment that WAL is in at a time: one an hour.
sub end_of { return int($begin + $_[0] * (56 * 86400 - 3600) / 499) }
sub segment_at { return 10 + int(($_[0] - $begin) / 3600) }
sub label_of { return strftime('%Y%m%d-%H%M%S', gmtime $_[0]) }

# Backups of a repository: every `step`th of them; a full one a week, a differential one a day.
sub make_repo
{
	my ($name, $step, @missing) = @_;
	my $repo = SyntheticRepo->new("$base/$name");
	my ($full, $diff, $count, $last_week, $last_day) = (undef, undef, 0, -1, -1);
	for (my $i = 0; $i < 500; $i += $step)
	{
		my $end = end_of($i);
		my ($week, $day) = (int(($end - $begin) / (7 * 86400)), int(($end - $begin) / 86400));
		my $type = $week != $last_week ? 'F' : $day != $last_day ? 'D' : 'I';
		($last_week, $last_day) = ($week, $day);
		my $label = $type eq 'F' ? label_of($end - 300) . 'F' : $full . '_' . label_of($end - 300) . $type;
		my $at = segment(1, segment_at($end - 300));
		$repo->backup($label, start => $at, stop => segment(1, segment_at($end)), time => $end, took => 300,
			prior => $type eq 'F' ? undef : $type eq 'D' ? $full : ($diff // $full), size => 80e9 + $i * 1e7,
			stored => { F => 20e9, D => 3e9, I => 4e8 }->{$type} + $i * 1e6,
			annotations => $i == 0 ? JSON::PP->new->canonical->encode({ note => $hostile }) : undef);
		$full = $label if $type eq 'F';
		$diff = $type eq 'F' ? undef : $label if $type ne 'I';
		++$count;
	}
	$repo->save;
	for my $number (segment_at($begin) - 1 .. segment_at($now))
	{
		next if grep { $_ == $number } @missing;
		my $segment = segment(1, $number);
		$repo->wal(1, $segment);
		my $time = $begin + ($number - 10 + 1) * 3600;
		$time = $now - 60 if $time > $now - 60;
		utime $time, $time, glob "$base/$name/archive/main/15-1/" . substr($segment, 0, 16) . "/$segment-*";
	}
	return $count;
}
# Two hours of WAL on the thirtieth day.
my $gap = segment_at($begin + 30 * 86400 + 1800);
is(make_repo('one', 1, $gap .. $gap + 1), 500, 'eight weeks of backups');
make_repo('two', 60);
my $first_full = (sort glob "$base/one/backup/main/*F")[0] =~ s{.*/}{}r;
write_file("$base/one/chronos/main/hold/$first_full", ($now - 86400) . " audit $hostile");
write_file("$base/one/chronos/main/verify/result", 'started=' . ($now - 90000) . "\nfinished=" . ($now - 86400)
	  . "\nfull=1\nfailures=2\nnotes=0\nbackups=500\nwal-segments=1300\nbytes-read=1\nfirst-failure=file pg_data/base/5/1259 is damaged $hostile\n");
write_file("$base/one/chronos/main/verify/history", join "\n", map { 'started=' . ($now - $_ * 7 * 86400 - 60) . "\nfinished=" . ($now - $_ * 7 * 86400) . "\nfull=1\nfailures=0\nnotes=0\nbackups=9\nwal-segments=9\nbytes-read=1\nfirst-failure=\n" } reverse 2 .. 6);
write_file("$base/one/chronos/main/verify/unfinished", 'since=' . ($now - 7200) . "\nfinished=" . ($now - 7200) . "\nreason=it may not be read $hostile\nfailures=0\nfirst-failure=\n");
write_file("$base/one/chronos/main/drills/" . strftime('%Y%m%dT%H%M%SZ', gmtime($now - $_ * 7 * 86400)) . '-' . ($_ == 3 ? 'failed' : 'passed') . "-1a2b3c4$_.json", '{}')
  for 1 .. 6;

# What the server's health worker says, and a lock of the running backup.
sub message { my ($verb, %fields) = @_; return $verb . join('', map { " $_=" . $fields{$_} =~ s/([^A-Za-z0-9_.\/:,@+-])/sprintf '%%%02X', ord $1/ger } sort keys %fields) . "\n" }
sub write_note
{
	my ($age) = @_;
	my $at = time - $age;
	write_file("$base/data/pg_stat_tmp/chronos_health",
		message('server', at => $at, interval => 600, archive_mode => 'on', last_archived_at => $at - 60, archived_count => 1345, ready_segments => 1, unarchived_bytes => 17 << 20, oldest_ready => $at - 5, pg_wal_bytes => 1 << 30, disk_total_bytes => 100 << 30, disk_free_bytes => 60 << 30)
		  . message('job', id => 812, type => 'diff', state => 'running', requested_by => 'postgres', schedule => $hostile, requested_at => $at - 400, started_at => $at - 395, phase => 'copy', phase_started_at => $at - 300, bytes_done => 30 << 30, bytes_total => 90 << 30)
		  . message('job', id => 813, type => 'verify', state => 'queued', requested_by => 'dba', requested_at => $at - 20)
		  . join('', map { message('job', id => 800 + $_, type => 'incr', state => $_ == 5 ? 'failed' : 'succeeded', schedule => 'three-hourly', requested_at => $at - 9000 * (12 - $_), started_at => $at - 9000 * (12 - $_), finished_at => $at - 9000 * (12 - $_) + 240, label => $_ == 5 ? '' : '20260101-000000F', error => $_ == 5 ? "disk full $hostile" : '') } 1 .. 11)
		  . message('schedule', name => 'weekly', type => 'full', cron => '0 1 * * 0', enabled => 'y', next_run => $at + 3 * 86400, last_due => $at - 4 * 86400, last_state => 'succeeded')
		  . message('schedule', name => $hostile, type => 'diff', cron => '0 1 * * 1-6', timezone => 'Europe/Berlin', enabled => 'y', next_run => $at + 7200, last_due => $at - 400, last_state => 'running'));
	return;
}
write_note(0);

my $port = free_port();
sub serve
{
	my ($stanza, @options) = @_;
	my $handle = IPC::Run::start([ $chronos, '--no-config', "--stanza=$stanza", "--lock-path=$base/lock", "--spool-path=$base/spool",
			"--http-listen=127.0.0.1:$port", @options, 'serve' ], '<', \undef, '>', "$base/serve.log", '2>&1');
	wait_for_http($port) or die 'chronos serve is not ready';
	return $handle;
}
sub stop { my ($handle) = @_; $handle->signal('TERM'); $handle->finish; return }

# Returns what it printed; what the page's console said is on standard error.
sub browse
{
	my ($hash, $size, @options) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ $chromium, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars',
			'--enable-logging=stderr', "--user-data-dir=$base/profile", '--virtual-time-budget=4000', "--window-size=$size", @options,
			"http://127.0.0.1:$port/#utc$hash" ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
	return ($out, join "\n", grep { /CONSOLE/ } split /\n/, $err);
}
sub shot
{
	my ($name, $hash, $size, @options) = @_;
	browse($hash, $size, @options, "--screenshot=$shots/board-$name.png");
	cmp_ok(-s "$shots/board-$name.png" // 0, '>', 30000, "$name: $shots/board-$name.png");
	return;
}
sub section { my ($dom, $id) = @_; return ($dom =~ /(<section id="$id".*?<\/section>)/s)[0] // '' }
sub text_of { my ($html) = @_; return $html =~ s/<[^>]*>/ /gr =~ s/&lt;/</gr =~ s/&gt;/>/gr =~ s/&quot;/"/gr =~ s/&amp;/&/gr =~ s/\s+/ /gr }
sub at { return strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $_[0]) }

my @repos = ("--repo1-path=$base/one", "--repo2-path=$base/two", "--repo3-path=$base/away/three", "--pg1-path=$base/data", '--health-drill-age=30d');
mkdir "$base/away" or die;
my $server = serve('main', @repos);
my $status = JSON::PP::decode_json((get($port, '/api/status.json', Host => "127.0.0.1:$port"))[1]);
my %states = map { $_->{rule} => $_->{state} } @{ $status->{rules} };
is($states{repo_unreachable}, 'warning', 'one of three repositories away is a warning');
if (!$chromium)
{
	diag('chromium is not installed: nobody has looked at the dashboard');
	stop($server);
	done_testing();
	exit 0;
}
my ($dom, $console) = browse('', '1200,4000', '--dump-dom');
is($console, '', 'nothing is refused by the policy, and nothing fails');

# One verdict, wherever it is shown.
my ($overall) = $dom =~ /<span id="overall" class="pill (\w+)"/;
is($overall, 'critical', 'the worst rule is the state of the whole');
my @places = section($dom, 'places') =~ /<td class="nowrap" data-name="Name">(repo\d)<\/td><td class=""><span class="pill (\w+)"/g;
is($states{backup_age}, 'warning', 'the last backup of one repository is two days old');
is("@places", 'repo1 critical repo2 warning repo3 warning', 'and the list says the same as the rule') or diag(section($dom, 'places'));
my $verdict = text_of(section($dom, 'verdict'));
like($verdict, qr/$_/, "$_ is named at the top") for 'wal_gap', 'verify', 'repo_unreachable';
unlike($dom, qr/backup now/i, 'nobody is asked for a backup: there are newer ones behind the gap');

# The repository that is away stays in view.
my $window = section($dom, 'window');
like($window, qr/unreachable since \d{4}-\d\d-\d\d \d\d:\d\d/, 'a repository that is away is in the window, with since when');
is(scalar(() = $window =~ /class="name">repo\d</g), 3, 'each has its row');
like(text_of(section($dom, 'places')), qr/repo3.*unreachable since.*not known/, 'and in the list, without figures');

# Work: now, next, before.
my $running = text_of(section($dom, 'running'));
like($running, qr/Job 812: diff.*phase copy, 30GB of 90GB \(33%\), [\d.]+MB\/s, \d+m.* left/, 'what runs has phase, amount, rate and time left');
like($running, qr/1 job waiting: .*job 813 \(verify/, 'what waits is told');
like(text_of(section($dom, 'schedules')), qr/\Q$hostile\E.*in 1h 59m|\Q$hostile\E.*in 2h/, 'schedules say when they are due');
like(text_of(section($dom, 'jobs')), qr/805 incr failed.*disk full/, 'outcomes are there');
my $proof = text_of(section($dom, 'proof'));
like($proof, qr/Verify found 2 problems 1d ago/, 'the last verify with its age');
like($proof, qr/The last verify did not come to its end 2h.* ago.*: it may not be read/, 'one since that did not come to its end');
like($proof, qr/5 of the last 6 verifies found nothing wrong/, 'and those before it');
like($proof, qr/Last restore drill passed 7d ago.*5 of the last 6 passed/, 'drills');
like($proof, qr/Held: $first_full since .*audit/, 'holds');
is(scalar(() = $dom =~ /as of \d+[sm][^<]* ago/g) >= 8 ? 1 : 0, 1, 'every card says how old it is');
like($dom, qr/Times are in UTC/, 'the zone is named');
unlike(text_of($dom), qr/\d(?: ?[KMG]iB)\b/, 'one system of units');
unlike(text_of($dom), qr/\b1 (?:WAL files|backups|segments|gaps|problems)\b/, 'one is one');

# Nothing of what somebody could name is markup.
like($dom, qr/&lt;script&gt;document\.title/, 'names are shown as they are');
unlike($dom, qr/<script>document|<b>x<\/b>|<title>taken/, 'and never taken for markup');

# Marks on a phone: bounded, apart, and large enough to hit; so are gaps.
my ($phone) = browse('', '390,4000', '--dump-dom');
my ($view) = section($phone, 'window') =~ /<svg viewBox="0 0 (\d+) /;
cmp_ok($view, '<=', 500, "the drawing is as wide as the screen: $view");
for my $page ([ 'desktop', $dom ], [ 'phone', $phone ])
{
	my ($name, $html) = @$page;
	my %rows;
	my $drawn = section($html, 'window');
	push @{ $rows{$2} }, $1 while $drawn =~ /<g class="backup-mark mark"[^>]*><circle cx="([\d.]+)" cy="([\d.]+)"/g;
	is(scalar keys %rows, 2, "$name: marks of the repositories that can be read");
	my ($nearest, $most) = (1e9, 0);
	for my $row (values %rows)
	{
		$most = @$row if @$row > $most;
		$row->[$_] - $row->[ $_ - 1 ] < $nearest and $nearest = $row->[$_] - $row->[ $_ - 1 ] for 1 .. $#$row;
	}
	cmp_ok($nearest, '>=', 24, sprintf '%s: none overlaps another: %.0f apart', $name, $nearest);
	cmp_ok($most, '<=', 40, "$name: $most marks for 500 backups");
	my @wide = section($html, 'window') =~ /<g class="gap-mark mark"[^>]*>.*?<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)" height="30"/g;
	is(scalar @wide, 1, "$name: the gap is there");
	cmp_ok($wide[0], '>=', 16, "$name: and can be seen: $wide[0] wide");
	my @counts = section($html, 'window') =~ /class="count">(\d+)\+?</g;
	cmp_ok(eval { my $sum = 0; $sum += $_ for @counts; $sum }, '>=', 400, "$name: the numbers say how many stand for one");
	my @ticks = section($html, 'window') =~ /class="tick">([^<]+)</g;
	my %seen;
	is(scalar(grep { $seen{$_}++ } @ticks), 0, "$name: no label of the axis comes twice: @ticks");
}
like($phone, qr/Show \d+ more rows/, 'long tables are folded and say so');

# The window's card takes the gap away.
my ($tile) = grep { /Recovery window/ } section($dom, 'tiles') =~ /<p class="card tile.*?<\/p>/gs;
like(text_of($tile), qr/Recovery window 5\d+d.* repo\d: /, 'the card: ' . text_of($tile));

# A moment that can be reached, one in the gap, one in the future.
my $good = $begin + 50 * 86400 + 77;
my ($moment) = browse('&at=' . at($good), '1200,4000', '--dump-dom');
like(text_of(section($moment, 'moment')), qr/repo1 can: .*repo2 can: .*repo3: not known/, 'a moment is answered for each repository');
my ($command) = $moment =~ /id="command1-plan"[^>]*>([^<]*)</;
my $target = strftime('%Y-%m-%d %H:%M:%S+00', gmtime $good);
like(text_of($command), qr/^chronos --stanza=main .*--repo=1 --type=time --target='\Q$target\E' restore --plan$/, 'with the command to copy');
is(scalar(() = section($moment, 'moment') =~ />Copy<\/button>/g), 4, 'and a button for each');
my $lost = $begin + 30 * 86400 + 3600 + 1800;
my ($inside) = browse('&at=' . at($lost), '1200,4000', '--dump-dom');
my $answer = text_of(section($inside, 'moment'));
like($answer, qr/repo1 cannot: .*lies within a gap: 2 WAL segments from \w+ on are missing/, 'a moment in the gap is said to be lost there');
like($answer, qr/Nearest that can be reached: .*the last before it .*the first after it/, 'with the nearest that are not');
like($answer, qr/repo2 can/, 'and the other repository that has it');
my ($future) = browse('&at=' . at($now + 86400), '1200,4000', '--dump-dom');
like(text_of(section($future, 'moment')), qr/repo1 cannot: .*later than the last WAL/, 'nor can the future be restored');

shot('desktop', '', '1200,3600');
shot('phone', '', '390,6200');
shot('phone-dark', '', '390,844', '--blink-settings=preferredColorScheme=0');
shot('moment', '&at=' . at($good), '1200,1700');
shot('gap-phone', '&at=' . at($lost), '390,2600');

# The server falls silent: nothing that it said is shown as the present.
write_note(5000);
sleep 2;
my ($silent) = browse('', '1200,3600', '--dump-dom');
my $quiet = text_of($silent);
unlike($quiet, qr/30GB of 90GB|WAL file waiting/, 'a job of an hour ago does not run');
like(text_of(section($silent, $_)), qr/unknown nothing has been heard of the server for 1h 23m/, "$_ is not known") for 'running', 'schedules', 'jobs';
like(text_of(section($silent, 'tiles')), qr/At risk now not known/, 'nor what is at risk');
like(text_of(section($silent, 'verdict')), qr/server_silent/, 'that it is silent stands at the top');
stop($server);

# Without any repository: the window is not empty, it is not known.
rename "$base/one", "$base/one.away" or die;
$server = serve('main', "--repo1-path=$base/one");
my ($none) = browse('', '1200,2000', '--dump-dom');
like(text_of(section($none, 'tiles')), qr/Last backup not known .*Recovery window not known/, 'without the repository nothing is known');
like(section($none, 'window'), qr/unreachable since/, 'and the window says since when');
like(section($none, 'window'), qr/it had 500 backups and WAL up to/, 'and what it was when it was last read, before this program began');
like($none, qr/data-name="Rule">wal_gap|unknown">unknown<\/span><\/td><td class="label rule">wal_gap/, 'no verdict on WAL that cannot be read');
shot('unreachable', '', '1200,1700');
stop($server);

# A real repository: the command that is shown is one that works.
system('tar', '-C', $base, '--zstd', '-xf', "$ENV{TEST_FIXTURES_DIR}/zst-bundle-block.tar.zst") == 0 or die 'unpack';
my ($real) = grep { -d "$_/backup" } grep { !/\/(?:one|two)/ } glob "$base/* $base/*/*";
my ($stanza) = map { /([^\/]+)$/ } glob "$real/backup/*";
mkdir "$base/it's here" or die;
$server = serve($stanza, "--repo1-path=$real", "--pg1-path=$base/it's here");
my $facts = JSON::PP::decode_json((get($port, '/api/status.json', Host => "127.0.0.1:$port"))[1])->{repositories}[0];
my ($label) = map { $_->{label} } $facts->{backups}[0];
my $stop_at = $facts->{backups}[-1]{stop};
for my $case ([ 'latest', '&at=latest' ], [ 'moment', '&at=' . at($stop_at + 1) ])
{
	my ($page) = browse($case->[1], '1200,3000', '--dump-dom');
	my ($line) = $page =~ /id="command1-plan"[^>]*>([^<]*)</;
	ok(defined $line, "$case->[0]: there is a command") or next;
	$line = $line =~ s/&amp;/&/gr =~ s/&quot;/"/gr;
	like($line, qr/'[^']*it'\\''s here'/, "$case->[0]: quoted for a shell");
	my $words = `printf '%s\\n' $line`;
	like($words, qr/^--pg1-path=\Q$base\E\/it's here$/m, "$case->[0]: a shell reads what was meant");
	local $ENV{PATH} = ($chronos =~ s{/[^/]*$}{}r) . ":$ENV{PATH}";
	my $plan = `$line 2>&1`;
	is($? >> 8, 0, "$case->[0]: chronos accepts it: $line") or diag($plan);
}
stop($server);
done_testing();
