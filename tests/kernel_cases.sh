#!/usr/bin/env bash
# The kernel's own cases for tc (Debian's package linux-source-6.1), with gqos in place of tc for the command under
# test. The package is fetched by apt into target/kernel-cases, once. Needs root, and apt on Debian; ends with 77 where
# the cases cannot be fetched.
set -euo pipefail
cd "$(dirname "$0")/.."

package=linux-source-6.1
directory=$PWD/target/kernel-cases
cases=tools/testing/selftests/tc-testing/tc-tests
if [ ! -d "$directory/$package/$cases" ]; then
    mkdir -p "$directory/download"
    (cd "$directory/download" && apt-get download -qq $package) ||
        { echo "SKIPPED: the kernel's cases for tc: $package cannot be fetched" >&2; exit 77; }
    # Unpacked beside its place, which shows then that it is whole.
    unpacked=$(mktemp -d "$directory/unpacked.XXXXXX")
    dpkg-deb --fsys-tarfile "$directory"/download/$package*.deb | tar -xO ./usr/src/$package.tar.xz |
        tar -xJ -C "$unpacked" --wildcards "$package/$cases/*"
    rm -rf "$directory/download"
    mv "$unpacked/$package" "$directory/$package"
    rmdir "$unpacked"
fi
GQOS_KERNEL_CASES=$directory/$package/$cases \
    cargo test --locked -p gqos --test kernel reference_cases -- --ignored --nocapture
