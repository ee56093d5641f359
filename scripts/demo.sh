#!/bin/bash
# From nothing to a recovered table on a fresh Debian, in a few minutes: installs the packages it
# needs, builds, starts a throw-away PostgreSQL with chronos_backup in it, fills it, takes a full
# backup, drops the wrong table, and gets it back in a second directory. Safe to repeat; as root or
# through sudo; the servers run as an unprivileged user on a Unix socket and are stopped at the end.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/scripts/lib.sh"
build=${DEMO_BUILD:-$top/build/demo}
work=$(mktemp -d "${TMPDIR:-/tmp}/chronos_demo.XXXXXX")
chmod 755 "$work"
cd "$work"    # where the unprivileged user may be, too
begin=$SECONDS

stop_servers() {
	local data
	for data in "$work/data" "$work/recovered"; do
		if [ -f "$data/postmaster.pid" ]; then
			as_server_user "$pg_bin/pg_ctl" -D "$data" -m fast -w stop >/dev/null 2>&1 || true
		fi
	done
	as_root rm -rf "$work"
}
trap stop_servers EXIT

install_packages $build_packages $demo_packages

say 'building the engine and the module'
private_postgres "$work/pg"
cmake -S "$top" -B "$build" -G Ninja -DCHRONOS_TESTS=OFF -DCHRONOS_UNITY=ON >"$work/build.log" 2>&1 &&
	cmake --build "$build" >>"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log"; fail 'the engine does not build'; }
copy_tree "$work/src"
{ make -C "$work/src" clean PG_CONFIG="$pg_bin/pg_config" ENGINE="$build/chronos" &&
	make -C "$work/src" -j2 PG_CONFIG="$pg_bin/pg_config" ENGINE="$build/chronos" &&
	make -C "$work/src" install PG_CONFIG="$pg_bin/pg_config" ENGINE="$build/chronos"; } >>"$work/build.log" 2>&1 ||
	{ tail -n 40 "$work/build.log"; fail 'the module does not build'; }
built=$((SECONDS - begin))

mkdir "$work/repo" "$work/recovered" "$work/socket"
cat >"$work/chronos.conf" <<C
[global]
repo1-path=$work/repo
repo1-retention-full=2
lock-path=$work/lock
log-path=$work
start-fast=y

[demo]
pg1-path=$work/data
C
as_root chown -R "$server_user" "$work/pg" "$work/repo" "$work/recovered" "$work/socket" "$work/chronos.conf"
as_root chown "$server_user" "$work"

chronos() { as_server_user "$pg_bin/chronos" --config="$work/chronos.conf" --stanza=demo "$@"; }
sql() { as_server_user "$pg_bin/psql" -X -q -h "$work/socket" -p 54320 -d postgres -v ON_ERROR_STOP=1 "$@"; }

say 'starting a throw-away PostgreSQL with chronos_backup in it'
as_server_user "$pg_bin/initdb" -D "$work/data" -A trust --data-checksums --no-sync >/dev/null
as_server_user tee -a "$work/data/postgresql.conf" >/dev/null <<C
port = 54320
listen_addresses = ''
unix_socket_directories = '$work/socket'
wal_level = replica
archive_mode = on
archive_library = 'chronos_backup'
shared_preload_libraries = 'chronos_backup'
chronos.stanza = 'demo'
chronos.config_file = '$work/chronos.conf'
C
as_server_user "$pg_bin/pg_ctl" -D "$work/data" -l "$work/server.log" -w start >/dev/null || { cat "$work/server.log"; exit 1; }
sql -c 'CREATE EXTENSION chronos_backup'

