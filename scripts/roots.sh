# Root file systems of other Debian releases, with another PostgreSQL and pgBackRest, for tests.
# Sourced after lib.sh; needs root.

check_roots=${CHECK_ROOTS:-/var/cache/chronos_check}

# What builds the module and runs the tests there.
root_packages=g++,make,pkg-config,pgbackrest,libipc-run-perl,libssl-dev,zlib1g-dev,liblz4-dev,libzstd-dev,zstd,lz4,bzip2,jq,openssl,procps,python3,util-linux,git,faketime,tzdata-legacy

# server_root MAJOR: makes the root file system of that version if it is not there; prints its path.
server_root() {
	local root=$check_roots/pg$1 new=$check_roots/pg$1.new
	if [ ! -d "$root" ]; then
		as_root mkdir -p "$check_roots"
		as_root rm -rf --one-file-system "$new"
		case $1 in
		17) make_root trixie "$1" "$new" ;;
		18) make_root sid "$1" "$new" ;;
		19) add_experimental "$new" ;;
		*) fail "no Debian release is known for PostgreSQL $1" ;;
		esac >&2 && as_root mv "$new" "$root"
	fi
	[ -d "$root" ] && echo "$root"
}

# make_root RELEASE MAJOR DIRECTORY. An unstable release's index is valid for a week only.
make_root() {
	as_root mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
		--include="postgresql-$2,postgresql-server-dev-$2,$root_packages" "$1" "$3"
}

# add_experimental DIRECTORY: 19 is beside 18, in a copy of its root file system.
add_experimental() {
	local base
	base=$(server_root 18) || return 1
	as_root cp -a "$base" "$1"
	sed -n 's/ sid / experimental /p' "$1/etc/apt/sources.list" | as_root tee "$1/etc/apt/sources.list.d/experimental.list"
	enter_root "$1" apt-get -q -o Acquire::Check-Valid-Until=false update
	enter_root "$1" apt-get install -q -y --no-install-recommends -t experimental postgresql-19 postgresql-server-dev-19
}

# build_root RELEASE PACKAGE...: makes the root file system to build packages in, with those, if it is not
# there; prints its path.
build_root() {
	local release=$1 root=$check_roots/build-$1
	shift
	if [ ! -d "$root" ]; then
		as_root mkdir -p "$check_roots"
		as_root rm -rf --one-file-system "$root.new"
		as_root mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
			--include="$(echo "$*" | tr -s ' \n\t' ',')" "$release" "$root.new" >&2 && as_root mv "$root.new" "$root"
	fi
	[ -d "$root" ] && echo "$root"
}

# add_former ROOT: 15 beside 17, from the release before, for pg_upgrade. Of what extensions are built
# from only the files: the package wants a compiler that nothing here needs.
add_former() {
	[ ! -e "$1/usr/lib/postgresql/15/lib/pgxs" ] || return 0
	sed -n 's/ trixie / bookworm /p' "$1/etc/apt/sources.list" | as_root tee "$1/etc/apt/sources.list.d/bookworm.list"
	enter_root "$1" bash -eu -c '
		printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d
		chmod 755 /usr/sbin/policy-rc.d
		apt-get -q update
		apt-get install -q -y --no-install-recommends -t bookworm postgresql-15
		cd /tmp
		apt-get -q download postgresql-server-dev-15/bookworm
		dpkg -x postgresql-server-dev-15_*.deb /
		rm postgresql-server-dev-15_*.deb'
}

# enter_root ROOT [OUTSIDE:INSIDE...] COMMAND...: in a mount namespace of its own, so that nothing
# stays mounted whatever becomes of it; what is shown inside is read-only there.
enter_root() {
	as_root unshare --mount --propagation private bash -eu -c '
		root=$1
		shift
		mount -t proc proc "$root/proc"
		mount -t sysfs -o ro sysfs "$root/sys"
		mount --bind /dev "$root/dev"
		mount -t devpts devpts "$root/dev/pts"
		mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
		while case $1 in /*:/*) true ;; *) false ;; esac; do
			mkdir -p "$root${1#*:}"
			mount --bind -o ro "${1%%:*}" "$root${1#*:}"
			shift
		done
		exec chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			LC_ALL=C.UTF-8 HOME=/root DEBIAN_FRONTEND=noninteractive "$@"' enter_root "$@"
}

# portable_engine EXECUTABLE: it and its libraries, to be shown at /opt/chronos in any root file
# system: built once, it runs beside the libraries of every release. Prints the directory.
portable_engine() {
	local archive
	archive=$("$top/scripts/portable.sh" "$1" /opt/chronos "$work/portable.tar.gz") &&
		mkdir -p "$work/portable" && tar -C "$work/portable" -xzf "$archive" && echo "$work/portable/opt/chronos"
}
