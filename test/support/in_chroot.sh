#!/bin/bash
# in_chroot.sh DIRECTORY VERSION CHRONOS TEST...: runs TAP tests as user postgres in the root file
# system DIRECTORY, where PostgreSQL VERSION and another pgBackRest are installed; needs root. The
# executable must run there: one that was built on the older of the two systems usually does.
#
# It has a mount namespace of its own, so that nothing stays mounted, whatever becomes of it.
# TEST_SEED, TEST_STEPS and PROVE_FLAGS are handed on.
set -eu
root=$(cd "$1" && pwd) version=$2 chronos=$(readlink -f "$3")
shift 3
tree=$(cd "$(dirname "$0")/../.." && pwd)
export root version chronos tree
export keep="TEST_SEED=${TEST_SEED:-} TEST_STEPS=${TEST_STEPS:-}" flags="${PROVE_FLAGS:-}"
exec unshare --mount --propagation private bash -eu -c '
  mount -t proc proc "$root/proc"
  mount --bind /dev "$root/dev"
  mount -t devpts devpts "$root/dev/pts"
  mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
  mkdir -p "$root/tests" "$root/engine"
  mount --bind -o ro "$tree/test" "$root/tests"
  mount --bind -o ro "$(dirname "$chronos")" "$root/engine"
  bin=/usr/lib/postgresql/$version/bin
  exec chroot --userspec=postgres "$root" /usr/bin/env -i LC_ALL=C.UTF-8 HOME=/tmp $keep \
    PATH="$bin:/usr/bin:/bin" CHRONOS="/engine/$(basename "$chronos")" \
    PERL5LIB=/usr/lib/postgresql/$version/lib/pgxs/src/test/perl \
    PG_REGRESS=/usr/lib/postgresql/$version/lib/pgxs/src/test/regress/pg_regress \
    bash -eu -c '\''
      work=$(mktemp -d /tmp/tap.XXXXXX)
      trap "rm -rf $work" EXIT
      export TESTDIR=$work TESTDATADIR=$work/data TESTLOGDIR=$work/log
      cd "$work"
      prove $1 -I /tests/tap/lib "${@:2}"'\'' - "$flags" "$@"' - "${@/#test//tests}"
