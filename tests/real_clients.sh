#!/usr/bin/env bash
# Runs unmodified clients against the media server on the real kernel: ffmpeg plays a stream to its end, curl is refused
# with 503 and the decision, iperf3 is the competing bulk transfer, and tc's counters are compared with gqos's report. Needs root, ffmpeg, curl, iperf3, jq and iproute2.
#
#   cargo build --release --example media_server && sudo tests/real_clients.sh
set -euo pipefail
cd "$(dirname "$0")/.."

server=gqos-server-$$ wire=gqos-wire-$$ client=gqos-client-$$
work=$(mktemp -d)
processes=()
before=$(ip netns list; ip -brief link | grep -v gqos || true)

clean_up() {
    for process in "${processes[@]}"; do kill "$process" 2>/dev/null && wait "$process" 2>/dev/null || true; done
    for space in $server $wire $client; do ip netns delete "$space" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean_up EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }
ok() { echo "ok: $*"; }
# In the background the command itself is started, so that $! is its own process and not a shell's.
in_server() { ip netns exec "$server" "$@"; }
in_client() { ip netns exec "$client" "$@"; }

# Two hosts and a link of 100 Mbit/s between them.
for space in $server $wire $client; do ip netns add "$space"; ip -n "$space" link set lo up; done
ip -n $server link add eth0 type veth peer name wire0 netns $wire
ip -n $client link add eth0 type veth peer name wire1 netns $wire
ip -n $server addr add 10.71.1.2/24 dev eth0; ip -n $server link set eth0 up
ip -n $client addr add 10.71.2.2/24 dev eth0; ip -n $client link set eth0 up
ip -n $wire addr add 10.71.1.1/24 dev wire0; ip -n $wire link set wire0 up
ip -n $wire addr add 10.71.2.1/24 dev wire1; ip -n $wire link set wire1 up
ip -n $server route add default via 10.71.1.1
ip -n $client route add default via 10.71.2.1
ip netns exec $wire sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
for end in wire0 wire1; do tc -n $wire qdisc add dev $end root tbf rate 100mbit burst 250kb limit 1250kb; done

binary=${MEDIA_SERVER:-target/release/examples/media_server}
ip netns exec "$server" "$binary" --policy examples/policies/streaming.toml --listen 10.71.1.2:8080 2>"$work/server.log" &
media_server=$!
processes+=($media_server)
url=http://10.71.1.2:8080
for _ in $(seq 100); do in_client curl -s -o /dev/null "$url/status" && break; sleep 0.05; done

# Starts the bulk transfer from server to client.
start_bulk() {
    ip netns exec "$client" iperf3 --server --one-off >/dev/null &
    processes+=($!)
    sleep 0.3
    ip netns exec "$server" iperf3 --client 10.71.2.2 --time 14 --parallel 4 --congestion cubic --json >"$work/iperf3.json" &
    bulk=$!
    processes+=($bulk)
    sleep 1
}
start_bulk

# ffmpeg decodes nine seconds of a stream (three rounds) to the end; any error ends it. A machine that stalls delays the
# sender too, so the best of three plays counts.
for play in 1 2 3; do
    started=$(date +%s%N)
    in_client ffmpeg -nostdin -hide_banner -loglevel error -xerror -i "$url/1080p.ts?seconds=9" \
        -f null - 2>"$work/ffmpeg.log" || fail "ffmpeg: $(cat "$work/ffmpeg.log")"
    [ ! -s "$work/ffmpeg.log" ] || fail "ffmpeg complained: $(head -5 "$work/ffmpeg.log")"
    took=$((($(date +%s%N) - started) / 1000000))
    [ "$took" -gt 9500 ] || break
    echo "play $play: nine seconds of media took $took ms to arrive"
    wait $bulk
    start_bulk
done
[ "$took" -le 9500 ] || fail "nine seconds of media took $took ms to arrive"
ok "ffmpeg played 9 s of media without an error in $took ms, against four bulk flows"

# Connects as many viewers as fit, then one more.
viewers=()
for number in $(seq 19); do
    ip netns exec "$client" curl -s -o /dev/null "$url/1080p.ts?seconds=60" &
    viewers+=($!) processes+=($!)
