# Keeps an eye on the secrets of a test: the keys and passphrases of every configuration that it writes
# must not turn up in what a tool or an SQL statement prints, in a log, or in the arguments of a
# process. Looked for all the time; a find is told as soon as it is made and fails the test at its end.
package SecretWatch;

use strict;
use warnings;
use File::Basename qw(basename);
use File::Temp ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# What is shorter stands in any text.
my $length_min = 10;
my $main = $$;
my (%secret, %found, $directory, $sampler);

# Takes note of what is secret among options ("repo1-s3-key-secret" => "..."). A value that a test
# wants to be a file's name or a template is none.
sub watch
{
	my (%options) = @_;
	my @new = grep { length >= $length_min && !$secret{$_} }
	  map { $options{$_} // '' } grep { /(?:cipher-pass(?:-previous)?|-key-secret|-token|-customer-key)$/ } keys %options;
	return if !@new;
	$secret{$_} = 1 for @new;
	$directory //= File::Temp->newdir;
	open my $out, '>', "$directory/new" or die $!;
	print $out map { unpack('H*', $_) . "\n" } keys %secret;
	close $out;
	rename "$directory/new", "$directory/secrets" or die $!;
	$sampler //= start_sampler("$directory");
	return;
}

# Looks through a text; WHERE says what it is.
sub look
{
	my ($where, $text) = @_;
	return if !defined $text;
	for my $secret (keys %secret)
	{
		next if index($text, $secret) < 0 || $found{$where}++;
		diag("SECRET ('" . substr($secret, 0, 3) . "...') in $where");
	}
	return;
}

# What has been found so far, and is forgotten thereby: a test of this module expects to find.
sub take_finds
{
	look_at_arguments();
	my @finds = sort keys %found;
	%found = ();
	return @finds;
}

sub start_sampler
{
	my ($dir) = @_;
	# From its first moment on, not those of the test, which would end its servers.
	local @SIG{qw(TERM INT)} = ('DEFAULT', 'DEFAULT');
	my $pid = fork // die $!;
	return $pid if $pid;
	# prove waits for whoever has its pipe.
	open STDOUT, '>', '/dev/null';
	open STDERR, '>', '/dev/null';
	# A server of the test ends when the pipe to it is closed.
	POSIX::close($_) for 3 .. 255;
	my @secrets;
	my $age = -1;
	while (getppid == $main)
	{
		my $now = (stat "$dir/secrets")[1] // -1;
		if ($now != $age && open my $in, '<', "$dir/secrets")
		{
			chomp(@secrets = <$in>);
			@secrets = map { pack 'H*', $_ } @secrets;
			$age = $now;
		}
		sample("$dir/arguments", @secrets);
		usleep(150_000);
	}
	POSIX::_exit(0);
}

# Of our programs and the server's: what else runs on a machine is not ours to judge.
sub sample
{
	my ($report, @secrets) = @_;
	for my $file (glob '/proc/[0-9]*/cmdline')
	{
		open my $in, '<', $file or next;
		my $line = do { local $/; <$in> } // next;
		next if $line !~ m{^(?:[^\0]*/)?(?:chronos|postgres|psql)\b};
		for my $secret (@secrets)
		{
			next if index($line, $secret) < 0;
			open my $out, '>>', $report or next;
			print $out 'arguments of ' . (split /\0/, $line)[0] . "\n";
			close $out;
		}
	}
	return;
}

sub look_at_arguments
{
	return if !defined $directory || !open my $in, '<', "$directory/arguments";
	while (my $line = <$in>) { chomp $line; $found{$line}++ }
	unlink "$directory/arguments";
	return;
}

{
	no warnings 'redefine';
	my $psql = \&PostgreSQL::Test::Cluster::psql;
	*PostgreSQL::Test::Cluster::psql = sub {
		my ($self, $db, $sql, %params) = @_;
		my $want = wantarray;
		# As called: which of the outputs it returns depends on what it is given.
		my @result = $want ? $psql->(@_) : scalar $psql->(@_);
		my $statement = substr($sql // '', 0, 40) =~ s/\s+/ /gr;
		look("answer to '$statement'", $_)
		  for ref $params{stdout} eq 'SCALAR' ? ${ $params{stdout} } : (), ref $params{stderr} eq 'SCALAR' ? ${ $params{stderr} } : (),
		  $want ? @result[ 1 .. $#result ] : ();
		return $want ? @result : $result[0];
	};
}

END
{
	if ($$ == $main && %secret)
	{
		my $status = $?;
		kill 'TERM', $sampler;
		waitpid $sampler, 0;
		look_at_arguments();
		# Those of this test: others, which may be running, have other secrets.
		my $name = basename($0) =~ s/\.[^.]*$//r;
		for my $log (glob "$PostgreSQL::Test::Utils::log_path/{regress_log_$name,${name}_*}")
		{
			open my $in, '<', $log or next;
			look("log $log", $_) while <$in>;
		}
		diag("secrets were seen: $_") for sort keys %found;
		$? = %found ? 1 : $status;
	}
}

1;
