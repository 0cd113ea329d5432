#!/usr/bin/env python3
"""Finding a running editor among N processes by their command lines: microseconds a pass.

  scan.py [N]     (default 400 sleeping processes beside what runs here)
  OURS_SCAN_CMD   our pass: looks {n} times below {shelf} and prints {"us": ..., "found": ...}; by default scankit,
                  which is the agent's own sources
"""
from common import *



def need_scankit():
    """The agent's own pass in a small program, built from copies of its sources."""
    kit, root = DIR / "scankit-src", HERE.parents[1] / "src"
    shutil.copytree(HERE / "scankit", kit, dirs_exist_ok=True)
    for source in ("host/process/scan.rs", "policy/code_server/process.rs"):
        shutil.copy2(root / source, kit / "src")
    sh(f"cd {kit} && CARGO_TARGET_DIR={DIR}/target cargo build --release")
    return DIR / "target/release/scankit"


N = int(sys.argv[1]) if len(sys.argv) > 1 else (100 if QUICK else 400)
PASSES = 40
SCAN, GO = str(DIR / "procscan"), str(DIR / "procscan-go")
SHELF = DIR / "shelf/code-server"
need("pgrep", "gcc", "go")
sh(f"gcc -O2 -static -o {SCAN} {HERE}/procscan.c")
sh(f"GO111MODULE=off GOCACHE={DIR}/gocache go build -o {GO} {HERE}/peers/procscan.go")
ours = os.environ.get("OURS_SCAN_CMD")
if not ours:
    ours = f"{need_scankit()} {{shelf}} {{n}}"
OURS = shlex.split(ours.replace("{shelf}", str(SHELF)).replace("{n}", str(PASSES)))

wait = dict(stdin=subprocess.PIPE)
sleepers = [start([SCAN, "serve", "--config", "/srv/app/etc/service.yaml", "--port", 20000 + i, "wait"], **wait) for i in range(N)]
# The editor's shape: its own node, started on its own folder.
node = SHELF / "4.99.4/lib/node"
node.parent.mkdir(parents=True, exist_ok=True)
if not node.exists():
    shutil.copy2(SCAN, node)
editor = start([node, SHELF / "4.99.4", "--bind-addr", "0.0.0.0:8080", "wait"], **wait)
while not open(f"/proc/{editor.pid}/cmdline").read():
    time.sleep(0.001)


def told(cmd):
    said = json.loads(sh([str(c) for c in cmd]))
    # Who only looks for a word finds itself too, and whoever else has it among its words.
    assert said["found"] >= 1, f"{cmd}: {said}"
    return said


def whole(cmd):
    v = []
    for _ in range(10):
        t = time.monotonic()
        subprocess.run(cmd, stdout=subprocess.DEVNULL)
        v.append((time.monotonic() - t) * 1e6)
    return med(v)


assert told(OURS)["found"] == 1, "ours finds the editor and nothing else"
WHO = {
    "limit: C getdents + openat + read": lambda: told([SCAN, SHELF, PASSES])["us"],
    "OURS": lambda: told(OURS)["us"],
    "Go os.ReadFile": lambda: told([GO, SHELF, PASSES])["us"],
    "ref: the same rule, procfs crate": lambda: told([*OURS, "procfs"])["us"],
    "pgrep -f (whole command)": lambda: whole(["pgrep", "-f", str(SHELF)]),
}
seen = {}
for _ in range(1 if QUICK else 7):
    for name, measure in WHO.items():
        quiet()
        seen.setdefault(name, []).append(measure())
total = sum(d.isdigit() for d in os.listdir("/proc"))
base = med(seen["limit: C getdents + openat + read"])
rows = [[name, med(v), spread(v), med(v) / total, med(v) / base] for name, v in seen.items()]
table(f"finding the editor among {total} processes", ["how", "us", "+-%", "us a process", "x limit"], rows)
finish("scan", {"processes": total, "rows": {r[0]: dict(zip(["us", "noise_pct", "us_process", "x_limit"], r[1:])) for r in rows}})
