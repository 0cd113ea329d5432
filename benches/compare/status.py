#!/usr/bin/env python3
"""Status: GET /status from a snapshot: requests/s and latency with wrk at 1 and 32 connections, server CPU per request.

  python3 status.py
"""
from common import *
import re
import ours

REPS, SECS = (1, 1) if QUICK else (3, 2)
need("nginx", "wrk")
need_refkit(), need_npm()
GO = need_gopeer()
W = DIR / "status"
shutil.rmtree(W, ignore_errors=True)
W.mkdir()
STATUS = {"vmid": 5001, "kind": "game", "state": "running", "pid": 4242, "startedAt": 1763000000, "uptimeSecs": 12345, "runtimeInstalled": True,
          "devProvisioned": True, "devReadyAt": 1763000001, "workspaceRoot": "/home/dev/workspace", "serverRoot": "/opt/zlh/server",
          "codeServerInstalled": True, "codeServerRunning": True, "restarts": 2, "lastCrashClassification": "oom",
          "lastCrash": {"at": 1763000000, "exitCode": 137, "signal": 9, "uptimeSecs": 77,
                        "logTail": ["[12:34:56] [Server thread/INFO]: Saving worlds", "java.lang.OutOfMemoryError: Java heap space"]}}
ENV = {**os.environ, "STATUS_JSON": json.dumps(STATUS)}
result = {}


def us(s):
    m = re.match(r"([\d.]+)(us|ms|s)", s)
    if not m:  # no request was answered in time
        return float("nan")
    v, u = m.groups()
    return float(v) * {"us": 1, "ms": 1e3, "s": 1e6}[u]


def nginx(port):
    (W / "static").mkdir(exist_ok=True)
    (W / "static/status").write_text(json.dumps(STATUS))
    (W / "n.conf").write_text(f"worker_processes 1; daemon off; user root; pid {W}/pid; error_log {W}/err; events {{ worker_connections 4096; }}\n"
                              f"http {{ access_log off; default_type application/json; keepalive_requests 100000000; open_file_cache max=10; server {{ listen 127.0.0.1:{port}; root {W}/static; }} }}\n")
    return start(f"nginx -c {W}/n.conf")


SRV = {
    "ref: axum, serialized each time": lambda p: start(f"{REFKIT} serve {p}", env=ENV),
    "nginx, static file": nginx,
    "Go net/http": lambda p: start(f"{GO} serve {p}", env=ENV),
    "node express": lambda p: start(f"node {HERE}/peers/serve.js {p}", env=ENV),
}
if ours.there():
    (W / "root").mkdir()
    SRV["OURS"] = lambda p: ours.agent(W / "root", p)
run = {}
for n, go in SRV.items():
    p = free_port()
    run[n] = (go(p), p)
    wait_port(p, 15, run[n][0])

def wrk(n, conns, secs):
    h = ["-H", ours.HEADER] if n == "OURS" and ours.HEADER else []
    quiet()
    pids = tree(run[n][0].pid)
    c = cpu(pids)
    out = sh(["wrk", "-t1", f"-c{conns}", f"-d{secs}s", "--latency", *h, f"http://127.0.0.1:{run[n][1]}/status"])
    c = cpu(pids) - c
    if "Non-2xx" in out:
        raise RuntimeError(out)
    g = lambda x: us(re.search(x + r"%\s+(\S+)", out).group(1))
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), g("50"), g("99"), c / int(re.search(r"(\d+) requests in", out).group(1)) * 1e6

a, b = {}, {}
for _ in range(REPS):
    order = list(run)
    random.shuffle(order)
    for n in order:
        a.setdefault(n, []).append(wrk(n, 32, SECS))
        b.setdefault(n, []).append(wrk(n, 1, 1))
m = lambda v, i: med([x[i] for x in v])
base = m(a["nginx, static file"], 0)
rows = [[n, m(a[n], 0), spread([x[0] for x in a[n]]), m(a[n], 1), m(a[n], 2), m(a[n], 3), m(b[n], 0), m(b[n], 1), m(b[n], 2), m(a[n], 0) / base] for n in run]
table(f"GET /status, median of {REPS}", ["server", "req/s c32", "+-%", "p50 us", "p99 us", "CPU us/req", "req/s c1", "p50 us c1", "p99 us c1", "x nginx"], rows)
result["http"] = {r[0]: dict(zip(["rps", "noise_pct", "p50_us", "p99_us", "cpu_us", "c1_rps", "c1_p50_us", "c1_p99_us", "x_nginx"], r[1:])) for r in rows}
for p, _ in run.values():
    stop(p)

finish("status", result)
