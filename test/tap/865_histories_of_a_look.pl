# A server of the past, which nobody keeps, asks the archive for no history of a timeline that it has not: each would be a
# process and a connection. Where one is there, it is asked for.
use strict;
use warnings;
use lib 'test/tap/lib';
use ChronosTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = chronos_node('primary', options => { 'drill-path' => PostgreSQL::Test::Utils::tempdir_short(), 'repo1-bundle' => 'y' });
my $conf = $node->{chronos_conf};
$node->safe_psql('postgres', 'CREATE TABLE t AS SELECT 1 AS id');
is((chronos($conf, '--type=full', 'backup'))[0], 0, 'backup');
$node->safe_psql('postgres', q{INSERT INTO t VALUES (2); SELECT pg_create_restore_point('here')});
wait_archived($node);

# Every file that a server asks for, by its command.
my $asked = PostgreSQL::Test::Utils::tempdir() . '/asked';
my $command = "$asked.sh";
open my $script, '>', $command or die $!;
print $script qq{#!/bin/sh\nfor word; do case \$word in *.history|0000*) echo "\$word" >> '$asked';; esac; done\nexec '$chronos' "\$@"\n};
close $script;
chmod 0755, $command;
sub asked_for
{
	my @lines = -e $asked ? split /\n/, slurp_file($asked) : ();
	unlink $asked;
	return join ' ', grep { /history/ } @lines;
}
sub recover
{
	my ($schema, @arguments) = @_;
	my ($status, $out, $err) = chronos($conf, "--cmd=$command", "--into=$schema", '--no-mount', @arguments, 'recover-table', 'postgres.public.t');
	is($status, 0, "recovered: @arguments") or diag($out . $err);
	return $node->safe_psql('postgres', "SELECT string_agg(id::text, ',' ORDER BY id) FROM $schema.t");
}
is(recover('one', '--type=name', '--target=here'), '1,2', 'the table is as it was');
like(slurp_file($asked), qr/^[0-9A-F]{24}$/m, 'segments were asked for');
is(asked_for(), '', '... and no history');

# Another server goes on from here, on a timeline of its own.
my $data = private_directory();
is((chronos($conf, "--pg1-path=$data", 'restore'))[0], 0, 'restored');
my $own = write_config(PostgreSQL::Test::Utils::tempdir() . '/own.conf', path => $node->{chronos_repo}, pg => $data, port => $node->port, socket => $node->host);
my $second = restored_node('second', $data, conf => "archive_mode = on\nchronos.config_file = '$own'\n");
$second->safe_psql('postgres', 'INSERT INTO t VALUES (3)');
wait_archived($second);
$second->stop;
is(recover('two', '--type=name', '--target=here', '--target-timeline=1'), '1,2', 'on the first one');
like(asked_for(), qr/^(?=.*00000002\.history)/, '... the history that is there is asked for');
is(recover('three'), '1,2,3', 'on the second one');
is(join(' ', grep { !/00000002/ } split / /, asked_for()), '', '... that of the first and of the third is not');

done_testing();
