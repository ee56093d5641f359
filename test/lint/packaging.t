# What is said twice, because Debian's tools want to read it in their own form, is the same in both places;
# and no document takes the version of somebody's server for the reader's.
use strict;
use warnings;
use Test::More;

sub slurp
{
	my ($path) = @_;
	open my $file, '<', $path or die "$path: $!";
	local $/;
	return scalar readline $file;
}

my ($version) = slurp('chronos_backup.control') =~ /^default_version = '(.*)'/m;
is((slurp('CMakeLists.txt') =~ /^project\(chronos_backup VERSION (\S+) /m)[0], $version, 'the engine has the version of the extension');
is((slurp('contrib/debian/changelog') =~ /^chronos-backup \((\S+)-\d+\)/)[0], $version, 'and so have the packages');

# What scripts/lib.sh installs to build from source, the packages depend on to be built.
my ($installed) = slurp('scripts/lib.sh') =~ /^engine_packages="([^"]*)"/m;
my %without = map { $_ => 1 } qw(g++ make git);    # essential for building, or for people
my ($control) = slurp('contrib/debian/control.in') =~ /^Build-Depends:\n((?: .*\n)+)/m;
my %depends = map { $_ => 1 } $control =~ /^ ([\w.+-]+)/mg;
is(join(' ', grep { !$depends{$_} && !$without{$_} } split ' ', $installed), '', 'the packages are built with all that is needed');

my @missing;
for my $list (grep { /\.(?:install|manpages|docs|examples)$/ } glob 'contrib/debian/chronos-backup.*')
{
	for (split /\n/, slurp($list))
	{
		my ($source) = split;
		push @missing, "$list: $source" if !-e (glob $source)[0];
	}
}
is(join("\n", @missing), '', 'what the packages take from the tree is there');

my @versions;
for my $document ('README.md', 'scripts/demo.sh', glob('docs/*.md docs/man/* contrib/*/*'))
{
	next if !-f $document || $document =~ /\.json$/;
	my $number = 0;
	for (split /\n/, slurp($document))
	{
		++$number;
		push @versions, "$document:$number: $_" if m{/postgresql/\d|pg_\w+cluster \d};
	}
}
is(join("\n", @versions), '', 'no document says which version your server has');
done_testing();
