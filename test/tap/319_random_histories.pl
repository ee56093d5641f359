# What the plan decides is what the server does, whatever a cluster has been through: random
# histories of writes, backups, failovers, standbys promoted by accident, recoveries to a point in
# time, lost servers, and lost files of the archive; then random restores of each. Of every one:
#
# - the plan says it can be done: the server ends on the timeline of the plan, with the rows that the
#   model of the history expects there, no row less and none more;
# - the plan refuses: the reason is true in the model, and nothing was changed;
# - a restore that asks for nothing in particular never leaves out a row that is in the archive,
#   unless somebody gave it up by a recovery to a point in time;
# - recovery windows begin and end where the model says; what is in one can be restored, what is in
#   none is refused;
# - health and verify find gaps, timelines that diverge and lost histories where the model has them,
#   and nowhere else.
#
# TEST_SEED repeats a run (the seed of a history is printed with it: TEST_STEPS=1 repeats that one),
# TEST_STEPS is the number of histories (default 3; 200 with CHECK_LONG).
use strict;
use warnings;
use ChronosTest;
use File::Path qw(remove_tree make_path);
use File::Temp ();
use JSON::PP ();
use List::Util qw(max min);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local qw(timegm);
use Time::HiRes qw(usleep time);

my $seed = seed();
my $histories = campaign(3, short => 1, long => 200);
my $segment_size = 1 << 20;
my $base = File::Temp::tempdir('histories_XXXX', DIR => $PostgreSQL::Test::Utils::tmp_check, CLEANUP => !$ENV{TEST_KEEP});
my $sockets = PostgreSQL::Test::Utils::tempdir_short();

sub pick { return $_[ rand @_ ] }
sub maybe { return rand() < $_[0] }

# One cluster for all: they never meet.
run_tool('initdb', '-D', "$base/template", '-A', 'trust', '-N', '--wal-segsize=1', '--no-locale', '-E', 'UTF8') ;
open my $settings, '>>', "$base/template/postgresql.conf" or die $!;
print $settings <<C;
listen_addresses = ''
unix_socket_directories = '$sockets'
fsync = off
shared_buffers = 8MB
max_wal_size = 256MB
wal_keep_size = 64MB
checkpoint_timeout = 1h
autovacuum = off
track_commit_timestamp = on
archive_mode = on
log_min_messages = info
wal_retrieve_retry_interval = 100ms
C
close $settings;

# Servers ----------------------------------------------------------------------------------------

my $ports = 5432 + int rand 1000;
my $h;    # the history: its directory, configuration, model

sub lsn { my ($high, $low) = split m{/}, $_[0]; return hex($high) * 2**32 + hex $low }
sub text_of { return sprintf '%X/%X', int($_[0] / 2**32), $_[0] % 2**32 }
sub segment_name { return sprintf '%08X%08X%08X', $_[0], int($_[1] / 4096), $_[1] % 4096 }

sub new_server
{
	my ($name) = @_;
	my $server = { name => $name, data => "$h->{dir}/$name", port => ++$ports };
	$server->{conf} = write_config("$h->{dir}/$name.conf", path => "$h->{dir}/repo", pg => $server->{data},
		port => $server->{port}, socket => $sockets, 'log-level-console' => 'warn',
		'archive-timeout' => 20, 'compress-type' => 'none', 'repo1-retention-full' => 99);
	return $server;
}