say 'loading data: pgbench, and the countries and languages of iso-codes'
as_server_user "$pg_bin/pgbench" -i -q -s 10 -h "$work/socket" -p 54320 postgres >/dev/null 2>&1
python_table() { # NAME FILE KEY: rows "code<TAB>name" from a JSON file of iso-codes
	python3 - "$2" "$3" <<'P'
import json, sys
for row in json.load(open(sys.argv[1]))[sys.argv[2]]:
    code = row.get("alpha_2") or row.get("alpha_3")
    if code and row.get("name"):
        print(code + "\t" + row["name"])
P
}
sql -c 'CREATE TABLE country (code text PRIMARY KEY, name text)' -c 'CREATE TABLE language (code text, name text)'
python_table country /usr/share/iso-codes/json/iso_3166-1.json 3166-1 | sql -c 'COPY country FROM STDIN'
python_table language /usr/share/iso-codes/json/iso_639-3.json 639-3 | sql -c 'COPY language FROM STDIN'
sql -c "SELECT (SELECT count(*) FROM pgbench_accounts) AS accounts, (SELECT count(*) FROM country) AS countries, (SELECT count(*) FROM language) AS languages"

say "SELECT chronos.backup_now('full')"
from=$SECONDS
sql -c "SELECT chronos.backup_now('full')"
backup_seconds=$((SECONDS - from))

say 'more work after the backup, and then the wrong table goes'
sql -c "UPDATE country SET name = upper(name) WHERE code IN ('IT', 'DE', 'JP')" -c 'DELETE FROM pgbench_history'
as_server_user "$pg_bin/pgbench" -n -t 500 -h "$work/socket" -p 54320 postgres >/dev/null 2>&1
moment=$(sql -At -c 'SELECT clock_timestamp()')
sql -c 'DROP TABLE country' -c 'SELECT pg_switch_wal()' >/dev/null
echo "the table country was dropped after $moment"
sql -At -c "SELECT pg_walfile_name(pg_current_wal_lsn())" >/dev/null
for _ in $(seq 300); do
	[ "$(sql -At -c "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'")" = 0 ] && break
	sleep 0.1
done

say "chronos restore --type=time --target='$moment' into a second directory"
from=$SECONDS
chronos --pg1-path="$work/recovered" --type=time --target="$moment" --target-action=promote --archive-mode=off restore
restore_seconds=$((SECONDS - from))
echo "port = 54321" | as_server_user tee -a "$work/recovered/postgresql.auto.conf" >/dev/null
as_server_user "$pg_bin/pg_ctl" -D "$work/recovered" -l "$work/recovered.log" -w start >/dev/null || { cat "$work/recovered.log"; exit 1; }
recovered() { as_server_user "$pg_bin/psql" -X -q -h "$work/socket" -p 54321 -d postgres -v ON_ERROR_STOP=1 "$@"; }
for _ in $(seq 300); do [ "$(recovered -At -c 'SELECT pg_is_in_recovery()')" = f ] && break; sleep 0.1; done
say 'the table is back, with the work done after the backup'
recovered -c "SELECT code, name FROM country WHERE code IN ('IT', 'DE', 'JP', 'FR') ORDER BY code"
rows=$(recovered -At -c 'SELECT count(*) FROM country')
[ "$rows" -gt 200 ] || fail "the recovered table has only $rows rows"
[ "$(recovered -At -c "SELECT name FROM country WHERE code = 'IT'")" = ITALY ] || fail 'work done after the backup is missing'
chronos info
recovered_seconds=$((SECONDS - from))

cat <<END

Build $built s, backup $backup_seconds s, restore $restore_seconds s, restore and recovery $recovered_seconds s; all together $((SECONDS - begin)) s.

The same on a server of your own (PostgreSQL $pg_major, as root, in this directory):

    make PG_CONFIG=/usr/lib/postgresql/$pg_major/bin/pg_config install
    install -d -o postgres -g postgres -m 750 /var/lib/chronos /var/log/pgbackrest /var/spool/pgbackrest
    /etc/chronos/chronos.conf                # or keep your /etc/pgbackrest/pgbackrest.conf as it is
        [global]
        repo1-path=/var/lib/chronos
        repo1-retention-full=2
        [main]
        pg1-path=/var/lib/postgresql/$pg_major/main
    postgresql.conf:
        shared_preload_libraries = 'chronos_backup'
        archive_mode = on
        archive_library = 'chronos_backup'
    pg_ctlcluster $pg_major main restart, then in psql:
        CREATE EXTENSION chronos_backup;
        SELECT chronos.backup_now('full');
        SELECT * FROM chronos.backups;
    and on the worst day, with the server stopped:
        chronos --stanza=main --delta --type=time --target='...' restore
END
