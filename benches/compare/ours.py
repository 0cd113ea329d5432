"""How our own binary is started in the benches.

  ZLH             the binary (default: dist/zlh, else target/release/zlh; without either, OURS is left out)
  OURS_AGENT_CMD  the whole command instead; {port}, {dir} (an empty folder) and {set} (the bench's settings) are filled in
  OURS_HEADER     one request header, e.g. 'Authorization: Bearer x'
A workload is given to the agent as anybody would: POST /config with a custom game.
"""
import urllib.request
from common import *

PROJECT = HERE.parents[1]
FOUND = [p for p in (PROJECT / "dist/zlh", PROJECT / "target/release/zlh") if p.exists()]
BINARY = os.environ.get("ZLH", str(FOUND[0]) if FOUND else "")
COMMAND = os.environ.get("OURS_AGENT_CMD") or (
    BINARY and BINARY + " agent --root {dir} --listen 127.0.0.1:{port} --allow-unauthenticated {set}")
HEADER = os.environ.get("OURS_HEADER", "")
# A benchmark kills its workload thousands of times more often than a game may crash.
NEVER_GIVE_UP = {"restart.backoff": ",".join(["0s"] * 500), "restart.jitter": "0", "restart.max_crashes_before_ready": "1000",
                 "restart.max_crashes_per_hour": "100000"}


def there():
    return bool(COMMAND)


def agent(folder, port, settings=None):
    """Starts the agent with its root in `folder`, not yet accepting."""
    sets = " ".join(f"--set {k}={v}" for k, v in (settings or {}).items())
    command = COMMAND
    for key, value in (("dir", folder), ("port", port), ("set", sets)):
        command = command.replace("{" + key + "}", str(value))
    return start(command, stderr=open(Path(folder) / "agent.log", "ab"))


def request(port, path, body=None):
    req = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode() if body else None)
    if body:
        req.add_header("Content-Type", "application/json")
    if HEADER:
        req.add_header(*[part.strip() for part in HEADER.split(":", 1)])
    with urllib.request.urlopen(req, timeout=10) as answer:
        return json.loads(answer.read() or b"null")


def supervise(child, folder, port, settings=None):
    """Starts the agent and gives it `child` as its game."""
    p = agent(folder, port, settings)
    wait_port(port, 10, p)
    request(port, "/config", {"vmid": 1, "game": "custom", "command": shlex.split(child), "workdir": "bench", "ready": {"kind": "none"}})
    return p


def until_running(port, secs=10):
    end = time.monotonic() + secs
    while time.monotonic() < end:
        status = request(port, "/status")
        if status["processRunning"]:
            return
        time.sleep(0.01)
    raise RuntimeError(f"the workload does not run: {status}")


def mine(folder):
    """Living processes whose command line or working directory lies in `folder`: agent, keeper and workload."""
    out = []
    for d in filter(str.isdigit, os.listdir("/proc")):
        try:
            if str(folder).encode() in open(f"/proc/{d}/cmdline", "rb").read() or os.readlink(f"/proc/{d}/cwd").startswith(str(folder)):
                out.append(int(d))
        except OSError:
            pass
    return [p for p in out if p != os.getpid()]


def end(p, folder):
    """The agent first, so that it restarts nothing; then what it leaves alive on purpose."""
    stop(p)
    for pid in mine(folder):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
