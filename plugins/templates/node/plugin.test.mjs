// Drives the plugin as the daemon does: node --test

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, test } from "node:test";

const PLUGIN = fileURLToPath(new URL("my-plugin.mjs", import.meta.url));

let plugin, replies, folder, file, asked;

beforeEach(() => {
  plugin = spawn(process.execPath, [PLUGIN], { stdio: ["pipe", "pipe", "inherit"] });
  replies = readline.createInterface({ input: plugin.stdout })[Symbol.asyncIterator]();
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "my-plugin-"));
  file = path.join(folder, "state.json");
  asked = 0;
});

afterEach(() => {
  plugin.kill("SIGKILL");
  fs.rmSync(folder, { recursive: true });
});

async function say(line) {
  plugin.stdin.write(line + "\n");
  return JSON.parse((await replies.next()).value);
}

async function ask(method, params = {}) {
  asked += 1;
  const reply = await say(JSON.stringify({ method, params, id: asked }));
  assert.equal(reply.id, asked);
  return reply.result;
}

function event({ type = "cloud.spot.interrupt", timeRemaining = 110.5, drill = false } = {}) {
  const data = { timeRemaining, drill, incident: "i-1" };
  return ask("HandleEvent", { event: { type, id: "e-1", data } });
}

test("it saves the state and reads it back", async () => {
  assert.deepEqual(await ask("Configure", { config: { path: file } }), { success: true });
  const result = await event();
  assert.deepEqual([result.handled, result.verified], [true, true], JSON.stringify(result));
  assert.equal(JSON.parse(fs.readFileSync(file, "utf8")).incident, "i-1");
});

test("a drill and a dry run save nothing", async () => {
  await ask("Configure", { config: { path: file } });
  assert.equal((await event({ drill: true })).status, "would_save");
  await ask("Configure", { config: { path: file, dry_run: true } });
  assert.equal((await event()).dry_run, true);
  assert.equal(fs.existsSync(file), false);
});

test("what cannot be done is said", async () => {
  await ask("Configure", { config: { path: "/no/such/folder/state.json" } });
  assert.equal((await ask("Health")).healthy, false);
  assert.match((await event()).error, /cannot save/);
  assert.match((await event({ timeRemaining: 0.2 })).error, /0\.2 s are left/);
});

test("another event is not its business", async () => {
  assert.deepEqual(await event({ type: "system.disk.low" }), { handled: false });
});

test("it votes by the threshold", async () => {
  await ask("Configure", { config: { cpu_threshold: 10 } });
  assert.equal((await ask("CheckIdle", { metrics: { cpu_usage: 3 } })).is_idle, true);
  assert.equal((await ask("CheckIdle", { metrics: { cpu_usage: 30 } })).is_idle, false);
});

test("every wrong setting is named and no value is shown", async () => {
  const config = { path: "s3cret", cpu_threshold: true, dry_run: "s3cret", pth: "s3cret" };
  const { error } = await ask("Configure", { config });
  for (const name of Object.keys(config)) assert.ok(error.includes(`\`${name}\``), error);
  assert.ok(!error.includes("s3cret"), error);
});

test("a request may come in pieces, and two at once", async () => {
  plugin.stdin.write('{"method":"Info","params":{},');
  await new Promise((done) => setImmediate(done));
  plugin.stdin.write('"id":1}\n{"method":"Health","params":{},"id":2}\n');
  assert.equal(JSON.parse((await replies.next()).value).id, 1);
  assert.equal(JSON.parse((await replies.next()).value).id, 2);
});

test("a line that is no request ends nothing", async () => {
  assert.ok("error" in (await say("no json")));
  assert.ok("error" in (await say("null")));
  assert.match((await ask("Dance")).error, /^Unknown method: Dance$/);
  assert.equal((await ask("Info")).name, "my-plugin");
});

test("it ends when it is told to", async () => {
  const ended = new Promise((done) => plugin.once("exit", done));
  assert.deepEqual(await ask("Shutdown"), { success: true });
  assert.equal(await ended, 0);
});
