#!/usr/bin/env python3
"""The way into the IDE: HTTP and WebSocket through each proxy, against going straight to the upstream.

  small  1 KB responses: requests/s and latency with wrk at 32 and at 1 connections, and the proxy's own CPU per request
  large  one 64 MB response: MB/s and the proxy's CPU per MB
  ws     64-byte echo: round trip at 1 connection, messages/s at 32, connections/s (open, echo, close), memory of 1,000 idle ones
Upstreams: nginx (one worker, static files on tmpfs) and refkit's WebSocket echo server. Ours is the whole gateway: registry,
login, single-use token, cookie checked on each request. Load and upstream share the machine's cores with the proxy, so its CPU
per request is the figure that noise moves least.

  python3 proxy.py [small|large|ws|all]
"""
from common import *
from common import _started
import ours, re, urllib.error, urllib.request

WHAT = sys.argv[1] if len(sys.argv) > 1 else "all"
REPS, SECS = (1, 1) if QUICK else (3, 2)
need("nginx", "haproxy", "caddy", "wrk", "curl")
need_refkit(), need_npm()
GO = need_gopeer()
W = DIR / "proxy"
shutil.rmtree(W, ignore_errors=True)
W.mkdir()
ROOT = Path(f"/dev/shm/bench-proxy-{os.getpid()}")
ROOT.mkdir()
atexit.register(lambda: shutil.rmtree(ROOT, ignore_errors=True))
(ROOT / "1k").write_bytes(os.urandom(512).hex().encode())
(ROOT / "64m").write_bytes(os.urandom(1 << 20) * 64)
HEAD = f"worker_processes 1; worker_rlimit_nofile 20000; daemon off; user root; error_log {W}/err;\nevents {{ worker_connections 8192; }}\n"
UP, WS = free_port(), free_port()
(W / "up.conf").write_text(HEAD + f"pid {W}/up.pid;\nhttp {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; open_file_cache max=10;\n"
                           f"  server {{ listen 127.0.0.1:{UP} backlog=4096; root {ROOT}; }} }}\n")
start(f"nginx -c {W}/up.conf")
start(f"{REFKIT} wsecho {WS}")
wait_port(UP), wait_port(WS)


def nginx(port, keep):
    f = W / f"n{port}.conf"
    ka = "proxy_http_version 1.1; proxy_set_header Connection '';" if keep else ""
    f.write_text(HEAD + f"pid {W}/n{port}.pid;\nhttp {{ access_log off; keepalive_requests 100000000;\n  upstream u {{ server 127.0.0.1:{UP}; {'keepalive 64; keepalive_requests 100000000;' if keep else ''} }}\n"
                 f"  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://u; {ka} }}\n"
                 f"    location /ws {{ proxy_pass http://127.0.0.1:{WS}; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_read_timeout 300s; }} }} }}\n")
    return [start(f"nginx -c {f}")]


def haproxy(port):
    f = W / "haproxy.cfg"
    f.write_text(f"global\n  maxconn 8192\ndefaults\n  mode http\n  timeout client 300s\n  timeout server 300s\n  timeout connect 5s\n  timeout tunnel 300s\n"
                 f"frontend f\n  bind 127.0.0.1:{port} backlog 4096\n  use_backend w if {{ path_beg /ws }}\n  default_backend b\n"
                 f"backend b\n  server s 127.0.0.1:{UP}\nbackend w\n  server s 127.0.0.1:{WS}\n")
    return [start(f"haproxy -db -f {f}")]


def caddy(port):
    f = W / "Caddyfile"
    f.write_text(f"{{\n  admin off\n  auto_https off\n}}\nhttp://127.0.0.1:{port} {{\n  reverse_proxy /ws 127.0.0.1:{WS}\n  reverse_proxy 127.0.0.1:{UP}\n}}\n")
    return [start(f"caddy run --config {f} --adapter caddyfile", env={**os.environ, "HOME": str(W)})]


