#!/usr/bin/env node
// my-plugin: saves a small state when the instance goes, and votes whether it is idle.
//
// Replace state() with what you have to save, and checkIdle() with what you know of being idle.
// stdout belongs to the protocol; log with console.error.

import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";

const EVENTS = ["cloud.spot.interrupt", "cloud.instance.termination", "cloud.autoscaling.scale"];

// What can be set. The daemon checks a configuration against it before the plugin gets it.
const SCHEMA = {
  path: {
    type: "string",
    description: "the file that the state is saved in",
    default: "/var/tmp/my-plugin.json",
  },
  cpu_threshold: {
    type: "number",
    description: "idle below so many percent of CPU",
    default: 5,
    constraints: { min: 0, max: 100 },
  },
  dry_run: {
    type: "boolean",
    description: "say what would be done, and do nothing",
    default: false,
  },
};

// What is expected of a setting, and whether a value is that.
const EXPECTED = {
  path: ["an absolute path", (value) => typeof value === "string" && path.isAbsolute(value)],
  cpu_threshold: [
    "a number from 0 to 100",
    (value) => typeof value === "number" && value >= 0 && value <= 100,
  ],
  dry_run: ["`true` or `false`", (value) => typeof value === "boolean"],
};

// A save takes so many seconds at most: with less time it is not begun.
const SAVE_SECONDS = 1;

const defaults = Object.fromEntries(Object.entries(SCHEMA).map(([name, { default: value }]) => [name, value]));
let config = defaults;

function info() {
  return {
    name: "my-plugin",
    display_name: "my-plugin",
    version: "0.1.0",
    author: "",
    description: "Saves a small state when the instance goes",
    category: "cloud-event",
    tags: [],
    language: "javascript",
    config_schema: SCHEMA,
    protocol: { min: 1, max: 1 },
  };
}

// Takes all of a configuration or nothing of it; names what is wrong, and shows no value.
function configure({ config: all }) {
  const given = Object.entries(all ?? {}).filter(([, value]) => value !== null);
  const faults = [];
  for (const [name, value] of given) {
    const [expected, takes] = Object.hasOwn(EXPECTED, name) ? EXPECTED[name] : [];
    if (!expected) faults.push(`\`${name}\` is no setting of this plugin`);
    else if (!takes(value)) faults.push(`\`${name}\`: expected ${expected}`);
  }
  if (faults.length > 0) return { error: faults.join("; ") };
  config = { ...defaults, ...Object.fromEntries(given) };
  return { success: true };
}

function health() {
  const folder = path.dirname(config.path);
  try {
    fs.accessSync(folder, fs.constants.W_OK | fs.constants.X_OK);
    return { healthy: true };
  } catch {
    return { healthy: false, reason: `cannot write into ${folder}: set \`path\` elsewhere` };
  }
}

function checkIdle({ metrics }) {
  const cpu = metrics?.cpu_usage;
  if (typeof cpu !== "number") return { error: "the metrics have no cpu_usage" };
  return {
    is_idle: cpu < config.cpu_threshold,
    reason: `CPU at ${cpu} % (threshold ${config.cpu_threshold} %)`,
    details: { cpu_usage: cpu },
  };
}

function handleEvent({ event }) {
  if (!EVENTS.includes(event?.type)) return { handled: false };
  const left = event.data?.timeRemaining;
  if (typeof left === "number" && left < SAVE_SECONDS) {
    return { handled: false, error: `${left} s are left, a save takes up to ${SAVE_SECONDS} s` };
  }
  if (config.dry_run || event.data?.drill) {
    return { handled: true, status: "would_save", dry_run: true, path: config.path };
  }
  const begun = performance.now();
  const text = JSON.stringify(state(event)) + "\n";
  try {
    writeDurably(config.path, text);
    const verified = fs.readFileSync(config.path, "utf8") === text;
    const seconds = Math.round(performance.now() - begun) / 1000;
    const bytes = Buffer.byteLength(text);
    return { handled: true, status: "saved", verified, path: config.path, bytes, seconds };
  } catch (error) {
    return { handled: false, error: `cannot save ${config.path}: ${error.code ?? error.message}` };
  }
}

// What is saved. The incident is the same however often one loss is signalled.
function state({ id, type, data }) {
  return { incident: data?.incident ?? null, event: id ?? null, type };
}

// All of the text or nothing of it: a new file, fsync, a new name, fsync of the folder.
function writeDurably(file, text) {
  const sync = (name, flags, write) => {
    const open = fs.openSync(name, flags);
    try {
      write?.(open);
      fs.fsyncSync(open);
    } finally {
      fs.closeSync(open);
    }
  };
  sync(`${file}.new`, "w", (open) => fs.writeFileSync(open, text));
  fs.renameSync(`${file}.new`, file);
  sync(path.dirname(file), "r");
}

const METHODS = new Map([
  ["Info", info],
  ["Configure", configure],
  ["Initialize", () => ({ success: true })],
  ["GetSupportedEvents", () => EVENTS],
  ["Health", health],
  ["CheckIdle", checkIdle],
  ["HandleEvent", handleEvent],
  ["Shutdown", () => ({ success: true })],
]);

// The reply to one request line, and whether it was the last.
async function answer(line) {
  let id = null;
  try {
    const request = JSON.parse(line);
    id = request.id ?? null;
    const method = METHODS.get(request.method);
    if (!method) return [{ result: { error: `Unknown method: ${request.method}` }, id }, false];
    return [{ result: await method(request.params ?? {}), id }, request.method === "Shutdown"];
  } catch (error) {
    // Whatever goes wrong ends one request, never the plugin.
    return [{ error: String(error), id }, false];
  }
}

// Lines are whole here, however they came, and are answered one after the other.
for await (const line of readline.createInterface({ input: process.stdin })) {
  if (line.trim() === "") continue;
  const [reply, last] = await answer(line);
  process.stdout.write(JSON.stringify(reply) + "\n");
  if (last) break;
}
process.stdin.destroy();
