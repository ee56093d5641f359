# The code is formatted by .clang-format, as version 14 reads it: each version breaks some lines in another
# way. Elsewhere it is not judged.
use strict;
use warnings;
use File::Find;
use Test::More;

my ($tool) = grep { -x } map { ("$_/clang-format-14", "$_/clang-format") } split /:/, $ENV{PATH};
BAIL_OUT('clang-format is not installed') if !defined $tool;
my ($version) = `$tool --version` =~ /version (\d+)/;
my @files;
find({ wanted => sub { push @files, $_ if /\.(?:h|cpp)$/ }, no_chdir => 1 },
	grep { -d } qw(src include test bench));
ok(@files > 20, 'there are sources to look at');

if ($version != 14)
{
	print STDERR "not run: the format of the sources needs clang-format 14, and this is $version\n";
	@files = ();
}
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
