#!/bin/bash
# A dev container whose /proc shows everybody only their own processes (hidepid=2, proc(5)).
#
#   unshare --mount --pid --fork --mount-proc hidden.sh ZLH ROOT ARTIFACTS_URL PORT
#
# Prints what was seen, a line each.
set -euo pipefail
zlh=$1 root=$2 artifacts=$3 port=$4

mount -o remount,hidepid=2 /proc
"$zlh" agent --root "$root" --listen 127.0.0.1:0 --allow-unauthenticated --artifacts-url "$artifacts" \
  --set codeserver.port="$port" >"$root/../out" 2>"$root/../err" &
agent=$!
trap 'kill $agent; wait $agent || true' EXIT
for _ in $(seq 200); do grep -q listening "$root/../out" && break; sleep 0.1; done
url=$(sed -n 's/^listening agent //p' "$root/../out")
call() { curl -sS --fail-with-body -H 'Content-Type: application/json' "$@"; }
status() { call "$url/status" | tr , '\n' | sed -n "s/^\"$1\":\"\?\([^\"]*\)\"\?$/\1/p" | head -1; }
until_is() { # FIELD VALUE
  for _ in $(seq 600); do [ "$(status "$1")" = "$2" ] && return; sleep 0.1; done
  echo "not $1 $2: $(call "$url/status")" >&2; exit 1
}
order() { call -X POST "$url/dev/codeserver/$1" >&2; }
stop() { # that nothing runs is told before the order is over
  order stop && until_is processRunning false && until_is operationInProgress false
}
as_dev() { setpriv --reuid=dev --regid=dev --init-groups env -i HOME="$root/home/dev" PATH=/usr/bin:/bin "$@"; }

call -d '{"container_type":"dev","vmid":6001,"runtime":"node","version":"22","enable_code_server":true}' "$url/config" >/dev/null
until_is state running
echo "dev sees $(as_dev sh -c "ls -d /proc/$agent 2>/dev/null | wc -l") agents"

# Somebody stands in the runtime that is to be removed.
(cd "$root/opt/zlh/runtimes/node/22/bin" && exec setpriv --reuid=dev --regid=dev --init-groups sleep 1000) &
user=$!
for _ in $(seq 100); do call "$url/dev/runtimes" | grep -q "\"pid\":$user" && { echo "in use by sleep"; break; }; sleep 0.1; done
echo "removal: $(call -X DELETE -o "$root/../answer" -w '%{http_code}' "$url/dev/runtimes/node/22") $(grep -o '"code":"[a-z_]*"' "$root/../answer")"
kill $user

# An editor that nobody holds, of another account.
stop
# No function of the shell's: then this is its pid.
setpriv --reuid=dev --regid=dev --init-groups env -i HOME="$root/home/dev" PATH=/usr/bin:/bin \
  "$root/opt/zlh/services/code-server/4.0.0/bin/code-server" --bind-addr "0.0.0.0:$port" --auth none >/dev/null 2>&1 &
stray=$!
for _ in $(seq 600); do curl -sf "http://127.0.0.1:$port/healthz" >/dev/null && break; sleep 0.1; done
kill -0 $stray || { echo "the stray editor is gone" >&2; exit 1; }
order start
until_is codeServerRunning true
[ "$(status pid)" = $stray ] && echo "adopted"
stop
