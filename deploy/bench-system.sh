#!/bin/sh
# What the peers of `make bench` need from the system: a C compiler, a JDK, and the LMAX Disruptor's jar. As root on
# Debian, what is missing is installed; otherwise it says how. A peer that stays missing is left out of the results,
# so this never fails.
set -u
missing=""
command -v gcc >/dev/null 2>&1 || command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
command -v java >/dev/null 2>&1 && command -v javac >/dev/null 2>&1 || missing="$missing default-jdk-headless"
[ -e "${SOVEREIGN_DISRUPTOR_JAR:-/usr/share/java/disruptor.jar}" ] || missing="$missing libdisruptor-java"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq
    # shellcheck disable=SC2086  # one word a package
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null && exit 0
fi
echo "peers will be left out; missing:$missing" >&2
echo "  fix: sudo apt-get install$missing" >&2
