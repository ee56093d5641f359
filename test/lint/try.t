# CHRONOS_TRY returns out of the middle of an expression. What a braced list has built before it is then
# forgotten by GCC, which destroys members of an aggregate only when an exception leaves them: so a
# CHRONOS_TRY has nothing before it in a braced list, and the value has a name instead.
use strict;
use warnings;
use File::Find;
use Test::More;

# tries_in_lists(TEXT): the lines in which one stands behind a comma of a braced list.
sub tries_in_lists
{
	my ($text) = @_;
	$text =~ s{//[^\n]*}{' ' x length $&}ge;
	$text =~ s{"(?:\\.|[^"\\\n])*"}{'"' . 'x' x (length($&) - 2) . '"'}ge;
	my @lines;
	while ($text =~ /\bCHRONOS_TRY(?:_DOING)?\(/g)
	{
		my $before = substr $text, 0, $-[0];
		my ($depth, $behind_comma) = (0, 0);
		for my $character (reverse $before =~ /[()\[\]{};,]/g)
		{
			if ($character =~ /[)\]}]/) { $depth++ }
			elsif ($depth > 0) { $depth-- if $character =~ /[(\[{]/ }
			elsif ($character eq ',') { $behind_comma = 1 }
			# A call's arguments are destroyed; the list that it stands in has commas of its own.
			elsif ($character =~ /[(\[]/) { $behind_comma = 0 }
			elsif ($character eq '{') { push @lines, 1 + ($before =~ tr/\n//) if $behind_comma; last }
			else { last }
		}
	}
	return @lines;
}

is(join(' ', tries_in_lists("return Pair{\n    CHRONOS_TRY(one()),\n    .second = use(a, CHRONOS_TRY(two({1, 2})))};\n")), '3',
	'the second of a list is seen');
is(join(' ', tries_in_lists("if (const Pair pair{1, two(2)}; pair) {\n    a(b, c);\n    use(d, CHRONOS_TRY(two({1, 2})));\n}\n")), '',
	'an argument of a call is not taken for one');

my @found;
find(
	{
		wanted => sub {
			return if !/\.(?:h|cpp)$/;
			my $file = $_;
			open my $in, '<', $file or die "$file: $!";
			push @found, map { "$file:$_" } tries_in_lists(do { local $/; <$in> });
		},
		no_chdir => 1
	},
	'src', 'include', 'test/unit', 'test/support');
is(join("\n", @found), '', 'no CHRONOS_TRY has something before it in a braced list');
done_testing();
