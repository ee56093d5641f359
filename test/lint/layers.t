# Who may include whom: the arrows of docs/architecture.md, as a test. A module includes its own
# private headers, the public headers (include/chronos/<module>/) of modules it has an arrow to, and
# each third-party library ends in one folder.
use strict;
use warnings;
use File::Find;
use Test::More;

my %arrows = (
	base => [],
	os => [qw(base)],
	io => [qw(os base)],
	compress => [qw(io base)],
	crypto => [qw(io base)],
	http => [qw(io base)],
	storage => [qw(http crypto io os base)],
	pgdata => [qw(io os base)],
	repo => [qw(storage pgdata compress crypto io os base)],
	db => [qw(base)],
	control => [qw(base)],
	config => [qw(os base)],
	ops => [qw(repo db storage pgdata compress crypto io os base)],
	cli => [qw(config control ops repo db storage pgdata compress crypto http io os base)],
	extension => [qw(control base)],
);

# A third-party header and the only folders of src that may include it.
my @homes = (
	[ qr{^zstd\.h|^zdict\.h}, qw(compress) ],
	[ qr{^lz4}, qw(compress) ],
	[ qr{^zlib\.h}, qw(compress) ],
	[ qr{^bzlib\.h}, qw(compress) ],
	[ qr{^isa-l}, qw(compress pgdata) ],
	[ qr{^openssl/}, qw(crypto cli/serve) ],
	[ qr{^xxh}, qw(crypto) ],
	[ qr{^curl/}, qw(http) ],
	[ qr{^libxml/}, qw(storage/s3) ],
	[ qr{^libpq-fe\.h|^postgres_ext\.h}, qw(db) ],
	[ qr{^nlohmann/}, qw(cli storage/s3) ],
	[ qr{^httplib\.h}, qw(cli/serve) ],
	[ qr{^postgres\.h|^fmgr\.h|^miscadmin\.h}, qw(extension/postgres_api.h) ],
);

# A call that is not made here, and what is called instead.
my %banned = (
	strcpy => 'std::string', strcat => 'std::string', sprintf => 'snprintf',
	rand => '<random>', strtok => 'split()', system => 'fork and exec',
	popen => 'fork and exec', atoi => 'parse_uint()', strerror => 'system_error()',
	localtime => 'localtime_r', gmtime => 'gmtime_r',
);

# docs/architecture.md draws the same arrows, and names every verb.
{
	open my $in, '<', 'docs/architecture.md' or die $!;
	local $/;
	my $page = readline $in;
	my %drawn;
	while ($page =~ /^(\w+) +-> (.*)$/mg)
	{
		my ($from, $to) = ($1, $2);
		$drawn{$from} = $to =~ /standard library/ ? '' : join ' ', sort split /, /, $to;
	}
	is_deeply(\%drawn, { map { $_ => join ' ', sort @{ $arrows{$_} } } keys %arrows }, 'the arrows are those of docs/architecture.md');
	my ($verbs) = $page =~ /^\| `ops\/<verb>` \| ([^|]*?) \|/m;
	is($verbs, join(', ', sort map { s{.*/}{}r } grep { -d } glob 'src/ops/*'), 'and so are the verbs');
}

my @files;
find({ wanted => sub { push @files, $File::Find::name if /\.(?:h|hpp|cpp)$/ }, no_chdir => 1 },
	'src', 'include');
ok(@files > 20, 'there are sources to look at');

my @problems;
for my $file (sort @files)
{
	my ($module) = $file =~ m{^(?:src|include/chronos)/(\w+)/};
	if (!defined $module) { push @problems, "$file lies in no module"; next }
	if (!exists $arrows{$module}) { push @problems, "$file: unknown module $module"; next }
	my ($verb) = $file =~ m{^(?:src|include/chronos)/ops/(\w+)/};
	open my $in, '<', $file or die "$file: $!";
	my $in_namespace = !defined $verb;
	while (my $line = <$in>)
	{
		my $where = "$file:$.";
		if ($line =~ /^\s*#\s*include\s+[<"]chronos\/(\w+)\/([^>"]+)[>"]/)
		{
			my ($to, $header) = ($1, $2);
			push @problems, "$where: $module may not include $to"
			  if $to ne $module && !grep { $_ eq $to } @{ $arrows{$module} };
			push @problems, "$where: what pgBackRest reads does not know our own files beside it: $header"
			  if $to eq 'repo' && $header =~ m{^side/} && $file =~ m{/repo/[^/]+$};
			push @problems, "$where: verb $verb includes another verb's $header"
			  if $to eq 'ops' && defined $verb && $header !~ m{^\Q$verb\E/};
		}
		elsif ($line =~ /^\s*#\s*include\s+"([^"]+)"/)
		{
			my $header = $1;
			push @problems, "$where: \"$header\" is a private header of another module"
			  if $header =~ m{^(\w+)/} && -e "src/$header" && $1 ne $module;
			push @problems, "$where: \"$header\" is a private header of another verb"
			  if $header =~ m{^ops/(\w+)/} && defined $verb && $1 ne $verb;
			# One name for a header, whoever includes it: from the top of src. The server's own are in quotes too.
			push @problems, "$where: \"$header\" is to be named from the top of src"
			  if $module ne 'extension' && $header !~ m{^chronos/} && !-e "src/$header";
		}
		elsif ($line =~ /^\s*#\s*include\s+<([^>]+)>/)
		{
			my $header = $1;
			for my $home (@homes)
			{
				my ($pattern, @folders) = @$home;
				next if $header !~ $pattern;
				push @problems, "$where: <$header> belongs to src/$folders[0] alone"
				  if !grep { $file =~ m{^src/\Q$_\E(?:/|$)} } @folders;
			}
		}
		$in_namespace ||= $line =~ /^namespace chronos::ops::\Q$verb\E \{/;
		next if $line =~ m{^\s*(?://|\*)};
		while ($line =~ /(?<![\w.>:"])(?:std::|::)?(\w+)\s*\(/g)
		{
			push @problems, "$where: $1() is not used here; use $banned{$1}"
			  if exists $banned{$1} && $module ne 'extension';
		}
	}
	close $in;
	push @problems, "$file: what a verb has lies in chronos::ops::$verb" if !$in_namespace;
}
is(join("\n", @problems), '', 'every include follows an arrow, every library ends in its folder');

# A private header nobody includes is dead weight.
my %included;
for my $file (@files,
	glob('test/unit/*/*.cpp test/unit/*/*/*.cpp test/support/* test/fuzz/*.cpp bench/micro/*.cpp'))
{
	open my $in, '<', $file or next;
	while (<$in>) { $included{$1} = 1 if /#\s*include\s+[<"](?:[^>"]*\/)?([^\/>"]+)[>"]/ }
}
my @dead = grep { /\/([^\/]+\.h)$/ && !$included{$1} } @files;
is(join("\n", @dead), '', 'every header is included by somebody');

done_testing();
