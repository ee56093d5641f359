#!/bin/sh
# For /docker-entrypoint-initdb.d of the official image: makes the extension when the container is
# initialised, and schedules from its environment. A variable that is missing or empty makes none.
#
#   BACKUP_SCHEDULE_FULL="0 2 * * 0"     BACKUP_SCHEDULE_DIFF="0 2 * * 1-6"
#   BACKUP_SCHEDULE_INCR="0 */6 * * *"   BACKUP_SCHEDULE_VERIFY="0 4 * * *"
#   BACKUP_SCHEDULE_MAINTENANCE="@hourly"
#   BACKUP_TIMEZONE="Europe/Berlin"      by default that of chronos.timezone
#   RETENTION_DAYS=30                    how long finished jobs stay in the history; it is not the
#                                        retention of backups: that is repo1-retention-full
#
# The image must start the server with shared_preload_libraries=chronos_backup.
set -e
sql() {
	psql -X -q -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres "$@"
}

sql -c 'CREATE EXTENSION IF NOT EXISTS chronos_backup'
schedule() {
	[ -n "$2" ] || return 0
	sql -v type="$1" -v cron="$2" -v timezone="$BACKUP_TIMEZONE" <<'SQL' >/dev/null
SELECT chronos.schedule(:'type', :'type', :'cron', nullif(:'timezone', ''));
SQL
}
schedule full "$BACKUP_SCHEDULE_FULL"
schedule diff "$BACKUP_SCHEDULE_DIFF"
schedule incr "$BACKUP_SCHEDULE_INCR"
schedule verify "$BACKUP_SCHEDULE_VERIFY"
schedule maintenance "$BACKUP_SCHEDULE_MAINTENANCE"

if [ -n "$RETENTION_DAYS" ]; then
	sql -v retention="${RETENTION_DAYS}d" <<'SQL'
ALTER SYSTEM SET chronos.job_history_retention = :'retention';
SELECT pg_reload_conf() \g /dev/null
SQL
fi
