#!/bin/sh
# Plays a flusher: says who it is and how it was configured.
while read -r request; do
  id=${request##*\"id\":}
  case $request in
    '{"method":"Configure",'*'"refuse"'*) result='{"error":"refused"}' ;;
    '{"method":"Configure",'*) configured="${request%,\"id\":*}}" result='{"success":true}' ;;
    '{"method":"GetSupportedEvents",'*) result='["cloud.spot.interrupt","custom*"]' ;;
    '{"method":"HandleEvent",'*'"custom.die"'*) exit 1 ;;
    '{"method":"HandleEvent",'*)
      result="{\"handled\":true,\"who\":\"${0##*/}\",\"configured\":$configured,\"asked\":${request%,\"id\":*}}}"
      ;;
    '{"method":"Shutdown",'*)
      echo "{\"result\":{\"success\":true},\"id\":${id%\}}}"
      exit 0
      ;;
    *) result='{"error":"Unknown method: not one of mine"}' ;;
  esac
  echo "{\"result\":$result,\"id\":${id%\}}}"
done
