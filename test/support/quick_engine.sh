#!/bin/sh
# An engine that does nothing and says that it has: for tests of what the server does around jobs.
# It appends what it is asked for to the file that chronos.config_file names. A file of that name
# with .fail behind it makes it fail, one with .hang makes it wait for its end.
role=$2
echo "hello protocol=1 version=0.1.0 role=$role pid=$$"
for argument; do
	case $argument in --config=*) script=${argument#--config=} ;; esac
done
echo "$*" >>"$script"
if [ -e "$script.hang" ]; then
	read -r line
	exit 0
fi
if [ -e "$script.fail" ]; then
	echo "failed code=56 message=it%20did%20not%20work hint=Try%20again."
	exit 1
fi
echo "progress phase=copy bytes_total=10 bytes_done=5 files_total=2 files_done=1"
echo "done status=0 label=20260101-000000F size=10 files=2"
