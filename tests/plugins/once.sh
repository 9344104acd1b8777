#!/bin/sh
# Handles one event and ends, as the simplest plugin can.
while read -r line; do
    id=${line##*\"id\":}
    id=${id%\}}
    case $line in
    *'"method":"Info"'*) echo "{\"result\":{\"name\":\"once\"},\"id\":$id}" ;;
    *'"method":"HandleEvent"'*)
        echo "{\"result\":{\"handled\":true,\"status\":\"by $0\"},\"id\":$id}"
        exit 0
        ;;
    *) echo "{\"result\":{\"error\":\"Unknown method: some\"},\"id\":$id}" ;;
    esac
done
