# Shared by demo.sh and check.sh: packages, the unprivileged user, a private copy of PostgreSQL.
# Sourced, with `set -eu` in force and $top set to the top of the tree.

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Runs as root: directly, or through sudo.
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# installed_postgresql: the major versions that are installed with what extensions are built from.
installed_postgresql() {
	local makefile
	for makefile in /usr/lib/postgresql/*/lib/pgxs/src/makefiles/pgxs.mk; do
		[ ! -f "$makefile" ] || echo "$makefile"
	done | sed 's|^/usr/lib/postgresql/\([0-9]*\)/.*|\1|' | sort -n
}

# newest_postgresql: the newest major version that is installed with what extensions are built from,
# or else the newest that can be installed from this release's packages (PGDG's as well).
newest_postgresql() {
	local found
	found=$(installed_postgresql | tail -n 1)
	if [ -z "$found" ]; then
		as_root apt-get update -q >/dev/null
		found=$(apt-cache search --names-only '^postgresql-server-dev-[0-9]+$' |
			sed -n 's/^postgresql-server-dev-\([0-9]*\) .*/\1/p' | sort -n | tail -n 1)
	fi
	[ -n "$found" ] || fail 'no package postgresql-server-dev-<version> is to be had here'
	echo "$found"
}
# The server version that is built for and tested with; the environment may name another one.
pg_major=${PG_MAJOR:-$(newest_postgresql)}

# What the build and the tests need, by Debian's names.
engine_packages="g++ make cmake ninja-build pkg-config git
  libpq-dev libssl-dev libcurl4-openssl-dev libxml2-dev libzstd-dev liblz4-dev zlib1g-dev libbz2-dev
  libxxhash-dev libisal-dev libfuse3-dev libcpp-httplib-dev libcli11-dev nlohmann-json3-dev"
build_packages="$engine_packages postgresql-$pg_major postgresql-server-dev-$pg_major"
demo_packages="iso-codes python3"
test_packages="libgtest-dev libgmock-dev pgbackrest libipc-run-perl zstd lz4 bzip2 clang-format
  python3 util-linux procps jq openssl xxd curl fuse3 ceph-mon ceph-osd radosgw patchelf busybox-static"
# Old names of time zones have a package of their own since Debian 13; in 12 they come with the others.
[ -e /usr/share/zoneinfo/EST ] || grep -q '^VERSION_CODENAME=bookworm' /etc/os-release || test_packages="$test_packages tzdata-legacy"
browser_packages="chromium fonts-dejavu-core"

# install_packages NAME...: by apt, only what is missing, so that a second run needs no network.
install_packages() {
	local missing=() name
	for name; do
		dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	say "installing ${missing[*]}"
	# The packages create no cluster of their own: every server here is a throw-away one.
	if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
		as_root mkdir -p /etc/postgresql-common
		echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
	fi
	as_root apt-get update -q >/dev/null
	without_services as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}

# without_services COMMAND...: in a container without systemd, where packages cannot start their services,
# they are not asked to for as long as the command runs, unless somebody has said already what they may do.
without_services() {
	local policy=/usr/sbin/policy-rc.d
	if [ -d /run/systemd/system ] || [ -e $policy ]; then
		"$@"
	else
		(
			trap 'as_root rm -f $policy' EXIT
			printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
			as_root chmod 755 $policy
			"$@"
		)
	fi
}

# Servers refuse to run as root: they run as the user that the PostgreSQL packages made, or as
# whoever calls when that is not root.
if [ "$(id -u)" = 0 ]; then server_user=postgres; else server_user=$(id -un); fi
as_server_user() {
	if [ "$(id -un)" = "$server_user" ]; then "$@"; else runuser -u "$server_user" -- "$@"; fi
}

# copy_tree DIR: the tree without what builds and tests leave in it.
copy_tree() {
	mkdir -p "$1"
	(cd "$top" && tar -cf - --exclude=./build --exclude=./.git --exclude='./tmp_check*' .) | tar -C "$1" -xf - --no-same-owner
}

# private_postgres DIR [MAJOR]: a copy of that PostgreSQL ($pg_major) below DIR that the extension is
# installed into, so that nothing on this machine changes and two runs do not meet. The server finds
# its files relative to its own place. Sets $pg_bin.
private_postgres() {
	local major=${2:-$pg_major}
	mkdir -p "$1/usr/lib/postgresql" "$1/usr/share/postgresql"
	cp -a "/usr/lib/postgresql/$major" "$1/usr/lib/postgresql/"
	cp -a "/usr/share/postgresql/$major" "$1/usr/share/postgresql/"
	ln -sfn /usr/include "$1/usr/include"
	pg_bin=$1/usr/lib/postgresql/$major/bin
}
