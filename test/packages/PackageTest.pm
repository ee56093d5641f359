# What the tests of Debian packages share. They run as root in a root file system of their own, which has
# nothing but the packages of PACKAGES and what these depend on; one after the other, each goes on where
# the one before it has ended.
package PackageTest;
use strict;
use warnings;
use Exporter 'import';
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw($major $data @packages package_file output runs as_postgres sql poll_until archived settled engines slurp append_to);

# What is tested: the engine and, of the modules, the one for the newest server.
my @built = grep { !/-dbgsym_/ } glob "$ENV{PACKAGES}/*.deb";
our ($major) = sort { $b <=> $a } map { /postgresql-(\d+)-chronos-backup_/ ? $1 : () } @built;
our @packages = grep { m{/chronos-backup_} || m{/postgresql-$major-chronos-backup_} } @built;
our $data = "/var/lib/postgresql/$major/main";

sub package_file
{
	my ($name) = @_;
	my ($file) = grep { m{/\Q$name\E_} } @packages;
	return $file // die "no package $name in $ENV{PACKAGES}";
}

# output(COMMAND...): what it prints, and its exit status.
sub output
{
	my (@command) = @_;
	my $quoted = join ' ', map { s/'/'\\''/gr =~ s/(.*)/'$1'/sr } @command;
	my $text = `$quoted 2>&1`;
	return wantarray ? ($text, $? >> 8) : $text;
}

# runs(NAME, COMMAND...): a test that it succeeds; what it prints.
sub runs
{
	my ($name, @command) = @_;
	my ($text, $status) = output(@command);
	is($status, 0, $name) or diag("@command: $text");
	return $text;
}

sub as_postgres { return ('runuser', '-u', 'postgres', '--', @_) }

sub sql
{
	my ($statement) = @_;
	my ($text, $status) = output(as_postgres('psql', '-X', '-At', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-c', $statement));
	die "$statement: $text" if $status != 0;
	chomp $text;
	return $text;
}

sub poll_until
{
	my ($condition, $what, $seconds) = @_;
	my $end = time + ($seconds // 60);
	while (time < $end)
	{
		return 1 if $condition->();
		sleep 0.1;
	}
	diag("timed out: $what");
	return 0;
}

sub archived { return sql('SELECT archived_count FROM pg_stat_archiver') }

# settled(): all WAL so far is in the repository.
sub settled
{
	my $segment = sql('SELECT pg_walfile_name(pg_switch_wal())');
	return poll_until(sub { sql("SELECT coalesce(last_archived_wal, '') >= '$segment' FROM pg_stat_archiver") eq 't' }, "$segment is archived");
}

# engines(ROLE): pid => program of the processes of this root file system that work in that role, by a path
# that may begin outside of it, and ends in " (deleted)" if another one has taken its place.
sub engines
{
	my ($role) = @_;
	my %found;
	my $root = join ':', (stat '/')[0, 1];
	for my $directory (glob '/proc/[0-9]*')
	{
		next if join(':', (stat "$directory/root/.")[0, 1]) ne $root;
		my $arguments = eval { slurp("$directory/cmdline") } // next;
		my (undef, $verb, $its_role) = split /\0/, $arguments;
		next if ($verb // '') ne 'engine' || $its_role ne $role;
		my ($pid) = $directory =~ /(\d+)/;
		$found{$pid} = readlink "$directory/exe";
	}
	return %found;
}

sub slurp
{
	my ($path) = @_;
	open my $file, '<', $path or die "$path: $!";
	local $/;
	return scalar readline $file;
}

sub append_to
{
	my ($path, $text) = @_;
	open my $file, '>>', $path or die "$path: $!";
	print $file $text;
	close $file or die "$path: $!";
}

1;
