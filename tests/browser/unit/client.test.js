/** @file Does one tab keep every event once and in order, and never claim to be live when it is not? */

import assert from "node:assert/strict";
import { once } from "node:events";
import { afterEach, beforeEach, test } from "node:test";
import { FakeServer, HEARTBEAT_MS, range, Tab } from "./fake.js";

/** @type {FakeServer} */
let server;
/** @type {Tab[]} */
let tabs = [];

/** @param {import("./fake.js").Options} [options] */
function open(options) {
  const tab = new Tab(server, undefined, options);
  tabs.push(tab);
  return tab;
}

beforeEach(() => {
  server = new FakeServer();
});

afterEach(() => {
  for (const tab of tabs) tab.client.close();
  tabs = [];
  server.end();
});

test("state first, then each event with its text untouched", async () => {
  server.append(3);
  const tab = open();
  await tab.live();
  server.append(2);
  await tab.whole(5);
  assert.deepEqual(tab.states, [{ seq: 3, reason: "start", given: 0 }]);
  assert.deepEqual(tab.seqs, [4, 5]);
  assert.equal(tab.lines[0], '{"seq":4,  "recorded_at_ms":1,"kind":"a.b"}');
  assert.deepEqual(
    [...new Set(tab.statuses.map(({ state }) => state))],
    ["connecting", "catching_up", "live"],
  );
  assert.ok(server.requests.every((path) => path.startsWith("/prefix/api/")));
});

test("what comes between the stream and the state is given once", async () => {
  server.append(3);
  const gate = withResolvers();
  server.stateGate = gate.promise;
  const tab = open();
  await once(server.changes, "stream");
  server.append(4);
  await tab.until(() => tab.client.status().head === 7);
  assert.notEqual(tab.state, "live");
  gate.resolve();
  await tab.live();
  server.append(1);
  await tab.whole(8);
  assert.deepEqual(tab.seqs, [8]);
});

test("two hundred breaks, none of which loses or doubles an event", async () => {
  const tab = open();
  await tab.live();
  for (let n = 0; n < 200; n++) {
    server.append(n % 3);
    server.cut();
    server.append(n % 2);
    if (n % 10 === 0) await tab.until(() => tab.client.status().head === server.events.length);
  }
  await tab.whole(server.events.length);
  assert.deepEqual(tab.seqs, range(1, server.events.length));
  assert.equal(tab.states.length, 1);
});

test("a break is told at once", async () => {
  const tab = open();
  await tab.live();
  server.instead = () => new Response("", { status: 503, headers: { "retry-after": "1" } });
  server.cut();
  await tab.until(() => tab.state !== "live");
  assert.equal(tab.state, "reconnecting");
  await tab.until(() => tab.client.status().reason === "the server answers 503");
  const asked = server.requests.length;
  // Somebody's hurry does not count against a server that said when.
  tab.window.dispatchEvent(new Event("online"));
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(server.requests.length, asked);
  server.instead = null;
  await tab.live();
});

test("coming online cuts a wait short", async () => {
  const tab = open({ env: { retryMs: 60_000 } });
  server.instead = () => Promise.reject(new TypeError("no network"));
  const closed = open({ env: { retryMs: 60_000 } });
  await closed.until(() => closed.client.status().retry_at_ms);
  assert.equal(closed.state, "connecting");
  server.instead = null;
  closed.window.dispatchEvent(new Event("online"));
  await closed.live();
  await tab.live();
});

for (const [reason, change] of /** @type {[string, () => void][]} */ ([
  [
    "other_log",
    () => {
      server.logId = "00000000000000bb";
      server.events = [];
      server.append(2);
    },
  ],
  [
    "future",
    () => {
      server.events = server.events.slice(0, 1);
    },
  ],
  [
    "pruned",
    () => {
      server.append(5);
      server.floor = 8;
    },
  ],
])) {
  test(`after a reset (${reason}) the state is read anew`, async () => {
    const tab = open();
    await tab.live();
    server.append(5);
    await tab.whole(5);
    server.instead = () => new Response("", { status: 500 });
    server.cut();
    await tab.until(() => tab.state === "reconnecting");
    change();
    server.instead = null;
    await tab.until(() => tab.states.length === 2);
    await tab.live();
    const head = server.events.length;
    assert.deepEqual(tab.states[1], { seq: head, reason, given: 5 });
    server.append(2);
    await tab.whole(head + 2);
    assert.deepEqual(tab.seqs, [1, 2, 3, 4, 5, head + 1, head + 2]);
    assert.equal(tab.client.status().log_id, server.logId);
  });
}

