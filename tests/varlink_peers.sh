#!/usr/bin/env bash
# The daemon's control socket, used by clients of other projects: the zlink crate, and the varlink module of PyPI.
#
#   cargo build && tests/varlink_peers.sh
#
# Needs the packages of both from their registries, and python3 with venv and pip. A peer that cannot be had is named in a line `SKIPPED:`;
# the exit code is 77 where neither can.
set -euo pipefail
cd "$(dirname "$0")/.."

gqos=${GQOS:-target/debug/gqos}
work=$(mktemp -d)
daemon=
end() { [ -z "$daemon" ] || { kill "$daemon"; wait "$daemon" || true; }; rm -rf "$work"; }
trap end EXIT

cat >"$work/policy.toml" <<'END'
version = 1
[interface.lo]
egress = { capacity = "10 Mbit/s", reservable = "80%" }
enforcement = "user-space"
[template.hd]
sending = { service_type = "guaranteed", token_rate = "1 Mbit/s" }
END
"$gqos" daemon --policy "$work/policy.toml" --socket "$work/socket" >"$work/log" 2>&1 &
daemon=$!
for _ in $(seq 100); do
    grep -q '^listening on ' "$work/log" && break
    kill -0 "$daemon" || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done

peers=0
if cargo build --quiet --locked --manifest-path tests/varlink_peers/zlink/Cargo.toml --target-dir target/zlink_peer; then
    timeout 60 target/zlink_peer/debug/zlink-peer "$work/socket"
    peers=$((peers + 1))
else
    echo "SKIPPED: zlink: its packages cannot be built"
fi
if python3 -m venv "$work/python" >"$work/pip.log" 2>&1 &&
    "$work/python/bin/pip" install --quiet varlink==31.0.0 >>"$work/pip.log" 2>&1; then
    timeout 60 "$work/python/bin/python" tests/varlink_peers/client.py "$work/socket"
    peers=$((peers + 1))
else
    tail -1 "$work/pip.log"
    echo "SKIPPED: PyPI's varlink: it cannot be installed"
fi
[ "$peers" -gt 0 ] || exit 77
