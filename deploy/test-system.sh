#!/bin/sh
# What the tests need from the system beyond what the program needs: spin and a C compiler, for the models. As root on
# Debian, what is missing is installed; otherwise it says what is missing and how to install it.
set -eu
missing=""
command -v spin >/dev/null 2>&1 || missing="spin"
printf 'int main(void) { return 0; }\n' | gcc -x c -o /dev/null - 2>/dev/null || missing="$missing gcc libc6-dev"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
else
    echo "missing: $missing" >&2
    echo "  fix: sudo apt-get install $missing" >&2
    exit 2
fi
