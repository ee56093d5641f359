# Removing and purging the packages takes what they brought, and no backup, configuration or log; who
# installs them again goes on where he was. Beside pgBackRest's package they leave each other alone.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PackageTest;
use Test::More;

my @names = map { m{([^/_]+)_[^/]*$} } @packages;
sub contents { return scalar output('sh', '-c', 'find /var/lib/chronos /etc/chronos /var/log/pgbackrest -type f -exec sha256sum {} + | sort') }

# --- Both rotate the logs of /var/log/pgbackrest: each file once.
runs('pgBackRest and logrotate are installed too', 'apt-get', 'install', '-y', '-q', '--no-install-recommends', 'pgbackrest', 'logrotate');
my $rotation = runs('logrotate has nothing to complain of', 'logrotate', '--force', '--verbose', '/etc/logrotate.conf');
unlike($rotation, qr/^error:/m, 'not even of files that both packages rotate');
ok(scalar(glob '/var/log/pgbackrest/*.log.1'), 'and rotates the logs');
like(output(as_postgres('pgbackrest', '--config=/etc/chronos/chronos.conf', 'info')), qr/full backup/, 'pgBackRest reads the repository');
is(output('stat', '-c', '%U', '/var/log/pgbackrest'), "postgres\n", 'its package leaves the directory as it is');

runs('the server is stopped', 'pg_ctlcluster', $major, 'main', 'stop', '-m', 'fast');
my $before = contents();
like($before, qr/backup\.info/, 'there is a repository');

# --- Removal takes the programs.
runs('apt removes the packages', 'apt-get', 'remove', '-y', '-q', @names);
ok(!-e '/usr/bin/chronos' && !-e "/usr/lib/postgresql/$major/lib/chronos_backup.so", 'engine and module are gone');
is(contents(), $before, 'repository, configuration and logs are as they were');

# --- Purge takes what belongs to the packages, and nothing else.
# Not by apt, which knows no package any more that is neither installed nor offered.
runs('dpkg purges the packages', 'dpkg', '--purge', @names);
ok(!-e '/etc/logrotate.d/chronos-backup', 'what is configured for the package itself is gone');
is(contents(), $before, 'repository, configuration and logs are as they were');
like(output('dpkg-query', '-W', '-f', '${db:Status-Abbrev}', @names), qr/no packages found/, 'dpkg knows nothing of them any more');

# --- And back.
runs('the packages are installed again', 'apt-get', 'install', '-y', '-q', @packages);
is(contents(), $before, 'which changes nothing either');
runs('the server starts with them', 'pg_ctlcluster', $major, 'main', 'start');
like(sql(q{SELECT chronos.backup_now('incr')}), qr/I$/, 'and goes on with the repository');
runs('it is stopped', 'pg_ctlcluster', $major, 'main', 'stop', '-m', 'fast');

# --- Empty directories go with the purge.
runs('without a repository', 'sh', '-c', 'rm -rf /var/lib/chronos/*');
runs('apt purges the packages at once', 'apt-get', 'purge', '-y', '-q', @names);
ok(!-e '/var/lib/chronos', 'an empty directory goes too');
ok(-e '/etc/chronos/chronos.conf', 'a configuration that somebody wrote stays');
done_testing();
