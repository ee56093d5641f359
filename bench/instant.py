#!/usr/bin/env python3
"""Measures `chronos restore --instant` against what it stands for: a plain restore and the server on what that made.

Both begin with an empty directory, take the same backup and recover over the same WAL to the same restore point; the
plain one is measured before each instant one. Absolute figures depend on the machine; the ratios are the result. The
program named by CHRONOS (default: chronos on the PATH) is measured, PG_BINDIR names PostgreSQL's programs. Needs
/dev/fuse. Must not run as root.
"""
import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import run as common

DEADLINE_S = 600


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--size-gb", type=float, default=3, help="size of the pgbench tables, GB")
    p.add_argument("--tables", type=int, default=0, help="empty tables beside them, of four files each")
    p.add_argument("--wal-mb", type=int, default=200, help="WAL between the backup and the restore point")
    p.add_argument("--process-max", type=int, default=2)
    p.add_argument("--repo", default="directory", choices=["directory", "s3"])
    p.add_argument("--delay", type=float, default=0, help="round trip to the bucket, ms")
    p.add_argument("--rate", type=float, default=0, help="bandwidth to the bucket, Mbit/s; 0: unlimited")
    p.add_argument("--block", action=argparse.BooleanOptionalAction, default=True, help="store large files in blocks")
    p.add_argument("--seconds", type=int, default=8, help="of each run of pgbench")
    p.add_argument("--repeat", type=int, default=1, help="of each measurement; the fastest counts")
    p.add_argument("--work", help="work directory, kept; a cluster already in it is used again")
    args = p.parse_args()
    # What the common part asks for beside these.
    vars(args).update(codec="zst", level=None, cipher="none", files=0, bundle=True, segments=0)
    return args


