"""Drives the plugin as the daemon does: python3 -m unittest"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

PLUGIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "my-plugin.py")


class PluginTest(unittest.TestCase):
    def setUp(self):
        self.plugin = subprocess.Popen(
            [sys.executable, PLUGIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "state.json")
        self.asked = 0

    def tearDown(self):
        self.plugin.kill()
        self.plugin.communicate()
        self.folder.cleanup()

    def say(self, line):
        self.plugin.stdin.write(line + "\n")
        self.plugin.stdin.flush()
        return json.loads(self.plugin.stdout.readline())

    def ask(self, method, **params):
        self.asked += 1
        reply = self.say(json.dumps({"method": method, "params": params, "id": self.asked}))
        self.assertEqual(reply["id"], self.asked)
        return reply["result"]

    def event(self, kind="cloud.spot.interrupt", left=110.5, drill=False):
        data = {"timeRemaining": left, "drill": drill, "incident": "i-1"}
        return self.ask("HandleEvent", event={"type": kind, "id": "e-1", "data": data})

    def test_it_saves_the_state_and_reads_it_back(self):
        self.assertEqual(self.ask("Configure", config={"path": self.path}), {"success": True})
        result = self.event()
        self.assertEqual((result["handled"], result["verified"]), (True, True), result)
        with open(self.path, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["incident"], "i-1")

    def test_a_drill_and_a_dry_run_save_nothing(self):
        self.ask("Configure", config={"path": self.path})
        self.assertEqual(self.event(drill=True)["status"], "would_save")
        self.ask("Configure", config={"path": self.path, "dry_run": True})
        self.assertTrue(self.event()["dry_run"])
        self.assertFalse(os.path.exists(self.path))

    def test_what_cannot_be_done_is_said(self):
        self.ask("Configure", config={"path": "/no/such/folder/state.json"})
        self.assertFalse(self.ask("Health")["healthy"])
        self.assertIn("cannot save", self.event()["error"])
        self.assertIn("0.2 s are left", self.event(left=0.2)["error"])

    def test_another_event_is_not_its_business(self):
        self.assertEqual(self.event(kind="system.disk.low"), {"handled": False})

    def test_it_votes_by_the_threshold(self):
        self.ask("Configure", config={"cpu_threshold": 10})
        self.assertTrue(self.ask("CheckIdle", metrics={"cpu_usage": 3.0})["is_idle"])
        self.assertFalse(self.ask("CheckIdle", metrics={"cpu_usage": 30.0})["is_idle"])

    def test_every_wrong_setting_is_named_and_no_value_is_shown(self):
        given = {"path": "s3cret", "cpu_threshold": True, "dry_run": "s3cret", "pth": "s3cret"}
        error = self.ask("Configure", config=given)["error"]
        for name in given:
            self.assertIn(f"`{name}`", error)
        self.assertNotIn("s3cret", error)

    def test_a_line_that_is_no_request_ends_nothing(self):
        self.assertIn("error", self.say("no json"))
        self.assertIn("error", self.say("[]"))
        self.assertIn("Unknown method: Dance", self.ask("Dance")["error"])
        self.assertEqual(self.ask("Info")["name"], "my-plugin")

    def test_it_ends_when_it_is_told_to(self):
        self.assertEqual(self.ask("Shutdown"), {"success": True})
        self.assertEqual(self.plugin.wait(60), 0)


if __name__ == "__main__":
    unittest.main()
