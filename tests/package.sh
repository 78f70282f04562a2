#!/usr/bin/env bash
# Builds the Debian package by cargo-deb, and installs, starts, upgrades and removes it. All of that happens in a
# copy-on-write view of this system, in namespaces of its own: nothing of it remains. Without systemd as process 1 the
# daemon is started by hand, as its unit says.
#
#   sudo tests/package.sh            GQOS_BINARY names a program that is built already
#
# Needs root, cargo-deb, dpkg, overlayfs, iproute2, jq, python3 and util-linux. Exits with 77 where one is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "FAILED: $*" >&2; exit 1; }
ok() { echo "ok: $*"; }
lacks() { echo "SKIPPED: the Debian package was not built, installed and upgraded: $*" >&2; exit 77; }

if [ "${1:-}" != --inside ]; then
    [ "$(id -u)" = 0 ] || lacks "root is needed"
    for tool in dpkg dpkg-deb unshare setpriv nsenter ip tc jq python3; do
        command -v "$tool" >/dev/null || lacks "$tool is not installed"
    done
    cargo deb --version >/dev/null 2>&1 || lacks "cargo-deb is not installed; cargo install cargo-deb --locked"
    grep -qw overlay /proc/filesystems || lacks "the kernel has no overlayfs"
    cargo deb --version
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    if [ -n "${GQOS_BINARY:-}" ]; then
        # packaging/deb.sh copies it to target/release, from where it may come.
        cp "$GQOS_BINARY" "$work/gqos"
        export GQOS_BINARY=$work/gqos
    fi
    for version in 0.0.1-1 0.0.2-1; do
        packaging/deb.sh --fast --deb-version "$version" --output "$work/gqos_$version.deb" >/dev/null
    done
    mkdir "$work/view"
    unshare --mount --net --pid --fork --kill-child --mount-proc "$BASH" "tests/${0##*/}" --inside "$work"
    exit
fi

work=$2 view=$2/view
mount -t tmpfs none "$view"
mkdir "$view"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$view/upper,workdir=$view/work" "$view/root" || lacks "overlayfs cannot be mounted here"
root=$view/root
mount -t proc proc "$root/proc"
# The links are those of this network namespace.
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
for directory in /run /tmp; do mount -t tmpfs none "$root$directory"; done
cp "$work"/gqos_*.deb "$root/tmp/"
inside() { chroot "$root" "$@"; }
until_true() {
    for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.05; done
    fail "not within 30 s: $*"
}

# A host with eth0, and its peer.
unshare --net sleep infinity &
peer=$!
ip link set lo up
until_true test "$(readlink /proc/self/ns/net)" != "$(readlink "/proc/$peer/ns/net")"
ip link add eth0 type veth peer name peer0
ip link set peer0 netns "$peer"
ip address add 10.71.9.1/24 dev eth0
ip link set eth0 up
nsenter -t "$peer" -n ip address add 10.71.9.2/24 dev peer0
nsenter -t "$peer" -n ip link set peer0 up
nsenter -t "$peer" -n python3 -c '
import socket
listener = socket.create_server(("10.71.9.2", 9000))
connection, _ = listener.accept()
while connection.recv(65536): pass' &
until_true nsenter -t "$peer" -n ss -Hltn sport = 9000

# What the system has before: the files of the upper layer are those that differ from it.
before=$(find "$view/upper" -mindepth 1 | sort)

inside dpkg -i "/tmp/gqos_0.0.1-1.deb" >"$work/install.log" 2>&1 || { cat "$work/install.log"; fail "dpkg -i"; }
for file in /usr/bin/gqos /etc/gqos/policy.toml /usr/lib/systemd/system/gqos.service /usr/share/man/man1/gqos.1.gz \
    /usr/share/bash-completion/completions/gqos /usr/share/zsh/vendor-completions/_gqos \
    /usr/share/fish/vendor_completions.d/gqos.fish; do
    [ -s "$root$file" ] || fail "$file is not installed"
done
inside getent passwd gqos >/dev/null || fail "there is no user gqos"
[ "$(inside stat -c %U:%a /run/gqos)" = gqos:755 ] || fail "/run/gqos"
inside gqos check /etc/gqos/policy.toml >/dev/null || fail "the policy of the package"
ok "installed, with its user, directories, manual pages and completions"

