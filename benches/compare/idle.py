#!/usr/bin/env python3
"""Idle footprint and cold start: memory, threads, wake-ups a second, CPU, binary size, time to ready.

Each supervisor holds one sleeping workload, each server one listening socket. All are started first, left for 8 s, then
watched over the same 30 s. A process tree's figures are summed without the workload itself. Cold start: from spawn to
the workload's first act (supervisors) or to the first accepted connection (servers), median of N starts.

  python3 idle.py
Our agent and its keeper, which holds the workload, are two rows.
"""
from common import *
import ours

SECS, STARTS = (5, 3) if QUICK else (30, 7)
need("supervisord", "runsv", "s6-supervise", "monit", "conmon", "nginx", "gcc")
need_probe(), need_refkit(), need_npm()
GO = need_gopeer()
W = DIR / "idle"
shutil.rmtree(W, ignore_errors=True)
W.mkdir()
seq = 0


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


def fresh(name):
    global seq
    seq += 1
    d = W / f"{seq}"
    d.mkdir()
    return d


def nginx_conf(d, port):
    (d / "n.conf").write_text(f"worker_processes 1; daemon off; pid {d}/pid; error_log {d}/err; events {{ worker_connections 4096; }}\n"
                              f"http {{ access_log off; server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:9; }} }} }}\n")
    return d / "n.conf"


# -- supervisors: (binary for its size, start) ------------------------------------------------------------------------
def supervisord(c, d):
    (d / "s.conf").write_text(f"[supervisord]\nnodaemon=true\nlogfile={d}/log\npidfile={d}/pid\n[unix_http_server]\nfile={d}/sock\n"
                              f"[program:w]\ncommand={c}\nstartsecs=0\n")
    return start(f"/usr/bin/supervisord -c {d}/s.conf")


def runit(c, d):
    (d / "w").mkdir()
    script(d / "w/run", f"#!/bin/sh\nexec {c}\n")
    return start(["runsvdir", d])


def s6(c, d):
    (d / "w").mkdir()
    script(d / "w/run", f"#!/bin/sh\nexec {c}\n")
    return start(["s6-svscan", d])


def pm2(c, d):
    a = c.split()
    (d / "e.json").write_text(json.dumps({"apps": [{"name": "w", "script": a[0], "args": a[1:], "interpreter": "none"}]}))
    return start(["node", NODE / "node_modules/pm2/bin/pm2-runtime", "start", d / "e.json"], env={**os.environ, "PM2_HOME": str(d / "home")})


def monit(c, d):
    go = script(d / "go", f"#!/bin/sh\n{c} & echo $! > {d}/pid\n")
    (d / "rc").write_text(f"set daemon 5\nset logfile {d}/log\nset idfile {d}/id\nset statefile {d}/state\n"
                          f"check process w with pidfile {d}/pid\n  start program = \"{go}\"\n")
    (d / "rc").chmod(0o600)
    return start(["monit", "-I", "-c", d / "rc", "-p", d / "mpid"])


def conmon(c, d):
    # a stand-in for the OCI runtime: "create" starts the workload in the background and writes its pid
    (d / "b").mkdir()
    rt = script(d / "rt", f"#!/bin/bash\nwhile [ $# -gt 0 ]; do [ \"$1\" = --pid-file ] && f=$2; shift; done\n"
                          f"if [ -n \"$f\" ]; then {c} & echo -n $! > $f; fi\n")
    return start(["conmon", "--api-version", "1", "-c", "w", "-u", f"w{os.getpid()}{d.name}", "-n", "w", "-r", rt, "-b", d / "b",
                  "-p", d / "pid", "--socket-dir-path", d, "-l", f"k8s-file:{d}/log", "--sync"])


def mine(c, d):
    return ours.supervise(c, d, free_port(), ours.NEVER_GIVE_UP)


SUP = {
    "limit: C waitid loop": (PROBE, lambda c, d: start(f"{PROBE} waitloop {c}")),
    "ref: tokio loop, 2 workers": (REFKIT, lambda c, d: start(f"{REFKIT} supervise {c}")),
    "ref: tokio loop, 1 thread": (REFKIT, lambda c, d: start(f"{REFKIT} supervise {c}", env={**os.environ, "REFKIT_THREADS": "1"})),
    "ref: Go os/exec loop": (GO, lambda c, d: start(f"{GO} supervise {c}")),
    "sh while true": ("/bin/dash", lambda c, d: start(["/bin/dash", "-c", f"while true; do {c}; done"])),
    "runit runsvdir+runsv": ("/usr/bin/runsv", runit),
    "s6-svscan+s6-supervise": (shutil.which("s6-supervise"), s6),
    "conmon": ("/usr/bin/conmon", conmon),
    "monit (5 s cycle)": ("/usr/bin/monit", monit),
    "supervisord": (None, supervisord),
    "pm2-runtime": ("/usr/bin/node", pm2),
}
if ours.there():
    SUP["OURS agent, supervising"] = (shlex.split(ours.COMMAND)[0], mine)