sub configure
{
	my ($server, %more) = @_;
	open my $out, '>>', "$server->{data}/postgresql.auto.conf" or die $!;
	printf $out "port = %d\narchive_command = '%s'\n", $server->{port},
	  $more{archive} // "$chronos --config=$server->{conf} --stanza=main archive-push \"%p\"";
	print $out "$_ = '$more{set}{$_}'\n" for sort keys %{ $more{set} // {} };
	close $out;
	return;
}

# Whether the server runs and is where it shall be: out of recovery, or in it as a standby.
sub start
{
	my ($server, %want) = @_;
	open my $log, '>', "$server->{data}.log";
	close $log;
	my ($status) = run_tool('pg_ctl', '-D', $server->{data}, '-l', "$server->{data}.log", '-t', 60, '-w', 'start');
	return 0 if $status != 0;
	my $end = time + 60;
	while (time < $end)
	{
		my $in_recovery = sql($server, 'SELECT pg_is_in_recovery()::int', quiet => 1);
		return 0 if !defined $in_recovery && !-e "$server->{data}/postmaster.pid";
		return 1 if defined $in_recovery && ($want{standby} || $in_recovery eq '0');
		usleep(50_000);
	}
	return 0;
}

sub stop
{
	my ($server, $mode) = @_;
	run_tool('pg_ctl', '-D', $server->{data}, '-m', $mode // 'fast', '-t', 60, '-w', 'stop') if -e "$server->{data}/postmaster.pid";
	return;
}

sub sql
{
	my ($server, $sql, %params) = @_;
	my ($status, $out, $err) = run_tool('psql', '-XAtq', '-h', $sockets, '-p', $server->{port}, '-d', 'postgres', '-v',
		'ON_ERROR_STOP=1', '-c', $sql);
	return if $status != 0 && $params{quiet};
	die "$sql: $err" if $status != 0;
	chomp $out;
	return $out;
}

sub log_of { my ($server) = @_; return -e "$server->{data}.log" ? PostgreSQL::Test::Utils::slurp_file("$server->{data}.log") : '' }

sub say_step { push @{ $h->{story} }, $_[0]; return }

# The model --------------------------------------------------------------------------------------

# rows: { n, timeline, lsn (end of its commit), time, xid }; timelines: { parent, fork, by }
sub add_row
{
	my ($server, $timeline) = @_;
	my $n = ++$h->{counter};
	sql($server, "INSERT INTO c VALUES ($n)");
	my ($lsn, $xid, $time) = split /\|/,
	  sql($server, "SELECT pg_current_wal_insert_lsn(), xmin, pg_xact_commit_timestamp(xmin) FROM c WHERE n = $n");
	push @{ $h->{rows} }, { n => $n, timeline => $timeline, lsn => lsn($lsn), xid => $xid, time => $time };
	return;
}

sub timeline_of
{
	my ($server) = @_;
	return hex substr sql($server, 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())'), 0, 8;
}

# A new timeline, as the server that began it has written down.
sub note_timeline
{
	my ($server, $by) = @_;
	my $timeline = timeline_of($server);
	my @switches;
	for my $line (split /\n/, PostgreSQL::Test::Utils::slurp_file(sprintf '%s/pg_wal/%08X.history', $server->{data}, $timeline))
	{
		push @switches, { parent => $1, lsn => lsn($2) } if $line =~ m{^(\d+)\t([0-9A-F]+/[0-9A-F]+)};
	}
	# A recovery that ended before it had reached the timeline it was to follow names that all the same.
	for my $i (reverse 1 .. $#switches)
	{
		$switches[ $i - 1 ]{lsn} = $switches[$i]{lsn} if $switches[ $i - 1 ]{lsn} > $switches[$i]{lsn};
	}
	$h->{timelines}{$timeline} = { way => \@switches, by => $by, born => sql($server, 'SELECT now()') };
	$h->{timeline} = $timeline if $by ne 'accident';
	return $timeline;
}

# [timeline, begin, end] of every part of the way to a timeline; the last has no end. A recovery that ended
# before the timeline of its target leaves a history with all of them: those behind its end are no part.
sub way_to
{
	my ($timeline) = @_;
	my @switches = @{ $h->{timelines}{$timeline} ? $h->{timelines}{$timeline}{way} : [] };
	my @way;
	my $begin = 0;
	for my $i (0 .. $#switches)
	{
		my $end = min(map { $_->{lsn} } @switches[ $i .. $#switches ]);
		push @way, [ $switches[$i]{parent}, $begin, $end ] if $begin <= $end;
		$begin = $switches[$i]{lsn};
	}
	push @way, [ $timeline, $begin, undef ];
	return @way;
}

sub rows_on
{
	my ($timeline, $until) = @_;
	my @rows;
	for my $leg (way_to($timeline))
	{
		push @rows, grep {
			     $_->{timeline} == $leg->[0]
			  && $_->{lsn} > $leg->[1]
			  && (!defined $leg->[2] || $_->{lsn} <= $leg->[2])
			  && (!defined $until || $_->{lsn} <= $until)
		} @{ $h->{rows} };
	}
	return @rows;
}

# Not what a push had only begun when its server was killed.
sub stored
{
	my %stored;
	for (glob "$h->{dir}/repo/archive/main/*/*/*")
	{
		$stored{$1} = $_ if m{/([0-9A-F]{24})-[0-9a-f]{40}(?:\.(?:gz|bz2|lz4|zst))?$};
	}
	return \%stored;
}

# Up to where the archive has the WAL of the way to a timeline, from a segment on; whether there is
# more behind a hole; and on which timeline that is.
sub archived_end
{
	my ($timeline, $first) = @_;
	my $stored = stored();
	my @way = way_to($timeline);
	my $from = hex(substr $first, 8, 8) * 4096 + hex substr $first, 16, 8;
	my $at_timeline = hex substr $first, 0, 8;
	shift @way while @way && $way[0][0] != $at_timeline;
	my ($end, $hole);
	for my $i (0 .. $#way)
	{
		my ($own, undef, $left) = @{ $way[$i] };
		my $last = defined $left ? int($left / $segment_size) : undef;
		my @have = map { hex(substr $_, 8, 8) * 4096 + hex substr $_, 16, 8 } grep { hex(substr $_, 0, 8) == $own } keys %$stored;
		my %have = map { $_ => 1 } @have;
		my $at = $from;
		if (defined $last)
		{
			while ($at < $last) { return ($at * $segment_size, 1, $own) if !$have{$at}; ++$at }
			$from = $last;
			# Without its copy on a timeline that begins in it the segment is read here, up to the fork.
			my @heirs = grep { int($_->[1] / $segment_size) == $last } @way[ $i + 1 .. $#way ];
			if (!grep { exists $stored->{ segment_name($_->[0], $last) } } @heirs)
			{
				# What a timeline wrote behind where the way leaves it is nothing of this way.
				my $behind = grep {
					my ($name, $at) = ($_, number($_));
					grep {
						     $_->[0] == hex(substr $name, 0, 8)
						  && $at >= int($_->[1] / $segment_size)
						  && (!defined $_->[2] || $at <= int($_->[2] / $segment_size))
					} @way[ $i + 1 .. $#way ]
				} keys %$stored;
				$behind ||= grep {
					my ($went, $left) = (known_to($_->[0]), $_->[2]);
					$went = int($left / $segment_size) if defined $left && int($left / $segment_size) < $went;
					$went > int($_->[1] / $segment_size)
				} @way[ $i + 1 .. $#way ];
				return ($have{$last} ? $left : $last * $segment_size, $behind ? 1 : 0, $own);
			}
			next;
		}
		++$at while $have{$at};
		$end = $at * $segment_size;
		$hole = known_to($own) > $at || grep { $_ > $at } @have;
	}
	return ($end, $hole ? 1 : 0, $timeline);
}

# The first segment of a timeline of which nothing in the repository tells: another timeline left it there,
# by a history that is known, or a backup ended in the one before.
sub known_to
{
	my ($timeline) = @_;
	my @known = map { number($_->{stop}) + 1 } grep { $_->{timeline} == $timeline } backups();
	for my $other (grep { $_ } map { $h->{timelines}{$_} } known_timelines())
	{
		push @known, map { int($_->{lsn} / $segment_size) } grep { $_->{parent} == $timeline } @{ $other->{way} };
	}
	return max(0, @known);
}

# Rows whose WAL is in the archive, wherever: on each timeline from some backup on.
sub archived_rows
{
	my $stored = stored();
	return grep {
		my $row = $_;
		exists $stored->{ segment_name($row->{timeline}, int(($row->{lsn} - 1) / $segment_size)) }
	} @{ $h->{rows} };
}

# The history ------------------------------------------------------------------------------------

sub writes
{
	my $server = $h->{primary};
	for (1 .. 1 + int rand 4)
	{
		add_row($server, $h->{timeline});
		sql($server, q{INSERT INTO filler SELECT repeat('x', 900) FROM generate_series(1, 1500)}) if maybe(0.3);
	}
	archive($server) if maybe(0.7);
	return say_step('writes');
}

sub archive
{
	my ($server) = @_;
	sql($server, q{SELECT pg_create_restore_point('switch')});
	my $segment = sql($server, 'SELECT pg_walfile_name(pg_switch_wal())');
	my $status = "$server->{data}/pg_wal/archive_status";
	poll_until(sub { !glob("$status/*.ready") && (-e "$status/$segment.done" || !-e "$server->{data}/pg_wal/$segment") }, "$segment is archived", 60);
	return;
}

sub backup
{
	my $type = $h->{backups}++ ? pick('full', 'incr', 'diff') : 'full';
	my ($status, $out, $err) = chronos($h->{primary}{conf}, "--type=$type", 'backup');
	die "backup: $out$err" if $status != 0;
	return say_step("backup $type on timeline $h->{timeline}");
}

sub point
{
	my $name = 'p' . ++$h->{points};
	my $lsn = sql($h->{primary}, "SELECT pg_create_restore_point('$name')");
	push @{ $h->{names} }, { name => $name, lsn => lsn($lsn), timeline => $h->{timeline} };
	add_row($h->{primary}, $h->{timeline});
	return say_step("restore point $name");
}

sub standby
{
	my ($name) = @_;
	my $server = new_server($name);
	my ($status, $out, $err) = chronos($server->{conf}, '--type=standby',
		"--recovery-option=primary_conninfo=host=$sockets port=$h->{primary}{port}", 'restore');
	return if $status != 0;
	configure($server);
	start($server, standby => 1) or die "standby: " . log_of($server);
	my $lsn = sql($h->{primary}, 'SELECT pg_current_wal_lsn()');
	my $waits = sub {
		my ($seconds) = @_;
		return eval { poll_until(sub { (sql($server, "SELECT (coalesce(pg_last_wal_replay_lsn(), '0/0') >= '$lsn')::int", quiet => 1) // 0) eq '1' },
			"the standby has caught up with $lsn", $seconds); 1 };
	};
	return $server if $waits->(10);
	# Several forks in the segment that the primary writes: by streaming it is asked for the copy of a timeline
	# in between, of which it has a partial one. The archive has what is needed once that segment is full.
	archive($h->{primary});
	say_step('the standby waits for a segment');
	$waits->(60) or die $@ . log_of($server);
	return $server;
}

sub promote
{
	my ($server) = @_;
	(sql($server, 'SELECT pg_promote()::int', quiet => 1) // 0) eq '1' or die 'promotion: ' . log_of($server);
	return;
}

sub failover
{
	my $server = standby('s' . ++$h->{servers}) or return say_step('no standby: refused');
	stop($h->{primary}, pick('fast', 'immediate'));
	promote($server);
	my $old = $h->{primary};
	$h->{primary} = $server;
	my $timeline = note_timeline($server, 'failover');
	remove_tree($old->{data});
	add_row($server, $timeline);
	archive($server) if maybe(0.6);
	return say_step("failover to timeline $timeline");
}

sub accident
{
	my $server = standby('s' . ++$h->{servers}) or return say_step('no standby: refused');
	promote($server);
	my $timeline = note_timeline($server, 'accident');
	add_row($server, $timeline) if maybe(0.7);
	archive($server) if maybe(0.7);
	stop($server, maybe(0.5) ? 'fast' : 'immediate');
	remove_tree($server->{data});
	usleep(1_100_000);    # times of files in the repository have seconds
	add_row($h->{primary}, $h->{timeline});
	archive($h->{primary});
	return say_step("timeline $timeline by accident");
}

# Whoever recovers to a point in time gives up what comes after it.
sub pitr
{
	my $server = $h->{primary};
	archive($server);
	my @rows = rows_on($h->{timeline});
	return if @rows < 3;
	my $row = $rows[ int(@rows / 2) + int rand(@rows / 2 - 1) ];
	my @target = maybe(0.5) ? ('--type=lsn', '--target=' . text_of($row->{lsn})) : ('--type=time', "--target=$row->{time}");
	stop($server);
	my ($status, $out, $err) = chronos($server->{conf}, @target, "--target-timeline=$h->{timeline}", '--target-action=promote', '--delta', 'restore');
	if ($status == 0)
	{
		configure($server);
		start($server) or die 'recovery to a point in time: ' . log_of($server);
		my $timeline = note_timeline($server, 'pitr');
		usleep(200_000);
		add_row($server, $timeline) if maybe(0.7);
		archive($server) if maybe(0.6);
		return say_step("recovery to @target, timeline $timeline");
	}
	start($server) or die log_of($server);
	return say_step("recovery to @target refused: " . (split /\n/, $out . $err)[0]);
}

# The machine is gone; a restore of all there is takes its place.
sub lose_server
{
	my $server = $h->{primary};
	stop($server, 'immediate');
	usleep(100_000);
	my $kept = "$server->{data}.kept";
	rename $server->{data}, $kept or die $!;
	my ($status, $out, $err) = chronos($server->{conf}, 'restore');
	if ($status != 0)
	{
		remove_tree($server->{data});
		rename $kept, $server->{data};
		start($server) or die log_of($server);
		return say_step('loss of the server refused: ' . (split /\n/, $out . $err)[0]);
	}
	remove_tree($kept);
	configure($server);
	start($server) or die 'after a loss: ' . log_of($server);
	my $timeline = note_timeline($server, 'loss');
	return say_step("server lost; timeline $timeline");
}

# What an earlier recovery has left in the configuration must not decide about a later one.
sub stale
{
	return if $h->{stale}++;    # two targets, and no server starts at all
	open my $out, '>>', "$h->{primary}{data}/postgresql.conf" or die $!;
	print $out pick("recovery_target_timeline = 'current'", "recovery_target_time = '2001-01-01 00:00:00+00'",
		"recovery_target_action = 'shutdown'", "recovery_target_xid = '3'"), "\n";
	close $out;
	return say_step('stale recovery settings');
}

sub lose_history
{
	my @known = glob "$h->{dir}/repo/archive/main/*/*.history";
	return if !@known;
	my $file = pick(@known);
	unlink $file;
	my ($timeline) = map { hex } $file =~ /([0-9A-F]{8})\.history$/;
	$h->{lost_history}{$timeline} = 1;
	return say_step("history of timeline $timeline lost");
}

sub lose_segment
{
	my $stored = stored();
	my @names = sort keys %$stored;
	return if !@names;
	my $name = pick(@names);
	unlink $stored->{$name};
	$h->{lost_segment} = 1;
	return say_step("segment $name lost");
}

# Restores ---------------------------------------------------------------------------------------

sub newest_timeline { my ($newest) = sort { $b <=> $a } (1, keys %{ $h->{timelines} }); return $newest }

sub request
{
	my @rows = @{ $h->{rows} };
	my $row = pick(@rows);
	my @timeline = maybe(0.5) ? () : maybe(0.3) ? ('--target-timeline=' . pick('current', 'latest'))
	  : ('--target-timeline=' . (1 + int rand newest_timeline()));
	my $kind = pick('default', 'default', 'default', 'time', 'time', 'lsn', 'xid', 'name', 'immediate');
	my %request = (kind => $kind, row => $row, timeline => $timeline[0] // '');
	$request{arguments} = {
		default => [@timeline],
		time => [ '--type=time', "--target=$row->{time}", @timeline ],
		lsn => [ '--type=lsn', '--target=' . text_of($row->{lsn}), @timeline ],
		xid => [ '--type=xid', "--target=$row->{xid}", @timeline ],
		immediate => ['--type=immediate'],
	}->{$kind};
	if ($kind eq 'name')
	{
		return request() if !@{ $h->{names} };
		$request{point} = pick(@{ $h->{names} });
		$request{arguments} = [ '--type=name', "--target=$request{point}{name}", @timeline ];
	}
	push @{ $request{arguments} }, '--target-action=promote' if $kind ne 'default';
	return \%request;
}

# The transaction whose end is the first record that begins at a position of a timeline, or behind
# it: a recovery to a position ends with that record. Of the positions of its own way it is none.
sub ends_at
{
	my ($timeline, $at) = @_;
	my @way = grep { !defined $_->[2] || $_->[2] > $at } way_to($timeline);
	my $stored = stored();
	my $wal = "$h->{dir}/wal";
	remove_tree($wal);
	make_path($wal);
	for my $number (int($at / $segment_size), int($at / $segment_size) + 1)
	{
		# A timeline begins with a copy of what the one before it has in the segment of the fork.
		my ($name) = grep { exists $stored->{$_} } map { segment_name($_->[0], $number) } @way;
		symlink $stored->{$name}, "$wal/" . segment_name($way[0][0], $number) if defined $name;
	}
	my ($status, $out) = run_tool('pg_waldump', '-p', $wal, '-t', $way[0][0], '-s', text_of($at), '-n', 1);
	return $out =~ /rmgr: Transaction .*tx:\s+(\d+),.*desc: COMMIT/ ? $1 : 0;
}

sub expected
{
	my ($request, $plan) = @_;
	my ($end, $hole) = archived_end($plan->{timeline}, $plan->{start});
	my @all = rows_on($plan->{timeline}, $end);
	my $kind = $request->{kind};
	my $row = $request->{row};
	return (\@all, 1, $hole) if $kind eq 'default';
	return ([ grep { $_->{lsn} <= $plan->{stop} } @all ], 1, 0) if $kind eq 'immediate';
	my ($rows, $reached);
	if ($kind eq 'time')
	{
		$rows = [ grep { $_->{time} le $row->{time} } @all ];
		$reached = grep { $_->{time} gt $row->{time} } @all;
	}
	elsif ($kind eq 'lsn')
	{
		my $last = (grep { $_ == $row } @all) ? 0 : ends_at($plan->{timeline}, $row->{lsn});
		$rows = [ grep { $_->{lsn} <= $row->{lsn} || $_->{xid} == $last } @all ];
		$reached = $end > $row->{lsn} && grep { $_->{lsn} > $row->{lsn} } @all;
	}
	elsif ($kind eq 'xid')
	{
		my ($same) = grep { $_->{xid} == $row->{xid} && $_->{lsn} > $plan->{stop} } @all;
		$reached = defined $same;
		$rows = $reached ? [ grep { $_->{lsn} <= $same->{lsn} } @all ] : \@all;
	}
	else
	{
		my $point = $request->{point};
		$reached = grep { $_->[0] == $point->{timeline} && $point->{lsn} > $_->[1] && (!defined $_->[2] || $point->{lsn} <= $_->[2]) } way_to($plan->{timeline});
		$reached = 0 if $point->{lsn} > $end || $point->{lsn} <= $plan->{stop};
		$rows = [ grep { $_->{lsn} <= $point->{lsn} } @all ];
	}
	return ($rows, $reached, $hole);
}

sub parse_plan
{
	my ($text) = @_;
	my %plan;
	$plan{ok} = $text =~ /verdict:\s+can be done/;
	($plan{label}) = $text =~ /backup:\s+(\S+)/;
	($plan{start}) = $text =~ /wal start:\s+(\S+)/;
	($plan{timeline}) = $text =~ /timeline:\s+(?:\d+ to )?(\d+)/;
	if ($plan{label})
	{
		my $info = PostgreSQL::Test::Utils::slurp_file("$h->{dir}/repo/backup/main/backup.info");
		($plan{stop}) = map { lsn($_) } $info =~ m{^\Q$plan{label}\E=.*"backup-lsn-stop":"([^"]+)"}m;
	}
	return \%plan;
}

# Whether a refusal is true.
sub reason_holds
{
	my ($request, $text, $plan) = @_;
	my @forks = map { my $t = $_; map { { %$_, child => $t } } $h->{timelines}{$t}{way}[-1] } keys %{ $h->{timelines} };
	if ($text =~ /missing in the archive|is not in the archive: |cannot pass WAL/)
	{
		my ($name) = $text =~ /(?:archive: )([0-9A-F]{24})/;
		return defined $name && !stored()->{$name};
	}
	if ($text =~ /both went on/)
	{
		return grep {
			my $fork = $_;
			# Rows of a segment that was lost since are told by what is behind it.
			(grep { $_->{timeline} == $fork->{parent} && $_->{lsn} > $fork->{lsn} } @{ $h->{rows} })
			  && grep { hex(substr $_, 0, 8) == $fork->{parent} && (number($_) + 1) * $segment_size > $fork->{lsn} } keys %{ stored() }
		} @forks;
	}
	return 1 if $text =~ /was given up/ && grep { $_->{by} =~ /pitr|loss|accident|failover/ } values %{ $h->{timelines} };
	return 1 if $text =~ /history.*lost|nothing says where|is not in the history|forked from backup timeline|no backup leads/ && %{ $h->{timelines} };
	return 1 if $text =~ /\.history/ && %{ $h->{lost_history} };
	return 1 if $text =~ /unable to find backup set|no backup/;
	# A target behind all WAL.
	return 1 if $request->{kind} =~ /time|lsn|xid|name/ && $text =~ /target/;
	return 0;
}

sub lost_rows
{
	my ($got, $plan) = @_;
	my %got = map { $_ => 1 } @$got;
	my @lost;
	for my $row (archived_rows())
	{
		next if $got{ $row->{n} };
		next if $plan =~ /timeline $row->{timeline}, (?:which left .*|whose history [a-z ]+), is not on the way/;
		# Given up by a recovery to a point in time, or by the restore after a loss, on purpose.
		my $given_up = 0;
		for my $timeline (values %{ $h->{timelines} })
		{
			next if $timeline->{by} !~ /pitr|loss|failover/;
			my $last = $timeline->{way}[-1];
			$given_up ||= grep { $_->{parent} == $row->{timeline} && $row->{lsn} > $_->{lsn} } @{ $timeline->{way} };
		}
		push @lost, $row->{n} if !$given_up;
	}
	return @lost;
}

sub fail_with
{
	my ($what, $request, $detail) = @_;
	fail("history $h->{seed}: $what");
	diag("history $h->{seed}: $what\nrestore @{ $request->{arguments} }\n" . join("\n", @{ $h->{story} }) . "\n$detail\n" . report_text() . "\n");
	$h->{failed} = 1;
	return;
}

sub try_restore
{
	my ($number) = @_;
	my $request = request();
	my $server = new_server("r$number");
	my ($status, $out, $err) = chronos($server->{conf}, @{ $request->{arguments} }, '--plan', 'restore');
	my $plan = parse_plan($out);
	if ($status != 0 || !$plan->{ok})
	{
		++$h->{refused};
		fail_with('refused for a reason that is not true', $request, $out . $err) if !reason_holds($request, $out . $err, $plan);
		my ($again) = chronos($server->{conf}, @{ $request->{arguments} }, 'restore');
		fail_with('the plan refuses, the restore does not', $request, $out . $err) if $again == 0;
		fail_with('refused, and yet something was written', $request, $out . $err) if -e "$server->{data}/PG_VERSION";
		return;
	}
	return restore_as_planned("r$number", $request, $out);
}

# The server does what the plan says, with the rows of the model.
sub restore_as_planned
{
	my ($name, $request, $out) = @_;
	my $server = new_server($name);
	my $plan = parse_plan($out);
	my ($done, $text, $errors) = chronos($server->{conf}, @{ $request->{arguments} }, '--archive-mode=off', 'restore');
	return fail_with('the plan can be done, the restore cannot', $request, $out . $text . $errors) if $done != 0;
	configure($server);
	my ($rows, $reached, $hole) = expected($request, $plan);
	my $up = start($server);
	my $detail = sub { return "$out$errors\nserver log:\n" . log_of($server) };
	if (!$up)
	{
		stop($server, 'immediate');
		# Only the WAL itself says where these are.
		return if !$reached && $request->{kind} =~ /^(?:xid|name|time|lsn)$/ && log_of($server) =~ /FATAL/;
		return fail_with('the plan can be done, the server does not come up', $request, $detail->());
	}
	my $got = [ split /\n/, sql($server, 'SELECT n FROM c ORDER BY n') ];
	my $parent = (way_to($plan->{timeline}))[-1][0];
	my $own = timeline_of($server);
	my ($from) = PostgreSQL::Test::Utils::slurp_file(sprintf '%s/pg_wal/%08X.history', $server->{data}, $own) =~ /(\d+)\t[^\n]*\n*\z/;
	stop($server, 'immediate');
	my $want = join ',', map { $_->{n} } sort { $a->{n} <=> $b->{n} } @$rows;
	fail_with("rows are not those of the plan: want $want, got " . join(',', @$got), $request, $detail->()) if $want ne join ',', @$got;
	fail_with("promoted past a hole", $request, $detail->()) if $hole && $request->{kind} eq 'default';
	if ($request->{kind} eq 'default')
	{
		fail_with("the server ended on timeline $from, the plan on $plan->{timeline}", $request, $detail->()) if $from != $plan->{timeline};
		my @lost = $request->{timeline} eq '' ? lost_rows($got, $out) : ();
		fail_with('rows are lost without a word: ' . join(',', @lost), $request, $detail->()) if @lost;
	}
	++$h->{restored};
	remove_tree($server->{data});
	return;
}

# Reports ----------------------------------------------------------------------------------------

sub report
{
	my (@arguments) = @_;
	my ($status, $out, $err) = chronos($h->{primary}{conf}, '--output=json', @arguments);
	my $report = eval { JSON::PP::decode_json($out) };
	die "@arguments: exit code $status, $out$err" if !defined $report;
	return $report;
}

sub backups
{
	my @backups;
	for my $line (split /\n/, PostgreSQL::Test::Utils::slurp_file("$h->{dir}/repo/backup/main/backup.info"))
	{
		my ($label, $json) = $line =~ /^(\d{8}-\d{6}F\S*?)=(\{.*)/ or next;
		my $backup = JSON::PP::decode_json($json);
		push @backups, { label => $label, start => $backup->{'backup-archive-start'}, stop => $backup->{'backup-archive-stop'},
			stop_lsn => lsn($backup->{'backup-lsn-stop'}), timeline => hex(substr $backup->{'backup-archive-start'}, 0, 8),
			began => $backup->{'backup-timestamp-start'} };
	}
	return @backups;
}

sub number { return hex(substr $_[0], 8, 8) * 4096 + hex substr $_[0], 16, 8 }

# Timelines whose history the archive has, or can tell from that of a later one.
sub known_timelines
{
	my %known = (1 => 1);
	for my $file (glob "$h->{dir}/repo/archive/main/*/*.history")
	{
		my $timeline = hex +($file =~ /([0-9A-F]{8})\.history$/)[0];
		my $known = $h->{timelines}{$timeline};
		$known{$_} = 1 for $timeline, map { $_->{parent} } $known ? @{ $known->{way} } : ();
	}
	return sort { $a <=> $b } keys %known;
}

# What a backup can be recovered to on each timeline that it leads to.
sub reachable
{
	my ($backup) = @_;
	my $stored = stored();
	my @ends;
	for my $number (number($backup->{start}) .. number($backup->{stop}))
	{
		return { unusable => 1, timeline => $backup->{timeline} } if !$stored->{ segment_name($backup->{timeline}, $number) };
	}
	# On its own timeline it needs no history.
	my %timelines = map { $_ => 1 } $backup->{timeline}, known_timelines();
	for my $timeline (sort { $a <=> $b } keys %timelines)
	{
		my ($leg) = grep { $_->[0] == $backup->{timeline} } way_to($timeline);
		next if !$leg || (defined $leg->[2] && $leg->[2] < $backup->{stop_lsn});
		my ($end, $hole, $on) = archived_end($timeline, $backup->{start});
		push @ends, { timeline => $timeline, end => $end, hole => $hole, on => $on };
	}
	return @ends;
}

sub compare_windows
{
	my ($windows) = @_;
	my %told = map { ("$_->{label} on timeline $_->{timeline}" => $_) } @$windows;
	for my $backup (backups())
	{
		for my $want (reachable($backup))
		{
			my $name = "$backup->{label} on timeline $want->{timeline}";
			my $window = delete $told{$name};
			# A way that is broken before its last timeline is told by the window of the one before.
			next if !$window && !$want->{unusable} && $want->{on} != $want->{timeline} && $want->{hole};
			my $ends = $want->{unusable} ? 'unusable' : $want->{hole} ? 'gap' : 'newest';
			my $told = !$window ? 'no window' : $window->{ends} . ($window->{ends} eq 'unusable' ? '' : " $window->{'to-lsn'}");
			$ends .= ' ' . text_of($want->{end}) if !$want->{unusable};
			report_fails("window of $name: model $ends, told $told") if $told ne $ends;
			next if !$window || !defined $window->{'to-time'} || $want->{unusable};
			my ($last) = sort { $b cmp $a } map { $_->{time} } rows_on($want->{timeline}, $want->{end});
			report_fails("window of $name ends at $window->{'to-time'}, with a commit at $last")
			  if defined $last && microseconds($last) > $window->{'to-time'} && $last ge instant($window->{'from-time'});
		}
	}
	report_fails("window of $_, where there is none") for grep { $told{$_}{ends} ne 'unusable' } sort keys %told;
	return;
}

sub microseconds
{
	my ($year, $month, $day, $hour, $minute, $second, $rest) = $_[0] =~ /^(\d+)-(\d+)-(\d+) (\d+):(\d+):(\d+)\.?(\d*)/ or die $_[0];
	return timegm($second, $minute, $hour, $day, $month - 1, $year) * 1_000_000 + substr("${rest}000000", 0, 6);
}

sub instant
{
	my ($second, $minute, $hour, $day, $month, $year) = gmtime $_[0];
	return sprintf '%04d-%02d-%02d %02d:%02d:%02d', $year + 1900, $month + 1, $day, $hour, $minute, $second;
}

sub report_fails
{
	my ($what) = @_;
	return if $h->{failed};    # one is enough to go by
	fail_with($what, { arguments => ['(reports)'] }, '');
	return;
}

sub report_text
{
	return join "\n", (map { my $t = $_; "timeline $t: " . join ', ', map { "$_->{parent} left at " . text_of($_->{lsn}) } @{ $h->{timelines}{$t}{way} } } sort { $a <=> $b } keys %{ $h->{timelines} }),
	  (map { "row $_->{n}: timeline $_->{timeline}, " . text_of($_->{lsn}) . ", $_->{time}" } @{ $h->{rows} }),
	  (map { "backup $_->{label}: $_->{start} to $_->{stop}" } backups()),
	  map { my ($name) = m{([^/]+)$}; $name =~ s/-[0-9a-f]{40}//r . ' ' . instant((stat $_)[9]) } glob("$h->{dir}/repo/archive/main/*/*.history"), glob "$h->{dir}/repo/archive/main/*/*/*";
}

# Moments of a window, and moments that are in none.
sub try_moments
{
	my ($windows) = @_;
	my @usable = grep { $_->{ends} ne 'unusable' } @$windows;
	for (1 .. 3)
	{
		last if !@usable || $h->{failed};
		my $window = pick(@usable);
		my $end = lsn($window->{'to-lsn'});
		my @all = rows_on($window->{timeline});
		my @rows = grep { $_->{lsn} > lsn($window->{'from-lsn'}) && $_->{lsn} <= $end } @all;
		# The last one is no target that a recovery passes.
		pop @rows;
		# By the clock a moment belongs to whoever was there at that time.
		my $by_time = @rows && maybe(0.5);
		# Times of backups have no fractions: in the second of its end nobody can say.
		@rows = grep { $_->{time} ge instant($window->{'from-time'} + 1) } @rows if $by_time;
		my $row = pick(@rows) // next;
		my @target = $by_time ? ('--type=time', "--target=$row->{time}") : ('--type=lsn', '--target=' . text_of($row->{lsn}));
		my $request = { kind => $by_time ? 'time' : 'lsn', row => $row, timeline => "--target-timeline=$window->{timeline}",
			arguments => [ @target, "--target-timeline=$window->{timeline}", '--target-action=promote' ] };
		my ($status, $out, $err) = chronos(new_server("w$_")->{conf}, @{ $request->{arguments} }, '--plan', 'restore');
		fail_with("refused, and yet in the window of $window->{label} on timeline $window->{timeline}", $request, $out . $err)
		  if $status != 0 || $out !~ /verdict:\s+can be done/;
		restore_as_planned("w$_", $request, $out) if $status == 0 && maybe(0.3);
	}
	return if $h->{failed};
	my @windowed = map { [ $_->{timeline}, lsn($_->{'to-lsn'}) ] } @usable;
	my @outside = grep {
		my $row = $_;
		!grep { my ($timeline, $end) = @$_; $timeline == $row->{timeline} && $end > $row->{lsn} } @windowed
	} @{ $h->{rows} };
	my @targets;
	push @targets, [ '--type=lsn', '--target=' . text_of($_->{lsn} + $segment_size), "--target-timeline=$_->{timeline}" ] for @outside ? pick(@outside) : ();
	my ($first) = sort { $a->{stop_lsn} <=> $b->{stop_lsn} } backups();
	push @targets, [ '--type=lsn', '--target=' . text_of($first->{stop_lsn} - 64) ], [ '--type=time', '--target=' . instant($first->{began} - 10) . '+00' ];
	push @targets, [ '--type=time', '--target=' . instant(time + 3600) . '+00' ];
	for my $target (pick(@targets), pick(@targets))
	{
		my ($status, $out, $err) = chronos(new_server('w4')->{conf}, @$target, '--target-action=promote', '--plan', 'restore');
		fail_with('in no window, and yet it can be done', { arguments => $target }, $out . $err . report_text()) if $status == 0;
	}
	return;
}

# Timelines with WAL whose history file is not there, but that of the oldest.
sub without_history
{
	my %with_wal = map { hex(substr $_, 0, 8) => 1 } keys %{ stored() };
	my ($oldest, @later) = sort { $a <=> $b } keys %with_wal;
	my ($archive) = glob "$h->{dir}/repo/archive/main/*-1";
	return grep { !-e sprintf '%s/%08X.history', $archive, $_ } @later;
}

# WAL that is there, and that no backup of an older timeline can get to.
sub lost_timeline
{
	my %known = map { $_ => 1 } known_timelines();
	for my $timeline (grep { !$known{$_} } without_history())
	{
		my ($first) = sort grep { hex(substr $_, 0, 8) == $timeline } keys %{ stored() };
		my ($own) = sort map { $_->{start} } grep { $_->{timeline} == $timeline } backups();
		next if defined $own && $own le $first;
		return $timeline if grep { $_->{timeline} < $timeline } backups();
	}
	return;
}

# A hole on the way of a backup, that retention would not have left, or a way that nothing tells.
sub has_gap
{
	my $lost = lost_timeline();
	return "no history of timeline $lost" if defined $lost;
	for my $backup (backups())
	{
		for my $want (reachable($backup))
		{
			return "$backup->{label} is unusable" if $want->{unusable};
			next if !$want->{hole} || looks_expired($want);
			return "from $backup->{label} to timeline $want->{timeline} at " . text_of($want->{end});
		}
	}
	return;
}

# Between the end of a backup and the start of one nothing need be there, if what is older, by its name, and
# no backup needs is not there either: retention begins with that.
sub looks_expired
{
	my ($want) = @_;
	my $stored = stored();
	my $at = int($want->{end} / $segment_size);
	my $hole = segment_name($want->{on}, $at);
	my @all = backups();
	for my $name (grep { $_ lt $hole } keys %$stored)
	{
		return 0 if !grep { $_->{start} le $name && $name le $_->{stop} } @all;
	}
	my %way = map { $_->[0] => 1 } way_to($want->{timeline});
	my @on = grep { $way{ $_->{timeline} } } @all;
	return 0 if !grep { number($_->{stop}) + 1 == $at } @on;
	++$at while !$stored->{ segment_name($want->{on}, $at) } && $at < 4096;
	return scalar grep { number($_->{start}) == $at } @on;
}

# A timeline that another one had left went on, by what the archive says of the times, and by the
# commits of the model. undef where that is a matter of a second.
sub diverges
{
	my $stored = stored();
	my $unsure;
	my @backups = backups();
	for my $file (glob "$h->{dir}/repo/archive/main/*/*.history")
	{
		my $child = hex +($file =~ /([0-9A-F]{8})\.history$/)[0];
		my $born = (stat $file)[9];
		my $left = $h->{timelines}{$child}{way}[-1];
		my ($last, $committed) = (0, 0);
		for my $name (grep { hex(substr $_, 0, 8) == $left->{parent} } keys %$stored)
		{
			next if number($name) < int($left->{lsn} / $segment_size);
			my $at = (stat $stored->{$name})[9];
			my $commits = grep { $_->{timeline} == $left->{parent} && $_->{lsn} > $left->{lsn} && int(($_->{lsn} - 1) / $segment_size) == number($name) } @{ $h->{rows} };
			$unsure = 1 if abs($at - $born) < 2;
			next if $at <= $born;
			$last = $at if $at > $last;
			$unsure = 1 if !$commits;
			$committed += $commits;
		}
		next if !$last || !$committed;
		my @since = grep { $_->{timeline} >= $child && $_->{began} > $last - 2 } @backups;
		return "timeline $left->{parent} beside $child" if !@since && !$unsure;
		$unsure = 1 if @since;
	}
	return $unsure ? undef : '';
}

sub compare_health
{
	my $health = report('health');
	my %state = map { ($_->{rule} => $_) } @{ $health->{rules} };
	my $told = sub { my ($rule) = @_; return "$rule is $state{$rule}{state} ($state{$rule}{message})" };
	my $gap = has_gap();
	report_fails('health: ' . $told->('wal_gap') . ', model: ' . ($gap // 'no gap')) if ($state{wal_gap}{state} eq 'critical') != defined $gap;
	my $diverges = diverges();
	report_fails('health: ' . $told->('timelines_diverge') . ", model: $diverges")
	  if defined $diverges && ($state{timelines_diverge}{state} eq 'critical') != ($diverges ne '');
	report_fails('health: ' . $told->('wal_conflict')) if $state{wal_conflict}{state} ne 'ok';
	return;
}

sub compare_verify
{
	# What is missing beside what was stored just now may still arrive.
	for (glob("$h->{dir}/repo/archive/main/*/*"), glob "$h->{dir}/repo/archive/main/*/*/*") { my $at = (stat $_)[9] - 600; utime $at, $at, $_ }
	my $verify = report('verify');
	my $gap = has_gap();
	my ($lost) = without_history();
	my @found = map { "$_->{where} $_->{file}: $_->{message}" } grep { $_->{status} ne 'note' } @{ $verify->{finding} };
	my $why = defined $lost ? "no history of timeline $lost" : $gap;
	report_fails("verify is $verify->{status} (@found), model: " . ($why // 'all is well')) if ($verify->{status} ne 'ok') != defined $why;
	return;
}

sub compare_reports
{
	my $windows = report('info', '--wal')->{window};
	compare_windows($windows);
	compare_health() if !$h->{failed};
	try_moments($windows) if !$h->{failed};
	compare_verify() if !$h->{failed};
	return;
}

# ------------------------------------------------------------------------------------------------

my %weight = (writes => 5, backup => 3, point => 1, failover => 1.5, accident => 1, pitr => 2, lose_server => 1.5, stale => 0.4);
my %step = (writes => \&writes, backup => \&backup, point => \&point, failover => \&failover, accident => \&accident,
	pitr => \&pitr, lose_server => \&lose_server, stale => \&stale);

sub random_step
{
	my $sum = 0;
	$sum += $_ for values %weight;
	my $at = rand $sum;
	for my $name (sort keys %weight)
	{
		$at -= $weight{$name};
		return $name if $at < 0;
	}
	return 'writes';
}

sub history
{
	my ($number) = @_;
	my $own = $seed + $number;
	srand $own;
	$h = { seed => $own, dir => "$base/h$number", rows => [], names => [], timelines => {}, timeline => 1, story => [],
		lost_history => {}, counter => 0, backups => 0, points => 0, servers => 0, restored => 0, refused => 0 };
	make_path("$h->{dir}/repo");
	my $primary = $h->{primary} = new_server('p');
	run_tool('cp', '-a', "$base/template", $primary->{data});
	configure($primary);
	start($primary) or die log_of($primary);
	my ($status, $out, $err) = chronos($primary->{conf}, 'stanza-create');
	die "stanza-create: $out$err" if $status != 0;
	sql($primary, 'CREATE TABLE c (n int); CREATE TABLE filler (t text)');
	backup();
	for (1 .. 4 + int rand 7)
	{
		my $name = random_step();
		my ($began, $told) = (time, scalar @{ $h->{story} });
		$step{$name}->();
		$h->{story}[-1] .= sprintf ' (%.1fs)', time - $began if @{ $h->{story} } > $told;
	}
	archive($h->{primary}) if maybe(0.6);
	stop($h->{primary}, pick('fast', 'immediate'));
	lose_history() if maybe(0.3);
	lose_segment() if maybe(0.3);
	for my $restore (1 .. 5)
	{
		try_restore($restore);
		last if $h->{failed};
	}
	compare_reports() if !$h->{failed};
	return;
}

my ($restored, $refused) = (0, 0);
for my $number (0 .. $histories - 1)
{
	my $before = time;
	my $ended = eval { history($number); 1 };
	my $why = $@;
	for my $pid_file (glob "$base/h$number/*/postmaster.pid")
	{
		(my $data = $pid_file) =~ s{/postmaster\.pid$}{};
		run_tool('pg_ctl', '-D', $data, '-m', 'immediate', '-w', 'stop');
	}
	ok($ended && !$h->{failed}, sprintf 'history %d: %d restored, %d refused, %.1fs', $h->{seed}, $h->{restored}, $h->{refused}, time - $before)
	  or diag(($why || '') . join("\n", @{ $h->{story} }));
	$restored += $h->{restored};
	$refused += $h->{refused};
	remove_tree("$base/h$number") if ($ended && !$h->{failed}) || !$ENV{TEST_KEEP};
}
cmp_ok($restored, '>', 0, "$restored restores done, $refused refused");
done_testing();
