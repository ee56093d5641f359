# Root file systems of other Debian releases, with another PostgreSQL and pgBackRest, for tests.
# Sourced after lib.sh; needs root.

check_roots=${CHECK_ROOTS:-/var/cache/chronos_check}

# What builds the module and runs the tests there.
root_packages=g++,make,pkg-config,pgbackrest,fuse3,libipc-run-perl,libssl-dev,zlib1g-dev,liblz4-dev,libzstd-dev,zstd,lz4,bzip2,jq,openssl,procps,python3,util-linux,git,curl,faketime,tzdata-legacy

# What tests with buckets need there: 400 MB.
root_object_store_packages=ceph-mon,ceph-osd,radosgw

# locked ROOT COMMAND...: two runs at once make or change a root file system one after the other.
locked() {
	local root=$1
	shift
	as_root mkdir -p "$check_roots" && as_root touch "$root.lock" && as_root chmod a+rw "$root.lock" &&
		(flock 9 && "$@") 9>"$root.lock"
}

# server_root MAJOR: makes the root file system of that version if it is not there; prints its path.
server_root() {
	local root=$check_roots/pg$1
	locked "$root" make_server_root "$1" "$root" >&2 && echo "$root"
}
make_server_root() {
	[ ! -d "$2" ] || return 0
	as_root rm -rf --one-file-system "$2.new"
	case $1 in
	17) make_root trixie "$1" "$2.new" ;;
	18) make_root sid "$1" "$2.new" ;;
	19) add_experimental "$2.new" ;;
	*) fail "no Debian release is known for PostgreSQL $1" ;;
	esac && as_root mv "$2.new" "$2"
}

# add_to_root ROOT PACKAGES: installs what is not there of a list separated by commas.
add_to_root() { locked "$1" enter_root "$1" bash -eu -c "$add_packages" add_to_root "$2"; }
add_packages='
	missing=
	for name in ${1//,/ }; do
		[ "$(dpkg-query -W -f "\${db:Status-Status}" "$name" 2>/dev/null)" = installed ] || missing="$missing $name"
	done
	[ -n "$missing" ] || exit 0
	# Nobody starts services here.
	printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
	apt-get -q -o Acquire::Check-Valid-Until=false update
	apt-get install -q -y --no-install-recommends $missing'

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

# enter_root ROOT [OUTSIDE:INSIDE[:rw]...] COMMAND...: in a mount namespace of its own, so that nothing
# stays mounted whatever becomes of it; what is shown inside is read-only there, or as it is with :rw.
# It is the root of that namespace: in what chroot makes, nobody but root may make further namespaces.
# Processes have a namespace too, so that none is left when the command has ended, or whoever waits for it.
enter_root() {
	as_root setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child bash -eu -c '
		root=$1
		shift
		mount --bind "$root" "$root"
		mount -t proc proc "$root/proc"
		mount -t sysfs -o ro sysfs "$root/sys"
		mount --bind /dev "$root/dev"
		mount -t devpts devpts "$root/dev/pts"
		mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
		while case $1 in /*:/*) true ;; *) false ;; esac; do
			inside=${1#*:}
			mkdir -p "$root${inside%:rw}"
			if [ "$inside" = "${inside%:rw}" ]; then mode=ro; else mode=rw; fi
			mount --bind -o "$mode" "${1%%:*}" "$root${inside%:rw}"
			shift
		done
		cd "$root"
		pivot_root . mnt
		umount -l /mnt
		exec /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			LC_ALL=C.UTF-8 HOME=/root DEBIAN_FRONTEND=noninteractive "$@"' enter_root "$@"
}

# portable_engine BUILD: what was built there for tests, with its libraries, to be shown at /opt/chronos
# in any root file system: built once, it runs beside the libraries of every release. Prints the directory.
portable_engine() {
	local program archive=$work/portable.tar.gz
	mkdir -p "$work/portable"
	for program in chronos unit_storage; do
		"$top/scripts/portable.sh" "$1/$program" /opt/chronos "$archive" >/dev/null &&
			tar -C "$work/portable" -xzf "$archive" || return 1
	done
	rm "$archive"
	echo "$work/portable/opt/chronos"
}
