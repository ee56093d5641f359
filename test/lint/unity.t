# A library can be compiled at once (CHRONOS_UNITY), which is a third of the work: so a name that one file
# keeps to itself is no other file's of the same library or test program. Two that mean the same are one
# thing to be said once; two that do not want better names.
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Find;
use Test::More;

# library_of(FILE): what is compiled together, as CMakeLists.txt has it.
sub library_of
{
	my ($file) = @_;
	return undef if $file =~ m{main\.cpp$} || $file =~ m{^src/extension/};
	return $1 if $file =~ m{^(src/ops/\w+)/};
	return $1 if $file =~ m{^(src/\w+)/};
	return dirname($file);
}

my %files;
find({ wanted => sub { push @{ $files{ library_of($_) // '' } }, $_ if /\.cpp$/ }, no_chdir => 1 }, 'src', 'test/unit', 'test/support');
delete $files{''};
ok(keys %files > 20, 'there are libraries to look at');

# private_names(FILE): name => where and what of types, constants and functions, with what tells overloads
# apart, at the outermost level of unnamed namespaces. The formatting that the tree has makes that easy.
sub private_names
{
	my ($file) = @_;
	my (%found, $inside);
	open my $in, '<', $file or die "$file: $!";
	while (<$in>)
	{
		# The same alias for the same thing is no other one.
		if (/^using ([\w:]+::)?(\w+);/) { $found{"$2 = $1$2"} = ''; next }
		$inside = 1 if /^namespace \{/;
		$inside = 0 if m{^\}  // namespace$};
		next if !$inside || !/^\w/;
		if (/^using (\w+ =.*);/) { $found{$1} = '' }
		elsif (/^(?:struct|class|enum class|union) (\w+)/) { $found{$1} = "$file:$." }
		elsif (/^[\w:<>,&*\s\[\]]*?[\s*&](\w+)(?:\[\w*\])?(?: =|\{|;)/ && !/^using|^namespace|^template|^return/) { $found{$1} = "$file:$." }
		elsif (/^[\w:<>,&*\s]*?[\s*&](\w+)\(/ && !/^TEST|^INSTANTIATE/)
		{
			my ($name, $head) = ($1, $_);
			$head .= readline $in while $head !~ /[{;]\s*$/ && !eof $in;
			my ($parameters) = $head =~ /\Q$name\E\((.*)\)[^()]*[{;]/s;
			my $types = join ',', map { s/\s*=.*//sr =~ s/^\s+//r =~ s/\s*\b\w+$//r } split /,(?![^<>]*>)/, ($parameters // '') =~ s/\s+/ /gr;
			$found{"$name($types)"} = "$file:$.";
		}
	}
	return %found;
}

my @twice;
for my $library (sort keys %files)
{
	my %seen;
	for my $file (sort @{ $files{$library} })
	{
		my %names = private_names($file);
		for my $name (sort keys %names)
		{
			my $alone = $name =~ s/ =.*//r;
			push @twice, "$alone: $seen{$alone}[0] and $file" if $seen{$alone} && $seen{$alone}[1] ne $name;
			push @twice, "$alone: $seen{$alone}[0] and $names{$name}" if $seen{$alone} && $seen{$alone}[1] eq $name && $names{$name};
			$seen{$alone} //= [ $names{$name} || $file, $name ];
		}
	}
}
is(join("\n", @twice), '', 'no two files of a library have the same private name');
done_testing();
