#!/usr/bin/env bash
# Makes two small jars for tests from ping-server/: a server that speaks the Minecraft server-list ping, and an installer
# that sets it up the way Forge's does. Needs a JDK 17 or newer.
#
#   make-java-server.sh OUT     OUT/server.jar, OUT/forge-installer.jar
#
# Kept while the sources stay as they are.
set -euo pipefail
out=${1:?usage: make-java-server.sh OUT}
here=$(cd "$(dirname "$0")/ping-server" && pwd)
mkdir -p "$out"
exec 9>"$out/.make-java-server.lock"
flock 9
sum=$(cat "$here"/*.java "$0" | sha256sum)
[ "$(cat "$out/.java-server.sum" 2>/dev/null)" != "$sum" ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
javac --release 17 -d "$work/classes" "$here"/*.java
(cd "$work/classes" && jar --create --file "$work/server.jar" --main-class PingServer PingServer*.class)
mkdir "$work/installer"
cp "$work/classes"/Installer*.class "$work/server.jar" "$work/installer/"
(cd "$work/installer" && jar --create --file "$work/forge-installer.jar" --main-class Installer .)
mv "$work/server.jar" "$work/forge-installer.jar" "$out/"
echo "$sum" >"$out/.java-server.sum"
