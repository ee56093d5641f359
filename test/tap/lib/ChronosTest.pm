# What the TAP tests share: a server with the module in it, a configuration both tools read, and
# calls of both tools. CHRONOS names the executable (what tests are told stands in TEST_... variables,
# because CHRONOS_<NAME> is an option); the server's programs are found on the PATH.
package ChronosTest;

use strict;
use warnings;
use Exporter 'import';
use File::Temp qw(tempdir);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SecretWatch;
use Test::More;
use Time::HiRes qw(usleep time);

our @EXPORT = qw(chronos_node write_config chronos pgbackrest run_tool restored_node poll_until
  restored_rows private_directory table_state slurp_tree seed campaign engines_below wait_archived
  archive_directory wait_for_server $chronos);

our $chronos = $ENV{CHRONOS} // 'chronos';

# A server that does not start ends its own test file, not those of all the others.
{
	no warnings 'redefine';
	*Test::Builder::BAIL_OUT = sub { my ($self, $reason) = @_; die "$reason\n" };
}

# Of block-incremental files pgBackRest reads what 2.46 and later have written: with an older one
# at hand chronos is told to store files whole.
$ENV{CHRONOS_REPO1_BLOCK} //= 'n' if ((`pgbackrest version 2>&1` // '') =~ /2\.(\d+)/ ? $1 : 0) < 46;

# The configuration of a stanza "main" that both tools read.
# %options: path => repository, pg => data directory, port, socket, and any option as it stands in
# the file, e.g. 'compress-type' => 'lz4'.
sub write_config
{
	my ($file, %options) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $repo = delete $options{path};
	my $stanza = "pg1-path=" . delete($options{pg}) . "\n";
	$stanza .= "pg1-port=" . delete($options{port}) . "\n" if exists $options{port};
	$stanza .= "pg1-socket-path=" . delete($options{socket}) . "\n" if exists $options{socket};
	my %default = (
		'repo1-path' => $repo, 'lock-path' => "$dir/lock", 'log-path' => $dir,
		'spool-path' => "$dir/spool", 'log-level-file' => 'off', 'log-level-console' => 'info',
		'repo1-retention-full' => 9, 'archive-timeout' => 30, 'start-fast' => 'y');
	my %all = (%default, %options);
	SecretWatch::watch(%all);
	my $text = "[global]\n";
	$text .= "$_=$all{$_}\n" for grep { defined $all{$_} } sort keys %all;
	open my $out, '>', $file or die "$file: $!";
	chmod 0600, $file;
	print $out "$text\n[main]\n$stanza";
	close $out;
	return $file;
}