def gateway():
    """The whole gateway before both upstreams: process, port of its IDE listener, and the headers of somebody who came in."""
    d, api, ide = W / "gateway", free_port(), free_port()
    g = [ours.BINARY, "gateway", "--data", str(d)]
    subprocess.run([*g, "user", "add", "bench", "--admin", "--password-stdin"], input="bench bench bench", text=True, check=True, capture_output=True)
    p = start([*g, "--listen", f"127.0.0.1:{api}", "--ide-listen", f"127.0.0.1:{ide}"], stderr=open(W / "gateway.log", "ab"))
    wait_port(api, 15, p), wait_port(ide, 15, p)

    def ask(path, body, token=None):
        req = urllib.request.Request(f"http://127.0.0.1:{api}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        if token:
            req.add_header("Authorization", f"Bearer {token}")
        return json.loads(urllib.request.urlopen(req, timeout=20).read() or b"null")
    token = ask("/api/auth/login", {"username": "bench", "password": "bench bench bench"})["token"]
    cookies = []
    for vmid, port in ((1, UP), (2, WS)):
        ask("/api/servers", {"vmid": vmid, "name": f"bench-{vmid}", "containerType": "dev", "owner": "bench", "address": "127.0.0.1", "agentPort": 1, "idePort": port}, token)
        url = ask(f"/api/dev/{vmid}/ide-token", {}, token)["url"]
        out = sh(["curl", "-s", "-i", url])
        cookies.append(re.search(r"(?i)set-cookie: ([^;]+)", out).group(1))
    return p, ide, [f"Cookie: {'; '.join(cookies[:1])}"], [f"Cookie:{cookies[1]}", f"Origin:http://127.0.0.1:{ide}"]


PEERS = {
    "nginx, upstream keepalive": lambda p: nginx(p, True),
    "nginx, as first written": lambda p: nginx(p, False),
    "haproxy": haproxy,
    "caddy": caddy,
    "Go httputil.ReverseProxy": lambda p: [start(f"{GO} proxy {p} 127.0.0.1:{UP} 127.0.0.1:{WS}")],
    "http-proxy-middleware, keepalive": lambda p: [start(f"node {HERE}/peers/proxy.js {p} 127.0.0.1:{UP} 127.0.0.1:{WS}")],
}
running = {"direct": ([], UP, WS)}
for n, go in PEERS.items():
    p = free_port()
    ps = go(p)
    wait_port(p, 15, ps[0])
    running[n] = (ps, p, p)
prefix, wsprefix, header, wsheader = {}, {}, {}, {}
if ours.BINARY:
    p, port, header["OURS"], wsheader["OURS"] = gateway()
    running["OURS"] = ([p], port, port)
    prefix["OURS"], wsprefix["OURS"] = "/__ide/1", "/__ide/2"


def pids(n):
    return [q for p in running[n][0] for q in tree(p.pid)]


def us(s):
    m = re.match(r"([\d.]+)(us|ms|s)", s)
    if not m:  # no request was answered in time
        return float("nan")
    v, u = m.groups()
    return float(v) * {"us": 1, "ms": 1e3, "s": 1e6}[u]


def wrk(n, conns):
    url = f"http://127.0.0.1:{running[n][1]}{prefix.get(n, '')}/1k"
    h = [x for one in header.get(n, []) for x in ("-H", one)]
    subprocess.run(["wrk", "-t1", f"-c{conns}", "-d0.2s", *h, url], capture_output=True)
    quiet()
    c = cpu(pids(n))
    out = sh(["wrk", "-t1", f"-c{conns}", f"-d{SECS if conns > 1 else 1}s", "--latency", *h, url])
    c = cpu(pids(n)) - c
    if "Non-2xx" in out:
        raise RuntimeError(f"{n}: {out}")
    if os.environ.get("BENCH_DEBUG"):
        print(n, conns, out, file=sys.stderr)
    g = lambda x: us(re.search(x + r"%\s+(\S+)", out).group(1))
    reqs = int(re.search(r"(\d+) requests in", out).group(1))
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), g("50"), g("99"), c / max(reqs, 1) * 1e6


