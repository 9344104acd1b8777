#!/bin/sh
# my-plugin: saves a small state when the instance goes, and votes whether it is idle.
#
# Replace state() with what you have to save, and check_idle() with what you know of being idle.
# stdout belongs to the protocol; log to stderr. Needs nothing but a POSIX shell, awk and sync.

# A save takes so many seconds at most: with less time it is not begun.
SAVE_SECONDS=1

defaults() {
  path=/var/tmp/my-plugin.json
  cpu_threshold=5
  dry_run=false
}

info() {
  cat <<'END' | tr -d '\n'
{"name":"my-plugin","display_name":"my-plugin","version":"0.1.0","author":"",
"description":"Saves a small state when the instance goes","category":"cloud-event","tags":[],
"language":"sh","protocol":{"min":1,"max":1},"config_schema":{
"path":{"type":"string","description":"the file that the state is saved in",
"default":"/var/tmp/my-plugin.json"},
"cpu_threshold":{"type":"number","description":"idle below so many percent of CPU",
"default":5,"constraints":{"min":0,"max":100}},
"dry_run":{"type":"boolean","description":"say what would be done, and do nothing",
"default":false}}}
END
}

# Takes all of a configuration or nothing of it; names what is wrong, and shows no value.
configure() {
  faults=
  while read -r key value; do
    name=${key#params.config.}
    case $key in
      params.config.*.*) continue ;; # A part of a value that is refused as a whole.
      params.config.*) [ "$value" = null ] && continue ;;
      *) continue ;;
    esac
    case $name in
      path) is_plain_path "$value" || fault ": expected an absolute path without \`\\\\\`" ;;
      cpu_threshold) is_percent "$value" || fault ": expected a number from 0 to 100" ;;
      dry_run) is_one_of "$value" true false || fault ": expected \`true\` or \`false\`" ;;
      *) fault " is no setting of this plugin" ;;
    esac
  done <<END
$request
END
  if [ -n "$faults" ]; then
    result="{\"error\":\"$faults\"}"
    return
  fi
  defaults
  get params.config.path && [ "$value" != null ] && path=${value#\"} && path=${path%\"}
  get params.config.cpu_threshold && [ "$value" != null ] && cpu_threshold=$value
  get params.config.dry_run && [ "$value" != null ] && dry_run=$value
  result='{"success":true}'
}

fault() {
  faults="$faults${faults:+; }\`$name\`$1"
}

# What needs no escapes can be used as it stands in the JSON.
is_plain_path() {
  case $1 in
    *\\*) return 1 ;;
    '"/'*'"') return 0 ;;
    *) return 1 ;;
  esac
}

is_percent() {
  case $1 in
    *[!0-9.eE+-]*) return 1 ;;
    *) ! below "$1" 0 && ! below 100 "$1" ;;
  esac
}

is_one_of() {
  [ "$1" = "$2" ] || [ "$1" = "$3" ]
}

below() {
  awk -v left="$1" -v right="$2" 'BEGIN { exit !(left + 0 < right + 0) }'
}

