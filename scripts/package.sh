#!/bin/bash
# Debian packages for the release of Debian that this runs on: chronos-backup (the engine, its manual) and
# a postgresql-<major>-chronos-backup (the module) for each postgresql-server-dev-<major> that is installed,
# or the newest of the release, or PG_MAJOR. Installs by apt what it needs; as root or through sudo. The
# packages are looked at by lintian, which may find nothing.
#
#   scripts/package.sh [OUTPUT]     where the .deb files go, default build/packages
#   DEB_BUILD_OPTIONS=              with packages of debugging symbols
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/scripts/lib.sh"
output=${1:-$top/build/packages}
build=${PACKAGE_BUILD:-$top/build/package}
package_packages='build-essential debhelper lintian dpkg-dev postgresql-server-dev-all'

installed_majors() {
	dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'postgresql-server-dev-[0-9]*' | sed -n 's/^installed postgresql-server-dev-//p' | sort -n
}

install_packages $engine_packages postgresql-server-dev-$pg_major $package_packages
majors=$(installed_majors | tr '\n' ' ')
say "building packages for PostgreSQL $majors"

# From a copy: the checkout stays as it is, and has no debian/ at its top.
version=$(sed -nE "s/^default_version *= *'(.*)'/\1/p" "$top/chronos_backup.control")
source=$build/chronos-backup-$version
rm -rf "$build"
mkdir -p "$output"
copy_tree "$source"
cp -r "$top/contrib/debian" "$source/debian"
cd "$source"

export PG_SUPPORTED_VERSIONS=$majors
export DEB_BUILD_OPTIONS="parallel=$(nproc) ${DEB_BUILD_OPTIONS-noautodbgsym}"
# debhelper has a home of its own, where nothing would be found again.
if command -v ccache >/dev/null; then CCACHE_DIR=$(ccache --get-config cache_dir); export CCACHE_DIR; fi
pg_buildext updatecontrol
dpkg-buildpackage -b -uc -us >"$build/log" 2>&1 || { tail -n 60 "$build/log"; fail 'the packages do not build'; }
# As root it refuses to run without being told.
lintian --allow-root --fail-on error,warning "$build"/*.changes
# Whoever installs *.deb from there is to get these.
rm -f "$output"/chronos-backup_*.deb "$output"/postgresql-*-chronos-backup_*.deb
mv "$build"/*.deb "$output/"
say "packages in $output"
(cd "$output" && ls -- *.deb)
