#!/bin/bash
# Every test there is, on a fresh Debian as well as on a developer's machine: installs the packages
# it needs, builds with warnings as errors, and runs lint, unit, regress and TAP tests (real servers,
# real pgBackRest). Safe to repeat; as root or through sudo; servers run as an unprivileged user, in
# a private copy of PostgreSQL below a temporary directory.
#
#   scripts/check.sh            everything
#   scripts/check.sh lint unit  some of: lint unit regress tap, and packages, which is no part of everything
#   scripts/check.sh --pg 18    regress and TAP with the module of that version, its server and the
#                               pgBackRest of its release, in a root file system of its own (17, 18,
#                               19; may be repeated), made at first use below CHECK_ROOTS
#   PROVE_TESTS='test/tap/7*.pl' scripts/check.sh tap
#   scripts/check.sh packages   the Debian packages of CHECK_RELEASES (bookworm, trixie and sid): built
#                               in root file systems of those releases, and installed, upgraded under a
#                               working server, removed and purged in fresh ones
#   CHECK_LONG=1                with the long campaigns (hundreds of random steps)
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/scripts/lib.sh"
. "$top/scripts/roots.sh"
majors=
while [ "${1:-}" = --pg ]; do
	majors="$majors ${2:?--pg needs a version}"
	shift 2
done
default_steps='lint unit regress tap'
[ -z "$majors" ] || default_steps='regress tap'
steps=${*:-$default_steps}
build=${CHECK_BUILD:-$top/build/check}
# In the root file system of another version: the executable that was built outside of it.
engine=${CHECK_ENGINE:-$build/chronos}
work=$(mktemp -d "${TMPDIR:-/tmp}/chronos_check.XXXXXX")
trap 'as_root rm -rf "$work"' EXIT
chmod 755 "$work"
passed=0
failed=0

# step NAME COMMAND...: runs it, prints its output on failure only, keeps the count.
step() {
	local name=$1 begin=$SECONDS
	shift
	say "$name"
	if "$@" >"$work/log" 2>&1; then
		passed=$((passed + 1))
		grep -E '^(not run: |All tests successful|Files=|100% tests passed|All [0-9]+ tests passed)' "$work/log" || true
		echo "    ok, $((SECONDS - begin)) s"
	else
		failed=$((failed + 1))
		tail -n 200 "$work/log"
		echo "    FAILED: $name, $((SECONDS - begin)) s"
	fi
}

build_engine() {
	cmake -S "$top" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCHRONOS_WERROR=ON -DCHRONOS_TESTS=ON
	local targets=all
	has unit || targets='chronos chronos-serve unit_storage'
	# shellcheck disable=SC2086
	cmake --build "$build" --target $targets
}

# make_module MAJOR: with a server of its own. Leaves that one's build behind, for the tests.
make_module() {
	private_postgres "$work/pg" "$1" &&
		make -C "$work/src" clean PG_CONFIG="$pg_bin/pg_config" ENGINE="$engine" &&
		make -C "$work/src" -j2 PG_CONFIG="$pg_bin/pg_config" ENGINE="$engine" CHRONOS_WERROR=1 &&
		make -C "$work/src" install PG_CONFIG="$pg_bin/pg_config" ENGINE="$engine"
}

# Builds from a copy: the checkout may belong to somebody else, and stays as it is.
install_module() {
	copy_tree "$work/src" &&
		if [ -n "$older" ]; then make_module "$older"; fi &&
		make_module "$pg_major" &&
		mkdir -p "$work/screenshots" &&
		# The tests run as somebody who may not look into this checkout, as in root's home.
		if [ -x "$build/unit_storage" ]; then cp "$build/unit_storage" "$work/"; fi &&
		as_root chown -R "$server_user" "$work/src" "$work/pg" "$work/screenshots"
}

test_environment() {
	local perl
	perl=$(dirname "$("$pg_bin/pg_config" --pgxs)")/../test/perl
	as_server_user env PATH="$pg_bin:$PATH" PERL5LIB="$perl:$work/src/test/tap/lib" \
		PG_REGRESS="$perl/../regress/pg_regress" TESTDIR="$work/src" TESTDATADIR="$work/src/tmp_check" \
		TESTLOGDIR="$work/src/tmp_check/log" CHRONOS="$pg_bin/chronos" \
		TEST_FIXTURES_DIR="${TEST_FIXTURES_DIR:-$work/src/test/fixtures}" \
		TEST_UNIT_STORAGE="$work/unit_storage" TEST_SCREENSHOTS="$work/screenshots" \
		${older:+TEST_OLDER_BINDIR="$work/pg/usr/lib/postgresql/$older/bin"} CHECK_LONG="${CHECK_LONG:-}" TZ=UTC "$@"
}

