#!/usr/bin/env python3
"""Install: one tar.gz over loopback HTTP to files on disk, against the pipelines people write. MB/s are those of the archive.

Two archives of this machine's own files, made once by `tar | gzip -6` and served by nginx: many small ones, and few of 1 to 60 MB. Each
contender runs REPS times, all interleaved, each time on a fresh ext4 in an image on tmpfs: on a disk in use, ext4 walks round inodes
that were deleted within the last minutes, which makes a run soon after a big delete up to four times slower.
"verified": the SHA-256 is checked; "staged": unpacked beside the target and renamed when all is well. OURS also writes a manifest
with the SHA-256 of each file. No contender waits for the disk, but for the one that says "synced"; "cached" keeps the archive, too.

  python3 install.py [small|big|both]     (default: both, about four minutes)
  OURS_INSTALL_CMD  the whole command instead; {url}, {sha256} and {dir} (which must not exist before) are filled in
"""
from common import *
import hashlib
import ours

WHAT = sys.argv[1] if len(sys.argv) > 1 else "both"
REPS = 1 if QUICK else 3
FILES, PLAIN = (4000, 80e6) if QUICK else (20000, 420e6)
need("nginx", "curl", "time", "bsdtar", "pigz", "igzip", "mkfs.ext4")
W = DIR / "install"
W.mkdir(exist_ok=True)
IMG, MNT = Path(f"/dev/shm/bench-install-{os.getpid()}.img"), W / "mnt"
MNT.mkdir(exist_ok=True)


def corpus(big):
    archive = W / f"{'big' if big else 'small'}-{FILES}.tar.gz"
    if archive.exists():
        return archive
    n = size = 0
    with open(W / "list", "w") as out:
        for top in ("/usr/share", "/usr/lib", "/usr/include", "/usr/local"):
            share = 0
            for d, dirs, files in os.walk(top):
                dirs.sort()
                for f in sorted(files):
                    p = os.path.join(d, f)
                    if os.path.islink(p) or not os.path.isfile(p) or n >= FILES or not p.isprintable() or share >= FILES * 0.45:
                        continue
                    s = os.path.getsize(p)
                    if (1e6 < s < 60e6 if big else s < 3e6) and size + s < PLAIN:
                        out.write(p[1:] + "\n")
                        n, size, share = n + 1, size + s, share + 1
    sh(f"tar --numeric-owner -C / -cf - -T {W}/list | gzip -6 > {archive}.part && mv {archive}.part {archive}")
    return archive


PORT = free_port()
(W / "n.conf").write_text(f"worker_processes 1; daemon off; user root; pid {W}/pid; error_log {W}/err; events {{}}\n"
                          f"http {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{PORT}; root {W}; }} }}\n")
start(f"nginx -c {W}/n.conf")
wait_port(PORT)


def contenders(url, sha):
    """name: (what is safe about it, command). Run in a folder of their own; the files are to be in D."""
    python = W / "python_tarfile.py"
    python.write_text(f'''
import tarfile, urllib.request, hashlib, os
h = hashlib.sha256()
class Tee:
    def __init__(s, r): s.r = r
    def read(s, n=-1):
        b = s.r.read(n); h.update(b); return b
r = Tee(urllib.request.urlopen("{url}"))
os.mkdir("S")
with tarfile.open(fileobj=r, mode="r|gz") as t: t.extractall("S", filter="tar")
while r.read(65536): pass
assert h.hexdigest() == "{sha}"
os.rename("S", "D")
''')
    all = {
        "curl | tar xz": ("none", f"mkdir D && curl -s {url} | tar xz -C D"),
        "curl; sha256sum; tar xzf": ("verified", f"mkdir D && curl -so a {url} && echo '{sha}  a' | sha256sum -c --quiet && tar xzf a -C D"),
        "curl | bsdtar x": ("none", f"mkdir D && curl -s {url} | bsdtar xf - -C D"),
        "curl | pigz -d | tar x": ("none", f"mkdir D && curl -s {url} | pigz -dc | tar x -C D"),
        "curl | igzip -d | tar x": ("none", f"mkdir D && curl -s {url} | igzip -dc - | tar x -C D"),
        "python tarfile": ("verified, staged", f"{sys.executable} {python}"),
    }
    command = os.environ.get("OURS_INSTALL_CMD") or (ours.BINARY and ours.BINARY + " install --strip 0 --url {url} --sha256 {sha256} --into {dir}")
    if command:
        safe = "verified, staged, manifest"
        command = command.replace("{url}", url).replace("{sha256}", sha).replace("{dir}", "$PWD/D")
        all["OURS"] = (safe, command + " --no-sync")
        all["OURS, cached"] = (safe, command + " --no-sync --cache $PWD/C")
        all["OURS, synced"] = (safe, command)
    return all