start() {
    # As the unit: the user gqos with CAP_NET_ADMIN alone. In the background no function, so that $! is the daemon.
    chroot "$root" setpriv --reuid gqos --regid gqos --clear-groups --inh-caps -all,+net_admin --ambient-caps -all,+net_admin \
        --bounding-set -all,+net_admin /usr/bin/gqos daemon --policy /etc/gqos/policy.toml >>"$work/daemon.log" 2>&1 8>&- &
    daemon=$!
    until_true inside gqos status
}
start
[ "$(awk '/^Uid:/ { print $2 }' "/proc/$daemon/status")" = "$(inside id -u gqos)" ] || fail "the daemon is not of the user gqos"
ok "the daemon starts by hand, as the user gqos"

# A flow: its input stays open.
mkfifo "$work/input"
chroot "$root" gqos connect --template 1080p 10.71.9.2 9000 <"$work/input" >/dev/null 2>"$work/connect.log" &
flow=$!
exec 8>"$work/input"
head -c 100000 /dev/zero >&8 || { cat "$work/connect.log"; fail "the flow's program"; }
# grep reads to the end: with -q it ends before tc, which then fails for the closed pipe.
has_class() { tc class show dev eth0 | grep >/dev/null "class htb $1"; }
is_attached() { inside gqos flows --json | jq -se 'length == 1 and .[0].class != null and .[0].cookie != null'; }
until_true is_attached
now() { inside gqos flows --json | jq -c '[.id, .interface, .class, .charged, .cookie]'; }
before_upgrade=$(now)
class=$(jq -r '.[2]' <<<"$before_upgrade")
has_class "$class " || fail "the kernel has no class $class"
ok "a flow has the class $class: $before_upgrade"

inside dpkg -i "/tmp/gqos_0.0.2-1.deb" >"$work/upgrade.log" 2>&1 || { cat "$work/upgrade.log"; fail "dpkg -i"; }
[ "$(inside dpkg-query -W -f '${Version}' gqos)" = 0.0.2-1 ] || fail "the package was not upgraded"
[ "$(now)" = "$before_upgrade" ] || fail "the upgrade has changed the flow: $(now)"
# As the package does where systemd runs, which then starts the next one.
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null || true
has_class "$class " || fail "the class $class has ended with the daemon"
start
[ "$(now)" = "$before_upgrade" ] || fail "the daemon of the new package has another flow: $(now), $before_upgrade"
kill -0 "$flow" || fail "the flow's program has ended"
sent() { tc -s class show dev eth0 | awk -v class="$class" '$3 == class { getline; print $2 }'; }
earlier=$(sent)
head -c 300000 /dev/zero >&8
has_sent() { [ "$(sent)" -gt $((earlier + 300000)) ]; }
until_true has_sent
ok "upgraded and restarted: the flow has kept its id, class and socket, and sends by the class"

exec 8>&-
wait "$flow" || { cat "$work/connect.log"; fail "the flow's program"; }
kill -TERM "$daemon"
wait "$daemon" || { cat "$work/daemon.log"; fail "the daemon's end"; }
! has_class "" || fail "the tree remains"

inside dpkg --purge gqos >"$work/remove.log" 2>&1 || { cat "$work/remove.log"; fail "dpkg --purge"; }
! inside getent passwd gqos >/dev/null || fail "the user remains"
! inside getent group gqos >/dev/null || fail "the group remains"
[ ! -e "$root/run/gqos" ] || fail "/run/gqos remains"
# The package manager's own records, and what the tools that change the files of users leave.
left=$(find "$view/upper" -mindepth 1 ! -type d | sed "s|^$view/upper||" | sort |
    grep -vE '^/(var/lib/dpkg/|var/log/dpkg\.log|var/cache/|etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|etc/\.(pwd\.lock|updated)|var/\.updated|var/lib/systemd/)' || true)
[ -z "$left" ] || fail "remains of the package: $left"
! grep -rqs gqos "$root/etc/passwd" "$root/etc/group" "$root/etc/shadow" "$root/etc/gshadow" || fail "a line of the users' files remains"
[ -z "$(find "$root/usr" "$root/etc" "$root/var" -xdev -iname '*gqos*' ! -path '*/dpkg/*' -print -quit)" ] || fail "files remain"
ok "removed without a trace"
