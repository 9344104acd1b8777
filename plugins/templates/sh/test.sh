#!/bin/sh
# Drives the plugin as the daemon does: sh test.sh

cd "$(dirname "$0")" || exit 1
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
failed=0

# Gives a new plugin these request lines, and expects each of the parts among its answers.
check() {
  title=$1
  answers=$(printf '%s\n' "$2" | sh ./my-plugin.sh)
  shift 2
  for part; do
    case $answers in
      *"$part"*) ;;
      *) fail "$title: no $part in: $answers" && return ;;
    esac
  done
  echo "ok   $title"
}

fail() {
  echo "FAIL $1"
  failed=1
}

# An event as the daemon sends it: type, seconds that are left, whether it is a drill.
event() {
  data="{\"drill\":$3,\"incident\":\"i-1\",\"timeRemaining\":$2}"
  call HandleEvent "{\"event\":{\"data\":$data,\"id\":\"e-1\",\"type\":\"$1\"}}"
}

configure() {
  call Configure "{\"config\":$1}"
}

call() {
  printf '{"method":"%s","params":%s,"id":7}\n' "$1" "${2:-null}"
}

check "it saves the state and reads it back" \
  "$(configure "{\"path\":\"$folder/state.json\"}" && event cloud.spot.interrupt 110.5 false)" \
  '{"result":{"success":true},"id":7}' '"verified":true'
saved='{"incident":"i-1","event":"e-1","type":"cloud.spot.interrupt"}'
[ "$(cat "$folder/state.json")" = "$saved" ] || fail "the state is not on disk"

check "a drill saves nothing" \
  "$(configure "{\"path\":\"$folder/drill.json\"}" && event cloud.spot.interrupt 110.5 true)" \
  '"status":"would_save"'
check "a dry run saves nothing" \
  "$(configure "{\"path\":\"$folder/drill.json\",\"dry_run\":true}" &&
    event cloud.spot.interrupt 110.5 false)" \
  '"dry_run":true'
[ ! -e "$folder/drill.json" ] || fail "a drill or a dry run has saved"

check "what cannot be done is said" \
  "$(configure '{"path":"/no/such/folder/state.json"}' && call Health &&
    event cloud.spot.interrupt 110.5 false && event cloud.spot.interrupt 0.2 false)" \
  '"healthy":false' 'cannot save' '0.2 s are left'

check "another event is not its business" \
  "$(event system.disk.low 110.5 false)" '{"result":{"handled":false},"id":7}'

check "it votes by the threshold" \
  "$(configure '{"cpu_threshold":10}' && call CheckIdle '{"metrics":{"cpu_usage":3.0}}' &&
    call CheckIdle '{"metrics":{"cpu_usage":30.0}}')" \
  '"is_idle":true' '"is_idle":false'

check "every wrong setting is named" \
  "$(configure '{"path":"s3cret","cpu_threshold":true,"dry_run":["s3cret"],"pth":"s3cret"}')" \
  '`path`' '`cpu_threshold`' '`dry_run`' '`pth`'
case $answers in
  *s3cret*) fail "a value is shown" ;;
esac

check "a line that is no request ends nothing" \
  "$(echo 'no json' && echo '[]' && call Dance && call Info)" \
  '{"error":"the request is not a JSON object","id":null}' \
  '{"result":{"error":"Unknown method: Dance"},"id":7}' '"name":"my-plugin"'

check "it ends when it is told to" "$(call Shutdown && call Dance)" '"success":true'
case $answers in
  *Dance*) fail "it goes on after Shutdown" ;;
esac

exit $failed
