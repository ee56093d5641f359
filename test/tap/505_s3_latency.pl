# A bucket 50 ms away: a backup and a restore of thousands of small files take little longer than
# beside it, and are far from one request after another.
# Enough with one version of PostgreSQL: its subject is the bucket
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

# Others are at work on the machine, now more and now less of them: what counts is the quickest of some rounds.
sub quickest
{
	my ($so_far, $round) = @_;
	for my $verb (keys %$round)
	{
		$so_far->{$verb} = $round->{$verb} if !defined $so_far->{$verb} || $round->{$verb} < $so_far->{$verb};
	}
	return;
}

for my $form ([ 'each file an object', 'repo1-bundle' => 'n' ], [ 'bundled', 'repo1-bundle' => 'y' ])
{
	my ($title, @options) = @$form;
	my $name = $title =~ s/ /-/gr;
	# What must happen one after the other: connecting, info files, manifests, locks of the format.
	my $steps = 60 * $rtt;
	my ($near, $far, %limit) = ({}, {});
	for my $round (1 .. 4)
	{
		$link->command('rtt 0');
		quickest($near, round_of("near-$name-$round", @options));
		$link->command('rtt ' . $rtt * 1000);
		quickest($far, round_of("far-$name-$round", @options));
		diag(sprintf '%s: %s', $title, join ', ',
			map { sprintf '%s %.1f s near, %.1f s far', $_, $near->{$_}, $far->{$_} } sort keys %$near);
		%limit = (incr => $near->{incr} + $steps + 2, info => 20 * $rtt,
			map { $_ => (sort { $a <=> $b } 1.3 * $near->{$_} + $steps + 2, $files * $rtt / 4)[0] } qw(full restore));
		last if !grep { $far->{$_} >= $limit{$_} } keys %limit;
	}
	cmp_ok($far->{$_}, '<', $limit{$_}, "$title: $_ is not held up by distance") for sort keys %limit;
}
$node->stop;
$_->stop for $link, $server;
done_testing();
