/** @file Do the parts of the page say what is true, also when it was otherwise a moment ago? */

import assert from "node:assert/strict";
import { once } from "node:events";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { body, kept, location, parts, root, window } from "./dom.js";

await import("../../../src/dashboard/header.js");
await import("../../../src/dashboard/agents.js");
const { Page } = await import("../../../src/dashboard/page.js");
const { secretName } = await import("../../../src/dashboard/api.js");
const { signInByFragment, signOut, who } = await import("../../../src/dashboard/session.js");
const { Board } = await import("../../../src/dashboard/store.js");
const { ago, setLast, startTicking } = await import("../../../src/dashboard/time.js");

/** @typedef {{status?: number, body: unknown}} Answer */

/** @type {InstanceType<typeof Page>} */
let page;
/** @type {AbortController} */
let ended;
/** What the server answers to a method and a path. @type {Map<string, () => Answer | Promise<Answer>>} */
const answers = new Map();
/** @type {string[]} */
let asked = [];

globalThis.fetch = /** @type {any} */ (
  async (/** @type {URL} */ url, /** @type {RequestInit} */ init) => {
    const call = `${init.method ?? "GET"} ${url.pathname}`;
    asked.push(call);
    const { status = 200, body } = (await answers.get(call)?.()) ?? { status: 503, body: {} };
    return new Response(JSON.stringify(body), { status });
  }
);

beforeEach(() => {
  page = new Page(new URL("http://log.test/"));
  ended = new AbortController();
  answers.clear();
  asked = [];
});

afterEach(() => {
  ended.abort();
  for (const part of body.nodes) /** @type {any} */ (part).disconnectedCallback?.();
  body.replaceChildren();
  delete root.dataset.stale;
  kept.clear();
});

/** @param {string} name */
function part(name) {
  const Part = /** @type {new () => any} */ (parts.get(name));
  const made = new Part();
  made.page = page;
  body.append(made);
  return made;
}

/** @param {() => unknown} is_so */
async function until(is_so) {
  const end = Date.now() + 8_000;
  while (!is_so()) {
    if (Date.now() > end) throw new Error(`never: ${is_so}`);
    await sleep(1);
  }
}

/** @param {string} name */
const nobody = (name) => () => ({ status: 401, body: { title: name } });

/** @param {string} name @param {...string} roles */
const known =
  (name, ...roles) =>
  () => ({ body: { name, roles } });

/** @param {string} state */
const say = (state) => page.setStatus({ ...page.status, state: /** @type {any} */ (state) });

/** @param {string} log_id @param {number} seq @param {Record<string, unknown>[]} [approvals] */
function restart(log_id, seq, approvals = []) {
  const none = { questions: [], transients: [], recent_approvals: [], recent_questions: [] };
  const state = /** @type {any} */ ({ log_id, seq, floor: 0, approvals, ...none });
  page.setState(new Board(state), state, "start");
}

/** @param {string} log_id @param {number} ms @param {number} message_ms */
function holds(log_id, ms, message_ms) {
  answers.set("GET /api/history", () => ({ body: { log_id, events: [{ recorded_at_ms: ms }] } }));
  const agents = [{ name: "alice", last_at_ms: ms, last_message_at_ms: message_ms }];
  answers.set("GET /api/agents", () => ({ body: { log_id, agents } }));
}

test("a login link that was used says nothing of who is signed in", async () => {
  const panel = part("hive-session");
  kept.set(secretName(page), "second");
  answers.set("POST /session", nobody("a credential is needed"));
  answers.set("GET /session", known("alice", "operator"));
  location.hash = "#login=used";
  await signInByFragment(page, ended.signal);
  assert.equal(page.asked, false);
  await who(page, ended.signal);
  assert.equal(page.session?.name, "alice");
  location.hash = "#login=again";
  const failed = once(page, "signin-failed");
  window.dispatchEvent(new Event("hashchange"));
  await failed;
  assert.equal(page.session?.name, "alice");
  assert.equal(panel.textContent, "");
  // The same answer to a read says that it is over.
  answers.set("GET /session", nobody("a credential is needed"));
  page.asked = false;
  await who(page, ended.signal);
  assert.match(panel.textContent, /^You are signed out/);
});

test("a token that does not hold is told of where it was typed", async () => {
  const panel = part("hive-session");
  page.session = { name: "alice", roles: ["operator"] };
  assert.match(panel.textContent, /^This browser can only read/);
  answers.set("POST /session", nobody("a credential is needed"));
  const form = panel.all("form")[0];
  panel.all("input")[0].value = "wrong";
  form.dispatchEvent(new Event("submit"));
  await until(() => form.textContent.includes("This token does not hold."));
  assert.equal(panel.all("form")[0], form);
  assert.match(panel.textContent, /^This browser can only read/);
});

