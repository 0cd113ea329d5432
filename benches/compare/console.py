#!/usr/bin/env python3
"""Console: a process on a PTY, its output to WebSocket clients.

  flood   MB/s to one client of a process that writes without pause, and the server's CPU per MB, its peak RSS
  fan-out the same with 8 clients, MB/s counted over all of them
  ticker  1,000 lines a second: per-line latency (stamp at the write to receipt by the client) and CPU per 1,000 lines
  stall   one client never reads: what the other still gets (stuck: nothing more), and the server's peak RSS
The workload waits for a line on its terminal, which the first client sends, then writes 100-byte log lines and SPEW-END.

  python3 console.py
"""
from common import *
import base64
import ours

MB, REPS = (8, 1) if QUICK else (48, 3)
need("tmux", "websocketd", "script", "conmon", "gcc")
need_probe(), need_refkit(), need_npm()
PYTHON = need_python()
GO = need_gopeer()
W = DIR / "console"
shutil.rmtree(W, ignore_errors=True)
W.mkdir()


def mine(port, child):
    d = W / str(port)
    d.mkdir()
    p = ours.supervise(child, d, port)
    ours.until_running(port)
    return p


# name: (start, URL path or URL, what to send, share of MB, headers)
PEERS = {
    "ref: tokio + tungstenite": (lambda p, c: start(f"{REFKIT} console {p} {c}"), "/", "go\\n", 1, []),
    "Go creack/pty + gorilla": (lambda p, c: start(f"{GO} console {p} {c}"), "/", "go\\n", 1, []),
    "node-pty + ws": (lambda p, c: start(f"node {HERE}/peers/console.js {p} {c}"), "/", "go\\n", 1, []),
    "terminado (tornado)": (lambda p, c: start(f"{PYTHON} {HERE}/peers/console_terminado.py {p} {c}"), "/ws", '["stdin","go\\u000a"]', 0.125, []),
    "websocketd + script(1)": (lambda p, c: start(["websocketd", f"--port={p}", "--address=127.0.0.1", "script", "-qfc", c, "/dev/null"]), "/", "go\\n", 0.125, []),
}
if ours.there():
    PEERS = {"OURS": (mine, "/console/stream", "go\\n", 1, [ours.HEADER] if ours.HEADER else []), **PEERS}


def servers(p, port):
    """Everything but the workload; our keeper is not a child of the agent."""
    return [q for q in dict.fromkeys(tree(p.pid) + ours.mine(W / str(port))) if PROBE.encode() not in open(f"/proc/{q}/cmdline", "rb").read().split(b"\0")[0]]


def peak(pids):
    s = 0
    for q in pids:
        for l in open(f"/proc/{q}/status"):
            if l.startswith("VmHWM"):
                s += int(l.split()[1])
    return s / 1024


