#!/usr/bin/env python3
"""Measures chronos against pgBackRest: wall, CPU and peak memory of each, and the ratio.

Both do the same work on the same throw-away cluster, one after the other, with the same codec and
level, cipher, process-max and kind of repository. Absolute figures depend on the machine; the
ratios are the result. Rows are functions named row_*; later capabilities add theirs here.

The program named by CHRONOS (default: chronos on the PATH) is compared with the one named by
PGBACKREST (default: pgbackrest). PG_BINDIR names PostgreSQL's programs. Must not run as root.
"""
import argparse
import base64
import ctypes
import functools
import glob
import hashlib
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

CHRONOS = os.environ.get("CHRONOS", shutil.which("chronos") or "chronos")
PGBACKREST = os.environ.get("PGBACKREST", shutil.which("pgbackrest") or "pgbackrest")


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--size-gb", type=float, default=3, help="size of the database (pgbench tables), GB")
    p.add_argument("--process-max", type=int, default=2)
    p.add_argument("--codec", default="zst", choices=["none", "gz", "lz4", "zst", "bz2"])
    p.add_argument("--level", type=int, help="compression level (default: pgBackRest's)")
    p.add_argument("--cipher", default="none", choices=["none", "aes-256-cbc"])
    p.add_argument("--repo", default="directory", choices=["directory", "s3"],
                   help="s3: a bucket of a Ceph gateway that is started for it, over TLS")
    p.add_argument("--delay", type=float, default=0, help="round trip to the bucket, ms")
    p.add_argument("--rate", type=float, default=0, help="bandwidth to the bucket, Mbit/s; 0: unlimited")
    p.add_argument("--files", type=int, default=0, help="small files (1 to 16 KiB) beside the tables")
    p.add_argument("--bundle", action="store_true", help="store small files together (pgBackRest from 2.39)")
    p.add_argument("--block", action="store_true", help="store large files by block, for either tool (with --bundle; from 2.46)")
    p.add_argument("--segments", type=int, default=100, help="WAL segments to push and to get")
    p.add_argument("--rows", default="", help="comma-separated names of rows to run; default all")
    p.add_argument("--repeat", type=int, default=1, help="runs of each measurement; the fastest counts")
    p.add_argument("--work", help="work directory, kept; a cluster already in it is used again")
    p.add_argument("--json", help="write the figures to this file too")
    return p.parse_args()


class Figures:
    """What a command cost: wall and CPU in seconds, the largest process in MiB, requests to a bucket and MiB that came from
    it; what it stored, MiB."""

    def __init__(self, wall, cpu, memory, output=""):
        self.wall, self.cpu, self.memory, self.output, self.requests = wall, cpu, memory, output, 0
        self.stored = None
        self.came = None


