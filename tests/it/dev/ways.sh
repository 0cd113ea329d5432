#!/bin/bash
# Every way into a dev container, on a machine of its own: private copies of /etc and of the folders the agent writes.
#
#   unshare --mount ways.sh ZLH WORK ARTIFACTS_URL PORT
#
# The SSH server comes by a package manager that is told to fail first; PORT is where it listens.
#
# Prints one line a way: name, PATH, JAVA_HOME, what node says, HOME, USER, LOGNAME, LANG; tabs between them.
set -euo pipefail
zlh=$1 work=$2 artifacts=$3 port=$4

mount --make-rprivate /
cp -a /etc "$work/etc"
mount --bind "$work/etc" /etc
cp -a /usr/sbin "$work/sbin"
mount --bind "$work/sbin" /usr/sbin
mv /usr/sbin/sshd "$work/sshd"
printf '#!/bin/sh\necho "E: Unable to fetch some archives" >&2\nexit 100\n' >"$work/apt-get"
chmod 755 "$work/apt-get"
mount --bind "$work/apt-get" /usr/bin/apt-get
for folder in /home /opt /run /root; do mount -t tmpfs -o mode=755 none $folder; done
userdel dev 2>/dev/null || true
groupdel dev 2>/dev/null || true
sum() { cat /etc/bash.bashrc /etc/zsh/zshenv | sed '/^# >>> zlh >>>/,/^# <<< zlh <<</d' | sha256sum; }
before=$(sum)

"$zlh" agent --root / --listen 127.0.0.1:0 --allow-unauthenticated --artifacts-url "$artifacts" \
  >"$work/out" 2>"$work/err" &
agent=$!
trap 'kill $agent; wait $agent || true' EXIT
for _ in $(seq 200); do grep -q listening "$work/out" && break; sleep 0.1; done
url=$(sed -n 's/^listening agent //p' "$work/out")
call() { curl -sS --fail-with-body -H 'Content-Type: application/json' "$@"; }
status() { call "$url/status" | tr , '\n' | sed -n "s/^\"$1\":\"\?\([^\"]*\)\"\?$/\1/p" | head -1; }
until_idle() { # installing is over, and shells have heard of it
  for _ in $(seq 600); do
    [ "$(status state)" = running ] && grep -q "$1" /etc/environment && return
    sleep 0.1
  done
  echo "not $1: $(call "$url/status")" >&2; exit 1
}

ssh-keygen -q -t ed25519 -N '' -f "$work/key"
config='{"container_type":"dev","vmid":6001,"runtime":"node","version":"22","addons":["sshd"],
  "ssh":{"port":'$port',"authorized_keys":["'$(cat "$work/key.pub")'"]}}'
call -d "$config" "$url/config" >/dev/null
for _ in $(seq 600); do [ "$(status state)" = error ] && break; sleep 0.1; done
call "$url/status" >"$work/refused"
cat >"$work/apt-get" <<APT
#!/bin/sh
case " \$* " in *" install "*)
  /usr/sbin/policy-rc.d ssh start || echo "policy \$?" >>$work/apt.log
  readlink /etc/systemd/system/ssh.service >>$work/apt.log || true
  echo "Setting up openssh-server"
  mv $work/sshd /usr/sbin/sshd ;;
esac
APT
call -d "$config" "$url/config" >/dev/null
until_idle runtimes/node
call -d '{"runtime":"java","version":"21"}' "$url/dev/runtimes" >/dev/null
until_idle runtimes/java
# The listener has heard of it, too.
for _ in $(seq 200); do grep -q runtimes/java /etc/ssh/zlh-sshd_config && break; sleep 0.1; done
for _ in $(seq 200); do ssh-keyscan -p "$port" 127.0.0.1 2>/dev/null | grep -q ssh-ed25519 && break; sleep 0.1; done

say='printf "%s\t%s\t%s\t%s\t%s\t%s\t%s\n" "$PATH" "$JAVA_HOME" "$(node --version)" "$HOME" "$USER" "$LOGNAME" "$LANG"'
bare() { env -i setpriv --reuid=dev --regid=dev --init-groups env -i HOME=/home/dev TERM=dumb PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games "$@" 2>/dev/null; }
way() { printf '%s\t' "$1"; shift; "$@" </dev/null; }
remote() {
  ssh -F /dev/null -T -p "$port" -i "$work/key" -o BatchMode=yes -o StrictHostKeyChecking=accept-new \
    -o UserKnownHostsFile="$work/known" dev@127.0.0.1 "$@"
}
by_ssh() {
  for shell in bash dash zsh fish; do
    usermod -s /usr/bin/$shell dev
    way "ssh $shell command" remote "$say"
    printf '%s\t' "ssh $shell login"; echo "$say" | remote
  done
  usermod -s /bin/bash dev
}
all() {
  cd /home/dev
  for shell in bash dash zsh fish; do
    way "$shell login" bare /usr/bin/$shell -l -c "$say"
    way "$shell su-login" su -l -s /usr/bin/$shell dev -c "$say"
  done
  way "sh login" bare /bin/sh -l -c "$say"
  for shell in bash zsh fish; do way "$shell interactive" bare /usr/bin/$shell -i -c "$say"; done
  for shell in zsh fish; do way "$shell command" bare /usr/bin/$shell -c "$say"; done
  way "bash ssh-command" bare SSH_CLIENT='127.0.0.1 1 2' SHLVL=0 /usr/bin/bash -c "$say"
  way "bash nested" su -l dev -c "bash -c '$say'"
  way "dash in-login" su -l dev -c "dash -c '$say'"
  for shell in bash dash zsh fish; do way "pam $shell command" su -s /usr/bin/$shell dev -c "$say"; done
  way "root bash" env -i HOME=/root PATH=/usr/bin:/bin bash -i -c 'printf "%s\t\t\t%s\t\t\t\n" "$PATH" "$HOME"' 2>/dev/null
  by_ssh
  way "venv" bare PATH=/home/dev/venv/bin:/usr/bin:/bin:/opt/mine /usr/bin/zsh -c "$say"
}
all
echo switched
call -d '{"runtime":"node","version":"20"}' "$url/dev/runtimes" >/dev/null
for _ in $(seq 200); do [ "$(/opt/zlh/runtimes/node/current/bin/node --version)" = v20 ] && break; sleep 0.1; done
all
echo untouched
[ "$before" = "$(sum)" ] && echo yes
[ "$(grep -c '>>> zlh >>>' /etc/bash.bashrc /etc/zsh/zshenv /etc/environment | tr '\n' ' ')" = "/etc/bash.bashrc:1 /etc/zsh/zshenv:1 /etc/environment:1 " ] && echo once
