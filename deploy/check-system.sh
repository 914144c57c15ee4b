#!/bin/sh
# What the environment needs from the system: Python 3.11 or newer with venv. As root on Debian, what is missing is
# installed; otherwise it says what is missing and how to install it.
set -eu
python=${1:-python3}
missing=""
command -v "$python" >/dev/null 2>&1 || missing="python3 python3-venv"
if [ -z "$missing" ] && ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    missing="python3-venv"
fi
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
    else
        echo "missing: $missing" >&2
        echo "  fix: sudo apt-get install $missing" >&2
        exit 2
    fi
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed, got $("$python" --version)" >&2
    exit 2
}
