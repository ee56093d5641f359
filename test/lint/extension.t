# Two worlds meet in src/extension, and each file belongs to one. What includes postgres_api.h can be
# left by a longjmp at any call, so it has no destructors: no C++ library, no type of ours that owns
# something. What includes the C++ library never calls the server.
use strict;
use warnings;
use Test::More;

my @door = ('src/extension/postgres_api.h');
my (%includes, @problems);
for my $file (glob 'src/extension/*.h src/extension/*.cpp')
{
	open my $in, '<', $file or die "$file: $!";
	local $/;
	my $text = <$in>;
	$includes{$file} = [ $text =~ /^\s*#\s*include\s+[<"]([^>"]+)[>"]/mg ];
	next if grep { $_ eq $file } @door;
	push @problems, "$file includes a header of the server beside postgres_api.h"
	  if grep { m{^(?:postgres|fmgr|miscadmin|funcapi|pgstat)\.h$|^(?:utils|storage|access|executor|postmaster|catalog)/} } @{ $includes{$file} };
}
# How long ago something was, the wall clock does not say: somebody may have set it since.
for my $file (glob 'src/extension/*.h src/extension/*.cpp')
{
	open my $in, '<', $file or die "$file: $!";
	local $/;
	my $text = <$in>;
	push @problems, "$file measures an interval by the wall clock: see steady_time.h"
	  if $text =~ /TimestampDifference|TimestampTzPlusMilliseconds|GetCurrentTimestamp\(\) *[-<>]/
	  && $file !~ m{/(?:launcher|scheduler|schedule_functions)\.cpp$};
}
ok(keys %includes > 10, 'there are sources to look at');

# What is for both worlds: headers that include nothing.
my $kinds = 'chronos/base/error_kind.h';
my @common = ($kinds, 'chronos/base/not_taken.h');
for my $header (@common)
{
	open my $in, '<', "include/$header" or die $!;
	push @problems, "include/$header includes something" if grep { /^\s*#\s*include/ } <$in>;
}
for my $file (glob 'src/extension/*.cpp')
{
	open my $in, '<', $file or die "$file: $!";
	while (<$in>)
	{
		push @problems, "$file:$.: the kind of an error is a number here: see $kinds"
		  if /(?:State|Outcome)::\w+, *\d/ && !/(?:Outcome::done|State::(?:done|succeeded)), *0/ || /error_code = [1-9]/;
	}
}

# A file's world is that of its includes, through headers of this folder too.
sub reaches
{
	my ($file, $wanted, %seen) = @_;
	return 0 if $seen{$file}++;
	for my $header (@{ $includes{$file} // [] })
	{
		return 1 if $wanted->($header);
		return 1 if -e "src/$header" && reaches("src/$header", $wanted, %seen);
	}
	return 0;
}
my $is_server = sub { $_[0] eq 'extension/postgres_api.h' };
my $is_cpp = sub {
	my ($name) = @_;
	return $name =~ m{^chronos/|^[a-z_]+$} && $name !~ m{^c(?:stddef|stdint)$} && !grep { $_ eq $name } @common;
};
my ($server_files, $cpp_files) = (0, 0);
for my $file (sort keys %includes)
{
	next if grep { $_ eq $file } @door;
	my ($server, $cpp) = (reaches($file, $is_server), reaches($file, $is_cpp));
	++$server_files if $server;
	++$cpp_files if $cpp;
	push @problems, "$file is on both sides" if $server && $cpp;
}
ok($server_files > 5 && $cpp_files > 1, 'both worlds are there');
is(join("\n", @problems), '', 'no file can both be left by longjmp and own C++ objects');
done_testing();
