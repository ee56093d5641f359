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
	io => [qw(base)],
	compress => [qw(io)],
	crypto => [qw(io base)],
	http => [qw(io base)],
	storage => [qw(http crypto io os base)],
	pgdata => [qw(io os base)],
	repo => [qw(storage pgdata compress crypto io os base)],
	fuse => [qw(os base)],
	db => [qw(base)],
	control => [qw(base)],
	config => [qw(os base)],
	ops => [qw(repo db storage pgdata compress crypto io os base)],
	'ops/health' => [qw(control http)],
	'ops/mount' => [qw(fuse)],
	flows => [qw(ops repo db pgdata base)],
	present => [qw(flows ops os base)],
	requests => [qw(present flows config ops repo db storage pgdata base)],
	engine => [qw(requests present config control ops repo db os base)],
	serve => [qw(engine requests present config ops repo storage os base)],
	cli => [qw(serve engine requests present flows config ops repo pgdata os base)],
	extension => [qw(control base)],
);

# A third-party header and the only folders of src that may include it.
my @homes = (
	[ qr{^zstd\.h|^zdict\.h}, qw(compress) ],
	[ qr{^lz4}, qw(compress) ],
	[ qr{^zlib\.h}, qw(compress) ],
	[ qr{^bzlib\.h}, qw(compress) ],
	[ qr{^isa-l}, qw(compress pgdata) ],
	[ qr{^openssl/}, qw(crypto serve) ],
	[ qr{^xxh}, qw(crypto) ],
	[ qr{^curl/}, qw(http) ],
	[ qr{^libxml/}, qw(storage/s3) ],
	[ qr{^fuse3/}, qw(fuse) ],
	[ qr{^libpq-fe\.h|^postgres_ext\.h}, qw(db) ],
	[ qr{^nlohmann/}, qw(present requests cli ops/health ops/drill storage/s3) ],
	[ qr{^httplib\.h}, qw(serve) ],
	[ qr{^postgres\.h|^fmgr\.h|^miscadmin\.h}, qw(extension/postgres_api.h) ],
);

# A call that is not made here, and what is called instead.
my %banned = (
	strcpy => 'std::string', strcat => 'std::string', sprintf => 'snprintf',
	rand => '<random>', strtok => 'split()', system => 'os::run()',
	popen => 'os::run()', atoi => 'parse_uint()', strerror => 'system_error()',
	localtime => 'localtime_r', gmtime => 'gmtime_r',
);

# What src/os alone does: which signals, descriptors and locks a program inherits, who reaps it, and where
# a sync may be left out, is known there. Beside it:
my %of_os = map { $_ => 1 } qw(fork vfork posix_spawn posix_spawnp execv execve execvp execvpe execl execlp
	execle fexecve fsync fdatasync syncfs sync_file_range);
my @exceptions = (
	[ qr{/engine/guard\.cpp$}, 'fork' ],     # one process becomes two, and both go on
	[ qr{/prefetch\.cpp$}, 'fork' ],         # this program goes on with something else, and nobody waits for it
	[ qr{/commands/serve\.cpp$}, 'execv' ],   # this process becomes another program
);
my %used_exceptions;

# docs/architecture.md draws the same arrows, and names every verb.
{
	open my $in, '<', 'docs/architecture.md' or die $!;
	local $/;
	my $page = readline $in;
	my %drawn;
	while ($page =~ /^([\w\/]+) +-> (.*)$/mg)
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

my (@problems, %followed);
for my $file (sort @files)
{
	my ($module) = $file =~ m{^(?:src|include/chronos)/(\w+)/};
	if (!defined $module) { push @problems, "$file lies in no module"; next }
	if (!exists $arrows{$module}) { push @problems, "$file: unknown module $module"; next }
	my ($verb) = $file =~ m{^(?:src|include/chronos)/ops/(\w+)/};
	# What a verb has beside the arrows of all of them.
	my @allowed = (@{ $arrows{$module} }, defined $verb ? @{ $arrows{"ops/$verb"} // [] } : ());
	open my $in, '<', $file or die "$file: $!";
	my $in_namespace = !defined $verb;
	while (my $line = <$in>)
	{
		my $where = "$file:$.";
		if ($line =~ /^\s*#\s*include\s+[<"]chronos\/(\w+)\/([^>"]+)[>"]/)
		{
			my ($to, $header) = ($1, $2);
			$followed{"ops/$verb $to"} = 1 if defined $verb;
			$followed{"$module $to"} = 1;
			push @problems, "$where: $module may not include $to"
			  if $to ne $module && !grep { $_ eq $to } @allowed;
			push @problems, "$where: the service is a program of its own, and no part of another one"
			  if $to eq 'serve' && $module ne 'serve' && $file ne 'src/cli/serve_main.cpp';
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
				  if !grep { $file =~ m{^(?:src|include/chronos)/\Q$_\E(?:/|$)} } @folders;
			}
		}
		# In which form an object is and what opens it is known once.
		push @problems, "$where: $1() is called by src/repo/encoding.cpp alone; use repo::Encoder or repo::Decoder"
		  if $line =~ /\b(make_(?:de)?compressor|make_(?:en|de)cryptor)\b/
		  && $module !~ /^(?:compress|crypto)$/ && $file ne 'src/repo/encoding.cpp';
		$in_namespace ||= $line =~ /^namespace chronos::ops::\Q$verb\E \{/;
		next if $line =~ m{^\s*(?://|\*)};
		$line =~ s{\s//.*}{};
		while ($line =~ /(?<![\w.>:"])(?:std::|::)?(\w+)\s*\(/g)
		{
			my $call = $1;
			if ($of_os{$call} && $module ne 'os' && $module ne 'extension')
			{
				my ($exception) = grep { $file =~ $exceptions[$_][0] && $exceptions[$_][1] eq $call } 0 .. $#exceptions;
				push @problems, "$where: $call() is called in src/os only" if !defined $exception;
				$used_exceptions{$exception} = 1 if defined $exception;
			}
			push @problems, "$where: $call() is not used here; use $banned{$call}"
			  if exists $banned{$call} && $module ne 'extension';
		}
	}
	close $in;
	push @problems, "$file: what a verb has lies in chronos::ops::$verb" if !$in_namespace;
}
is(scalar(keys %used_exceptions), scalar(@exceptions), 'there is no exception that nobody needs');
my @idle;
for my $from (sort keys %arrows) { push @idle, map { "$from -> $_" } grep { !$followed{"$from $_"} } @{ $arrows{$from} } }
is(join("\n", @idle), '', 'no arrow is drawn that nothing follows');
is(join("\n", @problems), '', 'every include follows an arrow, every library ends in its folder');

# A private header nobody includes is dead weight.
my %included;
for my $file (@files,
	glob('test/unit/*/*.cpp test/unit/*/*/*.cpp test/support/* test/fuzz/*/*.cpp test/fuzz/*/*/*.cpp bench/micro/*.cpp'))
{
	open my $in, '<', $file or next;
	while (<$in>) { $included{$1} = 1 if /#\s*include\s+[<"](?:[^>"]*\/)?([^\/>"]+)[>"]/ }
}
my @dead = grep { /\/([^\/]+\.h)$/ && !$included{$1} } @files;
is(join("\n", @dead), '', 'every header is included by somebody');

done_testing();
