#!/usr/bin/env python3
# An idle voter that knows only the three methods of the first protocol.

import json
import sys

threshold = 5

for line in sys.stdin:
    try:
        request = json.loads(line)
        method = request.get("method")
        params = request.get("params", {})
        request_id = request.get("id")
        if method == "Info":
            result = {"name": "voter", "display_name": "Voter", "version": "1.0.0"}
        elif method == "CheckIdle":
            cpu = params["metrics"]["cpu_usage"]
            result = {"is_idle": cpu < threshold, "reason": f"{cpu} of {threshold} percent"}
        elif method == "Configure":
            threshold = params.get("config", {}).get("threshold", threshold)
            result = {"success": True}
        else:
            result = {"error": f"Unknown method: {method}"}
        print(json.dumps({"result": result, "id": request_id}))
        sys.stdout.flush()
    except Exception as error:
        print(json.dumps({"error": str(error), "id": None}))
        sys.stdout.flush()
