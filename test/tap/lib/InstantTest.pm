# What tests of restores that are being completed have in common.
package InstantTest;
use strict;
use warnings;
use ChronosTest;
use Exporter 'import';
use JSON::PP ();

our @EXPORT = qw(listed all_listed overwrite state_of);

# Every mount of this machine, those of tests that run beside this one too.
sub all_listed
{
	my ($status, $out, $err) = run_tool($chronos, '--config=/dev/null', '--output=json', 'mounts');
	die "mounts: $err" if $status != 0;
	return @{ JSON::PP::decode_json($out) };
}

# What the list has of a directory, {} if nothing serves it.
sub listed
{
	my ($path) = @_;
	return (grep { $_->{path} eq $path } all_listed())[0] // {};
}

# In place, so that it keeps its size.
sub overwrite
{
	my ($path, $content) = @_;
	open my $file, '+<:raw', $path or die "$path: $!";
	print $file $content;
	close $file or die "$path: $!";
	return;
}

# The state of a process, undef if there is none.
sub state_of
{
	my ($pid) = @_;
	open my $stat, '<', "/proc/$pid/stat" or return;
	return (readline($stat) // '') =~ /\) (\S)/ ? $1 : undef;
}

1;