health() {
  folder=${path%/*}
  if [ -d "${folder:-/}" ] && [ -w "${folder:-/}" ]; then
    result='{"healthy":true}'
  else
    reason="cannot write into $folder: set \`path\` elsewhere"
    result="{\"healthy\":false,\"reason\":\"$reason\"}"
  fi
}

check_idle() {
  if ! get params.metrics.cpu_usage; then
    result='{"error":"the metrics have no cpu_usage"}'
    return
  fi
  if below "$value" "$cpu_threshold"; then is_idle=true; else is_idle=false; fi
  reason="CPU at $value % (threshold $cpu_threshold %)"
  result="{\"is_idle\":$is_idle,\"reason\":\"$reason\",\"details\":{\"cpu_usage\":$value}}"
}

handle_event() {
  get params.event.type
  case $value in
    '"cloud.spot.interrupt"' | '"cloud.instance.termination"' | '"cloud.autoscaling.scale"') ;;
    *) result='{"handled":false}' && return ;;
  esac
  if get params.event.data.timeRemaining && below "$value" "$SAVE_SECONDS"; then
    text="$value s are left, a save takes up to $SAVE_SECONDS s"
    result="{\"handled\":false,\"error\":\"$text\"}"
    return
  fi
  get params.event.data.drill || value=false
  if [ "$value" = true ] || [ "$dry_run" = true ]; then
    result="{\"handled\":true,\"status\":\"would_save\",\"dry_run\":true,\"path\":\"$path\"}"
    return
  fi
  text=$(state)
  if ! write_durably "$text"; then
    result="{\"handled\":false,\"error\":\"cannot save $path; the log says why\"}"
    return
  fi
  if [ "$(cat "$path")" = "$text" ]; then verified=true; else verified=false; fi
  result="{\"handled\":true,\"status\":\"saved\",\"verified\":$verified,\"path\":\"$path\"}"
}

# What is saved. The incident is the same however often one loss is signalled.
state() {
  get params.event.data.incident || value=null
  incident=$value
  get params.event.id || value=null
  id_of_event=$value
  get params.event.type
  printf '{"incident":%s,"event":%s,"type":%s}' "$incident" "$id_of_event" "$value"
}

# All of the text or nothing of it: a new file, fsync, a new name, fsync of the folder.
write_durably() {
  { printf '%s\n' "$1" >"$path.new"; } && sync "$path.new" && mv "$path.new" "$path" &&
    sync "${path%/*}/"
}

# Turns a line of JSON into lines `PATH VALUE`, as `params.event.type "cloud.spot.interrupt"`;
# fails where it is no JSON. A full stop in a name is written `\u002e`.
flatten() {
  awk '
    function take(form,  text) {
      if (!match(rest, form)) exit bad = 1
      text = substr(rest, 1, RLENGTH)
      rest = substr(rest, RLENGTH + 1)
      sub(/^[ \t\r]+/, "", rest)
      return text
    }
    function value(path,  next_path, count) {
      if (rest ~ /^[{]/) {
        if (path != "") print path " {}"
        take("^[{]")
        if (rest ~ /^}/) { take("^}"); return }
        do {
          next_path = take("^\"([^\"\\\\]|\\\\.)*\"")
          next_path = substr(next_path, 2, length(next_path) - 2)
          gsub(/[.]/, "\\u002e", next_path)
          gsub(/ /, "\\u0020", next_path)
          take("^:")
          value((path == "" ? "" : path ".") next_path)
        } while (take("^[,}]") == ",")
      } else if (rest ~ /^\[/) {
        print path " []"
        take("^\\[")
        if (rest ~ /^]/) { take("^]"); return }
        do value(path "." count++); while (take("^(,|])") == ",")
      } else {
        print path " " take("^(\"([^\"\\\\]|\\\\.)*\"|-?[0-9][0-9.eE+-]*|true|false|null)")
      }
    }
    { rest = $0; sub(/^[ \t\r]+/, "", rest); if (rest !~ /^[{]/) exit bad = 1; value("") }
    END { exit bad || rest != "" }
  '
}

# Sets `value` to the JSON at a path of the request; fails where there is none.
get() {
  while read -r found value; do
    [ "$found" = "$1" ] && return 0
  done <<END
$request
END
  value=
  return 1
}

answer() {
  if ! request=$(printf '%s\n' "$1" | flatten); then
    echo '{"error":"the request is not a JSON object","id":null}'
    return
  fi
  get id || value=null
  id=$value
  get method || value='""'
  method=$value
  case $method in
    '"Info"') result=$(info) ;;
    '"Configure"') configure ;;
    '"Initialize"' | '"Shutdown"') result='{"success":true}' ;;
    '"GetSupportedEvents"')
      result='["cloud.spot.interrupt","cloud.instance.termination","cloud.autoscaling.scale"]' ;;
    '"Health"') health ;;
    '"CheckIdle"') check_idle ;;
    '"HandleEvent"') handle_event ;;
    *) name=${method#\"} && result="{\"error\":\"Unknown method: ${name%\"}\"}" ;;
  esac
  printf '{"result":%s,"id":%s}\n' "$result" "$id"
}

defaults
while IFS= read -r line; do
  [ -n "$line" ] || continue
  method=
  answer "$line"
  [ "$method" != '"Shutdown"' ] || exit 0
done
