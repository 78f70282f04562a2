#!/bin/sh
# Builds the Debian package: the program, its manual pages and completions, and then the .deb by cargo-deb.
# GQOS_BINARY names a program that is built already.
set -eu
cd "$(dirname "$0")/.."
if [ -n "${GQOS_BINARY:-}" ]; then
    mkdir -p target/release
    cp "$GQOS_BINARY" target/release/gqos
else
    cargo build --release --locked -p gqos --bin gqos
fi
gqos=target/release/gqos
rm -rf target/package
mkdir -p target/package/man
"$gqos" man --all target/package/man
gzip -9n target/package/man/*.1
"$gqos" completions bash >target/package/gqos.bash
"$gqos" completions zsh >target/package/_gqos
"$gqos" completions fish >target/package/gqos.fish
exec cargo deb --no-build -p gqos "$@"
