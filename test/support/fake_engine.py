#!/usr/bin/python3 -SE
"""An engine that misbehaves on demand, for tests of the server module.

The server starts it in place of `chronos` (chronos.executable). What it does stands in the file that
chronos.config_file names, read again for each request: lines of `<role>=<behaviour>`. It appends
what it sees to `<that file>.log`, one line each: `start <role> <pid> <arguments>`, `push <file>`,
`signal <number>`, `eof`, `answer <line>`, and at the start what it inherited: `inherits <key>
<value>` for open descriptors, blocked and ignored signals, core limit, group and environment.

Behaviours of `archive` (per push) and of the other roles (once):
  ok            the right thing
  fail          the `failed` message
  hang          no answer, but ends at SIGTERM or end of file as an engine should
  deaf          no answer, and ignores SIGTERM and end of file
  slow:<s>      ok after so many seconds
  crash:<n>     dies by signal n
  exit:<n>      exits with that status without a word
  garbage       bytes that are no message
  long          a line that is longer than any message may be
  flood         as many log lines as fit into a second, then ok
  chatter       what goes to standard error, 1 MiB, then ok
Behaviours at the start: hello=<protocol number>, hello=none, hello=mute (never says anything);
version=<of another release>; unknown=<code> fails as one to which a word of the server is unknown.
Behaviour of `job`: findings (three of them, then an exit code).
Steps of `backup=sql:<statement>`: runs it first and logs the answer.
"""
import os
import select
import signal
import sys
import time
from urllib.parse import quote, unquote

SAFE = "/:,@+"


def send(verb, **fields):
    keys = ((key.lstrip("_"), value) for key, value in fields.items())
    line = verb + "".join(f" {key}={quote(str(value), safe=SAFE)}" for key, value in keys)
    os.write(1, (line + "\n").encode())


def own_version():
    """That of the module: both come from the same tree."""
    control = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../chronos_backup.control")
    with open(control) as lines:
        for line in lines:
            if line.startswith("default_version"):
                return line.split("'")[1]
    return "?"


