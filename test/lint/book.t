# The book in docs/ is what headers and sources lean on: a citation names a page and a heading that are there
# ("docs/format/manifest.md, Files"), a link leads somewhere, and what a page shows of a fixture is read from the
# fixture again.
use strict;
use warnings;
use Cwd qw(getcwd);
use File::Find;
use File::Temp qw(tempdir);
use Test::More;

sub slurp
{
	my ($path) = @_;
	open my $file, '<', $path or die "$path: $!";
	local $/;
	return scalar readline $file;
}

# page => [headings], without the code in it.
my (%headings, %text);
find({ wanted => sub { $text{s{^\./}{}r} = slurp($_) if /\.md$/ && -f }, no_chdir => 1 },
	grep { -e } qw(docs src test scripts contrib bench README.md CHANGELOG.md));
for my $page (keys %text)
{
	my $prose = $text{$page} =~ s/^```.*?^```$//gmsr;
	$headings{$page} = [ $prose =~ /^#{1,4} +(.+?) *$/mg ];
}
ok(keys %text > 20, 'there are pages to look at');

# --- Citations: a page alone, or a page, a comma and a heading; of pages outside of the book only what begins like
# one is taken for a heading. It may run over the end of a line of a comment.
my @sources;
find({ wanted => sub { push @sources, $_ if -f && /\.(?:h|hpp|cpp|c|t|pl|pm|py|sh|sql|txt|md)$|Makefile$|\.in$/ }, no_chdir => 1 },
	qw(src include test sql scripts bench CMakeLists.txt Makefile));
my (@problems, $citations);
for my $source (sort @sources)
{
	next if $source =~ m{^test/fixtures/} || $source eq 'test/lint/book.t';
	my $content = slurp($source);
	my $prose = $content =~ s{\n[ \t]*(?:///?<?|#|--|\*)?[ \t]*}{ }gr;
	while ($prose =~ m{\b(docs/[\w/.-]*?\w+\.md)(, )?}g)
	{
		my ($page, $comma, $rest) = ($1, $2, substr $prose, pos $prose, 120);
		++$citations;
		if (!exists $headings{$page}) { push @problems, "$source: there is no page $page"; next }
		next if !defined $comma;
		my $found = grep { $rest =~ /^\Q$_\E(?![\w-])/ } @{ $headings{$page} };
		push @problems, "$source: $page has no heading '" . substr($rest, 0, 50) . "...'"
		  if !$found && ($page =~ m{^docs/(?:format|design)/} || $rest =~ /^[A-Z0-9]/);
	}
	# What was cited before the book was here, by numbers that are nowhere.
	push @problems, "$source: cites '$1', which is no page of docs/"
	  while $prose =~ /((?:repository-format|block-and-crypto|postgres-integration)\b[^.;]{0,40}|reference,? \(?sections? \d|\bsections? \d+\.\d|\x{a7})/g;
}
ok($citations > 50, "$citations citations were looked at");
is(join("\n", @problems), '', 'every citation names a page and a heading that are there');

# --- Links between pages. An anchor is the heading in lower case, blanks as dashes, without punctuation.
sub anchor { return lc($_[0]) =~ s/[^\w\- ]//gr =~ tr/ /-/r }
my @broken;
for my $page (sort keys %text)
{
	my $prose = $text{$page} =~ s/^```.*?^```$//gmsr =~ s/`[^`\n]*`//gr;
	while ($prose =~ /\]\(([^)\s]+)\)/g)
	{
		my ($target, $anchor) = $1 =~ /^([^#]*)(?:#(.*))?$/;
		next if $target =~ /^\w+:/;
		my $path = $target eq '' ? $page : $target;
		$path = ($page =~ m{^(.*/)} ? $1 : '') . $target if $target ne '';
		1 while $path =~ s{(?:^|(?<=/))(?!\.\./)[^/]+/\.\./}{};
		if (!-e $path) { push @broken, "$page: $path is not there"; next }
		push @broken, "$page: $path has no heading #$anchor"
		  if defined $anchor && !grep { anchor($_) eq $anchor } @{ $headings{$path} // [] };
	}
}
is(join("\n", @broken), '', 'every link leads to a page and a heading');

# --- The index lists every page.
my @unlisted;
for my $page (grep { m{^docs/} } sort keys %text)
{
	my ($folder) = $page =~ m{^docs/(?:(\w+)/)?};
	my $index = defined $folder && $page ne "docs/$folder/README.md" ? "docs/$folder/README.md" : 'README.md';
	my $name = $index eq 'README.md' ? $page : $page =~ s{.*/}{}r;
	push @unlisted, "$index does not list $page" if ($text{$index} // '') !~ /\]\(\Q$name\E\)/;
}
for my $folder (grep { -d } glob 'src/* src/*/* src/*/*/*')
{
	push @unlisted, "$folder has no README.md" if !-e "$folder/README.md";
}
is(join("\n", @unlisted), '', 'every page is in an index, every folder of sources has a page');

# --- Numbers of TAP files, by which they are called, are given once.
my %numbers;
for my $file (glob 'test/tap/*.pl') { push @{ $numbers{$1} }, $file if $file =~ m{/(\d+)_} }
is(join("\n", map { "@{ $numbers{$_} }" } grep { @{ $numbers{$_} } > 1 } sort keys %numbers), '',
	'no two TAP files have one number');

# --- What the workshop builds and runs by name is there: CMake makes unit_<module> of each folder of tests, and a
# fuzzer of each fuzz_<name>.cpp.
my %target;
find({ wanted => sub {
			$target{ 'unit_' . ($1 =~ tr{/}{_}r) } = 1 if m{^test/unit/(.+)/\w+_test\.cpp$};
			$target{$1} = 1 if m{/(fuzz_\w+)\.cpp$};
		}, no_chdir => 1 }, 'test/unit', 'test/fuzz');
my @absent;
for my $file ('scripts/layers.sh', 'scripts/check.sh', 'docs/development.md', 'README.md')
{
	for my $name (slurp($file) =~ /\b((?:unit|fuzz)_[a-z]\w*)\b/g)
	{
		push @absent, "$file: $name" if !$target{$name} && $name !~ /^(?:unit_part|fuzz_name)$/;
	}
}
ok(keys %target > 40, 'there are unit tests and fuzzers');
is(join("\n", @absent), '', 'every unit test and fuzzer that the workshop names is there');

# --- Examples: what follows "$ " in a block ```console is run by bash, all of a page in one session, where the
# fixtures are unpacked and TREE is the top of the tree. A line "..." stands for any lines.
my $top = getcwd();
my $fixtures = tempdir(CLEANUP => 1);
for my $archive (glob 'test/fixtures/*.tar.zst')
{
	my ($name) = $archive =~ m{([^/]+)\.tar\.zst$};
	next if !grep { /^\$ .*\b\Q$name\E\b/m } values %text;
	mkdir "$fixtures/$name" or die $!;
	system('tar', '--zstd', '-xf', $archive, '-C', "$fixtures/$name", '--no-same-owner') == 0 or die "unpack $archive";
}

sub examples_of
{
	my ($page) = @_;
	my (@examples, $inside);
	my $number = 0;
	for my $line (split /\n/, $text{$page})
	{
		++$number;
		if (!$inside) { $inside = $line eq '```console'; next }
		if ($line eq '```') { $inside = 0; next }
		if ($line =~ /^\$ (.*)/) { push @examples, { line => $number, command => $1, shows => [] } }
		elsif ($line =~ /^> (.*)/ && !@{ $examples[-1]{shows} }) { $examples[-1]{command} .= "\n$1" }
		else { push @{ $examples[-1]{shows} }, $line }
	}
	return @examples;
}

my $run = 0;
for my $page (sort keys %text)
{
	my @examples = examples_of($page) or next;
	my $directory = tempdir(CLEANUP => 1);
	open my $script, '>', "$directory/script" or die $!;
	print $script "exec 2>&1\nset -o pipefail\ncd '$fixtures'\n", map({ "$_->{command}\nprintf '\\001\\n'\n" } @examples);
	close $script;
	local @ENV{qw(LC_ALL TZ TREE)} = ('C', 'UTC', $top);
	my @printed = split /\x01\n/, scalar(`bash '$directory/script' </dev/null`), -1;
	my @wrong;
	for my $example (@examples)
	{
		my $printed = shift @printed // '';
		my $shown = join "\n", map { $_ eq '...' ? '(?s:.*?)' : quotemeta } @{ $example->{shows} };
		++$run;
		push @wrong, "$page:$example->{line}: \$ $example->{command}\n$printed" if $printed !~ /\A$shown\n*\z/;
	}
	is(join("\n", @wrong), '', "$page shows what the fixtures hold");
}
ok($run > 10, "$run examples were run");

done_testing();
