#!/bin/sh
# Install the programs that tests and bench need and that pip does not bring, if this is root on
# Debian; else say what is missing. Tests skip what is not there, and fail for it when CI=true.
set -eu
missing=
for pair in cc:gcc nginx:nginx-light openssl:openssl taskset:util-linux; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$missing faketime"
ldconfig -p | grep -q libgomp.so.1 || missing="$missing libgomp1"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 -- a list of words
    { apt-get install -y -qq $missing || { apt-get update -qq && apt-get install -y -qq $missing; }; } >/dev/null
else
    echo "missing:$missing; on Debian: apt-get install$missing" >&2
fi