def run(name, child, clients=1, stall=False, secs=40):
    go, path, text, _, head = PEERS[name]
    port = free_port()
    p = go(port, child)
    wait_port(port, 15, p)
    time.sleep(0.3)
    url = f"ws://127.0.0.1:{port}{path}"
    dead = None
    if stall:
        dead = socket.create_connection(("127.0.0.1", port))
        host, _, rest = url[5:].partition("/")
        dead.send((f"GET /{rest} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
                   + "".join(h + "\r\n" for h in head) + "\r\n").encode())
        time.sleep(0.2)
    quiet()
    pids = servers(p, port)
    before = cpu(pids)
    try:
        out = subprocess.run([REFKIT, "wsget", url, str(clients), text, *head], capture_output=True, text=True, timeout=secs)
        r = json.loads(out.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        r = None
    # At once, by pids known before: what a server does about the workload's end (a crash report, say) is no console.
    res = (r, cpu(pids) - before, peak(pids))
    ours.end(p, W / str(port))
    if dead:
        dead.close()
    return res


def limit():
    quiet()
    r = json.loads(sh([PROBE, "ptyread", PROBE, "spew", str(MB * 1000000)]))
    return r["bytes"] / 1e6 / r["secs"], r["cpu"] / (r["bytes"] / 1e6) * 1e3


def tmux_pipe():
    """tmux parses the stream for its screen and also pipes it out: pipe-pane to a fifo."""
    sock, fifo = W / "tmux.sock", W / "fifo"
    n = MB * 1000000 // 4
    if not fifo.exists():
        os.mkfifo(fifo)
    sh(["tmux", "-f", "/dev/null", "-S", sock, "new-session", "-d", "-x", "200", "-y", "50", f"{PROBE} spew {n} wait"])
    pid = int(sh(["tmux", "-S", sock, "display-message", "-p", "#{pid}"]))
    sh(["tmux", "-S", sock, "pipe-pane", f"cat > {fifo}"])
    f = open(fifo, "rb")
    quiet()
    c, t = cpu([pid]), time.monotonic()
    sh(["tmux", "-S", sock, "send-keys", "go", "Enter"])
    got, tail = 0, b""
    while b := f.read1(65536):
        got += len(b)
        tail = (tail + b)[-64:]
        if b"SPEW-END" in tail:
            break
    s = time.monotonic() - t
    c = cpu([pid]) - c
    rss = peak([pid])
    subprocess.run(["tmux", "-S", sock, "kill-server"])
    return got / 1e6 / s, c / (got / 1e6) * 1e3, rss


def conmon_log():
    """conmon -t: reads the PTY and writes a k8s-file log. The runtime's part (make the PTY, hand its master over) is here."""
    d = W / f"c{time.monotonic_ns()}"
    (d / "b").mkdir(parents=True)
    os.mkfifo(d / "go")
    rt = d / "rt"
    rt.write_text(f"#!{sys.executable}\n" + f'''
import sys, os, socket, array, time
a = sys.argv
if "--pid-file" not in a: sys.exit()
con, pidf = a[a.index("--console-socket") + 1], a[a.index("--pid-file") + 1]
m, s = os.openpty()
pid = os.fork()
if pid == 0:
    os.setsid(); os.login_tty(s) if hasattr(os, "login_tty") else [os.dup2(s, i) for i in range(3)]
    os.execv("/bin/sh", ["sh", "-c", "read x < {d}/go; exec {PROBE} spew {MB * 1000000}"])
c = socket.socket(socket.AF_UNIX); c.connect(con)
c.sendmsg([b"/dev/ptmx"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [m]))])
open(pidf, "w").write(str(pid))
''')
    rt.chmod(0o755)
    p = start(["conmon", "--api-version", "1", "-c", "w", "-u", f"w{d.name}", "-n", "w", "-r", rt, "-b", d / "b", "-p", d / "pid",
               "--socket-dir-path", d, "-l", f"k8s-file:{d}/log", "--sync", "-t"])
    for _ in range(400):
        if (d / "pid").exists() and (d / "pid").read_text():
            break
        time.sleep(0.01)
    work = int((d / "pid").read_text())
    con = p.pid  # --sync keeps conmon in the foreground
    quiet()
    c, t = cpu([con]), time.monotonic()
    (d / "go").write_text("go\n")
    log = d / "log"
    while time.monotonic() - t < 30:
        time.sleep(0.005)
        if log.exists() and log.stat().st_size > MB * 1e6:
            with open(log, "rb") as f:
                f.seek(-100, 2)
                if b"SPEW-END" in f.read():
                    break
    s, c = time.monotonic() - t, cpu([con]) - c
    rss = peak([con])
    stop(p)
    if os.path.exists(f"/proc/{work}"):
        os.kill(work, 9)
    shutil.rmtree(d)
    return MB / s, c / MB * 1e3, rss


flood = {}
for _ in range(REPS):
    flood.setdefault("limit: C read of the PTY, no client", []).append((*limit(), 0.0))
    for n in PEERS:
        size = int(MB * PEERS[n][3])
        r, c, k = run(n, f"{PROBE} spew {size * 1000000} wait")
        if r:
            flood.setdefault(n, []).append((r["bytes"] / 1e6 / r["secs"], c / (r["bytes"] / 1e6) * 1e3, k))
    for n, f in (("tmux pipe-pane (no WebSocket)", tmux_pipe), ("conmon -t to a log (no WebSocket)", conmon_log)):
        try:
            flood.setdefault(n, []).append(f())
        except Exception as e:
            print(f"{n}: {e!r}", file=sys.stderr)
            flood.pop(n, None)
top = med([v[0] for v in flood["limit: C read of the PTY, no client"]])
rows = [[n, med([x[0] for x in v]), spread([x[0] for x in v]), med([x[1] for x in v]), max(x[2] for x in v), med([x[0] for x in v]) / top]
        for n, v in flood.items() if v]
table(f"flood: {MB} MB (slow peers less), median of {REPS}", ["console", "MB/s", "+-%", "CPU ms/MB", "peak RSS MiB", "x limit"], rows)

fan = []
FAN = [n for n in PEERS if n.split()[0] in ("OURS", "ref:", "Go", "node-pty")]
for n in FAN:
    r, c, k = run(n, f"{PROBE} spew {MB // 4 * 1000000} wait", clients=8)
    if r:
        fan.append([n, r["bytes"] / 1e6 / r["secs"], c / (r["bytes"] / 1e6) * 1e3, k])
table("fan-out to 8 clients", ["console", "MB/s, all clients", "CPU ms/MB", "peak RSS MiB"], fan)

tick = []
for n in PEERS:
    r, c, k = run(n, f"{PROBE} tick 1000 {1 if QUICK else 3} wait")
    if r:
        tick.append([n, r["lines"], r["p50_us"], r["p99_us"], c / max(r["lines"], 1) * 1e6, r["msgs"] / max(r["lines"], 1)])
table("ticker: 1,000 lines/s", ["console", "lines", "p50 us", "p99 us", "CPU ms/1000 lines", "messages/line"], tick)

stalled = []
for n in FAN:
    r, c, k = run(n, f"{PROBE} spew {MB // 2 * 1000000} wait", stall=True, secs=6)
    stalled.append([n, r["bytes"] / 1e6 / r["secs"] if r else 0.0, "" if r else "stuck", k])
table("one client that never reads", ["console", "the other's MB/s", "", "peak RSS MiB"], stalled)
finish("console", {"flood": {r[0]: dict(zip(["mb_s", "noise_pct", "cpu_ms_mb", "rss", "x_limit"], r[1:])) for r in rows},
                   "fanout8": {r[0]: r[1:] for r in fan}, "ticker": {r[0]: dict(zip(["lines", "p50_us", "p99_us", "cpu_ms_1000"], r[1:])) for r in tick},
                   "stall": {r[0]: r[1:] for r in stalled}})