test("a reset in the middle of a stream", async () => {
  const tab = open();
  await tab.live();
  server.append(3);
  await tab.whole(3);
  server.events.push(...range(4, 9).map((seq) => ({ seq, kind: "a.b" })));
  for (const stream of server.streams) stream.reset("pruned", 9);
  await tab.until(() => tab.states.length === 2);
  server.append(1);
  await tab.whole(10);
  assert.deepEqual(tab.seqs, [1, 2, 3, 10]);
});

test("a state of another log than the stream's is not taken", async () => {
  server.append(4);
  const gate = withResolvers();
  const old = Response.json(server.state());
  server.instead = async (path) => {
    if (path.includes("stream")) return new Response("", { status: 503 });
    await gate.promise;
    return old;
  };
  const tab = open();
  await tab.until(() => tab.client.status().reason);
  server.logId = "00000000000000bb";
  server.events = [];
  server.append(1);
  server.instead = null;
  await tab.until(() => tab.client.status().log_id === server.logId);
  gate.resolve();
  await tab.live();
  assert.deepEqual(tab.states, [{ seq: 1, reason: "start", given: 0 }]);
});

test("a frame of another log, without a word", async () => {
  const tab = open();
  await tab.live();
  server.append(3);
  await tab.whole(3);
  server.logId = "00000000000000bb";
  server.beat();
  await tab.until(() => tab.states.length === 2);
  server.append(1);
  await tab.whole(4);
  assert.equal(tab.states[1]?.reason, "other_log");
  assert.deepEqual(tab.seqs, [1, 2, 3, 4]);
});

test("silence is no life: three missed heartbeats end the stream", async () => {
  const tab = open();
  await tab.live();
  server.beats = false;
  await tab.until(() => tab.state === "reconnecting");
  assert.match(tab.client.status().reason ?? "", /nothing was heard/);
  server.append(2);
  server.beats = true;
  await tab.whole(2);
  assert.deepEqual(tab.seqs, [1, 2]);
});

test("a request that nobody answers is given up and made again", async () => {
  const tab = open();
  await tab.live();
  server.append(2);
  await tab.whole(2);
  let asked = 0;
  server.instead = () => (asked++ < 3 ? new Promise(() => {}) : undefined);
  const given = server.fetch;
  // As fetch does: it ends when it is told to.
  tab.fetch = (input, init) =>
    Promise.race([
      given(input, init),
      new Promise((_, reject) => init?.signal?.addEventListener("abort", () => reject(new Error("aborted")))),
    ]);
  server.cut();
  await tab.until(() => asked > 3);
  server.append(1);
  await tab.whole(3);
  assert.deepEqual(tab.seqs, [1, 2, 3]);
});

test("a machine that slept trusts nothing", async () => {
  const tab = open({ env: { heartbeatMs: 2_000 } });
  await tab.live();
  server.beats = false;
  tab.lateMs = 5_000;
  await tab.until(() => tab.state === "reconnecting");
  assert.equal(tab.client.status().reason, "the machine slept");
  await tab.live();
});

test("401 is signed out until somebody signs in", async () => {
  server.instead = () => new Response("", { status: 401 });
  const tab = open();
  await tab.until(() => tab.state === "signed_out");
  server.append(2);
  server.instead = null;
  tab.client.reload();
  await tab.live();
  server.instead = () => new Response("", { status: 403 });
  server.cut();
  await tab.until(() => tab.state === "signed_out");
  assert.match(tab.client.status().reason ?? "", /may not read/);
});

test("a page where a stream should be is no stream", async () => {
  server.instead = (path) =>
    path.includes("stream")
      ? new Response("<p>sign in to this network</p>", { headers: { "content-type": "text/html" } })
      : undefined;
  const tab = open();
  await tab.until(() => tab.client.status().reason === "the answer is not a stream");
  server.instead = null;
  await tab.live();
});

test("a stream that begins too late is opened again where this one stands", async () => {
  const tab = open();
  await tab.live();
  server.events.push(...range(1, 3).map((seq) => ({ seq, kind: "a.b" })));
  server.skip = 2;
  server.cut();
  await tab.whole(3);
  assert.deepEqual(tab.seqs, [1, 2, 3]);
});

for (const bound of [{ bufferFrames: 10 }, { bufferChars: 500 }, {}]) {
  test(`what waits for the state is bounded: ${JSON.stringify(bound)}`, async () => {
    // A state from before all of it: what was let go has to be read again.
    const gate = withResolvers();
    const early = Response.json(server.state());
    server.instead = async (path) => {
      if (!path.endsWith("state")) return undefined;
      await gate.promise;
      return early;
    };
    const tab = open({ env: { ...bound, heartbeatMs: 5_000 } });
    await once(server.changes, "stream");
    server.append(100);
    await tab.until(() => tab.client.status().head === 100);
    gate.resolve();
    await tab.whole(100);
    assert.deepEqual(tab.seqs, range(1, 100));
    const streams = server.requests.filter((path) => path.includes("stream")).length;
    assert.equal(streams, Object.keys(bound).length === 0 ? 1 : 2);
  });
}