class Instant(common.Bench):
    """A bench whose repository has one backup and the WAL behind it."""

    def blocks(self):
        """Whatever the other tool can: it has no part in this."""
        return self.args.block

    def make_repository(self):
        for first in range(0, self.args.tables, 1000):
            self.psql("; ".join("CREATE TABLE IF NOT EXISTS small_%d (id text PRIMARY KEY)" % number
                                for number in range(first, min(first + 1000, self.args.tables))))
        self.psql("CHECKPOINT")
        self.backup_with_wal("chronos", self.make_wal)

    def make_wal(self):
        begin = self.psql("SELECT pg_current_wal_lsn()")
        while int(self.psql("SELECT pg_current_wal_lsn() - '%s'::pg_lsn" % begin).split(".")[0]) < self.args.wal_mb << 20:
            self.pg("pgbench", "-n", "-c", "4", "-t", "1000", "-h", self.work, "-p", str(self.port), "postgres")
        self.psql("SELECT pg_create_restore_point('bench_instant')")

    def mounted(self):
        """What `chronos mounts` says of the directory; None if it is an ordinary one."""
        rows = json.loads(common.run([common.CHRONOS, "--output=json", "mounts"]))
        return next((row for row in rows if row["path"] == self.past), None)

    def ask(self, sql):
        """None while the server does not answer."""
        command = [self.bindir + "/psql", "-XAtq", "-h", self.work, "-p", str(self.port + 2), "-d", "postgres", "-c", sql]
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return answer.stdout.strip() if answer.returncode == 0 else None

    def wait_for(self, what, condition, every_s=0.01):
        end = time.monotonic() + DEADLINE_S
        while not (result := condition()):
            if time.monotonic() > end:
                sys.exit("bench: waited in vain for " + what)
            time.sleep(every_s)
        return result

    def restore(self, *options):
        """Leaves a directory in which a server can be started; seconds."""
        # One for itself each time: ext4 looks for long for an inode that was not removed a moment ago.
        self.past = tempfile.mkdtemp(prefix="past.", dir=self.work)
        if not self.bucket:
            common.warm(self.work + "/repo-chronos")
        self.began = time.monotonic()
        common.run(self.command("chronos", "--pg1-path=" + self.past, "--type=name", "--target=bench_instant",
                                "--target-action=pause", "--archive-mode=off", *options, "restore"),
                   stdin=subprocess.DEVNULL)
        took = time.monotonic() - self.began
        with open(self.past + "/postgresql.auto.conf", "a") as conf:
            conf.write("port = %d\nunix_socket_directories = '%s'\nlisten_addresses = ''\nfsync = on\n" % (self.port + 2, self.work))
            conf.write("log_line_prefix = '%n '\nshared_buffers = 256MB\nmax_wal_size = 4GB\n")
        return took

    def server(self, *rest):
        self.pg("pg_ctl", "-D", self.past, "-l", self.work + "/past.log", *rest)

    def redo_seconds(self):
        with open(self.work + "/past.log") as log:
            text = log.read()
        at = [float(re.findall(r"^([0-9.]+) .*" + what, text, re.M)[-1]) for what in ("redo starts at", "recovery stopping")]
        return at[1] - at[0]

    def until_answer(self, *options):
        """From an empty directory on, in seconds, by what there is then; the server runs, paused at the restore point."""
        if os.path.exists(self.work + "/past.log"):
            os.unlink(self.work + "/past.log")
        before = self.bucket.requests() if self.bucket else 0
        figures = {"restore returns": self.restore(*options)}
        self.server("-W", "start")
        self.wait_for("a connection", lambda: self.ask("SELECT 1"))
        figures["first connection"] = time.monotonic() - self.began
        requests = (self.bucket.requests() - before) if self.bucket else None
        mounted = self.mounted()
        self.wait_for("the restore point", lambda: self.ask("SELECT pg_get_wal_replay_pause_state()") == "paused")
        self.wait_for("an answer", lambda: self.ask("SELECT sum(bbalance) FROM pgbench_branches"))
        figures["recovered, answers"] = time.monotonic() - self.began
        figures["redo"] = self.redo_seconds()
        return figures, requests, mounted

    def promote(self):
        self.ask("SELECT pg_wal_replay_resume()")
        self.wait_for("the end of recovery", lambda: self.ask("SELECT pg_is_in_recovery()") == "f")
        self.ask("CHECKPOINT")

    def rate(self, *how):
        text = self.pg("pgbench", "-n", *how, "-T", str(self.args.seconds), "-h", self.work, "-p", str(self.port + 2), "postgres")
        return float(re.search(r"tps = ([0-9.]+)", text).group(1))

    def rates(self):
        # What the server has not cached comes from the kernel's cache, on either.
        self.ask("SELECT count(*) FROM pgbench_accounts")
        self.ask("SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(aid) FROM pgbench_accounts WHERE aid > 0")
        return {"TPC-B, 8 clients": self.rate("-c", "8", "-j", "2"), "select only, 4 clients": self.rate("-S", "-c", "4", "-j", "2")}

    def stop_past(self):
        self.server("-m", "fast", "-w", "stop")

    def end_past(self):
        """Of an instant restore too."""
        mounted = self.mounted() if hasattr(self, "past") else None
        if not hasattr(self, "past"):
            return
        subprocess.run([self.bindir + "/pg_ctl", "-D", self.past, "-m", "immediate", "stop"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if mounted:
            self.wait_for("the end of the mount", lambda: not self.mounted(), 0.1)
        for past in glob.glob(self.work + "/past.*/"):
            shutil.rmtree(past)


def tell(name, instant, native, unit="s"):
    print("%-34s %9.2f %-3s %9.2f %-3s %6.2f" % (name, instant, unit, native, unit, instant / native))


def main():
    args = arguments()
    if os.geteuid() == 0:
        sys.exit("bench: PostgreSQL does not run as root; run this as an ordinary user")
    bench = Instant(args)
    try:
        bench.start()
        bench.make_repository()
        natives, instants, hydrations = [], [], []
        for _ in range(args.repeat):
            natives.append(bench.until_answer()[0])
            bench.promote()
            native_rates = bench.rates()
            bench.stop_past()
            figures, requests, mounted = bench.until_answer("--instant")
            instants.append(figures)
            bench.promote()
            during = None
            if bench.mounted() and bench.mounted()["missing-bytes"] > 0:
                during = bench.rate("-c", "8", "-j", "2")
                missing = bench.mounted()["missing-bytes"]
            bench.wait_for("the last part", lambda: bench.mounted()["whole"], 0.1)
            mounted_rates = bench.rates()
            bench.stop_past()
            bench.wait_for("the end of the mount", lambda: not bench.mounted(), 0.1)
            # Nobody asks for anything: hydration alone.
            plain = bench.restore()
            bench.restore("--instant")
            bench.wait_for("the last part", lambda: not bench.mounted(), 0.1)
            hydrations.append((time.monotonic() - bench.began, plain))
        native = {name: min(run[name] for run in natives) for name in natives[0]}
        instant = {name: min(run[name] for run in instants) for name in instants[0]}
        print("\n%.1f GB, %d files, %d MB of WAL, process-max %d, %s; %s" % (
            args.size_gb, sum(len(files) for _, _, files in os.walk(bench.pgdata + "/base")), args.wal_mb, args.process_max,
            "s3 over %g ms" % args.delay if args.repo == "s3" else args.repo, common.run([common.CHRONOS, "version"]).strip()))
        print("%-34s %13s %13s %6s" % ("", "instant", "native", "ratio"))
        for name in native:
            tell(name, instant[name], native[name])
        tell("whole, without a server", *min(hydrations))
        if during is not None:
            tell("TPC-B, 8 clients, completing" if missing else "TPC-B, 8 clients, completed then", during,
                 native_rates["TPC-B, 8 clients"], "tps")
        for name, rate in mounted_rates.items():
            tell(name + ", mounted", rate, native_rates[name], "tps")
        if requests is not None:
            print("up to the first connection: %d requests" % requests)
        if mounted:
            print("when that was made, %.1f MiB had been fetched and %.1f MiB were to come" % (
                mounted["fetched-bytes"] / 2 ** 20, mounted["missing-bytes"] / 2 ** 20))
    finally:
        bench.end_past()
        bench.stop()
    if not args.work:
        shutil.rmtree(bench.work)


if __name__ == "__main__":
    main()