result = {}
if WHAT in ("small", "all"):
    res, one = {}, {}
    for r in range(REPS):
        order = list(running)
        random.shuffle(order)
        for n in order:
            try:
                res.setdefault(n, []).append(wrk(n, 32))
                one.setdefault(n, []).append(wrk(n, 1))
            except (RuntimeError, subprocess.CalledProcessError) as e:
                print(n, e, file=sys.stderr)
    m = lambda v, i: med([x[i] for x in v])
    base = m(res["nginx, upstream keepalive"], 0)
    rows = [[n, m(v, 0), spread([x[0] for x in v]), m(v, 1), m(v, 2), m(v, 3), m(one[n], 1), m(one[n], 2), m(v, 0) / base]
            for n, v in sorted(res.items(), key=lambda x: -m(x[1], 0))]
    table(f"1 KB responses, median of {REPS} runs of {SECS} s", ["proxy", "req/s c32", "+-%", "p50 us", "p99 us", "CPU us/req", "p50 us c1", "p99 us c1", "x nginx"], rows)
    result["small"] = {r[0]: dict(zip(["rps", "noise_pct", "p50_us", "p99_us", "cpu_us_req", "c1_p50_us", "c1_p99_us", "x_nginx"], r[1:])) for r in rows}

if WHAT in ("large", "all"):
    res = {}
    for r in range(REPS):
        order = list(running)
        random.shuffle(order)
        for n in order:
            url = f"http://127.0.0.1:{running[n][1]}{prefix.get(n, '')}/64m"
            h = [x for one in header.get(n, []) for x in ("-H", one)]
            quiet()
            c = cpu(pids(n))
            s = time.monotonic()
            for _ in range(3):
                sh(["curl", "-sf", "-o", "/dev/null", *h, url])
            s = time.monotonic() - s
            mb = 3 * 64 * 1.048576
            res.setdefault(n, []).append((mb / s, (cpu(pids(n)) - c) / mb * 1e3))
    m = lambda v, i: med([x[i] for x in v])
    base = m(res["nginx, upstream keepalive"], 0)
    rows = [[n, m(v, 0), spread([x[0] for x in v]), m(v, 1), m(v, 0) / base] for n, v in sorted(res.items(), key=lambda x: -m(x[1], 0))]
    table(f"64 MB response by curl, median of {REPS}", ["proxy", "MB/s", "+-%", "CPU ms/MB", "x nginx"], rows)
    result["large"] = {r[0]: dict(zip(["mb_s", "noise_pct", "cpu_ms_mb", "x_nginx"], r[1:])) for r in rows}

if WHAT in ("ws", "all"):
    rows = []
    for n in running:
        url = f"ws://127.0.0.1:{running[n][2]}{wsprefix.get(n, '')}/ws"
        h = wsheader.get(n, [])
        try:
            rtts, rates = [], []
            for _ in range(1 if QUICK else 2):
                quiet()
                rtts.append(json.loads(sh([REFKIT, "wsload", "rtt", url, "800", "1", *h])))
                quiet()
                c = cpu(pids(n))
                rates.append(json.loads(sh([REFKIT, "wsload", "rate", url, "1200", "32", *h])))
                rates[-1]["cpu"] = (cpu(pids(n)) - c) / max(rates[-1]["msg_s"] * 1.2, 1) * 1e6
            quiet()
            setup = json.loads(sh([REFKIT, "wsload", "setup", url, "1000", "16", *h]))
            time.sleep(0.3)
            before = mem(pids(n))[0]
            p = start([REFKIT, "wsload", "idle", url, "1000", "16", *h], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            idle = json.loads(p.stdout.readline())
            time.sleep(0.3)
            after = mem(pids(n))[0]
            p.stdin.close()
            p.wait(10)
            _started.remove(p)
            rows.append([n, med([r["p50_us"] for r in rtts]), med([r["p99_us"] for r in rtts]), med([r["msg_s"] for r in rates]), med([r["cpu"] for r in rates]),
                         setup["conn_s"], setup["p99_us"] / 1e3, (after - before) / max(idle["conns"], 1) * 1024, setup["failed"] + idle["failed"]])
        except (subprocess.CalledProcessError, ValueError) as e:
            print(n, e, getattr(e, "stderr", ""), file=sys.stderr)
    table("WebSocket echo, 64 bytes", ["proxy", "rtt p50 us", "rtt p99 us", "msg/s c32", "CPU us/msg", "conns/s", "setup p99 ms", "KiB per idle conn", "failed"], rows)
    result["ws"] = {r[0]: dict(zip(["rtt_p50_us", "rtt_p99_us", "msg_s", "cpu_us_msg", "conn_s", "setup_p99_ms", "kib_idle", "failed"], r[1:])) for r in rows}
finish("proxy", result)
