#!/bin/sh
# Writes what the kernel still holds to the disks when an event comes.
while read -r request; do
  id=${request##*\"id\":}
  case $request in
    '{"method":"Info",'*) result='{"name":"hello","version":"1.0.0"}' ;;
    '{"method":"HandleEvent",'*) sync && result='{"handled":true,"status":"synced"}' ;;
    *) result='{"error":"Unknown method: not one of mine"}' ;;
  esac
  echo "{\"result\":$result,\"id\":${id%\}}}"
done
