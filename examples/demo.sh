#!/usr/bin/env bash
# A server that crashes and comes back, an agent that is killed and a server that does not notice. About half a minute.
set -euo pipefail
cd "$(dirname "$0")/.."

zlh=${ZLH:-target/debug/zlh}
game=${FAKE_GAME:-target/debug/examples/fake_game}
place=$(mktemp -d /tmp/zlh-demo-XXXXXX)
chmod 755 "$place"
mkdir "$place/root"
agent= url=
install -m 755 "$game" "$place/fake_game"

tell() { printf '\n\033[1m%s\033[0m\n' "$*"; }
client() { "$zlh" --url "$url" "$@"; }

start_agent() {
  : >"$place/out"
  "$zlh" agent --root "$place/root" --listen 127.0.0.1:0 --allow-unauthenticated --set restart.backoff=2s,4s,8s \
    --set restart.reset_after=5s >"$place/out" 2>>"$place/agent.log" &
  agent=$!
  url=
  for _ in $(seq 500); do
    url=$(sed -n 's/^listening agent //p' "$place/out")
    [ -z "$url" ] || return 0
    kill -0 "$agent" 2>/dev/null || break
    sleep 0.02
  done
  cat "$place/agent.log" >&2
  exit 1
}

wait_for() {
  for _ in $(seq 300); do
    client --json status | grep -q "\"state\": *\"$1\"" && return 0
    sleep 0.1
  done
  echo "the state $1 did not come" >&2
  client status >&2
  exit 1
}

finish() {
  [ -z "$url" ] || client kill >/dev/null 2>&1 || true
  [ -z "$agent" ] || { kill "$agent" && wait "$agent"; } 2>/dev/null || true
  echo "(what it left is in $place)"
}
trap finish EXIT

tell "1. An agent starts, and is given a game by POST /config"
start_agent
curl --silent --show-error --fail --header 'Content-Type: application/json' "$url/config" --data @- <<JSON
{"vmid": 1, "game": "custom", "workdir": "demo", "memory_mb": 128,
 "command": ["$place/fake_game", "--ready-after", "1s", "--players", "3", "--write-crash-report"],
 "stop": [{"stdin": "stop", "wait": "5s"}],
 "ready": {"kind": "log", "pattern": "Done \\\\(", "within": "10s"}}
JSON
echo
wait_for running
client status

tell "2. A mod breaks it. It comes back by itself after two seconds; the crash is explained"
client command crash throw
wait_for crashed
wait_for running
client crashes

tell "3. kill -9 the agent. The server runs on, the next agent takes it up"
kill -9 "$agent"
wait "$agent" 2>/dev/null || true
start_agent
wait_for running
client status

tell "4. Its own stop command, and done"
client stop
wait_for idle
client logs | tail -n 12
