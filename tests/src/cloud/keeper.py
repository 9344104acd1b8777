"""Keeps the emulator for one run of tests, and speaks to it for them.

    keeper.py FOLDER PORT ENDPOINT LOG

starts the emulator on PORT, all its files in FOLDER; functions are given ENDPOINT as theirs. Then
each line on stdin is a call, {"id", "service", "call", "args", "as"}, answered in any order by a
line {"id", "value"} or {"id", "error", "text"}. Calls are those of boto3, a client that is none of
ours; the service `keeper` is this program itself. When stdin ends, which it does however the tests
ended, the emulator and its functions are ended too, by their process ids.
"""

import concurrent.futures
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import boto3
import botocore.config
import botocore.exceptions
import yaml

REGION = "us-east-1"
ACCOUNT = "123456789012"
ROOT = {"AccessKeyId": "test", "SecretAccessKey": "test"}
# Longer than the emulator takes to start on a machine that does much else.
READY_SECONDS = 120


class Keeper:
    def __init__(self, folder, port, endpoint, log):
        self.folder, self.address = pathlib.Path(folder), f"http://127.0.0.1:{port}"
        environment = {
            "PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder,
            "GATEWAY_PORT": port, "BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0",
            "AWS_ENDPOINT_URL": endpoint, "AUTH": "true", "MINISTACK_ACCOUNT_ID": ACCOUNT,
            # With 1 all runs of an event are over before `dispatch` asks again for policies that
            # it could not read.
            "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "3",
        }
        program = pathlib.Path(sys.executable).with_name("ministack")
        with open(log, "wb") as output:
            self.emulator = subprocess.Popen(
                [program], env=environment, cwd=folder, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT)
        self.session, self.clients, self.lock = boto3.session.Session(), {}, threading.Lock()

    def wait(self):
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{self.address}/_ministack/health", timeout=2):
                    return
            except OSError:
                if self.emulator.poll() is not None or time.monotonic() > end:
                    sys.exit("the emulator does not start")
                time.sleep(0.05)

    def client(self, service, keys):
        with self.lock:
            name = (service, keys["AccessKeyId"])
            if name not in self.clients:
                client = self.clients[name] = self.session.client(
                    service, region_name=REGION, endpoint_url=self.address,
                    aws_access_key_id=keys["AccessKeyId"],
                    aws_secret_access_key=keys["SecretAccessKey"],
                    aws_session_token=keys.get("SessionToken"),
                    config=botocore.config.Config(
                        retries={"max_attempts": 1}, read_timeout=60, max_pool_connections=32))
                client.meta.events.register("before-send.*.*", over_tls)
            return self.clients[name]

    def answer(self, request):
        args = request.get("args") or {}
        if request["service"] == "keeper":
            return getattr(self, request["call"])(**args)
        client = self.client(request["service"], request.get("as") or ROOT)
        value = getattr(client, request["call"])(**args)
        value.pop("ResponseMetadata", None)
        return value

    def emulator_id(self):
        return self.emulator.pid

    def adapt(self, source, target):
        """Copies a template for the emulator, which differs from AWS in three things: it cannot make
        alarms of metric math ("use MetricName and Namespace"); it knows permissions for batches,
        which on AWS are those of single messages; and it cannot tell which group or instance a call
        to Auto Scaling or EC2 is about, nor its tags. Answers with the alarms that were left out."""
        template = yaml.safe_load(pathlib.Path(source).read_text())
        resources = template["Resources"]
        lost = [name for name, resource in resources.items()
                if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]]
        for name in lost:
            del resources[name]
        adapt_statements(resources)
        pathlib.Path(target).write_text(json.dumps(template, indent=1, default=str))
        return lost

    def functions(self):
        """The processes of functions: their names by process id."""
        found = {}
        for folder in pathlib.Path("/proc").iterdir():
            try:
                text = (folder / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            pairs = dict(line.split("=", 1) for line in text.split("\0") if "=" in line)
            if pairs.get("TMPDIR") == str(self.folder) and "AWS_LAMBDA_FUNCTION_NAME" in pairs:
                found[folder.name] = pairs["AWS_LAMBDA_FUNCTION_NAME"]
        return found

    def end(self):
        functions = self.functions()
        self.emulator.send_signal(signal.SIGCONT)
        self.emulator.terminate()
        try:
            self.emulator.wait(5)
        except subprocess.TimeoutExpired:
            self.emulator.kill()
        for number in functions.keys() & self.functions().keys():
            os.kill(int(number), signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


def adapt_statements(value):
    if isinstance(value, list):
        for member in value:
            adapt_statements(member)
    elif isinstance(value, dict):
        actions = value.get("Action")
        if "Effect" in value and isinstance(actions, list):
            known = ["sqs:SendMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sns:Publish"]
            actions.extend([f"{action}Batch" for action in known if action in actions])
            if all(action.startswith(("autoscaling:", "ec2:")) for action in actions):
                value["Resource"] = "*"
                value.pop("Condition", None)
        for member in value.values():
            adapt_statements(member)


def over_tls(request, **_):
    """Resource policies ask for TLS; the emulator takes the word of whoever ended it."""
    request.headers["X-Forwarded-Proto"] = "https"


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return value.decode(errors="replace")
    return value.read().decode(errors="replace") if hasattr(value, "read") else str(value)


def main():
    keeper = Keeper(*sys.argv[1:])
    output = threading.Lock()

    def say(message):
        line = json.dumps(message, default=plain)
        with output:
            print(line, flush=True)

    def serve(request):
        try:
            say({"id": request["id"], "value": keeper.answer(request)})
        except botocore.exceptions.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            say({"id": request["id"], "error": code, "text": str(error)})
        except Exception as error:  # The test that asked is to say what went wrong.
            say({"id": request["id"], "error": type(error).__name__, "text": str(error)})

    try:
        keeper.wait()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for line in sys.stdin:
                pool.submit(serve, json.loads(line))
    finally:
        keeper.end()


signal.signal(signal.SIGINT, signal.SIG_IGN)
main()