class Engine:
    def __init__(self, arguments):
        self.role = arguments[1]
        options = dict(a[2:].split("=", 1) for a in arguments[2:] if a.startswith("--") and "=" in a)
        self.options = options
        self.script = options.get("config", "/dev/null")
        self.unread = b""
        self.note("start", self.role, os.getpid(), *arguments[2:])
        if self.behaviour("inheritance") == "note":
            self.note_inheritance()

    def note(self, *words):
        if self.script != "/dev/null":
            with open(self.script + ".log", "a") as log:
                log.write(" ".join(str(word) for word in words) + "\n")

    def note_inheritance(self):
        fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
        # The last one is that of the listing itself.
        self.note("inherits", "fds", ",".join(str(fd) for fd in fds[:-1]))
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith(("SigBlk", "SigIgn")):
                    self.note("inherits", *line.replace(":", "").split())
        with open("/proc/self/limits") as limits:
            for line in limits:
                if line.startswith("Max core file size"):
                    self.note("inherits", "core", line.split()[4])
        self.note("inherits", "own-group", os.getpgid(0) == os.getpid())
        self.note("inherits", "environment", ",".join(sorted(os.environ)))

    def behaviour(self, key):
        result = "ok"
        try:
            with open(self.script) as script:
                for line in script:
                    name, _, value = line.strip().partition("=")
                    if name == key:
                        result = value
        except OSError:
            pass
        return result

    def read_line(self, timeout=None):
        """A line from the server; None at the end of the channel or after `timeout` seconds."""
        while b"\n" not in self.unread:
            if timeout is not None and not select.select([0], [], [], timeout)[0]:
                return None
            chunk = os.read(0, 65536)
            if not chunk:
                self.note("eof")
                return None
            self.unread += chunk
        line, self.unread = self.unread.split(b"\n", 1)
        return line.decode()

    def terminate(self, number, _frame):
        self.note("signal", number)
        os._exit(1)

    def hello(self):
        protocol = self.behaviour("hello")
        if protocol == "mute":
            while True:
                time.sleep(60)
        if protocol != "none":
            version = self.behaviour("version")
            send("hello", protocol="1" if protocol == "ok" else protocol,
                 version=own_version() if version == "ok" else version, role=self.role,
                 pid=os.getpid())
        if (code := self.behaviour("unknown")) != "ok":
            send("failed", code=code, message="what is that?")
            os._exit(1)

    def behave(self, behaviour, ok, fail):
        name, _, value = behaviour.partition(":")
        if name == "fail":
            return fail()
        if name == "hang":
            return self.hang()
        if name == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(60)
        if name == "crash":
            os.kill(os.getpid(), int(value))
            time.sleep(60)
        if name == "exit":
            os._exit(int(value))
        if name == "garbage":
            os.write(1, b"\x00\xff\x1b[2J no message\n")
            return self.hang()
        if name == "long":
            os.write(1, b"x" * (1 << 21))
            return self.hang()
        if name == "flood":
            end = time.time() + 1
            while time.time() < end:
                send("log", level="detail", text="flood " * 20)
        if name == "chatter":
            for _ in range(1024):
                try:
                    os.write(2, b"e" * 1023 + b"\n")
                except BlockingIOError:
                    pass
        if name == "slow":
            time.sleep(float(value))
        return ok()

    def hang(self):
        while self.read_line() is not None:
            pass
        os._exit(0)

    def archive(self):
        while (line := self.read_line()) is not None:
            file = unquote(line.split("file=", 1)[1])
            self.note("push", file)
            self.behave(self.behaviour("archive"), lambda: send("pushed", file=file),
                        lambda: send("failed", file=file, code=55, message="storage said no",
                                     hint="Ask it nicely."))

    def query(self, sql, *parameters):
        send("query", id=1, sql=sql, **{f"p{i + 1}": p for i, p in enumerate(parameters)})
        line = self.read_line()
        self.note("answer", line)
        if line is not None and line.startswith("rows"):
            for _ in range(int(line.rsplit("count=", 1)[1])):
                self.note("answer", self.read_line())

    def job(self):
        behaviour = self.behaviour(self.role)
        if behaviour.startswith("sql:"):
            self.query(behaviour[4:])
            behaviour = "ok"
        if self.role == "backup":
            self.query("SELECT pg_backup_start($1, $2)", "fake", "t")
            send("progress", phase="copy", bytes_total=1000, bytes_done=250, files_total=10,
                 files_done=2)
        if behaviour == "findings":
            return self.findings()
        self.behave(behaviour, self.done, self.fail)

    def findings(self):
        send("finding", test="20260101-000000D", status="ok", message="every file is whole")
        send("finding", test="20260101-000000F", status="failure", message="file a is damaged",
             hint="Restore it.")
        send("finding", test="20260101-000000F", status="failure", message="file b is missing")
        send("done", status=65)

    def done(self):
        if self.role == "backup":
            self.query("SELECT lsn FROM pg_backup_stop(false)")
            send("progress", phase="stop", bytes_total=1000, bytes_done=1000, files_total=10,
                 files_done=10)
            send("done", label="20260101-000000F", type=self.options.get("type", ""))
        elif self.role == "check":
            send("finding", test="archive_mode", status="ok", message="archive_mode is on")
            send("finding", test="repo1 wal", status="failure", message="segment did not arrive",
                 hint="Look into the server log.")
            send("failed", code=82, message="segment did not arrive")
        elif self.role == "command":
            send("output", text=self.behaviour("output"))
            send("done", status=0)
        else:
            send("done")

    def fail(self):
        send("failed", code=56, message="it did not work", hint="Try something else.")

    def run(self):
        signal.signal(signal.SIGTERM, self.terminate)
        self.hello()
        if self.role == "archive":
            self.archive()
        else:
            self.job()


if __name__ == "__main__":
    Engine(sys.argv[1:]).run()
