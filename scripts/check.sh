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
#                               19 or all; may be repeated), made at first use below CHECK_ROOTS
#   scripts/check.sh --then 18  everything, and then what starts a server with that version too (may be
#                               repeated); what would not end within CHECK_MINUTES (55), or has no packages
#                               to be had, is not run, which is said at the end
#   scripts/check.sh --spread   everything, some unit tests under sanitizers, the fuzzers over their corpora and for
#                               some seconds, and then regress with 17, 18 and 19 each, and what starts a server with
#                               one of them, on the same terms as --then: which one of the three a file meets changes
#                               from commit to commit
#   PROVE_TESTS='test/tap/7*.pl' scripts/check.sh tap
#   PROVE_FLAGS=-j1             TAP files one at a time, in place of one more than there are processors
#   scripts/check.sh packages   the Debian packages of CHECK_RELEASES (bookworm, trixie and sid): built
#                               in root file systems of those releases, and installed, upgraded under a
#                               working server, removed and purged in fresh ones
#   CHECK_LONG=1                with the long campaigns (hundreds of random steps)
#
# Layers for who works on it (docs/development.md, scripts/layers.sh), one at a time:
#   scripts/check.sh quick      lint, each changed source by itself, and its unit tests
#   scripts/check.sh full       everything, as without a name
#   scripts/check.sh sanitize   unit tests and TAP under sanitizers; or `sanitize unit_io ...`
#   scripts/check.sh fuzz 60    each fuzzer for 60 seconds; or `fuzz 60 fuzz_manifest ...`
#   scripts/check.sh power 5    so many power failures under a server; as root
#   scripts/check.sh tidy       clang-tidy; or `tidy src/io/stream.cpp ...`
#
# What each test took is in build/times.tsv: version, test, seconds, seconds of processor, exit status.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/scripts/lib.sh"
. "$top/scripts/roots.sh"
. "$top/scripts/layers.sh"
majors=
after=
spread=
every_root='17 18 19'
while :; do
	case ${1:-} in
	--spread)
		spread=yes after=$every_root
		shift
		continue
		;;
	--pg) majors="$majors ${2:?--pg needs a version}" ;;
	--then) after="$after ${2:?--then needs a version}" ;;
	*) break ;;
	esac
	shift 2
done
majors=${majors/all/$every_root}
after=${after/all/$every_root}
default_steps='lint unit regress tap'
[ -z "$majors" ] || default_steps='regress tap'
layer=
case ${1:-} in
full) shift ;;
quick | sanitize | fuzz | power | tidy) layer=$1 ;;
esac
steps=${*:-$default_steps}
build=${CHECK_BUILD:-$top/build/check}
# In the root file system of another version: the executable that was built outside of it.
engine=${CHECK_ENGINE:-$build/chronos}
# Tests wait for half of their time.
prove_flags=${PROVE_FLAGS:--j$(($(nproc) + 1))}
work=$(mktemp -d "${TMPDIR:-/tmp}/chronos_check.XXXXXX")
background=
trap 'kill $background 2>/dev/null || true; wait; as_root rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -m 777 "$work/out"
unit_storage=$work/unit_storage
times=${CHECK_TIMES:-$work/out/times.tsv}
passed=0
failed=0
not_run=

# step NAME COMMAND...: runs it, prints its output on failure only, keeps the count. What needs it asks step_ok.
step_ok=true
step() {
	local name=$1 begin=$SECONDS
	shift
	say "$name"
	if "$@" >"$work/log" 2>&1; then
		passed=$((passed + 1)) step_ok=true
		grep -E '^(not run: |took |All tests successful|Files=|100% tests passed|(# )?All [0-9]+ tests passed)' "$work/log" || true
		echo "    ok, $((SECONDS - begin)) s"
	else
		failed=$((failed + 1)) step_ok=false
		tail -n 400 "$work/log"
		echo "    FAILED: $name, $((SECONDS - begin)) s"
	fi
}

build_engine() {
	cmake -S "$top" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE="${CHECK_BUILD_TYPE:-Release}" -DCHRONOS_WERROR=ON -DCHRONOS_TESTS=ON \
		-DCHRONOS_UNITY=ON
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
		cp "$(dirname "$engine")/unit_storage" "$unit_storage" &&
		as_root chown -R "$server_user" "$work/src" "$work/pg" "$work/screenshots"
}

