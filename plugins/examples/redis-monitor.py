#!/usr/bin/env python3
"""Votes that the instance is idle while few clients are connected to Redis.

Speaks to Redis over a socket of its own, so that nothing has to be installed.
"""

import json
import socket
import sys
from urllib.parse import unquote, urlsplit

TIMEOUT_SECONDS = 2


class RedisMonitor:
    def __init__(self):
        self.connection_threshold = 5
        self.redis_url = "redis://localhost:6379"

    def info(self):
        return {
            "name": "redis-monitor",
            "display_name": "Redis Connection Monitor",
            "version": "1.0.0",
            "author": "CloudSnooze Team",
            "description": "Monitors Redis for active connections",
        }

    def check_idle(self):
        try:
            clients = self.connected_clients()
        except (OSError, ValueError) as error:
            return {"error": f"cannot ask Redis: {error}"}
        details = {"connection_count": clients}
        if clients < self.connection_threshold:
            reason = f"Redis has only {clients} connections (below threshold {self.connection_threshold})"
            return {"is_idle": True, "reason": reason, "details": details}
        return {"is_idle": False, "reason": "", "details": details}

    def configure(self, config):
        self.connection_threshold = config.get("connection_threshold", self.connection_threshold)
        self.redis_url = config.get("redis_url", self.redis_url)
        return {"success": True}

    def connected_clients(self):
        url = urlsplit(self.redis_url)
        place = (url.hostname or "localhost", url.port or 6379)
        with socket.create_connection(place, TIMEOUT_SECONDS) as connection:
            replies = connection.makefile("rb")
            if url.password:
                user = [unquote(url.username)] if url.username else []
                ask(connection, replies, "AUTH", *user, unquote(url.password))
            for line in ask(connection, replies, "INFO", "clients").splitlines():
                name, _, value = line.partition(":")
                if name == "connected_clients":
                    return int(value)
        raise ValueError("the answer to INFO has no connected_clients")


def ask(connection, replies, *words):
    """Sends one command and returns its text."""
    parts = [word.encode() for word in words]
    request = b"*%d\r\n" % len(parts)
    for part in parts:
        request += b"$%d\r\n%s\r\n" % (len(part), part)
    connection.sendall(request)
    head = replies.readline(4096).rstrip(b"\r\n").decode("utf-8", "replace")
    if head.startswith("$"):
        return replies.read(int(head[1:]) + 2).decode("utf-8", "replace")
    if head.startswith("+"):
        return head[1:]
    raise ValueError(head[1:] or "no answer")


monitor = RedisMonitor()
request_id = None

for line in sys.stdin:
    try:
        request = json.loads(line)
        request_id = request.get("id")
        method = request.get("method")
        params = request.get("params") or {}
        if method == "Info":
            result = monitor.info()
        elif method == "CheckIdle":
            result = monitor.check_idle()
        elif method == "Configure":
            result = monitor.configure(params.get("config") or {})
        else:
            result = {"error": f"Unknown method: {method}"}
        print(json.dumps({"result": result, "id": request_id}), flush=True)
    except Exception as error:
        print(json.dumps({"error": str(error), "id": request_id}), flush=True)