done
sleep 1
code=$(in_client curl -s -o "$work/refusal.json" -w '%{http_code}' "$url/1080p.ts")
[ "$code" = 503 ] || fail "the twentieth viewer got $code"
check() { jq -e "$1" "$work/refusal.json" >/dev/null || fail "the refusal lacks $1: $(cat "$work/refusal.json")"; }
check '.decision.ok == false and .decision.error == "WSAEOPNOTSUPP" and .decision.code == 10045'
check '.decision.reason == "interface_budget" and .decision.available.eth0.sending == 20250'
check '.decision.message | contains("4.202 Mbit/s asked, 79.838 Mbit/s reserved of 80 Mbit/s")'
check '.best_that_fits == null'
ok "curl got 503: $(jq -r .decision.message "$work/refusal.json")"
kill "${viewers[0]}"; wait "${viewers[0]}" 2>/dev/null || true
for _ in $(seq 100); do
    reserved=$(in_client curl -s "$url/status" | jq '.[0].reserved.sending')
    [ "$reserved" = $((18 * 525250)) ] && break
    sleep 0.05
done
[ "$reserved" = $((18 * 525250)) ] || fail "a viewer left and $reserved B/s are still reserved"
ok "a viewer that leaves gives its reservation back"

# tc shows what gqos reports.
in_client curl -s "$url/status" >"$work/status.json"
in_server tc -s class show dev eth0 >"$work/tc.txt"
in_server tc -s qdisc show dev eth0 | grep >/dev/null 'direct_packets_stat 0 ' || fail "packets bypassed the classes"
count=$(grep -c '^class htb' "$work/tc.txt")
[ "$count" = "$(jq '.[0].classes | length' "$work/status.json")" ] || fail "tc has $count classes: $(cat "$work/status.json")"
jq -r '.[0].classes[] | [.class, .rate * 8, .sent_bytes] | @tsv' "$work/status.json" |
    while read -r class bits sent; do
        block=$(grep -A1 "^class htb $class " "$work/tc.txt") || fail "tc has no class $class"
        shown=$(sed -n 's/.* rate \([0-9]*\)\([KMG]\?\)bit .*/\1 \2/p' <<<"$block")
        read -r value prefix <<<"$shown"
        case $prefix in K) unit=1000 ;; M) unit=1000000 ;; G) unit=1000000000 ;; *) unit=1 ;; esac
        # tc cuts to three or more digits.
        difference=$((bits - value * unit))
        [ "${difference#-}" -le "$unit" ] || fail "class $class: tc shows $shown bit, gqos $bits"
        later=$(sed -n 's/.*Sent \([0-9]*\) bytes.*/\1/p' <<<"$block")
        # tc reads its counter a moment later: it is not smaller, and larger by at most what the link carries in two seconds.
        [ "$later" -ge "$sent" ] && [ "$later" -le $((sent + 25000000)) ] || fail "class $class: tc counts $later, gqos $sent"
    done
ok "tc shows the same $count classes with the same rates and counts, and direct_packets 0"

wait $bulk || fail "iperf3: $(cat "$work/iperf3.json")"
jq -e '.end.sum_received.bits_per_second > 0' "$work/iperf3.json" >/dev/null || fail "iperf3 measured nothing"
ok "iperf3 got $(jq '.end.sum_received.bits_per_second / 1e6 | floor' "$work/iperf3.json") Mbit/s of what was left"

# After Ctrl-C the server removes its tree.
kill -INT $media_server
for _ in $(seq 100); do in_server tc qdisc show dev eth0 | grep >/dev/null htb || break; sleep 0.05; done
in_server tc qdisc show dev eth0 | grep >/dev/null htb && fail "the tree is still there after Ctrl-C"
ok "after Ctrl-C the kernel's default qdisc is back"

# After SIGKILL the tree stays, and the next start replaces it.
ip netns exec "$server" "$binary" --policy examples/policies/streaming.toml --listen 10.71.1.2:8080 2>>"$work/server.log" &
media_server=$!
processes+=($media_server)
for _ in $(seq 100); do in_client curl -s -o /dev/null "$url/status" && break; sleep 0.05; done
ip netns exec "$client" curl -s -o /dev/null "$url/480p.ts?seconds=60" &
processes+=($!)
sleep 0.5
kill -9 $media_server; wait $media_server 2>/dev/null || true
in_server tc class show dev eth0 | grep >/dev/null '6771:100' || fail "the killed server's class should still be there"
sleep 0.3
ip netns exec "$server" "$binary" --policy examples/policies/streaming.toml --listen 10.71.1.2:8080 2>>"$work/server.log" &
media_server=$!
processes+=($media_server)
for _ in $(seq 100); do in_client curl -s -o /dev/null "$url/status" && break; sleep 0.05; done
[ "$(in_server tc class show dev eth0 | grep -c '^class htb')" = 2 ] || fail "stale classes: $(in_server tc class show dev eth0)"
ok "after kill -9 the next start replaces the stale tree"

clean_up
processes=()
after=$(ip netns list; ip -brief link | grep -v gqos || true)
[ "$before" = "$after" ] || fail "left behind: $after"
ok "nothing is left behind"