# as_tester COMMAND...: as the server's user, who may use /dev/fuse as on a machine whose udev has made it: where
# it is root's alone, in a mount namespace with another one.
as_tester() {
	if [ "$(id -u)" != 0 ] || [ ! -c /dev/fuse ] || as_server_user test -w /dev/fuse; then
		as_server_user "$@"
		return
	fi
	[ -c "$work/fuse" ] || mknod -m 666 "$work/fuse" c 10 229
	# shellcheck disable=SC2016
	unshare --mount sh -c 'mount --bind "$1" /dev/fuse && user=$2 && shift 2 && exec runuser -u "$user" -- "$@"' \
		sh "$work/fuse" "$server_user" "$@"
}

test_environment() {
	local perl
	perl=$(dirname "$("$pg_bin/pg_config" --pgxs)")/../test/perl
	as_tester env PATH="$pg_bin:$PATH" PERL5LIB="$perl:$work/src/test/tap/lib" \
		PG_REGRESS="$perl/../regress/pg_regress" TESTDIR="$work/src" TESTDATADIR="$work/src/tmp_check" \
		TESTLOGDIR="$work/src/tmp_check/log" CHRONOS="$pg_bin/chronos" \
		TEST_FIXTURES_DIR="${TEST_FIXTURES_DIR:-$work/src/test/fixtures}" \
		TEST_UNIT_STORAGE="$unit_storage" TEST_SCREENSHOTS="$work/screenshots" \
		${older:+TEST_OLDER_BINDIR="$work/pg/usr/lib/postgresql/$older/bin"} \
		TEST_SANITIZED="${CHECK_SANITIZED:-}" CHECK_LONG="${CHECK_LONG:-}" CHECK_SHORT="${CHECK_SHORT:-}" TZ=UTC "$@"
}