@atexit.register
def unmount():
    subprocess.run(["umount", MNT], capture_output=True)
    IMG.unlink(missing_ok=True)


def fresh():
    """An empty folder on a new ext4; where mounting is not allowed, a plain one."""
    unmount()
    with open(IMG, "wb") as f:
        f.truncate(3 << 30)
    try:
        sh(["mkfs.ext4", "-q", "-F", IMG])
        sh(["mount", "-o", "loop,noatime", IMG, MNT])
        d = MNT / "run"
    except subprocess.CalledProcessError:
        print("no loop mount: a plain folder", file=sys.stderr)
        d = W / "run"
        shutil.rmtree(d, ignore_errors=True)
    d.mkdir()
    return d


def run(cmd):
    """(seconds, CPU seconds, MiB of the largest process, files)"""
    d = fresh()
    os.sync()
    quiet()
    t = time.monotonic()
    p = subprocess.run(["/usr/bin/time", "-q", "-o", W / "time", "-f", "%M %U %S", "bash", "-c", "set -o pipefail; " + cmd], cwd=d, stdout=subprocess.DEVNULL)
    s = time.monotonic() - t
    if p.returncode:
        raise RuntimeError(f"{cmd}: status {p.returncode}")
    rss, user, system = (W / "time").read_text().split()
    files = sum(len(f) for _, _, f in os.walk(d / "D")) - (d / "D/.zlh-manifest.json").exists()
    return s, float(user) + float(system), int(rss) / 1024, files


def contest(name, archive):
    sha = hashlib.sha256(archive.read_bytes()).hexdigest()
    mb = archive.stat().st_size / 1e6
    all, res = contenders(f"http://127.0.0.1:{PORT}/{archive.name}", sha), {}
    for _ in range(REPS):
        order = list(all)
        random.shuffle(order)
        for n in order:
            res.setdefault(n, []).append(run(all[n][1]))
    unmount()
    base, files = res["curl | tar xz"], res["curl | tar xz"][0][3]
    middle = lambda n, i: med([x[i] for x in res[n]])
    rows = []
    for n in sorted(res, key=lambda n: middle(n, 0)):
        if res[n][0][3] != files:
            raise RuntimeError(f"{n}: {res[n][0][3]} files, not {files}")
        s, cpu = middle(n, 0), middle(n, 1)
        rows.append([n, all[n][0], s, spread([x[0] for x in res[n]]), mb / s, cpu, max(x[2] for x in res[n]),
                     med([x[0] for x in base]) / s, cpu / med([x[1] for x in base])])
    table(f"{name}: {mb:.0f} MB tar.gz, {files} files, median of {REPS}",
          ["how", "safety", "s", "+-%", "MB/s", "CPU s", "peak MiB", "x curl|tar xz", "CPU share"], rows)
    return {r[0]: dict(zip(["safety", "s", "noise_pct", "mb_s", "cpu_s", "rss_mib", "x", "cpu_share"], r[1:])) for r in rows}


finish("install", {name: contest(name, corpus(name == "big")) for name in ("small", "big") if WHAT in (name, "both")})
