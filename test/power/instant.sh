#!/bin/bash
# The power fails under a server that works in a directory which an instant restore has not completed yet: afterwards no server
# starts there by itself, and with the directory served again it has every transaction that was acknowledged. Completed in the
# end it is a whole directory, with every page as the backup or the server had it.
#
#   power/instant.sh ENGINE PG_BIN USER DIRECTORY [FAILURES]
#
# As root, in a mount namespace of its own (scripts/check.sh power): the directory of the restore lies on an ext4 of a loop
# device, which is shut down without its journal being written, and mounted again. So little room is on it that nothing is
# fetched behind the server: what is missing stays so until the end, when there is more.
set -eu
engine=$1 bin=$2 user=$3 work=$4 failures=${5:-5}
seed=${TEST_SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed (set TEST_SEED to repeat)"
disk=$work/disk data=$disk/data port=5799 acknowledged=0
say() { echo "$(date +%T) $*"; }
fail() {
	echo "not ok: $*"
	tail -n 20 "$work"/server.log 2>/dev/null || true
	exit 1
}
as_user() { runuser -u "$user" -- env PATH="$bin:$PATH" PGHOST="$work" PGPORT="$port" PGDATABASE=postgres TZ=UTC "$@"; }
chronos() { as_user "$engine" --config="$work/chronos.conf" --stanza=main "$@"; }
sql() { as_user psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }
mounted() { as_user "$engine" --output=json mounts | python3 -c 'import json, sys
rows = [row for row in json.load(sys.stdin) if row["path"] == sys.argv[1]]
print(rows[0].get(sys.argv[2], "") if rows else "")' "$data" "$1"; }

# until SECONDS COMMAND...
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || fail "gave up waiting: $*"
		sleep 0.2
	done
}
is_open() { [ "$(sql 'SELECT pg_is_in_recovery()')" = f ]; }
start() {
	as_user pg_ctl -w -t 120 -D "$data" -l "$work/server.log" start >/dev/null || fail 'the server does not start'
	until_true 120 is_open
}

backed_up_cluster() {
	cat >"$work/chronos.conf" <<-C
		[global]
		repo1-path=$work/repo
		repo1-bundle=y
		repo1-block=y
		compress-type=zst
		log-level-console=warn
		log-path=$work/log
		lock-path=$work/lock
		spool-path=$work/spool
		start-fast=y
		process-max=2
		[main]
		pg1-path=$work/pg
		pg1-port=$port
		pg1-socket-path=$work
	C
	as_user mkdir "$work/repo" "$work/log"
	as_user initdb -k --wal-segsize=4 -D "$work/pg" >/dev/null
	cat >>"$work/pg/postgresql.conf" <<-C
		port = $port
		unix_socket_directories = '$work'
		listen_addresses = ''
		archive_mode = on
		archive_command = '$engine --config=$work/chronos.conf --stanza=main archive-push %p'
		shared_buffers = 16MB
		max_wal_size = 32MB
		min_wal_size = 16MB
	C
	as_user pg_ctl -w -D "$work/pg" -l "$work/first.log" start >/dev/null
	as_user pgbench -q -i -s 4 2>/dev/null
	sql "CREATE EXTENSION amcheck; CREATE TABLE untouched AS SELECT i AS id, repeat(md5(i::text), 4) AS word FROM generate_series(1, 400000) i" >/dev/null
	chronos stanza-create
	chronos --type=full backup
	as_user pgbench -n -c 2 -t 200 >/dev/null 2>&1
	expected=$(sql "$question")
	in_archive=$(sql 'SELECT count(*) FROM pgbench_history')
	sql 'SELECT pg_switch_wal()' >/dev/null
	as_user pg_ctl -w -m fast -D "$work/pg" stop >/dev/null
}

check() {
	local row least=$((in_archive + acknowledged))
	row=$(sql 'SELECT (SELECT count(*) FROM pgbench_history), (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)
		AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history) AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)')
	[ "${row#*|}" = t ] || fail "$1: sums do not agree: $row"
	[ "${row%|*}" -ge $least ] || fail "$1: ${row%|*} transactions, of $least"
	say "ok: $1: ${row%|*} transactions, of at least $least; $(mounted missing-bytes) bytes to come"
}

# What a machine does not have any more when it comes up again.
power_fails() {
	local worker keeper pid
	worker=$(mounted pid)
	keeper=$(sed 's/.*) \S \([0-9]*\) .*/\1/' "/proc/$worker/stat")
	python3 -c 'import fcntl, os, struct, sys
# FS_IOC_SHUTDOWN; 2: neither data nor the journal is written.
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack("I", 2))' "$disk"
	kill -9 "$keeper" "$worker" 2>/dev/null || true
	for pid in /proc/[0-9]*; do
		case $(readlink "$pid/cwd" 2>/dev/null) in "$data"*) kill -9 "${pid#/proc/}" 2>/dev/null || true ;; esac
	done
	wait
	# Whoever is not reaped has the number still that the socket's lock names.
	rm -f "$work/.s.PGSQL.$port" "$work/.s.PGSQL.$port.lock"
	until_true 30 umount -l "$data"
	until_true 60 umount "$disk"
	mount -o loop "$work/disk.img" "$disk"
}

question="SELECT count(*), md5(string_agg(word, '|' ORDER BY id)) FROM untouched"
chown "$user" "$work"
trap 'umount -l "$data" 2>/dev/null || true; umount -l "$disk" 2>/dev/null || true' EXIT
backed_up_cluster
mkdir "$disk"
truncate -s 1200M "$work/disk.img"
mkfs.ext4 -q -m 0 "$work/disk.img"
mount -o loop "$work/disk.img" "$disk"
fallocate -l 900M "$disk/ballast"
chown "$user" "$disk"
as_user mkdir -m 0700 "$data"
chronos --pg1-path="$data" --archive-mode=off --instant restore
start
check 'restored'
for ((round = 1; round <= failures; round++)); do
	rm -f "$work"/acknowledged.*
	(cd "$work" && as_user pgbench -n -c 4 -T 60 -l --log-prefix="$work/acknowledged" >/dev/null 2>&1) &
	sleep "$((RANDOM % 4 + 1)).$((RANDOM % 10))"
	power_fails
	acknowledged=$((acknowledged + $(cat "$work"/acknowledged.* | wc -l)))
	[ ! -e "$data/global/pg_control" ] || fail 'pg_control is there before the directory is whole'
	if as_user pg_ctl -w -t 20 -D "$data" -l "$work/refused.log" start >/dev/null 2>&1; then fail 'a server starts by itself'; fi
	rm -f "$data/postmaster.pid"
	chronos --remount="$data" --background mount >/dev/null
	start
	check "failure $round"
done

rm "$disk/ballast"
chronos --finish="$data" mount
as_user pg_ctl -w -m fast -D "$data" stop >/dev/null
chronos --finish="$data" mount
[ ! -e "$data/.chronos-lazy" ] || fail 'something is left'
as_user pg_checksums --check -D "$data" >/dev/null || fail 'checksums'
start
check 'native'
[ "$(sql "$question")" = "$expected" ] || fail 'what nobody has touched is not as it was'
sql "SELECT count(bt_index_check(c.oid, true)) FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE relkind = 'i' AND amname = 'btree'" >/dev/null || fail 'indexes and tables do not agree'
as_user pg_ctl -w -m fast -D "$data" stop >/dev/null
say "ok: $failures power failures"
