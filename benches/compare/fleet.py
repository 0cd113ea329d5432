#!/usr/bin/env python3
"""Thousands of simulated agents on one gateway that writes their statuses to Redis: the gateway's CPU and memory, Redis' CPU,
how old a status is when it is shown, and what a full read of Redis by 500 keys takes.

  python3 fleet.py                       needs cargo: it builds examples/fleet.rs in the release profile, or takes $FLEET
"""
from common import *
import ours

SECS = 10 if QUICK else 30
need("redis-server")
FLEET = os.environ.get("FLEET")
if not FLEET:
    sh(f"cd {ours.PROJECT} && cargo build --release --example fleet")
    FLEET = str(ours.PROJECT / "target/release/examples/fleet")
W = DIR / "fleet"
shutil.rmtree(W, ignore_errors=True)
W.mkdir()
rows, result = [], {}
for agents in (1000,) if QUICK else (1000, 2000, 5000, 10000):
    port = free_port()
    redis = start(f"redis-server --bind 127.0.0.1 --port {port} --save '' --appendonly no --dir {W}")
    wait_port(port, 10, redis)
    quiet()
    began, before = time.monotonic(), cpu([redis.pid])
    fleet = start([FLEET, str(agents), str(SECS), f"redis://127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True)
    out = json.loads(fleet.communicate(timeout=SECS + 180)[0].splitlines()[-1])
    share = (cpu([redis.pid]) - before) / (time.monotonic() - began) * 100
    stop(redis)
    rows.append([agents, out["cpuPercentOfOneCore"], out["residentMiB"], out["kibPerAgent"], out["lagMs"]["p50"], out["lagMs"]["p99"], share, out["fullReadMs"]])
    result[str(agents)] = {**out, "redis_cpu_pct": share}
table(f"agents on one gateway, {SECS} s", ["agents", "gateway CPU %", "RSS MiB", "KiB/agent", "lag p50 ms", "lag p99 ms", "Redis CPU %", "full read ms"], rows)
finish("fleet", result)
