# The layers of check.sh beside the tests of a release: sourced by it, with its functions. Each builds in a
# directory of its own (CMakePresets.json), so that none undoes the other's work.

# build_preset PRESET TARGET...
build_preset() {
	local preset=$1
	shift
	(cd "$top" && cmake --preset "$preset" && cmake --build --preset "$preset" --target "$@")
}

# What was changed: against CHECK_BASE, or the branch main - the origin's where there is no other -, or the last commit of
# main itself; and what is not committed.
changed_files() {
	local base=${CHECK_BASE:-}
	if [ -z "$base" ]; then
		base=$(git -C "$top" merge-base HEAD main 2>/dev/null || git -C "$top" merge-base HEAD origin/main 2>/dev/null || true)
		if [ -z "$base" ] || [ "$base" = "$(git -C "$top" rev-parse HEAD)" ]; then base=HEAD~1; fi
	fi
	git -C "$top" diff --name-only "$base" -- && git -C "$top" ls-files --others --exclude-standard
}

# The unit tests of the modules that the files on standard input belong to: src/repo/x.cpp, include/chronos/repo/x.h
# and test/unit/repo/x_test.cpp to unit_repo, include/chronos/ops/archive/get.h to unit_ops_archive.
units_of() {
	sed -nE \
		-e 's#^(src|test/unit)/ops/([a-z]+)/.*#ops/\2#p' \
		-e 's#^include/chronos/ops/([a-z]+)/.*#ops/\1#p' \
		-e 's#^(src|include/chronos|test/unit)/([a-z]+)/.*#\2#p' |
		sort -u | while read -r module; do
		if compgen -G "$top/test/unit/$module/*_test.cpp" >/dev/null; then echo "unit_${module//\//_}"; fi
	done
}

# run_units DIRECTORY TARGET...: the executables themselves, since ctest knows tests and not modules; each in as many
# parts as there are processors, and what each part printed together.
run_units() {
	local directory=$1 parts unit part
	shift
	parts=$(nproc)
	for unit; do
		for ((part = 0; part < parts; part++)); do echo "$unit $part"; done
	done | GTEST_TOTAL_SHARDS=$parts xargs -L 1 -P "$parts" sh -c '
		log=$0/$1.$2.log
		GTEST_SHARD_INDEX=$2 "$0/$1" --gtest_brief=1 >"$log" 2>&1
		status=$?
		echo "--- $1, part $2: exit status $status"
		cat "$log"
		[ $status = 0 ]' "$directory"
}

