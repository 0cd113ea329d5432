#!/usr/bin/env bash
# The whole story on this machine: a real Minecraft-protocol server is started, proven ready, crashed, explained and
# restarted; its agent is killed with kill -9 and replaced while a player's connection stays.
#
#   examples/demo.sh [--once]     --once: stop everything at the end instead of waiting for Ctrl-C
#
# Needs Node.js 20 and npm (or python3-venv, then it gets its own). Everything lies in .demo/ beside this project; for
# root in /var/tmp/zlh-demo, because the game then runs as another user. $DEMO_ROOT: another place.
set -euo pipefail
cd "$(dirname "$0")/.."
root=${DEMO_ROOT:-$PWD/.demo}
[ -n "${DEMO_ROOT:-}" ] || [ "$(id -u)" != 0 ] || root=/var/tmp/zlh-demo
zlh=${ZLH:-$PWD/target/debug/zlh}
game=$root/opt/zlh/flying-squid/default/world
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die() {
  echo "demo: $*" >&2
  [ ! -s "$root/agent.log" ] || tail -n 20 "$root/agent.log" >&2
  exit 1
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

agent=
start_agent() {
  : >"$root/agent.out"
  setsid "$zlh" agent --root "$root" --listen "127.0.0.1:${agent_port:-0}" --allow-unauthenticated \
    --set restart.backoff=3s,6s,12s --set on_agent_stop=leave >"$root/agent.out" 2>>"$root/agent.log" </dev/null &
  agent=$!
  for _ in $(seq 200); do
    ZLH_URL=$(sed -n 's/^listening agent //p' "$root/agent.out")
    if [ -n "$ZLH_URL" ]; then
      export ZLH_URL
      agent_port=${ZLH_URL##*:}
      return
    fi
    kill -0 "$agent" 2>/dev/null || die "the agent did not start"
    sleep 0.05
  done
  die "the agent does not listen"
}

# A question is asked every 100 ms until its answer is yes.
until_true() {
  local what=$1 seconds=$2
  shift 2
  for _ in $(seq $((seconds * 10))); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  die "$what: not within $seconds s"
}

state_is() { "$zlh" status --json | grep -q "\"state\":\"$1\""; }
pid_of_game() { "$zlh" status --json | sed -n 's/.*"pid":\([0-9]*\).*/\1/p'; }

finish() {
  [ -n "$agent" ] || return 0
  "$zlh" kill >/dev/null 2>&1 || true
  kill -TERM "$agent" 2>/dev/null || true
  wait "$agent" 2>/dev/null || true
  agent=
}
trap finish EXIT

mkdir -p "$root"
say "Getting a real Minecraft-protocol server (flying-squid, from npm)"
parts=$(ZLH_REALPARTS=${ZLH_REALPARTS:-$root/parts} tests/real/make-games.sh node squid)
node=$(sed -n 's/^NODE=//p' <<<"$parts")
squid=$(sed -n 's/^SQUID=//p' <<<"$parts")
if [ ! -e "$game/server.js" ]; then
  mkdir -p "$game"
  tar -xzf "$squid" -C "$game" --strip-components=1
fi
mkdir -p "$game/plugins"
cp "$game/plugins-available/crash.js" "$game/plugins/"
port=$(free_port)
printf '%s\n' "server-ip=127.0.0.1" "server-port=$port" "motd=zlh demo" >"$game/server.properties"
if [[ $node != /usr/* ]]; then # where only this user may look
  install -D "$node" "$root/opt/zlh/runtimes/node/22/bin/node"
fi

say "Starting the agent"
start_agent
echo "zlh agent (pid $agent) on $ZLH_URL, everything under $root"

say "One /config, and it is a game server"
curl -sSf -H 'Content-Type: application/json' "$ZLH_URL/config" \
  -d "{\"vmid\": 1, \"game\": \"flying-squid\", \"world\": \"world\", \"ports\": [$port], \"memory_mb\": 512}" ||
  die "the configuration was refused"
echo
until_true "ready" 60 "$zlh" ready
say "Ready: it answered a real server-list ping"
"$zlh" status

say "Crashing it (a bug in a plugin)"
crashed=$(pid_of_game)
"$zlh" command crash throw
until_true "explained" 20 "$zlh" crashes last
"$zlh" crashes last
until_true "ready again" 60 "$zlh" ready
say "Back by itself: pid $crashed became $(pid_of_game)"

say "kill -9 of the agent, while the server runs"
before=$(pid_of_game)
kill -KILL "$agent"
wait "$agent" 2>/dev/null || true
kill -0 "$before" && echo "the agent is gone; the server (pid $before) runs on"
start_agent
until_true "taken up" 20 "$zlh" ready
[ "$(pid_of_game)" = "$before" ] || die "the new agent found another server"
echo "a new agent (pid $agent) has taken up the same server (pid $before), console and all:"
"$zlh" logs -n 5

say "Now it is yours"
cat <<TXT
  export ZLH_URL=$ZLH_URL
  $zlh console            attach to the server's console (Ctrl-] leaves)
  $zlh status --watch     follow what happens
  $zlh crashes last       the report once more
  Minecraft 1.21.4        join at 127.0.0.1:$port
TXT
if [ "${1:-}" = --once ] || [ ! -t 0 ]; then
  say "Stopping (the server saves its world first)"
  "$zlh" stop
else
  trap 'exit 0' INT TERM
  echo "Ctrl-C stops server and agent."
  # In short waits, because a signal that comes just before a long one begins would be heard at its end.
  while kill -0 "$agent" 2>/dev/null; do
    read -t 1 -r _ && continue
    [ $? -gt 128 ] || break
  done
fi