run_lint() { (cd "$top" && prove test/lint/*.t); }
run_unit() { ctest --test-dir "$build" --output-on-failure -j2 --timeout 300; }
run_regress() {
	(cd "$work/src" && test_environment make -s installcheck-regress PG_CONFIG="$pg_bin/pg_config") ||
		{ cat "$work/src/test/regress/regression.diffs"; return 1; }
}
# What a test needs that is not here, or nothing.
not_here() {
	if [ -z "$older" ] && grep -q 'TEST_OLDER_BINDIR' "$1"; then echo 'an older PostgreSQL beside this one'
	elif [ -z "${CHECK_ENGINE:-}" ]; then :
	# What is outside of the root file system of another version.
	elif grep -q 'S3Server' "$1"; then echo 'an object store'
	elif grep -q 'chromium' "$1"; then echo 'a browser'
	elif grep -q "'unshare'" "$1"; then echo 'a process namespace of its own'
	elif grep -q 'in_root' "$1"; then echo 'a root file system to unpack into'
	elif grep -q 'TEST_FIXTURES_DIR' "$1"; then echo 'PostgreSQL 15, which made the fixtures'; fi
}

# The tests to run: those that can.
tap_tests() {
	local test reason
	for test in ${PROVE_TESTS:-test/tap/*.pl}; do
		reason=$(not_here "$test")
		if [ -n "$reason" ]; then echo "not run: $test needs $reason" >&2; else echo "$test"; fi
	done
}

run_tap() {
	local status=0
	(cd "$work/src" && test_environment prove --timer ${PROVE_FLAGS:-} $(tap_tests)) || status=$?
	# What the dashboard looks like, to be looked at.
	as_root mkdir -p "$screenshots" && as_root cp -r "$work/screenshots/." "$screenshots/"
	return $status
}

# check_version MAJOR: this script again, in the root file system of that version.
check_version() {
	local root engine_dir
	root=$(server_root "$1") || return 1
	if [ "$1" = 17 ]; then add_former "$root" || return 1; fi
	engine_dir=$(portable_engine "$build/chronos") || return 1
	enter_root "$root" "$top:/check/src" "$engine_dir:/opt/chronos" \
		env PG_MAJOR="$1" CHECK_ENGINE=/opt/chronos/chronos CHECK_SCREENSHOTS=/tmp/screenshots PROVE_FLAGS="${PROVE_FLAGS:-}" \
		PROVE_TESTS="${PROVE_TESTS:-}" CHECK_LONG="${CHECK_LONG:-}" ${TEST_SEED:+TEST_SEED="$TEST_SEED"} ${TEST_STEPS:+TEST_STEPS="$TEST_STEPS"} \
		/check/src/scripts/check.sh $steps
}

# check_packages RELEASE: in a root file system that has nothing but the release and perl, the packages bring
# all they need, or fail to.
check_packages() {
	local root fresh=$work/fresh-$1 test
	root=$(build_root "$1" build-essential ccache debhelper lintian postgresql-server-dev-all $engine_packages) || return 1
	as_root rm -rf "$root/check/packages"
	enter_root "$root" "$top:/check/src" env PACKAGE_BUILD=/check/package /check/src/scripts/package.sh /check/packages || return 1
	as_root mmdebstrap --quiet --variant=minbase --include=perl --aptopt='Acquire::Check-Valid-Until "false"' "$1" "$fresh" || return 1
	for test in "$top"/test/packages/*.pl; do
		say "$1: ${test##*/}"
		enter_root "$fresh" "$root/check/packages:/check/packages" "$top/test/packages:/check/test" \
			env PACKAGES=/check/packages perl "/check/test/${test##*/}" || return 1
	done
	as_root rm -rf --one-file-system "$fresh"
}

has() { case " $steps " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

if has packages; then
	install_packages mmdebstrap
	for release in ${CHECK_RELEASES:-bookworm trixie sid}; do step "packages of $release" check_packages "$release"; done
	steps=${steps/packages/}
fi
if [ -z "${CHECK_ENGINE:-}" ] && [ -n "${steps// /}" ]; then
	install_packages $build_packages $test_packages
	# The dashboard's test skips itself without a browser.
	if has tap && [ -z "$majors" ]; then install_packages $browser_packages || say 'no browser can be installed'; fi
	step 'build the engine, warnings are errors' build_engine
fi
if [ -n "$majors" ]; then
	install_packages mmdebstrap
	for major in $majors; do step "PostgreSQL $major" check_version "$major"; done
	steps=none
fi
if has lint; then step 'lint' run_lint; fi
if has unit; then step 'unit tests' run_unit; fi
# What pg_upgrade is tested from.
older=$(installed_postgresql | awk -v newer="$pg_major" '$1 < newer' | tail -n 1)
screenshots=${CHECK_SCREENSHOTS:-$top/build/screenshots}
if has regress || has tap; then
	step 'build and install the module into a private PostgreSQL' install_module
	pg_bin=$work/pg/usr/lib/postgresql/$pg_major/bin
	if has regress; then step 'regress' run_regress; fi
	if has tap; then step 'TAP' run_tap; fi
fi
echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
