#!/usr/bin/env bash
# Runs the kernel tests on a second kernel: Debian's own, in software emulation (qemu), which has qdiscs and classifiers that the
# machine's kernel may lack. Takes two to three minutes; nothing is installed into /boot, and the machine's network is not touched.
#
#   cargo test --no-run && tests/second_kernel.sh [ARGUMENTS OF THE TEST PROGRAM]
#
# Needs Debian with apt (for its kernel package), qemu-system-x86, busybox-static, cpio, kmod and iproute2. Where one of them cannot be
# had, the script says so in a line `SKIPPED:` and ends with 77. GQOS_SECOND_KERNEL names another kernel package; CACHE, default
# target/second-kernel, keeps what was downloaded.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() { echo "SKIPPED: second kernel: $*"; exit 77; }
fail() { echo "FAILED: $*" >&2; exit 1; }

for tool in qemu-system-x86_64 busybox cpio modprobe depmod ip tc nsenter setpriv apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
done
[ "$(uname -m)" = x86_64 ] || skip "the emulator runs x86_64 programs"

cache=${CACHE:-$PWD/target/second-kernel}
mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The package that Debian's current kernel is in.
package=${GQOS_SECOND_KERNEL:-$(apt-cache depends linux-image-amd64 2>/dev/null | awk '$1 == "Depends:" && !found { print $2; found = 1 }')}
[ -n "$package" ] || skip "apt knows no package linux-image-amd64"
if [ ! -d "$cache/$package" ]; then
    (cd "$work" && apt-get download -qq "$package") >/dev/null 2>&1 || skip "$package cannot be downloaded"
    dpkg-deb -x "$work"/*.deb "$cache/$package.new"
    mv "$cache/$package.new" "$cache/$package"
fi
system=$cache/$package
version=$(ls "$system/lib/modules")
[ -e "$system/lib/modules/$version/modules.dep" ] || depmod -b "$system" "$version"

# The root file system: the test program, the tools that tests call, and the libraries of both.
root=$work/root
mkdir -p "$root"/{bin,sbin,proc,sys,dev,tmp,run,etc,modules}
for applet in mount mkdir cat insmod poweroff sleep; do ln -s busybox "$root/bin/$applet"; done
program() {
    local path
    path=$(readlink -f "$1")
    cp "$path" "$root/bin/$2"
    # A static program has none.
    { ldd "$path" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -Ln "$library" "$root$library"
    done
}
# The shell is the machine's: busybox's would run its own ip and tc.
for tool in busybox sh ip tc nsenter setpriv; do program "$(command -v $tool)" "$tool"; done
tests=$(cargo test --locked --no-run --test kernel --message-format json 2>/dev/null |
    sed -n 's/.*"name":"kernel".*"executable":"\([^"]*\)".*/\1/p')
[ -x "$tests" ] || fail "cargo builds no kernel tests"
strip -o "$work/kernel" "$tests"
program "$work/kernel" kernel-tests

# The modules, each after those that it needs; what the kernel has built in needs none.
for module in veth ifb sch_htb sch_tbf sch_fq sch_fq_codel sch_ingress cls_u32 cls_flower cls_matchall cls_bpf act_mirred ipv6 vrf \
    inet_diag tcp_diag udp_diag unix_diag; do
    modprobe -d "$system" -S "$version" --show-depends "$module" 2>/dev/null | awk '$1 == "insmod" { print $2 }'
done | awk '!seen[$0]++' | while read -r path; do
    name=$(basename "$path" .xz)
    if [ "$path" != "${path%.xz}" ]; then xz -dc "$path" >"$root/modules/$name"; else cp "$path" "$root/modules/$name"; fi
    echo "insmod /modules/$name"
done >"$work/modules"

cat >"$root/init" <<END
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mkdir -p /run/netns
$(cat "$work/modules")
ip link set lo up
ulimit -n 65536
echo "kernel \$(cat /proc/sys/kernel/osrelease)"
kernel-tests --test-threads=1 $(printf '%q ' "$@")
echo "exit status \$?"
poweroff -f
END
chmod +x "$root/init"
(cd "$root" && find . -print0 | cpio --null -o -H newc --quiet) | gzip -1 >"$work/initrd.gz"

# Emulation is for compatibility, not for timing. The console's last lines decide.
timeout 600 qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -nodefaults -nographic -no-reboot \
    -serial stdio -monitor none -kernel "$system"/boot/vmlinuz-* -initrd "$work/initrd.gz" \
    -append "console=ttyS0 panic=-1 quiet" </dev/null | tr -d '\r' | tee "$work/console" || true
grep -q '^exit status 0$' "$work/console" || fail "the kernel tests fail on $version"
if grep -E '^(SKIPPED|SECOND KERNEL): ' "$work/console"; then fail "a test was skipped on $version"; fi
echo "the kernel tests pass on $version"