run_lint() { (cd "$top" && prove --timer test/lint/*.t); }
run_unit() {
	local status=0
	ctest --test-dir "$build" --output-on-failure -j2 --timeout 300 >"$work/unit" 2>&1 || status=$?
	cat "$work/unit"
	sed -nE 's/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: (\S+) .*[.* ](Passed|Failed|Timeout) +([0-9.]+) sec.*/unit\t\1\t\3\t-\t\2/p' "$work/unit" >>"$times"
	return $status
}
# What pg_regress prints of a test has another form since 16.
run_regress() {
	local status=0
	(cd "$work/src" && test_environment make -s installcheck-regress PG_CONFIG="$pg_bin/pg_config") >"$work/regress" 2>&1 || status=$?
	cat "$work/regress"
	sed -nE 's/^(ok [0-9]+ +- |test )(\S+) +(\.\.\. ok +)?([0-9]+) ms$/\2 \4/p' "$work/regress" |
		awk -v OFS='\t' -v major="$pg_major" '{ print major, "regress/" $1, $2 / 1000, "-", 0 }' >>"$times"
	[ $status = 0 ] || cat "$work/src/test/regress/regression.diffs"
	return $status
}

# The tests to run: those that can; in the root file system of another version a test says of itself
# that it cannot, and with CHECK_SERVER_ONLY that one version is enough for what it claims.
tap_tests() {
	local test reason
	for test in ${PROVE_TESTS:-test/tap/*.pl}; do
		reason=$(sed -n "/^# Only with PostgreSQL $pg_major: /!s/^# Only with /only with /p" "$test")
		if [ -z "$older" ] && grep -q 'TEST_OLDER_BINDIR' "$test"; then
			reason='it needs an older PostgreSQL beside this one'
		elif [ -z "$reason" ] && [ -n "${CHECK_ENGINE:-}" ]; then
			reason=$(sed -n 's/^# Not with another version of PostgreSQL: //p' "$test")
			if [ -n "${CHECK_SERVER_ONLY:-}" ] && [ -z "$reason" ]; then
				reason=$(sed -n 's/^# Enough with one version of PostgreSQL: //p' "$test")
				grep -qE 'chronos_node|restored_node|Cluster->new|initdb' "$test" || reason='it starts no server'
			fi
		fi
		if [ -n "$reason" ]; then echo "not run: $test: $reason" >&2; else echo "$test"; fi
	done
}

run_tap() {
	local status=0
	as_root touch "$times" && as_root chmod a+rw "$times"
	# shellcheck disable=SC2046,SC2086
	(cd "$work/src" && test_environment prove --timer $prove_flags \
		--exec "python3 test/support/measured.py $times $pg_major perl" $(tap_tests)) || status=$?
	[ $status = 0 ] || failed_tests
	no_reports || status=1
	# What the dashboard looks like, to be looked at.
	as_root mkdir -p "$screenshots" && as_root cp -r "$work/screenshots/." "$screenshots/"
	return $status
}
# Of sanitizers, where the engine has them (test/sanitizer/options.cpp): one that died of what they found is
# started again by the server, which a test may take for what it should do.
no_reports() {
	local report status=0
	for report in "$pg_bin"/chronos*.report.*; do
		[ ! -e "$report" ] || { status=1 && echo "--- $report" && head -n 60 "$report"; }
	done
	return $status
}
# What each failed test noted down of the claims that do not hold, which are told once more at the end of all, and
# the end of it: why it died is there only.
failed_tests() {
	local test log
	awk -F '\t' -v major="$pg_major" '$1 == major && $5 != 0 { print $2 }' "$times" | while read -r test; do
		log=$work/src/tmp_check/log/regress_log_$(basename "$test" .pl)
		echo "--- $test"
		grep -A 12 -E '^(\[[0-9:.]+\]\([0-9.]+s\) )?not ok ' "$log" | head -n 200
		echo "--- the end of $test"
		tail -n 40 "$log"
		{ sed -nE "s/^.*(not ok [0-9]+ .*)/$pg_major: ${test//\//\\/}: \1/p" "$log" | head -n 20; } >>"$(dirname "$times")/failed"
	done
}

# Unpacking packages waits for the disk, and compiling does not: the roots are made meanwhile.
start_roots() {
	(
		status=0
		for major in $majors $after; do
			if root=$(server_root "$major") && add_to_root "$root" "$root_packages,$root_object_store_packages" &&
				{ [ "$major" != 17 ] || locked "$root" add_former "$root"; }; then
				echo "$major" >>"$work/roots.made"
			else
				status=1
			fi
		done
		exit $status
	) >"$work/roots" 2>&1 &
	roots=$!
	background="$background $roots"
	touch "$work/roots.made"
}
# Whether other releases have packages to be had is not this tree's doing; for a version that was asked for
# by name it is what was asked.
report_roots() {
	local status=0
	wait "$roots" || status=$?
	cat "$work/roots"
	[ -z "$majors" ] || return $status
}
make_portable() { portable=$(portable_engine "$build"); }

# check_version MAJOR STEPS [VARIABLE=VALUE...]: this script again, in the root file system of that version.
check_version() {
	local major=$1 version_steps=$2 root variable kept=()
	shift 2
	root=$(server_root "$major") || return 1
	for variable in PROVE_FLAGS PROVE_TESTS CHECK_LONG CHECK_SHORT CHECK_SERVER_ONLY TEST_SEED TEST_STEPS; do
		[ -z "${!variable:-}" ] || kept+=("$variable=${!variable}")
	done
	# shellcheck disable=SC2086
	enter_root "$root" "$top:/check/src" "$portable:/opt/chronos" "$work/out:/check/out:rw" \
		env PG_MAJOR="$major" CHECK_ENGINE=/opt/chronos/chronos CHECK_SCREENSHOTS=/tmp/screenshots \
		CHECK_TIMES=/check/out/times.tsv "${kept[@]}" "$@" /check/src/scripts/check.sh $version_steps
}

# tests_of MAJOR: of the tests that start a server all, or with --spread a part: of every three neighbours
# each meets another one of the three versions, and with another commit another one again. What needs an
# older PostgreSQL beside it finds one with some versions only, so that it is tried with all.
tests_of() {
	local test place=0 turn
	[ -n "$spread" ] || { echo "${PROVE_TESTS:-}"; return; }
	turn=$((0x$(git -C "$top" rev-parse --short=7 HEAD 2>/dev/null || echo 0) + $1))
	for test in $(cd "$top" && older=none pg_major=none CHECK_ENGINE=other CHECK_SERVER_ONLY=1 tap_tests 2>/dev/null); do
		place=$((place + 1))
		if [ $(((place + turn) % 3)) = 0 ] || grep -q 'TEST_OLDER_BINDIR' "$top/$test"; then echo "$test"; fi
	done
}

# then_version MAJOR: what starts a server, with that version. The first one is taken for half as long as
# everything with this one, and the others for as long as the one before.
then_version() {
	local major=$1 begin=$SECONDS steps='regress tap' tests
	tests=$(tests_of "$major")
	[ -z "$spread" ] || [ -n "$tests" ] || steps=regress
	if ! grep -qx "$major" "$work/roots.made"; then
		not_run="$not_run
not run: PostgreSQL $major: its root file system cannot be made, see above"
	elif [ $((SECONDS + ${then_took:-$(((SECONDS - sanitizing) / 2))})) -gt $((${CHECK_MINUTES:-55} * 60)) ]; then
		not_run="$not_run
not run: PostgreSQL $major: it would not end within ${CHECK_MINUTES:-55} minutes: scripts/check.sh --pg $major"
	else
		step "PostgreSQL $major" check_version "$major" "$steps" CHECK_SERVER_ONLY=1 CHECK_SHORT=1 PROVE_TESTS="$tests"
		then_took=$((SECONDS - begin))
	fi
}

# check_packages RELEASE: in a root file system that has nothing but the release and perl, the packages bring
# all they need, or fail to. The compiler of each release has no warning.
check_packages() {
	local root fresh=$work/fresh-$1
	root=$(build_root "$1" build-essential ccache debhelper lintian postgresql-server-dev-all $engine_packages) || return 1
	as_root rm -rf "$root/check/packages"
	enter_root "$root" "$top:/check/src" env PACKAGE_BUILD=/check/package CHRONOS_WERROR=1 /check/src/scripts/package.sh /check/packages || return 1
	as_root mmdebstrap --quiet --variant=minbase --include=perl --aptopt='Acquire::Check-Valid-Until "false"' "$1" "$fresh" || return 1
	# All at once: each goes on with the server that the one before it has left running.
	enter_root "$fresh" "$root/check/packages:/check/packages" "$top/test/packages:/check/test" env PACKAGES=/check/packages \
		bash -c 'for test in /check/test/*.pl; do echo "==> $test"; perl "$test" || exit 1; done' || return 1
	as_root rm -rf --one-file-system "$fresh"
}

has() { case " $steps " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

if [ -n "$layer" ]; then
	shift
	"layer_$layer" "$@"
	steps=
fi
if has packages; then
	install_packages mmdebstrap
	for release in ${CHECK_RELEASES:-bookworm trixie sid}; do step "packages of $release" check_packages "$release"; done
	steps=${steps/packages/}
fi
if [ -z "${CHECK_ENGINE:-}" ] && [ -n "${steps// /}" ]; then
	install_packages $build_packages $test_packages
	# The dashboard's test skips itself without a browser.
	if has tap && [ -z "$majors" ]; then install_packages $browser_packages || say 'no browser can be installed'; fi
	if [ -n "$majors$after" ]; then
		install_packages mmdebstrap
		start_roots
	fi
	step 'build the engine, warnings are errors' build_engine
	if [ -n "$majors$after" ]; then
		step 'root file systems of other versions' report_roots
		for major in $after; do grep -qx "$major" "$work/roots.made" || { tail -n 30 "$work/roots"; break; }; done
		step 'the engine with its libraries' make_portable
	fi
fi
if [ -n "$majors" ]; then
	for major in $majors; do step "PostgreSQL $major" check_version "$major" "$steps"; done
	steps=none
fi
if has lint; then step 'lint' run_lint; fi
if has unit; then step 'unit tests' run_unit; fi
# Before the servers, whose tests know the time.
sanitizing=0
if [ -n "$spread" ] && has unit; then sanitize_some; fi
# What pg_upgrade is tested from.
older=$(installed_postgresql | awk -v newer="$pg_major" '$1 < newer' | tail -n 1)
screenshots=${CHECK_SCREENSHOTS:-$top/build/screenshots}
if has regress || has tap; then
	step 'build and install the module into a private PostgreSQL' install_module
	pg_bin=$work/pg/usr/lib/postgresql/$pg_major/bin
	if has regress; then step 'regress' run_regress; fi
	if has tap; then step 'TAP' run_tap; fi
fi
[ -z "$spread" ] || ci_fuzz
for major in $after; do then_version "$major"; done
if [ -z "${CHECK_ENGINE:-}" ] && [ -s "$times" ]; then
	cp "$times" "$top/build/times.tsv"
	say 'the ten slowest tests: version, test, seconds, seconds of processor'
	sort -t "$(printf '\t')" -k3,3nr "$times" | head -n 10 | cut -f 1-4
fi
if [ -z "${CHECK_ENGINE:-}" ] && [ -s "$(dirname "$times")/failed" ]; then
	say 'claims that do not hold'
	cat "$(dirname "$times")/failed"
fi
echo
echo "$passed passed, $failed failed$not_run"
[ "$failed" = 0 ]
