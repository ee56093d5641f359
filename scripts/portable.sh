#!/bin/bash
# The executables with everything they need, for systems without Debian's libraries: another
# distribution, or a container of Alpine, whose C library is another one. Prints the name of the
# archive, which is unpacked at the root of the other system:
#
#   scripts/portable.sh EXECUTABLE [PREFIX [OUTPUT]]
#
#   EXECUTABLE  a built or installed chronos; chronos-serve beside it comes along
#   PREFIX      where it will lie, for the loader has no relative name (default /opt/chronos)
#   OUTPUT      default chronos-portable.tar.gz
#
# A kernel, /bin/sh for what restore_command starts, and certificates for TLS are the target's own.
set -eu
[ $# -ge 1 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 64; }
executable=$(readlink -f "$1")
prefix=${2:-/opt/chronos}
output=${3:-chronos-portable.tar.gz}
case $prefix in /?*) ;; *) echo "error: the prefix must be an absolute path: $prefix" >&2; exit 64 ;; esac
command -v patchelf >/dev/null || { echo 'error: patchelf is missing: apt-get install patchelf' >&2; exit 69; }

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
lib=$stage$prefix/lib
mkdir -p "$lib"

# Opened when they are first needed, so no header names them: as in src/*/late_*.cpp.
late='libcurl.so.4 libpq.so.5 libxml2.so.2'

# library_path NAME: where the loader of this system finds it.
library_path() { /sbin/ldconfig -p | awk -v name="$1" '$1 == name && /x86-64|AArch64|aarch64/ { print $NF; exit }'; }
# needed_by FILE...: all libraries below them, the loader too, by path.
needed_by() { ldd "$@" | awk '$2 == "=>" { print $3 } $1 ~ /^\/.*\/ld-/ { print $1 }' | sort -u; }

programs=$executable
[ ! -x "$(dirname "$executable")/chronos-serve" ] || programs="$programs $(dirname "$executable")/chronos-serve"
libraries=
# That of mounts is of no use to everybody: it comes along if it is installed here.
fuse=$(grep -aom1 'libfuse3\.so\.[0-9]*' "$executable" || true)
[ -z "$fuse" ] || [ -z "$(library_path "$fuse")" ] || late="$late $fuse"
for name in $late; do
	path=$(library_path "$name")
	[ -n "$path" ] || { echo "error: $name is not installed here" >&2; exit 69; }
	libraries="$libraries $path"
done
# shellcheck disable=SC2086
for path in $libraries $(needed_by $programs $libraries); do cp -Lf "$path" "$lib/"; done
loader=$(basename "$(patchelf --print-interpreter "$executable")")

for program in $programs; do
	copy=$stage$prefix/$(basename "$program")
	cp "$program" "$copy"
	# An old-style path, which also holds for libraries of libraries and for those opened late.
	patchelf --set-interpreter "$prefix/lib/$loader" --force-rpath --set-rpath "$prefix/lib" "$copy"
done
tar -C "$stage" --owner=0 --group=0 -czf "$output" ".${prefix}"
echo "$output"
