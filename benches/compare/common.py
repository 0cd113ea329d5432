"""Shared by the benches: where things live, installing what is missing, process figures, tables.

Environment (all benches):
  BENCH_DIR    scratch folder (default /tmp/zlh-bench)
  BENCH_QUICK  1: fewer repetitions (a smoke test of the harness itself)
  BENCH_QUIET  seconds to wait at most, before each measured run, for a quiet machine (default 5; 0: never)
  ZLH, OURS_...  what is measured as "OURS": see ours.py
Every server is bound to 127.0.0.1, every loop is bounded, and what a bench started it ends by pid.
"""
import atexit, json, os, random, shlex, shutil, signal, socket, statistics, subprocess, sys, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DIR = Path(os.environ.get("BENCH_DIR", "/tmp/zlh-bench"))
DIR.mkdir(parents=True, exist_ok=True)
QUICK = os.environ.get("BENCH_QUICK") == "1"
NODE = DIR / "node"
TICK = os.sysconf("SC_CLK_TCK")
PROBE = str(DIR / "probe")
REFKIT = str(DIR / "refkit")
os.environ["PATH"] += ":/usr/sbin:/sbin"
os.environ["NODE_PATH"] = str(NODE / "node_modules")

DEB = {  # command: package
    "supervisord": "supervisor", "runsv": "runit", "s6-supervise": "s6", "monit": "monit", "conmon": "conmon",
    "nginx": "nginx-light", "wrk": "wrk", "websocketd": "websocketd", "tmux": "tmux", "go": "golang-go", "gcc": "gcc",
    "script": "bsdutils", "curl": "curl", "time": "time", "bsdtar": "libarchive-tools", "pigz": "pigz", "igzip": "isal",
    "mkfs.ext4": "e2fsprogs", "redis-server": "redis-server", "haproxy": "haproxy", "caddy": "caddy",
}
GO_LIBS = ["golang-github-gorilla-websocket-dev", "golang-github-creack-pty-dev"]
NPM = "pm2@7 express@5 ws@8 node-pty@1 http-proxy-middleware@3"
PIP = ["terminado==0.18.1"]
APT_INSTALL = str(HERE.parents[1] / "tests/real/apt-install.sh")


def sh(cmd, **kw):
    return subprocess.run(cmd, shell=isinstance(cmd, str), check=True, text=True, capture_output=True, **kw).stdout


def need(*commands):
    """Installs the Debian packages of the commands that are not here; starts none of their services."""
    missing = [DEB[c] for c in commands if not shutil.which(c)]
    if missing:
        sh([APT_INSTALL, *missing])


def need_npm():
    if not (NODE / "node_modules/http-proxy-middleware").exists():
        NODE.mkdir(exist_ok=True)
        sh(f"cd {NODE} && npm init -y && npm install {NPM} && npm rebuild node-pty --foreground-scripts")


def need_python():
    """A virtual environment with the Python peers; its interpreter."""
    python = DIR / "venv/bin/python"
    if not python.exists():
        sh([sys.executable, "-m", "venv", str(DIR / "venv")])
        sh([str(python), "-m", "pip", "install", "-q", *PIP])
    return str(python)


def need_probe():
    need("gcc")
    src = HERE / "probe.c"
    if not os.path.exists(PROBE) or os.path.getmtime(PROBE) < src.stat().st_mtime:
        sh(f"gcc -O2 -static -o {PROBE} {src}")


def need_refkit():
    """Built from a copy: its lock file and its target stay in the scratch folder."""
    sources = [p for p in (HERE / "refkit").rglob("*") if p.suffix in (".rs", ".toml")]
    if os.path.exists(REFKIT) and os.path.getmtime(REFKIT) >= max(p.stat().st_mtime for p in sources):
        return
    shutil.copytree(HERE / "refkit", DIR / "refkit-src", dirs_exist_ok=True)
    sh(f"cd {DIR}/refkit-src && CARGO_TARGET_DIR={DIR}/target cargo build --release")
    shutil.copy2(DIR / "target/release/refkit", REFKIT)
    os.utime(REFKIT)


def need_gopeer():
    """The Go peer, from Debian's own Go packages."""
    need("go")
    out, src = DIR / "gopeer", HERE / "peers/gopeer.go"
    if not out.exists() or out.stat().st_mtime < src.stat().st_mtime:
        sh([APT_INSTALL, *GO_LIBS])
        sh(f"GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE={DIR}/gocache go build -o {out} {src}")
    return str(out)


# -- processes ---------------------------------------------------------------------------------------------------------
_started = []


def start(cmd, **kw):
    """Starts a command in its own session; it and all of its descendants are ended when the bench ends."""
    if isinstance(cmd, str):
        cmd = shlex.split(cmd)
    kw.setdefault("stdout", subprocess.DEVNULL)
    kw.setdefault("stderr", subprocess.DEVNULL)
    kw.setdefault("stdin", subprocess.DEVNULL)
    p = subprocess.Popen([str(c) for c in cmd], start_new_session=True, **kw)
    _started.append(p)
    return p