class Bucket:
    """An object store behind a link of a given length, and the bucket `bench` in it."""

    def __init__(self, work, delay, rate):
        support = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../test/support/")
        self.server = self.start(support + "s3_server.py", work + "/s3", "--bucket", "bench")
        self.about = json.loads(self.server.stdout.readline())
        self.link = self.start(support + "slow_link.py", "localhost:%d" % self.about["https"],
                               "--rtt", str(delay), "--rate", str(rate))
        self.port = int(self.link.stdout.readline())

    @staticmethod
    def start(*command):
        return subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def requests(self):
        self.server.stdin.write("requests\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline().split()[1])

    def came(self):
        """Bytes that have come over the link."""
        self.link.stdin.write("count\n")
        self.link.stdin.flush()
        return int(self.link.stdout.readline().split()[2])

    def put(self, path, content):
        self.server.stdin.write("put %s %s\n" % (path, base64.b64encode(content.encode()).decode()))
        self.server.stdin.flush()
        answer = self.server.stdout.readline()
        if not answer.startswith("ok"):
            sys.exit("put %s: %s" % (path, answer))

    def options(self, prefix):
        return ["repo1-type=s3", "repo1-path=/" + prefix, "repo1-s3-bucket=bench", "repo1-s3-region=us-east-1",
                "repo1-s3-endpoint=localhost", "repo1-s3-uri-style=path", "repo1-storage-port=%d" % self.port,
                "repo1-storage-ca-file=" + self.about["ca"], "repo1-s3-key=" + self.about["key"],
                "repo1-s3-key-secret=" + self.about["secret"]]

    def stop(self):
        for process in (self.link, self.server):
            process.stdin.close()
            process.wait()


def run(command, **kwargs):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    if result.returncode != 0:
        sys.exit("%s\nfailed with %d:\n%s" % (" ".join(command), result.returncode, result.stdout[-4000:]))
    return result.stdout


def measure(command, **kwargs):
    """Runs a command as the only child of a helper process, whose RUSAGE_CHILDREN is then its cost."""
    os.sync()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        begin = time.monotonic()
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
        wall = time.monotonic() - begin
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = dict(wall=wall, cpu=usage.ru_utime + usage.ru_stime, memory=usage.ru_maxrss / 1024,
                      status=result.returncode, output=result.stdout[-4000:])
        os.write(writer, json.dumps(answer).encode()[:60000])
        os._exit(0)
    os.close(writer)
    data = b""
    while chunk := os.read(reader, 65536):
        data += chunk
    os.close(reader)
    os.waitpid(pid, 0)
    answer = json.loads(data)
    if answer["status"] != 0:
        sys.exit("%s\nfailed with %d:\n%s" % (" ".join(command), answer["status"], answer["output"]))
    return Figures(answer["wall"], answer["cpu"], answer["memory"], answer["output"])


class Bench:
    def __init__(self, args):
        self.args = args
        self.work = args.work or tempfile.mkdtemp(prefix="chronos_bench.")
        os.makedirs(self.work, exist_ok=True)
        self.pgdata = self.work + "/data"
        self.bucket = None
        self.bindir = os.environ.get("PG_BINDIR") or run(["pg_config", "--bindir"]).strip()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]

    def pg(self, program, *rest):
        return run([self.bindir + "/" + program, *rest])

    def psql(self, sql):
        return self.pg("psql", "-XAtq", "-h", self.work, "-p", str(self.port), "-d", "postgres", "-c", sql).strip()

    def start(self):
        fresh = not os.path.exists(self.pgdata + "/PG_VERSION")
        if fresh:
            self.pg("initdb", "-D", self.pgdata, "-A", "trust", "--no-sync", "--data-checksums")
        with open(self.pgdata + "/postgresql.auto.conf", "w") as conf:
            conf.write("port = %d\nunix_socket_directories = '%s'\nlisten_addresses = ''\n" % (self.port, self.work))
            conf.write("fsync = off\nshared_buffers = 256MB\nmax_wal_size = 4GB\nautovacuum = off\n")
            conf.write("wal_level = replica\narchive_mode = on\n")
            # 'pgbackrest' must stand in the text for its backup; segments are counted, not stored.
            conf.write("archive_command = '%s --config=%s archive-push %%p'\n" % (PGBACKREST, self.config("pgbackrest")))
        self.pg("pg_ctl", "-D", self.pgdata, "-l", self.work + "/server.log", "-w", "start")
        if fresh:
            scale = max(1, int(self.args.size_gb * 1024 / 15))
            print("creating pgbench tables of %.1f GB ..." % self.args.size_gb, file=sys.stderr)
            self.pg("pgbench", "-i", "-q", "-s", str(scale), "-h", self.work, "-p", str(self.port), "postgres")
            self.psql("CHECKPOINT")
        self.make_files()
        if self.args.repo == "s3":
            self.bucket = Bucket(self.work, self.args.delay, self.args.rate)

    def make_files(self):
        """What a schema of thousands of tables looks like to a backup: small files, half of them pages of zeros."""
        directory = self.pgdata + "/bench_files"
        os.makedirs(directory, exist_ok=True)
        for number in range(len(os.listdir(directory)), self.args.files):
            size = 1024 << number % 5
            with open("%s/%06d" % (directory, number), "wb") as f:
                f.write(os.urandom(size // 2) + bytes(size // 2))

    def stop(self):
        if self.bucket:
            self.bucket.stop()
        subprocess.run([self.bindir + "/pg_ctl", "-D", self.pgdata, "-m", "immediate", "stop"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def config(self, tool):
        """A configuration of its own for each tool: same settings, its own repository and locks."""
        path = "%s/%s.conf" % (self.work, tool)
        a = self.args
        place = self.bucket.options(getattr(self, "prefix", tool)) if self.bucket else ["repo1-path=%s/repo-%s" % (self.work, tool)]
        # The other tool did not know the option before it knew the form that lasted.
        if tool == "chronos" or self.blocks():
            place.append("repo1-block=" + "ny"[a.bundle and a.block])
        lines = ["[global]", *place, "process-max=%d" % a.process_max, "repo1-bundle=" + "ny"[a.bundle],
                 "compress-type=%s" % a.codec, "start-fast=y", "archive-timeout=600",
                 "lock-path=%s/lock-%s" % (self.work, tool), "log-path=%s" % self.work,
                 "spool-path=%s/spool-%s" % (self.work, tool),
                 "log-level-console=warn", "log-level-file=off", "repo1-retention-full=9"]
        if a.level is not None:
            lines.append("compress-level=%d" % a.level)
        if a.cipher != "none":
            lines += ["repo1-cipher-type=" + a.cipher, "repo1-cipher-pass=bench"]
        lines += ["[main]", "pg1-path=" + self.pgdata, "pg1-port=%d" % self.port, "pg1-socket-path=" + self.work]
        with open(path, "w") as conf:
            os.chmod(path, 0o600)
            conf.write("\n".join(lines) + "\n")
        return path

    def command(self, tool, *rest):
        program = CHRONOS if tool == "chronos" else PGBACKREST
        return [program, "--config=" + self.config(tool), "--stanza=main", *rest]

    def measure(self, tool, *rest):
        """measure() of a command, and what it asked of the bucket."""
        if not self.bucket:
            return measure(self.command(tool, *rest))
        before, came = self.bucket.requests(), self.bucket.came()
        figures = measure(self.command(tool, *rest))
        figures.requests, figures.came = self.bucket.requests() - before, (self.bucket.came() - came) / 2**20
        return figures

    def best(self, measurement):
        """The fastest of --repeat runs; `measurement` prepares, measures and cleans up."""
        runs = [measurement() for _ in range(max(1, self.args.repeat))]
        return min(runs, key=lambda figures: figures.wall)

    def both(self, measurement):
        # pgBackRest first: what the page cache then holds helps both alike from here on.
        return {tool: self.best(lambda: measurement(tool)) for tool in ("pgbackrest", "chronos")}

    @functools.lru_cache
    def blocks(self):
        """Whether this pgBackRest stores blocks in the form that lasted, which 2.46 was first to do."""
        version = run([PGBACKREST, "version"]).split()[-1].split(".")
        return (int(version[0]), int(version[1])) >= (2, 46)

    def bundled_backup(self, tool, kind):
        block = ["--repo1-block"] if self.blocks() else ["--no-repo1-block"] if tool == "chronos" else []
        figures = self.measure(tool, "--type=" + kind, "--no-archive-check", "--repo1-bundle", *block,
                               "--no-expire-auto", "backup")
        if self.bucket:
            return figures
        newest = max(glob.glob(self.work + "/repo-%s/backup/main/2*" % tool), key=lambda path: path[-16:-1])
        names = [os.path.join(parent, name) for parent, _, files in os.walk(newest) for name in files]
        figures.stored = sum(os.path.getsize(name) for name in names if "backup.manifest" not in name) / 2**20
        return figures

    # Rows -------------------------------------------------------------------------------------

    def row_backup_full(self):
        """full backup"""
        def one(tool):
            run(self.command(tool, "stanza-create"))
            return self.measure(tool, "--type=full", "--no-archive-check", "backup")
        self.psql("CHECKPOINT")
        warm(self.pgdata)
        return self.both(one)

    def row_backup_incr(self):
        """incremental backup with nothing changed"""
        return self.both(lambda tool: self.measure(tool, "--type=incr", "--no-archive-check", "backup"))

    def row_info(self):
        """info"""
        return self.both(lambda tool: self.measure(tool, "info"))

    def after_updates(self, kind):
        """A dependent backup after one page in a hundred of the large table has changed."""
        for tool in ("pgbackrest", "chronos"):
            run(self.command(tool, "stanza-create"))
            self.bundled_backup(tool, "full")
        rows = int(self.psql("SELECT max(aid) FROM pgbench_accounts"))
        self.psql("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid IN "
                  "(SELECT 1 + (random() * %d)::int FROM generate_series(1, %d))" % (rows - 1, rows // 6000))
        self.psql("CHECKPOINT")
        warm(self.pgdata)
        return self.both(lambda tool: self.bundled_backup(tool, kind))

    def row_diff_updates(self):
        """diff after random updates to all segments of the large table, stored by block where possible"""
        return self.after_updates("diff")

    def row_incr_updates(self):
        """incr after the same: what it stores"""
        return self.after_updates("incr")

    def row_full_small(self):
        """bundled full backup of 20 000 small tables"""
        create = "".join("DO $$BEGIN FOR i IN %d..%d LOOP EXECUTE format('CREATE TABLE small%%s AS SELECT %%s AS a, "
                         "repeat(''x'', 500) AS b', i, i); END LOOP; END$$;" % (at, at + 1999)
                         for at in range(1, 20001, 2000))
        if self.psql("SELECT to_regclass('small20000') IS NOT NULL") != "t":
            for statement in create.split("$$;"):
                if statement:
                    self.psql(statement + "$$")
        self.psql("CHECKPOINT")
        warm(self.pgdata)
        for tool in ("pgbackrest", "chronos"):
            run(self.command(tool, "stanza-create"))
        return self.both(lambda tool: self.bundled_backup(tool, "full"))

    def row_incr_unchanged(self):
        """incremental backup of the same with nothing changed"""
        if not glob.glob(self.work + "/repo-chronos/backup/main/*F/bundle"):
            self.row_full_small()
        return self.both(lambda tool: self.bundled_backup(tool, "incr"))

    def row_restore(self):
        """restore"""
        def one(tool):
            target = self.work + "/restored"
            shutil.rmtree(target, ignore_errors=True)
            os.makedirs(target, mode=0o700)
            # The archive of one tool does not hold the WAL of the other: files alone are measured.
            figures = self.measure(tool, "--pg1-path=" + target, "--type=none", "restore")
            shutil.rmtree(target)
            return figures
        for tool in ("pgbackrest", "chronos"):
            warm("%s/repo-%s" % (self.work, tool))
        return self.both(one)

    def bundled_repository(self):
        """pgBackRest's repository with a bundled full backup and its WAL: what both tools verify."""
        place = "/verify" if self.bucket else self.work + "/repo-verify"
        own = self.work + "/repo-pgbackrest"
        if not self.has_bundled_backup(place):
            self.prefix = place[1:]
            # That of the rows before has backups without their WAL.
            if not self.bucket:
                os.makedirs(own, exist_ok=True)
                os.rename(own, own + ".aside")
            run(self.command("pgbackrest", "stanza-create"))
            self.bundled_backup("pgbackrest", "full")
            info = json.loads(run(self.command("pgbackrest", "--output=json", "info")))
            first = info[0]["backup"][-1]["archive"]["start"]
            last = self.psql("SELECT pg_walfile_name(pg_switch_wal())")
            self.fill_archive("pgbackrest", [n for n in sorted(os.listdir(self.pgdata + "/pg_wal")) if first <= n <= last])
            del self.prefix
            if not self.bucket:
                os.rename(own, place)
                os.rename(own + ".aside", own)
        if not self.bucket:
            warm(place)
        return place

    def has_bundled_backup(self, place):
        if self.bucket:
            return "archive" in run(self.command("pgbackrest", "--repo1-path=" + place, "repo-ls"))
        return bool(glob.glob(place + "/backup/main/*F/bundle"))

    def forget_verified(self, place):
        """What chronos keeps of what it has verified."""
        if self.bucket:
            run(self.command("pgbackrest", "--repo1-path=" + place, "--recurse", "repo-rm", "chronos"))
        else:
            shutil.rmtree(place + "/chronos", ignore_errors=True)

    def verify(self, tool, place):
        return self.measure(tool, "--repo1-path=" + place, "verify")

    def row_verify(self):
        """verify of a bundled full backup and its WAL, the same repository for both"""
        place = self.bundled_repository()

        def one(tool):
            self.forget_verified(place)
            return self.verify(tool, place)
        return self.both(one)

    def row_verify_again(self):
        """the same once more with nothing new"""
        place = self.bundled_repository()

        def one(tool):
            if tool == "chronos":
                self.verify(tool, place)
            return self.verify(tool, place)
        return self.both(one)

    def segments(self):
        """Full WAL segments as an archiver would see them, in a directory of their own."""
        waldir = self.pgdata + "/pg_wal"
        want = self.args.segments
        names = sorted(n for n in os.listdir(waldir) if len(n) == 24)[:-1]
        while len(names) < want:
            self.psql("CREATE TABLE IF NOT EXISTS fill (t text); INSERT INTO fill SELECT repeat(md5(random()::text), 20) "
                      "FROM generate_series(1, 60000); SELECT pg_switch_wal()")
            names = sorted(n for n in os.listdir(waldir) if len(n) == 24)[:-1]
        return names[-want:]

    def fresh_archive(self, tool):
        for path in glob.glob("%s/repo-%s/archive/main/*-1" % (self.work, tool)):
            shutil.rmtree(path)
        self.forget_owner(tool)

    def forget_owner(self, tool):
        """Rows push as the cluster and as the directory beside it, which a stanza takes for two servers."""
        shutil.rmtree("%s/repo-%s/chronos/main/owners" % (self.work, tool), ignore_errors=True)

    def cluster_without_archiver(self, names):
        """What push needs of a cluster. In the real one the server's own archiver would see the marks too
        and push the same segments at the same time."""
        idle = self.work + "/idle"
        shutil.rmtree(idle, ignore_errors=True)
        os.makedirs(idle + "/pg_wal/archive_status")
        os.makedirs(idle + "/global")
        shutil.copy(self.pgdata + "/global/pg_control", idle + "/global/pg_control")
        shutil.copy(self.pgdata + "/PG_VERSION", idle + "/PG_VERSION")
        for name in names:
            os.link(self.pgdata + "/pg_wal/" + name, idle + "/pg_wal/" + name)
        return idle

    def push_all(self, idle, names):
        """The resident engine; the start of the program that stands for the archiver is not counted."""
        figures = measure(self.archiver(idle, names))
        figures.wall = float(figures.output)
        return figures

    def with_empty_archive(self, measurement):
        """Both tools, each with nothing in its archive and the segments as an archiver would see them:
        measurement(tool, data directory, names)."""
        names = self.segments()
        idle = self.cluster_without_archiver(names)
        warm(idle + "/pg_wal")

        def one(tool):
            self.empty_archive(tool)
            before = self.bucket.requests() if self.bucket else 0
            figures = measurement(tool, idle, names)
            if self.bucket:
                figures.requests = self.bucket.requests() - before
            return figures
        return self.both(one)

    def row_archive_push(self):
        """archive push, all segments (pgBackRest: a process each; chronos: resident engine)"""
        def one(tool, idle, names):
            if tool == "chronos":
                return self.push_all(idle, names)
            return measure(["sh", "-c", "".join(
                "%s --config=%s --stanza=main archive-push %s/pg_wal/%s || exit 1\n" % (
                    PGBACKREST, self.config(tool), idle, name) for name in names)])
        return self.with_empty_archive(one)

    def fill_archive(self, tool, names):
        self.forget_owner(tool)
        run(self.command(tool, "stanza-create"))
        for name in names:
            # In a bucket it is as quick to push what may be there already.
            if not glob.glob("%s/repo-%s/archive/main/*/%s/%s-*" % (self.work, tool, name[:16], name)):
                run(self.command(tool, "archive-push", self.pgdata + "/pg_wal/" + name))

    def row_archive_get(self):
        """archive get, all segments, a process each"""
        names = self.segments()
        target = self.work + "/got"

        def one(tool):
            self.fill_archive(tool, names)
            script = "".join("%s --config=%s --stanza=main --pg1-path=%s archive-get %s %s || exit 1\n" % (
                CHRONOS if tool == "chronos" else PGBACKREST, self.config(tool), self.pgdata, name, target)
                for name in names)
            return measure(["sh", "-c", script])
        return self.both(one)

    def row_archive_get_recovery(self):
        """archive get as a recovery calls it: 100 ms of replay between two segments, which are not counted"""
        names = self.segments()
        recovering = self.work + "/recovering"

        def one(tool):
            self.fill_archive(tool, names)
            shutil.rmtree(recovering, ignore_errors=True)
            for name in ("global", "pg_wal"):
                os.makedirs(recovering + "/" + name, mode=0o700)
            shutil.copy(self.pgdata + "/global/pg_control", recovering + "/global/pg_control")
            open(recovering + "/recovery.signal", "w").close()
            figures = measure([sys.executable, os.path.abspath(__file__), "--drive-recovery", recovering,
                               CHRONOS if tool == "chronos" else PGBACKREST, self.config(tool), *names])
            figures.wall = float(figures.output)
            return figures
        return self.both(one)

    def row_info_200(self):
        """info on 200 backups; last, because what it lists is made up"""
        for tool in ("pgbackrest", "chronos"):
            listed = parse_info(run(self.command(tool, "repo-get", "backup/main/backup.info")))
            current = listed["backup:current"]
            entry = next(text for label, text in current.items() if label.endswith("F"))
            listed["backup:current"] = {"20200101-%06dF" % number: entry for number in range(200)}
            for name in ("backup.info", "backup.info.copy"):
                self.put(tool, "backup/main/" + name, format_info(listed))
        return self.both(lambda tool: self.measure(tool, "info"))

    def put(self, tool, name, content):
        """Writes a file of a repository."""
        if self.args.cipher != "none":  # some versions of pgBackRest have a command for it
            run([PGBACKREST, "--config=" + self.config(tool), "--stanza=main", "repo-put", name], input=content)
        elif self.bucket:
            self.bucket.put("/bench/%s/%s" % (tool, name), content)
        else:
            with open("%s/repo-%s/%s" % (self.work, tool, name), "w") as f:
                f.write(content)

    def backup_with_wal(self, tool, work=None):
        """A bundled full backup in the repository of the tool, what `work` does behind it, and the WAL of both."""
        run(self.command(tool, "stanza-create"))
        self.bundled_backup(tool, "full")
        info = json.loads(run(self.command(tool, "--output=json", "info")))
        first = info[0]["backup"][-1]["archive"]["start"]
        if work:
            work()
        last = self.psql("SELECT pg_walfile_name(pg_switch_wal())")
        self.fill_archive(tool, [n for n in sorted(os.listdir(self.pgdata + "/pg_wal")) if len(n) == 24 and first <= n <= last])

    def server_of_the_past(self, tool, ask, *recovery):
        """From nothing to the answer of a server that has recovered: a look, or a restore and a server on it. Requests and
        what came from the bucket are those until then."""
        if not self.bucket:
            warm("%s/repo-%s" % (self.work, tool))
        target = self.work + "/past"
        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(target, mode=0o700)
        before = (self.bucket.requests(), self.bucket.came()) if self.bucket else None
        at_answer = []
        answered = self.work + "/answered"
        for name in (answered, answered + ".end"):
            if os.path.exists(name):
                os.unlink(name)

        def look_at_bucket():
            while not os.path.exists(answered):
                if os.path.exists(answered + ".end"):
                    return
                time.sleep(0.005)
            at_answer.extend((self.bucket.requests(), self.bucket.came()) if self.bucket else ())
            os.unlink(answered)
        looking = threading.Thread(target=look_at_bucket)
        looking.start()
        command = self.command(tool, *recovery, "--drill-path=" + self.work, "look") if tool == "chronos" else \
            self.command(tool, *recovery, "--target-action=promote", "--pg1-path=" + target, "restore")
        try:
            figures = measure([sys.executable, os.path.abspath(__file__), "--drive-past", self.bindir, target, self.work,
                               str(self.port + 2), ask, *command])
        finally:
            open(answered + ".end", "w").close()
            looking.join()
        if at_answer:
            figures.requests, figures.came = at_answer[0] - before[0], (at_answer[1] - before[1]) / 2**20
        figures.wall = float(figures.output)
        shutil.rmtree(target)
        return figures

    def row_look(self):
        """the first answer of a server on the backup: look, against restore and start; needs /dev/fuse"""
        for tool in ("pgbackrest", "chronos"):
            self.backup_with_wal(tool)
        return self.both(lambda tool: self.server_of_the_past(
            tool, "SELECT sum(bbalance) FROM pgbench_branches", "--type=immediate"))

    def row_recover_table(self):
        """a table of 20 MB back after 200 MB of WAL: recover-table, against restore, start, pg_dump and psql; needs /dev/fuse"""
        self.psql("DROP TABLE IF EXISTS lost")
        self.psql("CREATE TABLE lost AS SELECT i AS id, repeat(md5(i::text), 5) AS word FROM generate_series(1, 100000) i")
        self.psql("CREATE TABLE IF NOT EXISTS fill (t text)")
        self.psql("CHECKPOINT")

        def work():
            self.psql("UPDATE lost SET word = 'x' WHERE id % 1000 = 0")
            self.psql("INSERT INTO fill SELECT repeat(md5(random()::text), 20) FROM generate_series(1, 300000)")
            self.psql("SELECT pg_create_restore_point('bench_table')")
        for tool in ("pgbackrest", "chronos"):
            self.backup_with_wal(tool, work)

        def one(tool):
            self.psql("DROP SCHEMA IF EXISTS home CASCADE")
            if tool == "pgbackrest":
                figures = self.server_of_the_past(tool, "| pg_dump -t lost | psql", "--type=name", "--target=bench_table")
                self.psql("DROP TABLE lost_again")
                return figures
            if not self.bucket:
                warm(self.work + "/repo-chronos")
            return self.measure(tool, "--type=name", "--target=bench_table", "--into=home", "--drill-path=" + self.work,
                                "--bin-path=" + self.bindir, "recover-table", "postgres.public.lost")
        figures = self.both(one)
        self.psql("DROP SCHEMA IF EXISTS home CASCADE")
        return figures

    def row_redo(self):
        """start and recovery over 200 MB of WAL, on the backup itself against a copy of it ("pgbr"): one command, with and
        without --instant; needs /dev/fuse"""
        self.psql("CREATE TABLE IF NOT EXISTS fill (t text)")

        def work():
            self.pg("pgbench", "-n", "-c", "4", "-t", "2000", "-h", self.work, "-p", str(self.port), "postgres")
            self.psql("INSERT INTO fill SELECT repeat(md5(random()::text), 20) FROM generate_series(1, 250000)")
            self.psql("SELECT pg_create_restore_point('bench_redo')")
        self.backup_with_wal("chronos", work)

        def one(tool):
            if not self.bucket:
                warm(self.work + "/repo-chronos")
            instant = ["--instant"] if tool == "chronos" else []
            figures = self.measure("chronos", "--type=name", "--target=bench_redo", "--drill-path=" + self.work,
                                   "--bin-path=" + self.bindir, "--output=json", *instant, "drill")
            figures.wall = float(re.search(r'"recovery-seconds": *([0-9.]+)', figures.output)[1])
            return figures
        return self.both(one)

    def row_archive_push_async(self):
        """archive push, all segments, against pgBackRest's asynchronous mode"""
        def one(tool, idle, names):
            if tool == "chronos":
                return self.push_all(idle, names)
            return measure(["sh", "-c", self.async_push(idle, names)], cwd=idle)
        return self.with_empty_archive(one)

    def row_archive_callback(self):
        """what the archiver waits for each segment that is durable already, ms in place of s"""
        def one(tool, idle, names):
            if tool == "chronos":
                figures = measure(self.archiver(idle, names, "--drive-durable"))
                figures.wall = float(figures.output)
                return figures
            run(["sh", "-c", self.async_push(idle, names)], cwd=idle)
            figures = measure(["sh", "-c", self.async_push(idle, names, marks=False)], cwd=idle)
            figures.wall *= 1000 / len(names)
            return figures
        return self.with_empty_archive(one)

    def row_recovery(self):
        """recovery as the server does it: all segments, 20 ms of replay each; the sum of the waits"""
        recovering = self.work + "/recovering"

        def one(tool, idle, names):
            run(self.archiver(idle, names, config=self.config(tool)))
            shutil.rmtree(recovering, ignore_errors=True)
            for name in ("global", "pg_wal"):
                os.makedirs(recovering + "/" + name, mode=0o700)
            shutil.copy(self.pgdata + "/global/pg_control", recovering + "/global/pg_control")
            open(recovering + "/recovery.signal", "w").close()
            figures = measure([sys.executable, os.path.abspath(__file__), "--drive-recovery", recovering,
                               CHRONOS if tool == "chronos" else PGBACKREST, self.config(tool), *names],
                              env=dict(os.environ, REPLAY_MS="20"))
            figures.wall = float(figures.output)
            return figures
        return self.with_empty_archive(one)

    def row_commits(self):
        """time for 40 000 pgbench transactions: archiving and streaming on, against archiving off ("pgbr");
        the median of runs in turn, because the disk's pace changes more from minute to minute"""
        data = self.work + "/commits"

        def one(tool):
            shutil.rmtree(data, ignore_errors=True)
            self.pg("initdb", "-D", data, "-A", "trust", "--no-sync")
            config = "%s/commits.conf" % self.work
            with open(self.config("chronos")) as origin, open(config, "w") as conf:
                os.chmod(config, 0o600)
                conf.write(origin.read().replace("pg1-path=" + self.pgdata, "pg1-path=" + data)
                           .replace("repo-chronos", "repo-commits").replace("/chronos", "/commits"))
            with open(data + "/postgresql.auto.conf", "w") as conf:
                conf.write("port = %d\nunix_socket_directories = '%s'\nlisten_addresses = ''\n" % (self.port + 1, self.work))
                conf.write("shared_buffers = 256MB\nmax_wal_size = 4GB\nautovacuum = off\n")
                conf.write("shared_preload_libraries = 'chronos_backup'\nchronos.config_file = '%s'\n" % config)
                if tool == "chronos":
                    conf.write("archive_mode = on\narchive_library = 'chronos_backup'\nchronos.wal_stream = on\n")
            shutil.rmtree(self.work + "/repo-commits", ignore_errors=True)  # of a cluster that is gone
            os.makedirs(self.work + "/repo-commits")
            self.pg("pg_ctl", "-D", data, "-l", self.work + "/commits.log", "-w", "start")
            try:
                at = ["-h", self.work, "-p", str(self.port + 1), "postgres"]
                self.pg("pgbench", "-i", "-q", "-s", "20", *at)
                return measure([self.bindir + "/pgbench", "-n", "-c", "4", "-t", "10000", *at])
            finally:
                self.pg("pg_ctl", "-D", data, "-m", "immediate", "stop")
        runs = [{tool: one(tool) for tool in ("pgbackrest", "chronos")} for _ in range(max(5, self.args.repeat))]
        return {tool: sorted((r[tool] for r in runs), key=lambda figures: figures.wall)[len(runs) // 2]
                for tool in ("pgbackrest", "chronos")}

    def empty_archive(self, tool):
        """An archive without segments, in a directory or in a bucket."""
        shutil.rmtree("%s/spool-%s" % (self.work, tool), ignore_errors=True)
        if self.bucket:
            self.run_number = getattr(self, "run_number", 0) + 1
            self.prefix = "%s-%d" % (tool, self.run_number)
        run(self.command(tool, "stanza-create"))
        if not self.bucket:
            self.fresh_archive(tool)

    def archiver(self, idle, names, how="--drive-archiver", config=None):
        return [sys.executable, os.path.abspath(__file__), how, config or self.config("chronos"), idle, *names]

    def async_push(self, idle, names, marks=True):
        """pgBackRest's asynchronous mode, as the archiver calls it: one after the other, in the data directory."""
        status = idle + "/pg_wal/archive_status/"
        if marks:
            for name in sorted(os.listdir(idle + "/pg_wal")):
                if len(name) == 24:
                    open(status + name + ".ready", "w").close()
        return "".join("%s --config=%s --stanza=main --pg1-path=%s --archive-async archive-push pg_wal/%s || exit 1\n" % (
            PGBACKREST, self.config("pgbackrest"), idle, name) for name in names)


def parse_info(text):
    """An info file as {section: {key: JSON text}}, without its checksum."""
    sections = {}
    for line in text.splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif "=" in line and not line.startswith("backrest-checksum"):
            key, value = line.split("=", 1)
            section[key] = value
    return sections


def format_info(sections):
    """The file of parse_info(), with the checksum that belongs to it."""
    names = sorted(sections)
    hashed = ",".join('"%s":{%s}' % (name, ",".join('"%s":%s' % item for item in sorted(sections[name].items())))
                      for name in names)
    checksum = hashlib.sha1(("{" + hashed + "}").encode()).hexdigest()
    text = "".join("[%s]\n%s\n" % (name, "".join("%s=%s\n" % item for item in sorted(sections[name].items())))
                   for name in names)
    return text + '[backrest]\nbackrest-checksum="%s"\n' % checksum


def drive_recovery(data, program, config, names):
    """Does what the server's startup process does: asks for a segment, replays it, asks for the next.
    Prints the sum of the times it waited. What works in the background is waited for in the end, so
    that its CPU counts."""
    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.chdir(data)
    waited = 0
    for name in names:
        command = [program, "--config=" + config, "--stanza=main", "--pg1-path=" + data, "archive-get", name,
                   "pg_wal/RECOVERYXLOG"]
        begin = time.monotonic()
        _, status = os.waitpid(os.posix_spawn(program, command, os.environ), 0)
        waited += time.monotonic() - begin
        if status != 0:
            sys.exit("%s\nended with status %d" % (" ".join(command), status))
        os.unlink("pg_wal/RECOVERYXLOG")
        time.sleep(float(os.environ.get("REPLAY_MS", "100")) / 1000)
    try:
        while True:
            os.wait()
    except ChildProcessError:
        print(waited)


def drive_past(bindir, data, socket_directory, port, ask, command):
    """Runs the command, which restores to `data` or is a look, and asks the server that there is then; a restored one is
    started before. Prints the time up to the answer. What is asked is SQL, or "| pg_dump ...": that of a table, which
    goes to the live server as lost_again."""
    live = ["-h", socket_directory, "-d", "postgres"]
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines = iter(process.stdout.readline, "")
    look = command[-1] == "look"
    where = next((line.split() for line in lines if line.startswith("psql -h ")), None) if look else None
    if look and where is None or not look and process.wait() != 0:
        sys.exit("%s failed" % " ".join(command))
    if not look:
        where = ["psql", "-h", socket_directory, "-p", port, "postgres"]
        options = "-p %s -k %s -c listen_addresses= -c archive_mode=off" % (port, socket_directory)
        run([bindir + "/pg_ctl", "-D", data, "-l", data + "/past.log", "-o", options, "-w", "start"])
        while run([bindir + "/psql", *where[1:], "-XAtqc", "SELECT pg_is_in_recovery()"]).strip() != "f":
            time.sleep(0.01)
    if ask.startswith("|"):
        at = " ".join(where[1:-1])
        # Under another name: the original is still there.
        run(["bash", "-o", "pipefail", "-c", "%s/pg_dump %s -t lost postgres | sed 's/public[.]lost/public.lost_again/' | %s/psql -Xq1 -v ON_ERROR_STOP=1 %s" % (
            bindir, at, bindir, " ".join([*live, "-p", str(int(port) - 2)]))])
    else:
        run([bindir + "/psql", *where[1:], "-XAtqc", ask])
    print(time.monotonic() - begin)
    # What was asked of the bucket until now is looked at before more is.
    answered = socket_directory + "/answered"
    open(answered, "w").close()
    while os.path.exists(answered):
        time.sleep(0.005)
    if look:
        process.terminate()
        process.wait()
    else:
        run([bindir + "/pg_ctl", "-D", data, "-m", "immediate", "stop"])


def warm(directory):
    """Reads everything once, so that the disk is not what is measured."""
    for parent, _, files in os.walk(directory):
        for name in files:
            try:
                with open(os.path.join(parent, name), "rb", buffering=0) as f:
                    while f.read(1 << 20):
                        pass
            except OSError:
                pass


def drive_archiver(config, pgdata, names, durable=False):
    """Does what the server's archiver does: marks segments ready and asks for one after the other. With
    `durable` it asks for all of them once more and prints what each of these answers took, in ms: the
    median. Without, it prints what all took from the first mark to the end of the engine, in s."""
    status = pgdata + "/pg_wal/archive_status/"
    made = []
    start = time.monotonic()
    for name in names:
        if not os.path.exists(status + name + ".ready"):
            open(status + name + ".ready", "w").close()
            made.append(name)
    engine = subprocess.Popen([CHRONOS, "engine", "archive", "--config=" + config, "--stanza=main", "--pg1-path=" + pgdata],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=pgdata)
    took = []
    try:
        for name in names + (names if durable else []):
            begin = time.monotonic()
            engine.stdin.write("push file=%s\n" % name)
            engine.stdin.flush()
            while True:
                line = engine.stdout.readline()
                if not line:
                    sys.exit("engine ended")
                verb = line.split(" ", 1)[0].strip()
                if verb == "failed":
                    sys.exit(urllib.parse.unquote(line))
                if verb == "pushed":
                    took.append(time.monotonic() - begin)
                    break
    finally:
        engine.stdin.close()
        engine.wait()
        for name in made:
            os.unlink(status + name + ".ready")
    took_all = time.monotonic() - start
    print(1000 * sorted(took[len(names):])[len(names) // 2] if durable else took_all)


def print_table(title, table):
    print("\n" + title)
    head = "%-20s %9s %9s %6s   %9s %9s %6s   %8s %8s" % (
        "operation", "wall", "pgbr", "ratio", "CPU", "pgbr", "ratio", "mem MiB", "pgbr")
    if any(row["chronos"].requests for row in table.values()):
        head += "   %8s %8s" % ("requests", "pgbr")
    print(head + "\n" + "-" * len(head))
    for name, row in table.items():
        c, p = row["chronos"], row["pgbackrest"]
        requests = "   %8d %8d" % (c.requests, p.requests) if c.requests else ""
        came = "   came MiB %.1f, pgbr %.1f" % (c.came, p.came) if c.came is not None and p.came is not None else ""
        stored = "   stored MiB %.2f, pgbr %.2f" % (c.stored, p.stored) if c.stored is not None else ""
        print("%-20s %8.2fs %8.2fs %6.2f   %8.2fs %8.2fs %6.2f   %8.0f %8.0f" % (
            name, c.wall, p.wall, c.wall / p.wall, c.cpu, p.cpu, c.cpu / max(p.cpu, 1e-6), c.memory, p.memory) + requests + came + stored)


def main():
    if len(sys.argv) > 3 and sys.argv[1] == "--drive-archiver":
        return drive_archiver(sys.argv[2], sys.argv[3], sys.argv[4:])
    if len(sys.argv) > 3 and sys.argv[1] == "--drive-durable":
        return drive_archiver(sys.argv[2], sys.argv[3], sys.argv[4:], durable=True)
    if len(sys.argv) > 4 and sys.argv[1] == "--drive-recovery":
        return drive_recovery(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    if len(sys.argv) > 6 and sys.argv[1] == "--drive-past":
        return drive_past(*sys.argv[2:7], sys.argv[7:])
    args = arguments()
    if os.geteuid() == 0:
        sys.exit("bench: PostgreSQL does not run as root; run this as an ordinary user")
    bench = Bench(args)
    rows = [n for n in vars(Bench) if n.startswith("row_")]
    wanted = [n for n in rows if not args.rows or n[4:] in args.rows.split(",")]
    if args.repo == "s3":
        # These look into the repository directory.
        wanted = [n for n in wanted if not n.startswith("row_archive_get")]
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        wanted = [n for n in wanted if n not in ("row_look", "row_recover_table", "row_redo")]
    table = {}
    try:
        bench.start()
        for name in wanted:
            print("measuring %s ..." % name[4:], file=sys.stderr)
            table[name[4:]] = getattr(bench, name)()
            print("  " + ", ".join("%s %.2f s, %d requests" % (tool, figures.wall, figures.requests)
                                   for tool, figures in table[name[4:]].items()), file=sys.stderr)
    finally:
        bench.stop()
    place = "directory" if args.repo == "directory" else "s3 over %g ms" % args.delay
    size = "%.1f GB and %d small files, process-max %d, %s%s, cipher %s, %s, %s, %d segments; %s against %s" % (
        args.size_gb, args.files, args.process_max, args.codec, "" if args.level is None else " level %d" % args.level,
        args.cipher, place, "bundled" if args.bundle else "unbundled", args.segments, run([CHRONOS, "version"]).strip(), run([PGBACKREST, "version"]).strip())
    print_table(size, table)
    if args.json:
        with open(args.json, "w") as out:
            json.dump({n: {t: vars(f) for t, f in row.items()} for n, row in table.items()}, out, indent=1)
    if not args.work:
        shutil.rmtree(bench.work)


if __name__ == "__main__":
    main()