for (const after of [2, "00000000000000aa-2"]) {
  test(`events after ${after} come before the state`, async () => {
    server.append(6);
    const tab = open({ after });
    await tab.live();
    server.append(1);
    await tab.whole(7);
    assert.deepEqual(tab.seqs, range(3, 7));
    assert.deepEqual(tab.states, [{ seq: 6, reason: "start", given: 4 }]);
  });
}

test("a position of another log: the state, then what comes", async () => {
  server.append(6);
  const tab = open({ after: "00000000000000bb-2" });
  await tab.live();
  server.append(1);
  await tab.whole(7);
  assert.deepEqual(tab.seqs, [7]);
});

test("only some kinds", async () => {
  const tab = open({ kinds: ["c.d", "e.f"] });
  await tab.live();
  server.append(3, "a.b");
  server.append(1, "c.d");
  server.append(2, "a.b");
  server.append(1, "e.f");
  await tab.until(() => tab.seqs.length === 2);
  assert.deepEqual(tab.seqs, [4, 7]);
  assert.match(server.requests.find((path) => path.includes("stream")) ?? "", /kind=c\.d&kind=e\.f$/);
});

test("only some kinds, over a break: it resumes by its position, and asks for the same kinds", async () => {
  const tab = open({ kinds: ["c.d"] });
  await tab.live();
  server.append(2, "a.b");
  server.append(1, "c.d");
  await tab.until(() => tab.seqs.length === 1);
  server.cut();
  server.append(1, "c.d");
  server.append(1, "a.b");
  await tab.until(() => tab.seqs.length === 2);
  assert.deepEqual(tab.seqs, [3, 4]);
  const [first, second] = server.requests.filter((path) => path.includes("stream"));
  assert.equal(first, "/prefix/api/stream?kind=c.d");
  assert.equal(second, `/prefix/api/stream?after=${server.logId}-3&kind=c.d`);
});

for (const after of [2, "00000000000000aa-2"]) {
  test(`only some kinds, after ${after}: those come before the state`, async () => {
    server.append(3, "c.d");
    server.append(1, "a.b");
    const gate = withResolvers();
    server.stateGate = gate.promise;
    const tab = open({ after, kinds: ["c.d"] });
    await once(server.changes, "stream");
    assert.deepEqual(
      server.requests.filter((path) => path.includes("stream")),
      [`/prefix/api/stream?after=${after}&kind=c.d`],
    );
    gate.resolve();
    await tab.live();
    server.append(1, "c.d");
    await tab.until(() => tab.seqs.length === 2);
    assert.deepEqual(tab.seqs, [3, 5]);
    assert.deepEqual(tab.states, [{ seq: 4, reason: "start", given: 1 }]);
  });
}

test("a page's own fault does not end the stream", async () => {
  /** @type {Error[]} */
  const faults = [];
  const before = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => faults.push(error));
  let given = 0;
  const tab = open({
    onEvent: () => {
      given++;
      throw new Error("the page's own");
    },
  });
  await tab.live();
  server.append(2);
  await tab.until(() => given === 2);
  assert.equal(tab.state, "live");
  await new Promise((resolve) => setTimeout(resolve, 20));
  process.removeAllListeners("uncaughtException");
  for (const listener of before) process.on("uncaughtException", listener);
  assert.equal(faults.length, 2);
});

test("set aside and taken up again", async () => {
  const tab = open();
  await tab.live();
  tab.document.dispatchEvent(new Event("freeze"));
  assert.equal(tab.state, "reconnecting");
  assert.equal(server.streams.size, 0);
  server.append(3);
  tab.document.dispatchEvent(new Event("resume"));
  await tab.whole(3);
  assert.deepEqual(tab.seqs, [1, 2, 3]);
});

test("closing frees all, by hand and by signal", async () => {
  const controller = new AbortController();
  const tab = open({ signal: controller.signal });
  await tab.live();
  controller.abort();
  assert.equal(tab.state, "closed");
  assert.equal(server.streams.size, 0);
  const asked = server.requests.length;
  tab.client.reload();
  tab.window.dispatchEvent(new Event("online"));
  tab.window.dispatchEvent(new Event("pageshow"));
  server.append(1);
  await new Promise((resolve) => setTimeout(resolve, 4 * HEARTBEAT_MS));
  assert.equal(server.requests.length, asked);
  assert.deepEqual(tab.seqs, []);
});

/** @returns {{promise: Promise<void>, resolve: () => void}} */
function withResolvers() {
  /** @type {() => void} */
  let resolve = () => {};
  const promise = /** @type {Promise<void>} */ (
    new Promise((done) => {
      resolve = () => done(undefined);
    })
  );
  return { promise, resolve };
}
