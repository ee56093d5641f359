# Names of options are checked by the compiler: a program that asks for one that there is not, or for
# a value of another type, does not compile. Of each line only the compiler's word counts.
use strict;
use warnings;
use File::Temp qw(tempdir);
use Test::More;

my $compiler = $ENV{CXX} // 'c++';
my $directory = tempdir(CLEANUP => 1);

# messages_of(LINES): what the compiler says of them, each a function of its own behind one line; '' if nothing.
sub messages_of
{
	my $file = "$directory/lines.cpp";
	open my $out, '>', $file or die "$file: $!";
	print $out qq{#include "chronos/config/config.h"\n};
	print $out "auto look(const chronos::config::Config& config, unsigned key, char (&)[$_]) { return $_[$_ - 1]; }\n"
	  for 1 .. @_;
	close $out or die $!;
	return scalar qx{$compiler -std=c++20 -Iinclude -fsyntax-only $file 2>&1};
}

is(messages_of('config.get_string("pg1-path") + config.get_string({"repo-path", key})', 'config.get_bool("repo2-bundle")', 'config.has("process-max")'),
	'', 'names that there are compile');

my @wrong = (
	[ 'config.get_string("pg1-pth")', 'no_option_has_this_name', 'a misspelt name' ],
	[ 'config.has("spool-pat")', 'no_option_has_this_name', 'one of which only the beginning is right' ],
	[ 'config.get_string({"repo-pth", key})', 'no_option_has_this_name', 'one of a group' ],
	[ 'config.get_string("process-max")', 'option_is_of_another_type', 'a number that is to be a text' ],
	[ 'config.get_size("io-timeout")', 'option_is_of_another_type', 'a time that is to be a size' ],
	[ 'config.get_bool({"repo-path", key})', 'option_is_of_another_type', 'a path that is to be y or n' ],
	[ 'config.get_string("repo-path")', 'option_of_a_group_needs_an_index', 'no word of which repository' ],
	[ 'config.get_string("repo257-path")', 'option_of_a_group_needs_an_index', 'a repository that there cannot be' ],
	[ 'config.get_string({"lock-path", key})', 'option_has_no_index', 'an index where there is no group' ],
);
# The last line of ours that was named is the one that a word is about.
my ($at, @reasons) = (0);
for my $message (split /\n/, messages_of(map { $_->[0] } @wrong))
{
	$at = $1 - 2 if $message =~ /lines\.cpp:(\d+):\d+:/;
	$reasons[$at]{$1} = 1 if $message =~ /\b(no_option_has_this_name|option_(?:is|of|has)_\w+)\b/;
}
is(join(' ', sort keys %{ $reasons[$_] // {} }), $wrong[$_][1], "$wrong[$_][2] does not compile") for 0 .. $#wrong;
done_testing();
