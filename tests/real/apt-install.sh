#!/usr/bin/env bash
# Installs those of the named Debian packages that are missing; starts none of their services.
#
#   apt-install.sh PACKAGE...
#
# Does nothing, and needs neither root nor a network, when all are there.
set -euo pipefail

missing=()
for package in "$@"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "apt-install: these Debian packages are missing, and only root can install them: ${missing[*]}" >&2
  exit 1
fi

exec 9>/run/lock/zlh-apt-install.lock
flock -w 900 9 || { echo "apt-install: another run still holds the lock" >&2; exit 1; }

# dpkg asks this file before it starts a service (policy-rc.d of invoke-rc.d(8)); 101 means no.
guard=/usr/sbin/policy-rc.d
if [ ! -e "$guard" ]; then
  trap 'rm -f "$guard"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$guard"
  chmod 755 "$guard"
fi

log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
echo "apt-install: ${missing[*]}"
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "apt-install: could not install ${missing[*]}; the whole log is $log" >&2
  exit 1
fi
rm -f "$log"
