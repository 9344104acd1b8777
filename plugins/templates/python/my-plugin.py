#!/usr/bin/env python3
"""my-plugin: saves a small state when the instance goes, and votes whether it is idle.

Replace state() with what you have to save, and check_idle() with what you know of being idle.
stdout belongs to the protocol; log to stderr.
"""

import json
import os
import sys
import time

EVENTS = ["cloud.spot.interrupt", "cloud.instance.termination", "cloud.autoscaling.scale"]

# What can be set. The daemon checks a configuration against it before the plugin gets it.
SCHEMA = {
    "path": {
        "type": "string",
        "description": "the file that the state is saved in",
        "default": "/var/tmp/my-plugin.json",
    },
    "cpu_threshold": {
        "type": "number",
        "description": "idle below so many percent of CPU",
        "default": 5,
        "constraints": {"min": 0, "max": 100},
    },
    "dry_run": {
        "type": "boolean",
        "description": "say what would be done, and do nothing",
        "default": False,
    },
}

# A save takes so many seconds at most: with less time it is not begun.
SAVE_SECONDS = 1.0

config = {name: setting["default"] for name, setting in SCHEMA.items()}


def info(params):
    return {
        "name": "my-plugin",
        "display_name": "my-plugin",
        "version": "0.1.0",
        "author": "",
        "description": "Saves a small state when the instance goes",
        "category": "cloud-event",
        "tags": [],
        "language": "python",
        "config_schema": SCHEMA,
        "protocol": {"min": 1, "max": 1},
    }


def configure(params):
    """Takes all of a configuration or nothing of it; names what is wrong, and shows no value."""
    given = {k: v for k, v in (params.get("config") or {}).items() if v is not None}
    faults = [f"`{name}` is no setting of this plugin" for name in sorted(set(given) - set(SCHEMA))]
    number = given.get("cpu_threshold", 0)
    if not (isinstance(given.get("path", "/"), str) and given.get("path", "/").startswith("/")):
        faults.append("`path`: expected an absolute path")
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= 100:
        faults.append("`cpu_threshold`: expected a number from 0 to 100")
    if not isinstance(given.get("dry_run", False), bool):
        faults.append("`dry_run`: expected `true` or `false`")
    if faults:
        return {"error": "; ".join(faults)}
    config.update({name: setting["default"] for name, setting in SCHEMA.items()})
    config.update(given)
    return {"success": True}


def health(params):
    folder = os.path.dirname(config["path"])
    if os.access(folder, os.W_OK | os.X_OK):
        return {"healthy": True}
    return {"healthy": False, "reason": f"cannot write into {folder}: set `path` elsewhere"}


def check_idle(params):
    cpu = (params.get("metrics") or {}).get("cpu_usage")
    if cpu is None:
        return {"error": "the metrics have no cpu_usage"}
    reason = f"CPU at {cpu} % (threshold {config['cpu_threshold']} %)"
    idle = cpu < config["cpu_threshold"]
    return {"is_idle": idle, "reason": reason, "details": {"cpu_usage": cpu}}


def handle_event(params):
    event = params.get("event") or {}
    data = event.get("data") or {}
    if event.get("type") not in EVENTS:
        return {"handled": False}
    left = data.get("timeRemaining")
    if left is not None and left < SAVE_SECONDS:
        return {"handled": False, "error": f"{left} s are left, a save takes up to {SAVE_SECONDS} s"}
    if config["dry_run"] or data.get("drill"):
        return {"handled": True, "status": "would_save", "dry_run": True, "path": config["path"]}
    begun = time.monotonic()
    text = json.dumps(state(event)) + "\n"
    try:
        write_durably(config["path"], text)
        with open(config["path"], encoding="utf-8") as file:
            verified = file.read() == text
    except OSError as error:
        return {"handled": False, "error": f"cannot save {config['path']}: {error.strerror}"}
    return {
        "handled": True,
        "status": "saved",
        "verified": verified,
        "path": config["path"],
        "bytes": len(text.encode()),
        "seconds": round(time.monotonic() - begun, 3),
    }


def state(event):
    """What is saved. The incident is the same however often one loss is signalled."""
    data = event.get("data") or {}
    return {"incident": data.get("incident"), "event": event.get("id"), "type": event.get("type")}


def write_durably(path, text):
    """All of the text or nothing of it: a new file, fsync, a new name, fsync of the folder."""
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


METHODS = {
    "Info": info,
    "Configure": configure,
    "Initialize": lambda params: {"success": True},
    "GetSupportedEvents": lambda params: EVENTS,
    "Health": health,
    "CheckIdle": check_idle,
    "HandleEvent": handle_event,
    "Shutdown": lambda params: {"success": True},
}


def answer(line):
    """The reply to one request line, and whether it was the last."""
    request_id = None
    try:
        request = json.loads(line)
        request_id = request.get("id")
        name = request.get("method")
        method = METHODS.get(name)
        if method:
            result = method(request.get("params") or {})
        else:
            result = {"error": f"Unknown method: {name}"}
        return {"result": result, "id": request_id}, name == "Shutdown"
    except Exception as error:  # Whatever goes wrong ends one request, never the plugin.
        return {"error": f"{type(error).__name__}: {error}", "id": request_id}, False


def main():
    # Lines are whole here, however they came; an empty one is the end of stdin.
    for line in iter(sys.stdin.readline, ""):
        if not line.strip():
            continue
        reply, last = answer(line)
        print(json.dumps(reply), flush=True)
        if last:
            return


if __name__ == "__main__":
    main()
