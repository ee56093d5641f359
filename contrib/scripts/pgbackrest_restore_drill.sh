#!/bin/sh
# A drill, or a restore to where PGDATA_RESTORE_DIR says.
#
#   PGBACKREST_STANZA=nbms pgbackrest_restore_drill.sh
#       proves the latest backup in a scratch directory, which is gone afterwards
#   PGBACKREST_STANZA=nbms PITR_TARGET_TIME='2026-02-24 10:30:00+00' pgbackrest_restore_drill.sh
#       the same, recovered to that time
#   PGBACKREST_STANZA=nbms PGDATA_RESTORE_DIR=/var/lib/postgresql/data PITR_TARGET_TIME=... \
#       pgbackrest_restore_drill.sh
#       restores into that directory, where no server may run, and starts nothing
#
# RESTORE_TARGET_TIME is another name of PITR_TARGET_TIME. Arguments go to `chronos drill` or
# `chronos restore` as they are, e.g. --assert-file=... or --target-action=promote.
set -eu
: "${PGBACKREST_STANZA:?name the stanza in PGBACKREST_STANZA}"
target=${PITR_TARGET_TIME:-${RESTORE_TARGET_TIME:-}}
directory=${PGDATA_RESTORE_DIR:-}
program=${CHRONOS:-chronos}
# It may be set for pgbackrest_backup.sh and would be the type of the recovery here.
unset PGBACKREST_TYPE CHRONOS
[ -z "$target" ] || set -- --type=time --target="$target" "$@"
if [ -z "$directory" ]; then
	exec "$program" --stanza="$PGBACKREST_STANZA" drill "$@"
fi
set -- --pg1-path="$directory" "$@"
# What is there is brought to the state of the backup; anything but a data directory is refused.
[ ! -e "$directory/PG_VERSION" ] || set -- --delta "$@"
"$program" --stanza="$PGBACKREST_STANZA" restore --plan "$@"
exec "$program" --stanza="$PGBACKREST_STANZA" restore "$@"
