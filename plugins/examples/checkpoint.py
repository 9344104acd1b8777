#!/usr/bin/env python3
"""Saves a small state when the Spot instance goes, and votes whether it is idle."""

import json
import os
import sys

config = {"path": "/var/tmp/checkpoint.json", "cpu_threshold": 5.0}


def info(params):
    return {
        "name": "checkpoint",
        "display_name": "Checkpoint Example",
        "version": "1.0.0",
        "author": "CloudSnooze Team",
        "description": "Writes a checkpoint file when the Spot instance goes",
        "category": "example",
        "tags": ["example", "checkpoint"],
        "language": "python",
    }


def configure(params):
    given = params.get("config") or {}
    unknown = sorted(set(given) - set(config))
    if unknown:
        return {"error": "unknown settings: " + ", ".join(unknown)}
    config.update(given)
    return {"success": True}


def supported_events(params):
    return ["cloud.spot.interrupt"]


def check_idle(params):
    cpu = params.get("metrics", {}).get("cpu_usage")
    if cpu is None:
        return {"error": "the metrics have no cpu_usage"}
    idle = cpu < config["cpu_threshold"]
    reason = f"CPU at {cpu} % (threshold {config['cpu_threshold']} %)"
    return {"is_idle": idle, "reason": reason, "details": {"cpu_usage": cpu}}


def handle_event(params):
    event = params.get("event", {})
    if event.get("type") != "cloud.spot.interrupt":
        return {"handled": False}
    state = {"event": event.get("id"), "data": event.get("data", {})}
    try:
        write_durably(config["path"], json.dumps(state, indent=2) + "\n")
        with open(config["path"], encoding="utf-8") as file:
            verified = json.load(file) == state
    except OSError as error:
        return {"handled": False, "error": f"cannot save: {error}"}
    return {"handled": True, "status": "saved", "verified": verified, "path": config["path"]}


def write_durably(path, text):
    """All of the text or nothing of it: a new file, fsync, a new name, fsync of the folder."""
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


METHODS = {
    "Info": info,
    "Configure": configure,
    "GetSupportedEvents": supported_events,
    "CheckIdle": check_idle,
    "HandleEvent": handle_event,
}

for line in sys.stdin:
    request_id = None
    try:
        request = json.loads(line)
        request_id = request.get("id")
        method = METHODS.get(request.get("method"))
        if method:
            result = method(request.get("params") or {})
        else:
            result = {"error": f"Unknown method: {request.get('method')}"}
        reply = {"result": result, "id": request_id}
    except Exception as error:
        reply = {"error": str(error), "id": request_id}
    print(json.dumps(reply), flush=True)
