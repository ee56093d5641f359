#!/usr/bin/python3
"""Runs a test and notes what it took: measured.py FILE LABEL COMMAND... TEST

Appends one line to FILE: label, test, seconds, seconds of processor, exit status, separated by tabs.
The processor's time is that of all that the test started and that ended before it, servers too: as
subreaper this process inherits what daemons leave behind, where the kernel would give it to init.
"""
import ctypes
import os
import resource
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def main():
    file, label, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    begin = time.monotonic()
    test = os.fork()
    if test == 0:
        # Python ignores these by itself, and posix_spawn() signals of the C library's own.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os.kill(test, number))
    while True:
        pid, status = os.wait()
        if pid == test:
            break
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = os.waitstatus_to_exitcode(status)
    line = f'{label}\t{command[-1]}\t{time.monotonic() - begin:.1f}\t{used.ru_utime + used.ru_stime:.1f}\t{code}\n'
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(out, line.encode())
    os.close(out)
    sys.exit(code if code >= 0 else 128 - code)


main()