# A running server with the module in it, archiving to a repository of its own.
# %params: conf => lines for postgresql.conf, options => {...} for write_config, initdb => [...] of
# further arguments, start => 0, install_path => that of another server than the one on the PATH.
# Returns the node; its {chronos_conf} and {chronos_repo} name configuration and repository.
sub chronos_node
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $params{install_path});
	$node->init(allows_streaming => 1, extra => [ '--data-checksums', @{ $params{initdb} // [] } ]);
	my $base = PostgreSQL::Test::Utils::tempdir();
	my $repo = $params{repo} // "$base/repo";
	mkdir $repo if !-d $repo;
	my $conf = write_config("$base/chronos.conf",
		path => $repo, pg => $node->data_dir, port => $node->port, socket => $node->host,
		%{ $params{options} // {} });
	$node->append_conf('postgresql.conf', <<C);
shared_preload_libraries = 'chronos_backup'
archive_mode = on
archive_library = 'chronos_backup'
chronos.config_file = '$conf'
max_worker_processes = 16
C
	$node->append_conf('postgresql.conf', $params{conf}) if defined $params{conf};
	$node->{chronos_conf} = $conf;
	$node->{chronos_repo} = $repo;
	if ($params{start} // 1)
	{
		$node->start;
		$node->safe_psql('postgres', 'CREATE EXTENSION chronos_backup');
	}
	return $node;
}

# A directory as a data directory has to be.
sub private_directory
{
	my $directory = PostgreSQL::Test::Utils::tempdir();
	chmod 0700, $directory;
	return $directory;
}

# Restores into a directory of its own, with nothing archived from there, and starts a server on it:
# the ids in the table t, and what the command said.
sub restored_rows
{
	my ($conf, $name, @arguments) = @_;
	my $directory = private_directory();
	my ($status, $out, $err) = chronos($conf, "--pg1-path=$directory", '--archive-mode=off', @arguments, 'restore');
	is($status, 0, "$name: restored") or diag($out . $err);
	my $copy = restored_node($name, $directory);
	my $rows = $copy->safe_psql('postgres', q{SELECT string_agg(id::text, ',' ORDER BY id) FROM t});
	$copy->stop('immediate');
	return ($rows, $out . $err);
}

# Where the archive of the node's first stanza lies in its repository, whether it exists already or not.
sub archive_directory
{
	my ($node) = @_;
	return "$node->{chronos_repo}/archive/main/" . PostgreSQL::Test::Utils::slurp_file($node->data_dir . '/PG_VERSION') =~ s/\s+$//r . '-1';
}

# Runs a program to its end; returns (exit status or 128 + signal, stdout, stderr).
sub run_tool
{
	my (@command) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout(300, exception => "timeout: @command"));
	my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	SecretWatch::look("output of '" . join(' ', map { m{([^/]+)$} ? $1 : $_ } @command) . "'", $out . $err);
	return ($status, $out, $err);
}

# chronos CONFIG, ARGUMENTS...: of the stanza main.
sub chronos
{
	my ($conf, @rest) = @_;
	return run_tool($chronos, "--config=$conf", '--stanza=main', @rest);
}

sub pgbackrest
{
	my ($conf, @rest) = @_;
	return run_tool('pgbackrest', "--config=$conf", '--stanza=main', @rest);
}

# Starts a server on a directory that a restore has filled, archiving nothing, and waits until it
# is out of recovery (unless wait => 0). Returns the node.
sub restored_node
{
	my ($name, $data, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $params{install_path});
	my $own = $node->data_dir;
	mkdir $node->basedir if !-d $node->basedir;
	# Where it was restored to is where its restore_command expects to be run.
	symlink $data, $own or die "symlink $data: $!";
	open my $auto, '>>', "$own/postgresql.auto.conf" or die $!;
	printf $auto "port = %d\nlisten_addresses = ''\nunix_socket_directories = '%s'\narchive_mode = off\n",
	  $node->port, $node->host;
	print $auto "shared_preload_libraries = ''\n" if $params{bare};
	print $auto $params{conf} if defined $params{conf};
	close $auto;
	# One that ends by itself may do so before or after it has said that it is there.
	if ($params{fail_ok}) { eval { $node->start(fail_ok => 1) } }
	else { $node->start }
	if ($params{wait} // 1)
	{
		$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()')
		  or die "recovery of $name did not end";
	}
	return $node;
}

# A number that changes with any row of a table, as text.
sub table_state
{
	my ($node, $table) = @_;
	return $node->safe_psql('postgres',
		"SELECT count(*) || ',' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '-') FROM $table t");
}

# Calls CODE ten times a second until it is true; dies with MESSAGE after SECONDS, under a sanitizer after four
# times as many.
sub poll_until
{
	my ($code, $message, $seconds) = @_;
	my $end = time + ($seconds // 120) * ($ENV{TEST_SANITIZED} ? 4 : 1);
	while (time < $end)
	{
		return if $code->();
		usleep(100_000);
	}
	die "gave up waiting: $message";
}

# Waits until NODE, which may not be up yet, takes connections. The question is an argument of psql: one that finds
# nobody ends before anything could be written to its standard input.
sub wait_for_server
{
	my ($node, $message, $seconds) = @_;
	my @ask = ('psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT 1');
	return poll_until(sub { (run_tool(@ask))[0] == 0 }, $message, $seconds);
}

# Waits until every segment before the current one is in the repository. By the marks: the last one
# in pg_stat_archiver may be the history file of a backup, which has the name of an earlier segment. A
# checkpoint takes the mark away with the segment, which it does only once that is archived.
sub wait_archived
{
	my ($node) = @_;
	# Where there is nothing to switch, the name would be that of a segment yet to come.
	$node->safe_psql('postgres', q{SELECT pg_create_restore_point('wait_archived')});
	my $segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
	my $wal = $node->data_dir . '/pg_wal';
	my $status = "$wal/archive_status";
	poll_until(
		sub {
			my @ready = map { m{/([^/]+)\.ready$} ? $1 : () } glob "$status/*.ready";
			return (-e "$status/$segment.done" || !-e "$wal/$segment") && !grep { $_ le $segment } @ready;
		},
		"segment $segment is archived", 180);
	return $segment;
}

# Path => "mode size sha1" (files), "mode" (directories), "-> destination" (links), below DIR.
sub slurp_tree
{
	my ($dir, %skip) = @_;
	require Digest::SHA;
	require File::Find;
	my %tree;
	File::Find::find({
			no_chdir => 1,
			wanted => sub {
				my $name = $File::Find::name =~ s{^\Q$dir\E/?}{}r;
				return if $skip{$name};
				my @info = lstat $_ or return;
				my $mode = sprintf '%04o', $info[2] & 07777;
				$tree{$name} =
				  -l _ ? '-> ' . readlink($_)
				  : -d _ ? $mode
				  : "$mode $info[7] " . Digest::SHA->new(1)->addfile($_, 'b')->hexdigest;
			}
		},
		$dir);
	return \%tree;
}

# The process ids below a process whose command line contains " engine ".
sub engines_below
{
	my ($top) = @_;
	my (%parent, %engine);
	for my $dir (glob '/proc/[0-9]*')
	{
		my ($pid) = $dir =~ /(\d+)$/;
		open my $stat, '<', "$dir/stat" or next;
		my $line = <$stat> // next;
		$parent{$pid} = $1 if $line =~ /\) \S (\d+)/;
		open my $cmd, '<', "$dir/cmdline" or next;
		my $words = <$cmd> // '';
		$engine{$pid} = 1 if $words =~ /\0engine\0/;
	}
	my @found;
	for my $pid (keys %engine)
	{
		my $up = $pid;
		$up = $parent{$up} while defined $up && $up > 1 && $up != $top;
		push @found, $pid if defined $up && $up == $top;
	}
	return sort { $a <=> $b } @found;
}

# The seed of a randomized test: TEST_SEED or a fresh one, printed.
sub seed
{
	my $seed = length($ENV{TEST_SEED} // '') ? $ENV{TEST_SEED} : int(rand(2**31));
	srand $seed;
	diag("seed $seed (set TEST_SEED to repeat)");
	return $seed;
}

# The length of a campaign: TEST_STEPS, or what CHECK_LONG and CHECK_SHORT (a version among others) ask for.
sub campaign
{
	my ($usual, %length) = @_;
	return $ENV{TEST_STEPS} if length($ENV{TEST_STEPS} // '');
	return $ENV{CHECK_LONG} ? $length{long} : $ENV{CHECK_SHORT} ? $length{short} : $usual;
}

1;
