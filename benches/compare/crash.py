#!/usr/bin/env python3
"""Crash -> restarted: from just before kill -9 to the first act of the new process, zero backoff everywhere.

The workload (probe birth) is a static program that stamps the monotonic clock first thing and sends it over a unix
datagram. All supervisors run at once, each with its own workload, and are killed in turn, so noise falls on all alike;
between two kills of one workload at least 1.3 s pass (runit and s6 hold back a service that lived less than a second).

Then our own binary with a backoff of B: how much later than B the restart comes.

  python3 crash.py [ROUNDS]
"""
from common import *
import ours

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else (6 if QUICK else 36)
need("supervisord", "runsv", "s6-supervise", "monit", "gcc")
need_probe(), need_refkit(), need_npm()
GO = need_gopeer()
W = DIR / "crash"
shutil.rmtree(W, ignore_errors=True)
W.mkdir()


class Child:
    """The workload under one supervisor: where its births arrive."""

    def __init__(self, name):
        self.addr = f"bench-crash-{os.getpid()}-{name}"
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind("\0" + self.addr)
        self.s.settimeout(6)
        self.cmd = f"{PROBE} birth {self.addr}"
        self.dir = W / name
        self.dir.mkdir()

    def birth(self):
        pid, ns = self.s.recv(64).split()
        return int(pid), int(ns)


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


def peers():
    def shell(c, sh):
        return start([sh, "-c", f"while true; do {c.cmd}; done"])

    def supervisord(c):
        (c.dir / "s.conf").write_text(f"[supervisord]\nnodaemon=true\nlogfile={c.dir}/log\npidfile={c.dir}/pid\n"
                                      f"[program:w]\ncommand={c.cmd}\nautorestart=true\nstartsecs=0\nstartretries=1000000\n")
        return start(f"/usr/bin/supervisord -c {c.dir}/s.conf")

    def runit(c):
        script(c.dir / "run", f"#!/bin/sh\nexec {c.cmd}\n")
        return start(["runsv", c.dir])

    def s6(c):
        script(c.dir / "run", f"#!/bin/sh\nexec {c.cmd}\n")
        return start(["s6-supervise", c.dir])

    def pm2(c):
        (c.dir / "e.json").write_text(json.dumps({"apps": [{
            "name": "w", "script": PROBE, "args": ["birth", c.addr], "interpreter": "none", "restart_delay": 0,
            "max_restarts": 1000000, "min_uptime": 0}]}))
        return start(["node", NODE / "node_modules/pm2/bin/pm2-runtime", "start", c.dir / "e.json"],
                     env={**os.environ, "PM2_HOME": str(c.dir / "home")})

    def monit(c):
        go = script(c.dir / "go", f"#!/bin/sh\n{c.cmd} & echo $! > {c.dir}/pid\n")
        rc = c.dir / "rc"
        rc.write_text(f"set daemon 1\nset logfile {c.dir}/log\nset idfile {c.dir}/id\nset statefile {c.dir}/state\n"
                      f"check process w with pidfile {c.dir}/pid\n  start program = \"{go}\"\n")
        rc.chmod(0o600)
        return start(["monit", "-I", "-c", rc, "-p", c.dir / "mpid"])

    def mine(c):
        return ours.supervise(c.cmd, c.dir, free_port(), ours.NEVER_GIVE_UP)

    out = {
        "limit: C posix_spawn + waitid": lambda c: start(f"{PROBE} waitloop {c.cmd}"),
        "ref: tokio::process loop": lambda c: start(f"{REFKIT} supervise {c.cmd}"),
        "ref: Go os/exec loop": lambda c: start(f"{GO} supervise {c.cmd}"),
        "sh (dash) while true": lambda c: shell(c, "/bin/dash"),
        "bash while true": lambda c: shell(c, "/bin/bash"),
        "runit runsv": runit, "s6-supervise": s6, "supervisord": supervisord, "pm2-runtime": pm2, "monit (1 s cycle)": monit,
    }
    if ours.there():
        out["OURS"] = mine
    return out


live = {}
for i, (name, go) in enumerate(peers().items()):
    c = Child(f"p{i}")
    p = go(c)
    live[name] = [c, p, c.birth()[0], time.monotonic()]
time.sleep(3)
lat = {n: [] for n in live}
pending = {}


@atexit.register
def end_workloads():
    """Those that left their supervisor's tree (monit's, ours): by pid, if it is still the one we know."""
    if "OURS" in live:
        ours.end(live["OURS"][1], live["OURS"][0].dir)
    stop_all()
    for c, _, pid, _ in live.values():
        try:
            if c.addr.encode() in open(f"/proc/{pid}/cmdline", "rb").read():
                os.kill(pid, signal.SIGKILL)
        except OSError:
            pass


GAP = 1.3


def reap(n, secs):
    """Notes the birth that follows the last kill, if it has come; the stamp is the new process's own."""
    c = live[n][0]
    c.s.settimeout(secs)
    try:
        new, ns = c.birth()
    except (TimeoutError, BlockingIOError):
        return
    lat[n].append((ns - pending.pop(n)) / 1e6)
    live[n][2:] = [new, ns / 1e9]


for r in range(ROUNDS):
    names = list(live)
    random.shuffle(names)
    for n in names:
        if n in pending:  # a slow one: look again, and leave it for this round
            reap(n, 0.001)
            continue
        c, p, pid, last = live[n]
        time.sleep(max(0.0, last + GAP - time.monotonic()) + random.uniform(0.005, 0.03))
        pending[n] = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        reap(n, 0.1)
for n in list(pending):
    reap(n, 6)

limit = med(lat["limit: C posix_spawn + waitid"])
rows = [[n, len(v), pct(v, 0.1), pct(v, 0.5), pct(v, 0.9), pct(v, 0.99), max(v, default=0.0), pct(v, 0.5) / limit] for n, v in
        sorted(lat.items(), key=lambda x: pct(x[1], 0.5))]
table("kill -9 to the new process's first act, ms", ["supervisor", "n", "p10", "p50", "p90", "p99", "max", "p50 x limit"], rows)

BACKOFFS = {100: 4 if QUICK else 24, 1000: 2 if QUICK else 8}  # ms: rounds


def beyond(ms, rounds):
    """Milliseconds from kill -9 to the first act of the new process, less the backoff."""
    c = Child(f"b{ms}")
    p = ours.supervise(c.cmd, c.dir, free_port(), {**ours.NEVER_GIVE_UP, "restart.backoff": ",".join([f"{ms}ms"] * 64)})
    try:
        pid, late = c.birth()[0], []
        for _ in range(rounds):
            time.sleep(random.uniform(0.1, 0.2))
            killed = time.monotonic_ns()
            os.kill(pid, signal.SIGKILL)
            pid, ns = c.birth()
            late.append((ns - killed) / 1e6 - ms)
        return late
    finally:
        ours.end(p, c.dir)


late = {ms: beyond(ms, rounds) for ms, rounds in BACKOFFS.items()} if ours.there() else {}
table("kill -9 to restarted with a backoff of B, ms later than B", ["B", "n", "p50", "p99", "max"],
      [[f"{ms} ms", len(v), pct(v, 0.5), pct(v, 0.99), max(v)] for ms, v in late.items()])
finish("crash", {"beyond_backoff": {ms: {"p50_ms": pct(v, 0.5), "max_ms": max(v)} for ms, v in late.items()}, "rows": {r[0]: {"n": r[1], "p10_ms": r[2], "p50_ms": r[3], "p90_ms": r[4], "p99_ms": r[5]} for r in rows}})
