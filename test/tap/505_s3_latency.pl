# A bucket 50 ms away: a backup and a restore of thousands of small files take little longer than
# beside it, and are far from one request after another.
use strict;
use warnings;
use ChronosTest;
use PostgreSQL::Test::Utils;
use S3Server;
use Test::More;
use Time::HiRes qw(time);

my $files = 4000;
my $rtt = 0.05;
my $server = S3Server->new(buckets => ['far']);
my $link = $server->slow_link(rtt => 0);
my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "archive_mode = on\narchive_command = 'true'\n");
mkdir $node->data_dir . '/small' or die $!;
for my $number (1 .. $files)
{
	open my $out, '>', $node->data_dir . sprintf('/small/%05d', $number) or die $!;
	print $out "$number " x (100 + $number % 700);
}
$node->start;

my $base = PostgreSQL::Test::Utils::tempdir();
sub config
{
	my ($name, %options) = @_;
	return write_config("$base/$name.conf", pg => $node->data_dir, port => $node->port, socket => $node->host,
		$server->options('far', port => $link->{port}), 'repo1-path' => "/$name", 'process-max' => 2,
		'compress-type' => 'lz4', %options);
}

# The seconds that a command takes.
sub seconds
{
	my ($conf, @command) = @_;
	my $begin = time;
	my ($status, $out, $err) = chronos($conf, @command);
	is($status, 0, "@command") or diag($out . $err);
	return time - $begin;
}

sub round_of
{
	my ($name, %options) = @_;
	my $conf = config($name, %options);
	is((chronos($conf, 'stanza-create'))[0], 0, "$name: stanza");
	my $restored = PostgreSQL::Test::Utils::tempdir();
	chmod 0700, $restored;
	my %took = (full => seconds($conf, '--type=full', '--no-archive-check', 'backup'),
		restore => seconds($conf, "--pg1-path=$restored", '--type=none', 'restore'),
		incr => seconds($conf, '--type=incr', '--no-archive-check', 'backup'),
		info => seconds($conf, 'info'));
	my @there = glob "$restored/small/*";
	is(scalar @there, $files, "$name: every file is there again");
	return \%took;
}

for my $form ([ 'each file an object', 'repo1-bundle' => 'n' ], [ 'bundled', 'repo1-bundle' => 'y' ])
{
	my ($title, @options) = @$form;
	my $name = $title =~ s/ /-/gr;
	$link->command('rtt 0');
	my $near = round_of("near-$name", @options);
	$link->command('rtt ' . $rtt * 1000);
	my $far = round_of("far-$name", @options);
	diag(sprintf '%s: %s', $title, join ', ',
		map { sprintf '%s %.1f s near, %.1f s far', $_, $near->{$_}, $far->{$_} } sort keys %$near);
	# What must happen one after the other: connecting, info files, manifests, locks of the format.
	my $steps = 60 * $rtt;
	for my $verb (qw(full restore))
	{
		cmp_ok($far->{$verb}, '<', 1.3 * $near->{$verb} + $steps + 2, "$title: $verb is not held up by distance");
		cmp_ok($far->{$verb}, '<', $files * $rtt / 4, "$title: $verb has many requests under way");
	}
	cmp_ok($far->{incr}, '<', $near->{incr} + $steps + 2, "$title: incr with nothing changed");
	cmp_ok($far->{info}, '<', 20 * $rtt, "$title: info");
}
$node->stop;
$_->stop for $link, $server;
done_testing();