def tree(pid):
    """pid and its living descendants."""
    kids = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                f = open(f"/proc/{d}/stat").read()
            except OSError:
                continue
            kids.setdefault(int(f.rsplit(")", 1)[1].split()[1]), []).append(int(d))
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        if os.path.exists(f"/proc/{p}"):
            out.append(p)
            todo += kids.get(p, [])
    return out


def stop(p, sig=signal.SIGTERM):
    """Ends a started process and its descendants, by pid, the parents first so that none is restarted."""
    pid = p.pid if hasattr(p, "pid") else p
    pids = tree(pid)
    for q in pids:
        try:
            os.kill(q, signal.SIGSTOP)
        except OSError:
            pass
    for q in dict.fromkeys(pids + tree(pid)):
        try:
            os.kill(q, signal.SIGKILL)
        except OSError:
            pass
    if hasattr(p, "wait"):
        p.wait()
        if p in _started:
            _started.remove(p)


@atexit.register
def stop_all():
    for p in list(_started):
        stop(p)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def cpu(pids):
    """User + system seconds of living processes (from schedstat where there, else the clock ticks)."""
    s = 0.0
    for p in pids:
        try:
            for t in os.listdir(f"/proc/{p}/task"):
                s += int(open(f"/proc/{p}/task/{t}/schedstat").read().split()[0]) / 1e9
        except (OSError, ValueError):
            pass
    return s


def mem(pids):
    """Summed RSS and anonymous memory (what no other process can share) in MiB, and threads."""
    rss = anon = th = 0
    for p in pids:
        try:
            for l in open(f"/proc/{p}/smaps_rollup"):
                if l.startswith("Rss:"):
                    rss += int(l.split()[1])
                elif l.startswith("Anonymous:"):
                    anon += int(l.split()[1])
            th += len(os.listdir(f"/proc/{p}/task"))
        except OSError:
            pass
    return rss / 1024, anon / 1024, th


def switches(pids):
    """Voluntary + involuntary context switches of all threads: each voluntary one is a wake-up."""
    n = 0
    for p in pids:
        try:
            for t in os.listdir(f"/proc/{p}/task"):
                for l in open(f"/proc/{p}/task/{t}/status"):
                    if "voluntary_ctxt_switches" in l and not l.startswith("non"):
                        n += int(l.split()[1])
        except OSError:
            pass
    return n


QUIET = float(os.environ.get("BENCH_QUIET", 5))
waited = 0.0


def quiet(busy=0.25):
    """Before a measured run: waits, BENCH_QUIET seconds at most, until all else here uses under `busy` of one core."""
    global waited

    def used():
        f = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
        return sum(f) - f[3] - f[4]
    t = time.monotonic()
    while time.monotonic() - t < QUIET:
        a = used()
        time.sleep(0.2)
        if (used() - a) / TICK / 0.2 < busy:
            break
    waited += time.monotonic() - t


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, secs=10.0, p=None):
    """Seconds until 127.0.0.1:port accepts, polled every 0.5 ms."""
    t = time.monotonic()
    while time.monotonic() - t < secs:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return time.monotonic() - t
        if p and p.poll() is not None:
            raise RuntimeError(f"{p.args} ended with {p.returncode}")
        time.sleep(0.0005)
    raise RuntimeError(f"nothing listens on {port}")


def pct(v, p):
    v = sorted(v)
    return v[int((len(v) - 1) * p)] if v else float("nan")


def med(v):
    return statistics.median(v) if v else float("nan")


def spread(v):
    """Half the range over the median, in per cent: the noise of a row."""
    return 100 * (max(v) - min(v)) / 2 / med(v) if len(v) > 1 and med(v) else 0.0


def table(title, head, rows):
    print(f"\n## {title}")
    cells = [head] + [[f"{c:.3g}" if isinstance(c, float) and abs(c) < 10 else f"{c:.0f}" if isinstance(c, float) else str(c)
                       for c in r] for r in rows]
    w = [max(len(r[i]) for r in cells) for i in range(len(head))]
    for i, r in enumerate(cells):
        print("| " + " | ".join(c.ljust(w[j]) if j == 0 else c.rjust(w[j]) for j, c in enumerate(r)) + " |")
        if i == 0:
            print("|" + "|".join("-" * (x + 2) for x in w) + "|")
    sys.stdout.flush()


def finish(bench, result):
    """The last line: one JSON object."""
    print("\n" + json.dumps({"bench": bench, "cores": os.cpu_count(), "load1": os.getloadavg()[0], "waited_s": round(waited, 1), **result}, default=float))
