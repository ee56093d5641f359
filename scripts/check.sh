#!/bin/bash
# Every test there is, on a fresh Debian 12 as well as on a developer's machine: installs the packages
# it needs, builds with warnings as errors, and runs lint, unit, regress and TAP tests (real servers,
# real pgBackRest). Safe to repeat; as root or through sudo; servers run as an unprivileged user, in
# a private copy of PostgreSQL below a temporary directory.
#
#   scripts/check.sh            everything
#   scripts/check.sh lint unit  some of: lint unit regress tap
#   PROVE_TESTS='test/tap/7*.pl' scripts/check.sh tap
#   CHECK_LONG=1                with the long campaigns (hundreds of random steps)
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/scripts/lib.sh"
steps=${*:-lint unit regress tap}
build=${CHECK_BUILD:-$top/build/check}
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
		grep -E '^(All tests successful|Files=|100% tests passed|All [0-9]+ tests passed)' "$work/log" || true
		echo "    ok, $((SECONDS - begin)) s"
	else
		failed=$((failed + 1))
		tail -n 200 "$work/log"
		echo "    FAILED: $name, $((SECONDS - begin)) s"
	fi
}

build_engine() {
	cmake -S "$top" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCHRONOS_WERROR=ON -DCHRONOS_TESTS=ON
	cmake --build "$build"
}

# Builds from a copy: the checkout may belong to somebody else, and stays as it is.
install_module() {
	private_postgres "$work/pg" && cp -a "$top" "$work/src" &&
		make -C "$work/src" clean PG_CONFIG="$pg_bin/pg_config" ENGINE="$build/chronos" &&
		make -C "$work/src" -j2 PG_CONFIG="$pg_bin/pg_config" ENGINE="$build/chronos" CHRONOS_WERROR=1 &&
		make -C "$work/src" install PG_CONFIG="$pg_bin/pg_config" ENGINE="$build/chronos" &&
		# The tests run as somebody who may not look into this checkout, as in root's home.
		cp "$build/unit_storage" "$work/" && mkdir -p "$work/screenshots" &&
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
		CHECK_LONG="${CHECK_LONG:-}" TZ=UTC "$@"
}

run_lint() { (cd "$top" && prove test/lint/*.t); }
run_unit() { ctest --test-dir "$build" --output-on-failure -j2 --timeout 300; }
run_regress() { (cd "$work/src" && test_environment make installcheck-regress PG_CONFIG="$pg_bin/pg_config"); }
run_tap() {
	local status=0
	(cd "$work/src" && test_environment prove --timer ${PROVE_FLAGS:-} ${PROVE_TESTS:-test/tap/*.pl}) || status=$?
	# What the dashboard looks like, to be looked at.
	as_root mkdir -p "$screenshots" && as_root cp -r "$work/screenshots/." "$screenshots/"
	return $status
}

has() { case " $steps " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

install_packages $build_packages $test_packages
# The dashboard's test skips itself without a browser.
if has tap; then install_packages $browser_packages || say 'no browser can be installed'; fi
step 'build the engine, warnings are errors' build_engine
if has lint; then step 'lint' run_lint; fi
if has unit; then step 'unit tests' run_unit; fi
screenshots=${CHECK_SCREENSHOTS:-$top/build/screenshots}
if has regress || has tap; then
	step 'build and install the module into a private PostgreSQL' install_module
	pg_bin=$work/pg/usr/lib/postgresql/15/bin
	if has regress; then step 'regress' run_regress; fi
	if has tap; then step 'TAP' run_tap; fi
fi
echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
