# The code is formatted by .clang-format.
use strict;
use warnings;
use File::Find;
use Test::More;

my ($tool) = grep { -x } map { ("$_/clang-format", "$_/clang-format-14") } split /:/, $ENV{PATH};
BAIL_OUT('clang-format is not installed') if !defined $tool;
my @files;
find({ wanted => sub { push @files, $_ if /\.(?:h|cpp)$/ }, no_chdir => 1 },
	grep { -d } qw(src include test bench));
ok(@files > 20, 'there are sources to look at');

my %unformatted;
while (my @some = splice @files, 0, 100)
{
	for (`$tool --dry-run @some 2>&1`)
	{
		$unformatted{$1} = 1 if /^(\S+?):\d+:\d+: warning: code should be clang-formatted/;
	}
}
is(join("\n", sort keys %unformatted), '', 'every source is formatted');
done_testing();
