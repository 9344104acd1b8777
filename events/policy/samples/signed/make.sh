#!/bin/sh
# Makes the keys and signatures here anew, with minisign. The secret keys are thrown away.
set -eu
cd "$(dirname "$0")"
keys=$(mktemp -d)
trap 'rm -r "$keys"' EXIT
for key in team next stranger; do
    minisign -G -W -f -p "$keys/$key.pub" -s "$keys/$key.key" > /dev/null
done
cp "$keys/team.pub" "$keys/next.pub" .
# sign KEY DOCUMENT SIGNATURE COMMENT [OPTION]
sign() {
    minisign -S ${5:-} -s "$keys/$1.key" -m "$2" -x "$3.minisig" -t "$4" > /dev/null
}
scope='"scope":{"account":["123456789012"],"region":["us-east-1"]}'
far='"expires":"2099-01-01T00:00:00Z"'
sign team orders-7.json orders-7 "{$far,$scope,\"version\":7}"
sign next orders-8.json orders-8 "{$far,$scope,\"version\":8}"
sign team orders-8.json orders-8-as-7 "{$far,\"version\":7}"
sign team orders-8.json expired '{"expires":"2026-01-01T00:00:00Z","version":8}'
sign team orders-8.json elsewhere "{$far,\"scope\":{\"account\":[\"999999999999\"]},\"version\":8}"
sign team orders-8.json tagged "{$far,\"scope\":{\"tags\":{\"role\":[\"orders-db\"]}},\"version\":8}"
sign stranger orders-8.json stranger "{$far,\"version\":8}"
sign team orders-8.json wordless 'timestamp:1795300000'
sign team orders-8.json legacy "{$far,\"version\":8}" -l