test("who may not read is not called signed out", () => {
  const panel = part("hive-session");
  page.session = { name: "ada", roles: ["agent"] };
  say("signed_out");
  assert.match(panel.textContent, /^This credential may not read the log/);
  assert.equal(panel.all("form").length, 1);
  page.session = { name: "alice", roles: ["read"] };
  assert.match(panel.textContent, /^You are signed out/);
  kept.set(secretName(page), "second");
  say("live");
  assert.match(panel.textContent, /^You can look at everything/);
});

test("a session that ends while nothing is read is over for the whole page", async () => {
  kept.set(secretName(page), "second");
  const header = part("hive-header");
  answers.set("GET /session", known("alice", "operator"));
  await who(page, ended.signal);
  assert.match(header.textContent, /alice.*Sign out/);
  say("live");
  answers.set("GET /session", nobody("a credential is needed"));
  say("signed_out");
  await until(() => page.session === null);
  assert.doesNotMatch(header.textContent, /Sign out/);
  answers.set("GET /session", known("bob", "operator"));
  say("live");
  await until(() => page.session?.name === "bob");
});

test("signing out of a session that is over leaves nothing of the log", async () => {
  kept.set(secretName(page), "second");
  page.session = { name: "alice", roles: ["operator"] };
  const { reloads } = location;
  answers.set("DELETE /session", () => ({ status: 503, body: {} }));
  await assert.rejects(signOut(page));
  assert.equal(kept.size, 1);
  assert.equal(location.reloads, reloads);
  answers.set("DELETE /session", nobody("a credential is needed"));
  await signOut(page);
  assert.equal(kept.size, 0);
  assert.equal(location.reloads, reloads + 1);
});

test("who was signed in before somebody else did is of no use", async () => {
  const { promise, resolve } = withResolvers();
  answers.set("GET /session", async () => {
    await promise;
    answers.set("GET /session", known("bob", "operator"));
    return known("alice", "operator")();
  });
  const told = who(page, ended.signal);
  page.session = { name: "bob", roles: ["operator"] };
  /** @type {unknown[]} */
  const names = [];
  page.listen("session", () => names.push(page.session?.name), ended.signal);
  resolve(undefined);
  await told;
  assert.deepEqual(names, ["bob"]);
  assert.deepEqual(asked, ["GET /session", "GET /session"]);
});

test("a moment that is taken back does not come again with the next tick", (t) => {
  t.mock.timers.enable({ apis: ["setInterval", "Date"], now: 1_000_000 });
  const time = ago(990_000);
  body.append(/** @type {any} */ (time));
  startTicking(ended.signal);
  t.mock.timers.tick(1000);
  const before = time.textContent;
  assert.match(before ?? "", /11/);
  setLast(time, 0);
  t.mock.timers.tick(1000);
  assert.equal(time.textContent, "\u2013");
  assert.equal(time.title, "");
  setLast(time, 990_000);
  assert.match(time.textContent ?? "", /12/);
});

test("in another log nothing was seen of the one before", async () => {
  const header = part("hive-header");
  const agents = part("hive-agents");
  const [last] = header.all("time");
  const row = { id: 1, seq: 1, recorded_at_ms: 1_000, agent: "alice" };
  holds("a", 9_000, 8_000);
  restart("a", 5, [row]);
  await until(() => last.dataset.ms === "9000");
  await until(() => agents.all("time")[0]?.dataset.ms === "8000");
  const [message, seen] = agents.all("time");
  assert.equal(seen.dataset.ms, "9000");
  holds("b", 1_000, 0);
  restart("b", 5, [row]);
  await until(() => last.dataset.ms === "1000");
  await until(() => seen.dataset.ms === "1000");
  assert.equal(message.dataset.ms, undefined);
  assert.equal(message.textContent, "\u2013");
  // The same log again, which was set back.
  answers.clear();
  restart("b", 4);
  await until(() => last.dataset.ms === undefined);
  assert.equal(last.textContent, "\u2013");
  await until(() => agents.all("time").length === 0);
});

test("a page that catches up for long is marked, however often it says how far it is", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const header = part("hive-header");
  const banner = header.all("p")[0];
  for (let n = 0; n < 4; n += 1) {
    say("catching_up");
    assert.equal(root.dataset.stale, undefined);
    t.mock.timers.tick(200);
  }
  assert.equal(root.dataset.stale, "");
  assert.equal(banner.hidden, false);
  assert.match(banner.textContent, /^Nothing is loaded/);
  say("live");
  assert.equal(root.dataset.stale, undefined);
  // The next time it has all of it again.
  say("catching_up");
  t.mock.timers.tick(600);
  say("live");
  say("catching_up");
  t.mock.timers.tick(600);
  assert.equal(root.dataset.stale, undefined);
  t.mock.timers.tick(100);
  assert.equal(root.dataset.stale, "");
});

/** @returns {{promise: Promise<unknown>, resolve: (value: unknown) => void}} */
function withResolvers() {
  /** @type {(value: unknown) => void} */
  let resolve = () => {};
  const promise = new Promise((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