# The sources of the engine and its tests among the files on standard input, each by itself: together with others a
# file has what those include.
compile_alone() {
	local sources
	mapfile -t sources < <(grep -E '^(src|test/unit)/.*\.cpp$' | grep -v '^src/extension/' | while read -r file; do
		if [ -e "$top/$file" ]; then echo "$top/$file^"; fi
	done)
	[ ${#sources[@]} -eq 0 ] || (cd "$top" && cmake --preset dev >/dev/null && ninja -C build/dev "${sources[@]}")
}
compile_changed() { changed_files | compile_alone; }

# quick: lint, what was changed compiled by itself, and its unit tests.
layer_quick() {
	local units
	install_packages $build_packages $test_packages
	step 'lint' run_lint
	step 'changed sources, each by itself' compile_changed
	# shellcheck disable=SC2046
	units=$(changed_files | units_of)
	if [ -z "$units" ]; then say 'nothing was changed that has unit tests'; return; fi
	units=$(echo $units)
	# shellcheck disable=SC2086
	step "build $units" build_preset release $units
	$step_ok || return 0
	# shellcheck disable=SC2086
	step "$units" run_units "$top/build/check" $units
}

# Under which ThreadSanitizer has something to say: what has threads.
thread_units='unit_io unit_storage unit_repo unit_ops_archive unit_ops_backup unit_ops_mount unit_ops_restore unit_engine unit_serve unit_cli'

# sanitize [UNIT...]: unit tests and TAP under AddressSanitizer and UndefinedBehaviorSanitizer, what has threads under
# ThreadSanitizer. With names, only these unit tests, and no TAP.
layer_sanitize() {
	install_packages $build_packages $test_packages
	if [ $# -gt 0 ]; then
		sanitized asan "$@"
		sanitized tsan "$@"
	else
		step 'build all with address, undefined' build_preset asan all
		$step_ok || return 0
		step 'unit tests, address, undefined' ctest --test-dir "$top/build/asan" --output-on-failure -j"$(nproc)" --timeout 900
		# shellcheck disable=SC2086
		sanitized tsan $thread_units
		step 'TAP, address, undefined' sanitized_tap
	fi
}
# sanitized PRESET UNIT...
sanitized() {
	local preset=$1
	shift
	step "build with $preset: $*" build_preset "$preset" "$@"
	$step_ok || return 0
	step "$preset: $*" run_units "$top/build/$preset" "$@"
}
export UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1
# What of it is worth its time for every change, four minutes of two processors where nothing of it is in a compiler
# cache: who reads what others wrote, and the threads that all others are built of.
sanitize_some() {
	local begin=$SECONDS
	sanitized asan unit_base unit_io unit_control unit_pgdata unit_storage unit_repo
	sanitized tsan unit_io unit_storage
	sanitizing=$((SECONDS - begin))
}
# The engine of build/asan under the module of a release. The tests know it as TEST_SANITIZED.
sanitized_tap() { CHECK_BUILD=$top/build/asan CHECK_BUILD_TYPE=Debug CHECK_SANITIZED=1 "$top/scripts/check.sh" tap; }

# fuzz SECONDS [NAME...]: each fuzzer, or those, for that long. What was found interesting stays in build/fuzz/corpus;
# test/fuzz/corpus/<name>, where there is one, is read as well. keep_corpus NAME... puts what is worth it there.
layer_fuzz() {
	local seconds=${1:?fuzz needs the seconds for each fuzzer} names
	shift
	install_packages $build_packages
	install_clang
	# shellcheck disable=SC2046
	names=$(echo ${*:-$(all_fuzzers)})
	# shellcheck disable=SC2086
	step "build $names" build_preset fuzz $names
	$step_ok || return 0
	for name in $names; do step "$name, $seconds s" run_fuzzer "$name" "$seconds"; done
}
# What libFuzzer and sanitizers link clang only recommends, by a package with its version in the name.
install_clang() {
	install_packages clang && install_packages "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
}
all_fuzzers() { (cd "$top/test/fuzz" && find . -name 'fuzz_*.cpp' | sed 's#.*/##; s#\.cpp$##' | sort); }
# An input that takes so long, or so much memory, is a finding as a crash is; build/fuzz/found has all of them.
run_fuzzer() {
	local name=$1 seconds=$2 corpus=$top/build/fuzz/corpus/$1 seeds=()
	shift 2
	mkdir -p "$corpus" "$top/build/fuzz/found"
	[ ! -d "$top/test/fuzz/corpus/$name" ] || seeds=("$top/test/fuzz/corpus/$name")
	(cd "$top/build/fuzz/found" && UBSAN_OPTIONS=print_stacktrace=1 "../$name" -max_total_time="$seconds" -timeout=30 \
		-rss_limit_mb=3000 -artifact_prefix="$name-" -print_final_stats=1 "$@" "$corpus" "${seeds[@]}")
}
# keep_corpus [NAME...]: of both corpora the least that reaches as much of the code, for the repository; how often
# each part is reached would make it ten times as large.
keep_corpus() {
	local name kept
	# shellcheck disable=SC2046
	for name in ${*:-$(all_fuzzers)}; do
		kept=$(mktemp -d)
		mkdir -p "$top/test/fuzz/corpus/$name" "$top/build/fuzz/corpus/$name"
		"$top/build/fuzz/$name" -merge=1 -set_cover_merge=1 -use_counters=0 -max_len=3000 "$kept" "$top/test/fuzz/corpus/$name" \
			"$top/build/fuzz/corpus/$name" || return 1
		rm -rf "${top:?}/test/fuzz/corpus/$name"
		mkdir "$top/test/fuzz/corpus/$name"
		find "$kept" -type f -exec cp {} "$top/test/fuzz/corpus/$name/" \;
		rm -rf "$kept"
	done
}

# ci_fuzz: every fuzzer over its corpus and then over some inputs of its own, which is what a change is tested with:
# as many, and from the same seed, each time, so that what a change meets there is of its making and not of the
# machine's. Where there is no clang to be had that is said, and nothing is wrong with the tree.
ci_fuzz() {
	local seconds=${CHECK_FUZZ_SECONDS:-10}
	if ! (install_clang); then
		not_run="$not_run
not run: the fuzzers: clang cannot be installed"
		return
	fi
	step 'build the fuzzers' build_preset fuzz fuzzers
	$step_ok || return 0
	step "each fuzzer over its corpus and 2000 inputs, for $seconds s at most" run_all_fuzzers "$seconds"
}
# As many at once as there are processors; what each has said is shown of those that have failed.
run_all_fuzzers() {
	local logs=$work/fuzzers
	mkdir -p "$logs"
	export -f run_fuzzer
	export top
	all_fuzzers | xargs -P "$(nproc)" -I{} bash -c \
		'run_fuzzer "$1" "$2" -seed=1 -runs=2000 >"$3/$1" 2>&1 || { tail -n 60 "$3/$1"; echo "FAILED: $1"; exit 1; }' - {} "$1" "$logs"
}

# tidy [FILE...]: clang-tidy over these sources, or all of src; any warning fails.
layer_tidy() {
	install_packages $build_packages $test_packages clang-tidy
	step 'configure' cmake -S "$top" -B "$top/build/tidy" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCHRONOS_TESTS=ON
	step 'clang-tidy' run_tidy "$@"
}
run_tidy() {
	local files=("$@")
	# The module is compiled by its Makefile: the commands of this build do not know it.
	[ ${#files[@]} -gt 0 ] || mapfile -t files < <(cd "$top" && find src -name '*.cpp' -not -path 'src/extension/*' | sort)
	(cd "$top" && printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy --quiet --warnings-as-errors='*' --extra-arg=-Wno-unknown-warning-option -p build/tidy)
}

# layer_power [FAILURES]: the power of a file system fails under a server. Root's, with a loop device and /dev/fuse.
layer_power() {
	install_packages $build_packages $test_packages e2fsprogs
	step 'build the engine' build_engine
	step "power failures: ${1:-5}" power_failures "${1:-5}"
}
power_failures() {
	[ "$(id -u)" = 0 ] || { echo 'only root mounts a loop device'; return 1; }
	local directory=$work/power
	mkdir -m 755 "$directory"
	install -m 755 "$engine" "$directory/chronos"
	mknod -m 666 "$work/fuse" c 10 229
	# shellcheck disable=SC2016
	unshare --mount --propagation private sh -c 'mount --bind "$1" /dev/fuse && shift && exec "$@"' sh "$work/fuse" \
		"$top/test/power/instant.sh" "$directory/chronos" "/usr/lib/postgresql/$pg_major/bin" "$server_user" "$directory" "$1"
}
