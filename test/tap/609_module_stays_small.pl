# What is loaded into every server process: it offers the server the names it looks up and nothing
# else (modules are loaded with RTLD_GLOBAL, where any other symbol could take the place of another
# module's), and it brings no library along but that of C++.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;

my ($directory) = `pg_config --pkglibdir` =~ /(\S+)/;
my $module = "$directory/chronos_backup.so";
ok(-f $module, 'the module is installed');

my @symbols = map { (split)[2] } split /\n/, `nm -D --defined-only $module`;
my @functions = map { s/^pg_finfo_//r } grep { /^pg_finfo_/ } @symbols;
cmp_ok(scalar @functions, '>', 5, 'there are SQL functions');
my %wanted = map { $_ => 1 } @functions, (map { "pg_finfo_$_" } @functions),
  qw(Pg_magic_func _PG_init _PG_archive_module_init chronos_launcher_main
  chronos_job_main chronos_health_main chronos_scheduler_main chronos_serve_main);
is(join(' ', grep { !$wanted{$_} } @symbols), '', 'nothing else is exported');
is(join(' ', grep { my $name = $_; !grep { $_ eq $name } @symbols } sort keys %wanted), '',
	'all of it is exported');

my @libraries = `readelf -d $module` =~ /\(NEEDED\)\s+Shared library: \[([^\]]+)\]/g;
is(join(' ', grep { !/^lib(?:stdc\+\+|gcc_s|c|m)\.so\.\d+$/ } @libraries), '',
	'no library for storage, encryption or compression');

# Scripts and module agree on the functions: a new installation runs one script after the other.
my ($share) = `pg_config --sharedir` =~ /(\S+)/;
my %used = map { $_ => 1 } map { slurp_file($_) =~ /'MODULE_PATHNAME', '(\w+)'/g } glob "$share/extension/chronos_backup--*.sql";
is(join(' ', sort keys %used), join(' ', sort grep { !/^chronos_test_/ } @functions),
	'every function is one of SQL, those for tests aside');
done_testing();
