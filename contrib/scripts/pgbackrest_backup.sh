#!/bin/sh
# Takes a backup: PGBACKREST_STANZA=nbms PGBACKREST_TYPE=full pgbackrest_backup.sh
#
# PGBACKREST_TYPE is full, diff or incr (the default). Every other PGBACKREST_ or CHRONOS_ variable is
# the option of that name, as always. CHRONOS names the program. The exit status is that of the backup.
set -eu
: "${PGBACKREST_STANZA:?name the stanza in PGBACKREST_STANZA}"
type=${PGBACKREST_TYPE:-incr}
program=${CHRONOS:-chronos}
unset PGBACKREST_TYPE CHRONOS
exec "$program" --stanza="$PGBACKREST_STANZA" --type="$type" backup "$@"
