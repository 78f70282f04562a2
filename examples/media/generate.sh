#!/usr/bin/env bash
# Makes the sample ladder: three renditions of a moving test picture with a tone, three seconds each,
# at a constant mux rate. Needs ffmpeg; the results are committed, so nobody has to run this.
set -euo pipefail
cd "$(dirname "$0")"
rendition() { # NAME SIZE VIDEO_RATE MUX_RATE
    ffmpeg -hide_banner -loglevel error -y \
        -f lavfi -i "testsrc2=size=$2:rate=25:duration=3" \
        -f lavfi -i "sine=frequency=440:sample_rate=48000:duration=3" \
        -c:v libx264 -preset veryfast -profile:v high -g 25 -bf 2 -pix_fmt yuv420p \
        -b:v "$3" -minrate "$3" -maxrate "$3" -bufsize "$3" -x264-params nal-hrd=cbr:scenecut=0 \
        -c:a aac -b:a 96k -shortest \
        -f mpegts -muxrate "$4" -pcr_period 20 "$1.ts"
}
rendition 1080p 1920x1080 3300k 3800k
rendition 720p 1280x720 1950k 2370k
rendition 480p 854x480 1050k 1420k
