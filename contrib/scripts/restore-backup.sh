#!/bin/sh
# restore-backup.sh [LABEL|latest] [DIRECTORY] [DRY]
#
#   restore-backup.sh                                   restores and proves the latest backup in
#   restore-backup.sh 20260101-020000F                  /tmp/postgres-restore-test, which is kept;
#                                                       so is one of a former run until it is removed
#   restore-backup.sh latest /somewhere true            says what would be restored, and stops
#   restore-backup.sh latest /var/lib/postgresql/data false
#                                                       restores a cluster to be used: what is there
#                                                       is moved aside; the server must be stopped
#
# The stanza is PGBACKREST_STANZA, or main. CHRONOS names the program.
set -eu
label=${1:-latest}
directory=${2:-/tmp/postgres-restore-test}
dry=${3:-}
stanza=${PGBACKREST_STANZA:-main}
program=${CHRONOS:-chronos}
unset PGBACKREST_TYPE CHRONOS
case $dry in
true) exec "$program" --stanza="$stanza" --set="$label" --pg1-path="$directory" restore --plan ;;
false) exec "$program" --stanza="$stanza" --set="$label" --pg1-path="$directory" restore --save-current ;;
'') exec "$program" --stanza="$stanza" --set="$label" --to="$directory" drill --keep ;;
*)
	echo "the third argument is true, false or nothing, not '$dry'" >&2
	exit 2
	;;
esac
