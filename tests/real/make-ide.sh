#!/usr/bin/env bash
# Makes what the browser IDE's end-to-end tests use: a real code-server, and a real browser with something to drive it.
#
#   make-ide.sh [--check]
#
# With --check nothing is made or installed: a part that is missing is an error.
# Everything is kept in $ZLH_REALPARTS (default ~/.cache/zlh-realparts); what is already there is not made again.
# Prints one KEY=PATH line a part, and nothing else:
#
#   CODE_SERVER=      folder of an unpacked release; bin/code-server runs it
#   PLAYWRIGHT_CORE=  folder with node_modules/playwright-core, for ide-e2e.mjs
#   CHROMIUM=         the browser
set -euo pipefail

VERSION=4.99.4
here=$(cd "$(dirname "$0")" && pwd)
out=${ZLH_REALPARTS:-$HOME/.cache/zlh-realparts}
mkdir -p "$out"
folder=$out/code-server-$VERSION

if [ "${1:-}" = --check ]; then
  missing() { echo "make-ide: $1 is missing; 'make realparts' makes it" >&2; exit 1; }
  [ -e "$folder/.complete" ] || missing "$folder"
  [ -d "$out/playwright/node_modules/playwright-core" ] || missing "$out/playwright"
  for program in chromium nginx redis-server; do
    command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || missing "$program"
  done
  printf 'CODE_SERVER=%s\nPLAYWRIGHT_CORE=%s\nCHROMIUM=/usr/bin/chromium\n' "$folder" "$out/playwright"
  exit
fi

"$here/apt-install.sh" chromium fonts-dejavu-core nginx-light redis-server openssl g++ make python3 curl >&2
tarball=$("$here/make-code-server.sh" "$out" "$VERSION" | tail -n 1)
exec 9>"$out/.make-ide.lock"
flock -w 600 9
if [ ! -e "$folder/.complete" ]; then
  rm -rf "$folder"
  mkdir "$folder"
  tar xzf "$tarball" -C "$folder" --strip-components=1
  touch "$folder/.complete"
fi
echo "CODE_SERVER=$folder"
"$here/make-browser.sh" "$out"