STATUS = {**os.environ, "STATUS_JSON": json.dumps({"state": "running"})}
SRV = {
    "ref: tokio, one socket": (REFKIT, lambda p, d: start(f"{REFKIT} idle {p}")),
    "ref: axum /status": (REFKIT, lambda p, d: start(f"{REFKIT} serve {p}", env=STATUS)),
    "ref: Go net/http": (GO, lambda p, d: start(f"{GO} serve {p}", env=STATUS)),
    "node express": ("/usr/bin/node", lambda p, d: start(f"node {HERE}/peers/serve.js {p}", env=STATUS)),
    "nginx (1 worker)": ("/usr/sbin/nginx", lambda p, d: start(f"nginx -c {nginx_conf(d, p)}")),
}
if ours.there():
    SRV["OURS agent, nothing to do"] = (shlex.split(ours.COMMAND)[0], lambda p, d: ours.agent(d, p))


def listen_birth():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    a = f"bench-idle-{os.getpid()}-{random.getrandbits(40)}"
    s.bind("\0" + a)
    s.settimeout(20)
    return s, f"{PROBE} birth {a}"


cold = {}
for r in range(STARTS):
    for n, (_, go) in SUP.items():
        s, c = listen_birth()
        d = fresh(n)
        t = time.monotonic_ns()
        p = go(c, d)
        try:
            pid, ns = s.recv(64).split()
        except TimeoutError:
            sys.exit(f"{n}: its workload did not start")
        cold.setdefault(n, []).append((int(ns) - t) / 1e6)
        if r < STARTS - 1:
            ours.end(p, d)
            if os.path.exists(f"/proc/{pid.decode()}"):
                os.kill(int(pid), 9)
        else:
            SUP[n] += (p, int(pid), d)
    for n, (_, go) in SRV.items():
        port, d = free_port(), fresh(n)
        t = time.monotonic()
        p = go(port, d)
        wait_port(port, 20, p)
        cold.setdefault(n, []).append((time.monotonic() - t) * 1e3)
        if r < STARTS - 1:
            ours.end(p, d)
        else:
            SRV[n] += (p, None, d)

time.sleep(1 if QUICK else 8)


def pids_of(p, child):
    return [q for q in tree(p.pid) if q != child]


everything = {**SUP, **SRV}
conmon_pid = next((int(d) for d in os.listdir("/proc") if d.isdigit() and os.path.exists(f"/proc/{d}/cmdline")
                   and open(f"/proc/{d}/cmdline", "rb").read().startswith(b"conmon\0")
                   and str(W).encode() in open(f"/proc/{d}/cmdline", "rb").read() and int(d) not in [v[2].pid for v in SUP.values()]), None)
group = {n: pids_of(v[2], v[3]) for n, v in everything.items()}
if conmon_pid:
    group["conmon"] = [conmon_pid]
if ours.there():
    p, child, d = everything["OURS agent, supervising"][2:]
    group["OURS agent, supervising"] = [p.pid]
    group["OURS keeper"] = [q for q in ours.mine(d) if q not in (p.pid, child)]
    everything["OURS keeper"], cold["OURS keeper"] = (None,), []
a = {n: (switches(g), cpu(g)) for n, g in group.items()}
time.sleep(SECS)
rows = []
for n, g in group.items():
    sw, c = switches(g) - a[n][0], cpu(g) - a[n][1]
    rss, anon, th = mem(g)
    exe = everything[n][0]
    size = os.path.getsize(os.path.realpath(exe)) / 2**20 if exe and os.path.exists(exe) else float("nan")
    rows.append([n, len(g), th, rss, anon, sw / SECS, c / SECS * 1e3, size, med(cold[n]), spread(cold[n])])
table(f"idle over {SECS} s; cold start median of {STARTS}",
      ["who", "procs", "threads", "RSS MiB", "anon MiB", "wakeups/s", "CPU ms/s", "binary MiB", "cold ms", "+-%"], rows)
for n, v in everything.items():
    if len(v) < 5:
        continue
    ours.end(v[2], v[4])
    if v[3] and os.path.exists(f"/proc/{v[3]}"):
        os.kill(v[3], 9)
if conmon_pid and os.path.exists(f"/proc/{conmon_pid}"):
    os.kill(conmon_pid, 9)
finish("idle", {"rows": {r[0]: dict(zip(["procs", "threads", "rss", "anon", "wakeups_s", "cpu_ms_s", "binary_mib", "cold_ms"], r[1:9])) for r in rows}})
