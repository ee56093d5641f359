# Who makes a backup does not matter for the next one: in another time zone, or in the hour that a night
# has twice, a label is still later than the one before, and the times of backups are true. And a stanza
# has one name, for the command, the configuration and the server: whatever pgBackRest takes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use ChronosTest;
use File::Temp qw(tempdir);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $stanza = qq{a b\@\xc3\xa4'\$(x)"`y`-#1};
my $node = chronos_node('labels', start => 0);
my ($conf, $repo) = ($node->{chronos_conf}, $node->{chronos_repo});
my $text = slurp_file($conf);
$text =~ s/^\[main\]/[$stanza]/m;
open my $out, '>', $conf or die $!;
print $out $text;
close $out;
(my $quoted = $stanza) =~ s/'/''/g;
$node->append_conf('postgresql.conf', "chronos.stanza = '$quoted'\nchronos.timezone = 'Asia/Tokyo'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION chronos_backup');

sub tool { my ($program, @rest) = @_; return run_tool($program, "--config=$conf", "--stanza=$stanza", @rest); }

my ($last, $number) = ('', 0);
sub is_later
{
	my ($label, $what) = @_;
	ok($label gt $last, "$what is later: $label");
	$last = $label;
	return ++$number;
}
my $begin = time;
is_later($node->safe_psql('postgres', q{SELECT chronos.backup_now('full')}), 'the label of a server in Tokyo');
for my $step ([ 'UTC', 'full' ], [ 'UTC', 'incr' ], [ 'America/Los_Angeles', 'full' ], [ 'Pacific/Kiritimati', 'diff' ])
{
	my ($zone, $type) = @$step;
	local $ENV{TZ} = $zone;
	my ($status, $stdout, $stderr) = tool($chronos, "--type=$type", 'backup');
	is($status, 0, "a $type in $zone") or diag("$stdout$stderr");
	is_later("$stdout$stderr" =~ /new backup label = (\S+)/ ? $1 : '', 'its label');
}
is_later($node->safe_psql('postgres', q{SELECT chronos.backup_now('full')}), 'the next one in Tokyo');
my $end = time;
is($node->safe_psql('postgres', 'SELECT chronos.wait(chronos.start_backup($$incr$$))'), 'succeeded', 'and what depends on it');

my @infos;
for my $tool ($chronos, 'pgbackrest')
{
	my ($status, $json, $stderr) = tool($tool, '--output=json', 'info');
	is($status, 0, 'all of them are listed') or diag($stderr);
	push @infos, decode_json($json)->[0]{backup};
	is(scalar @{ $infos[-1] }, 7, "there are seven");
}
my @labels = map { $_->{label} } @{ $infos[0] };
is_deeply([ map { $_->{label} } @{ $infos[1] } ], \@labels, 'both tools see them in the same order');
my @wrong = grep { $_->{timestamp}{start} < $begin - 5 || $_->{timestamp}{stop} > time + 5 } @{ $infos[0] };
is(scalar @wrong, 0, 'their times are true');
my @starts = map { $_->{timestamp}{start} } @{ $infos[0] };
is("@starts", join(' ', sort { $a <=> $b } @starts), 'and sort as they do');

for my $tool ($chronos, 'pgbackrest')
{
	my ($status, $stdout, $stderr) = tool($tool, 'verify');
	is($status, 0, 'a name with everything in it is no obstacle to verify') or diag("$stdout$stderr");
}
my $to = tempdir(CLEANUP => 1);
my ($status, $stdout, $stderr) = tool($chronos, "--pg1-path=$to", 'restore');
is($status, 0, 'nor to restore') or diag("$stdout$stderr");
my $copy = restored_node('copy', $to, bare => 1);
pass('nor to recovery, whose command has it');
$copy->stop;

my @cases = ([ '', 0 ], [ '.', 0 ], [ '..', 0 ], [ 'a/b', 0 ], [ 'global', 0 ], [ "a\tb", 0 ], [ "\xff", 0 ], [ 'x' x 201, 0 ],
	[ 'a@b', 1 ], [ 'a b', 1 ], [ "\xc3\xa4", 1 ], [ '-x', 1 ], [ '.a', 1 ], [ 'a:b', 1 ], [ 'x' x 200, 1 ]);
for my $case (@cases)
{
	my ($name, $good) = @$case;
	(my $shown = substr $name, 0, 20) =~ s/[^ -~]/?/g;
	my ($code, $o, $e) = run_tool($chronos, "--config=$conf", "--stanza=$name", 'info');
	is($code == 32 ? 0 : 1, $good, "'$shown' for the command") or diag("$o$e");
	(my $value = $name) =~ s/'/''/g;
	my ($ret, $so, $se) = $node->psql('postgres', "ALTER SYSTEM SET chronos.stanza = '$value'", extra_params => []);
	is($ret == 0 ? 1 : 0, $good, "'$shown' for the server") if $name ne "\xff" && $name ne "a\tb" || !$good;
}
$node->stop;
done_testing();
