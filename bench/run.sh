#!/bin/bash
# One table: a row an operation, chronos and pgBackRest side by side in the same run on equal
# settings. `bench/run.sh --help` lists the options.
exec python3 "$(dirname "$0")/run.py" "$@"
