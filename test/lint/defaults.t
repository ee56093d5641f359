# A number has one default: an option's is in its row of the option table, and the struct that it becomes begins
# without a value, or with 0 where that is "nothing". What is declared Given<> is given by somebody.
use strict;
use warnings;
use File::Find qw(find);
use Test::More;

my %text_of;
find({ no_chdir => 1, wanted => sub { $text_of{$_} = slurp($_) if /\.(?:h|cpp)\z/ } }, 'src', 'include');

sub slurp
{
	my ($file) = @_;
	open my $in, '<', $file or die "$file: $!";
	local $/;
	return <$in>;
}

# Members that options go into: ".timeout = config.get_time(...)", with a cast around it or without.
my (%number, %text);
for my $content (map { $text_of{$_} } grep { m{\Asrc/(?!config/)} } sort keys %text_of)
{
	$number{$1} = $2 while $content =~ /\.(\w+)\s*=\s*(?:[\w:]+<[\w:]+>\(\s*)?(?:config\.get_(?:int|size|time)\(|seconds_of\(config,|number_of\(config,)\s*\{?"([\w-]+)"/g;
	$text{$1} = $2 while $content =~ /\.(\w+)\s*=\s*(?:config\.get_string|text)\(\{?"([\w-]+)"/g;
}
cmp_ok(keys(%number) + keys(%text), '>', 60, 'members that options go into are found');

my (@twice, @never);
for my $file (grep { m{\Ainclude/chronos/(?:ops|flows|storage|db|http)/} } sort keys %text_of)
{
	my $content = $text_of{$file} =~ s{//[^\n]*}{}gr;
	while ($content =~ /^[ \t]+([\w:<>]+)\s+(\w+)\s*(?:=\s*([^;]+)|\{([^;}]*)\});/mg)
	{
		my ($type, $member, $default) = ($1, $2, $3 // $4);
		next if $default =~ /\A(?:|0|""|\{\}|nullptr|false|true|std::nullopt|[\w:]+::\w+)\z/;
		my $option = ($type =~ /string/ ? \%text : \%number)->{$member};
		push @twice, "$file: $member = $default, and option $option" if $option;
	}
	while ($content =~ /\bGiven<[\w:]+>\s+(\w+);/g)
	{
		my $member = $1;
		push @never, "$file: $member" unless grep { /\.$member\s*=/ } map { $text_of{$_} } grep { m{\Asrc/} } keys %text_of;
	}
}
is(join("\n", @twice), '', 'no default of an option stands a second time');
is(join("\n", @never), '', 'what must be given is given');
done_testing();
