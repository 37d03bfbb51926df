/** @file Do the tabs of a browser share one stream, and hand it over without a lost or doubled event? */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { FakeLocks, FakeServer, range, Tab } from "./fake.js";

/** @type {FakeServer} */
let server;
/** @type {FakeLocks} */
let locks;
/** @type {Tab[]} */
let tabs = [];

/** @param {import("./fake.js").Options} [options] */
function open(options) {
  const tab = new Tab(server, locks, options);
  tabs.push(tab);
  return tab;
}

/** @param {number} count */
async function openAll(count) {
  for (let n = 0; n < count; n++) open();
  for (const tab of tabs) await tab.live();
  return tabs;
}

/** @param {Tab[]} [those] */
async function whole(those = tabs) {
  const head = server.events.length;
  for (const tab of those) await tab.whole(head);
  for (const { seqs, states } of those) assert.deepEqual(seqs, range((states[0]?.seq ?? 0) + 1, head));
}

const leader = () => {
  const leaders = tabs.filter((tab) => tab.leads);
  assert.equal(leaders.length, 1);
  return /** @type {Tab} */ (leaders[0]);
};

beforeEach(() => {
  server = new FakeServer();
  locks = new FakeLocks();
});

afterEach(() => {
  for (const tab of tabs) tab.client.close();
  tabs = [];
  server.end();
});

test("seven tabs, all live, one stream, a state for each", async () => {
  await openAll(7);
  assert.equal(server.streams.size, 1);
  assert.equal(server.requests.filter((path) => path.endsWith("state")).length, 7);
  server.append(20);
  await whole();
  assert.equal(server.requests.filter((path) => path.includes("stream")).length, 1);
  assert.deepEqual(tabs[6]?.lines[0], '{"seq":1,  "recorded_at_ms":1,"kind":"a.b"}');
});

test("tabs that come while events come", async () => {
  open();
  for (let n = 0; n < 12; n++) {
    server.append(3);
    if (n % 2) open();
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  await whole();
  assert.equal(server.streams.size, 1);
});

test("the leader closes, fifteen times", async () => {
  await openAll(3);
  for (let n = 0; n < 15; n++) {
    server.append(2);
    const closing = leader();
    closing.client.close();
    server.append(1);
    tabs = tabs.filter((tab) => tab !== closing);
    open();
    await whole();
  }
  assert.equal(server.streams.size, 1);
});

test("the leader is frozen and thawed", async () => {
  await openAll(3);
  const frozen = leader();
  const begin = Date.now();
  frozen.document.dispatchEvent(new Event("freeze"));
  assert.equal(frozen.state, "reconnecting");
  server.append(3);
  await whole(tabs.filter((tab) => tab !== frozen));
  assert.ok(Date.now() - begin < 1_900, "it gave the lead up, nobody had to take it");
  assert.equal(server.streams.size, 1);
  frozen.document.dispatchEvent(new Event("resume"));
  await whole();
  assert.equal(frozen.leads, false);
  assert.equal(server.streams.size, 1);
  assert.equal(frozen.states.length, 1);
});

test("a leader that closes says so: no tab goes on claiming to be live", async () => {
  await openAll(2);
  const closing = leader();
  const other = /** @type {Tab} */ (tabs.find((tab) => tab !== closing));
  // A browser takes its time to hand a lock over.
  locks.delayMs = 200;
  closing.client.close();
  await other.until(() => other.client.status().reason === "the tab with the stream closed");
  assert.equal(other.state, "reconnecting");
  server.append(1);
  await other.whole(1);
});

test("a follower that hears only how far the leader is reads what it missed", async () => {
  // Nothing else is heard in that time, and nobody is missed.
  server.beats = false;
  for (let n = 0; n < 2; n++) open({ env: { heartbeatMs: 60_000 } });
  for (const tab of tabs) await tab.live();
  const leading = leader();
  const other = /** @type {Tab} */ (tabs.find((tab) => tab !== leading));
  leading.hung = true;
  server.append(3);
  await leading.whole(3);
  leading.hung = false;
  assert.deepEqual(other.seqs, []);
  other.document.dispatchEvent(new Event("visibilitychange"));
  await other.whole(3);
  assert.deepEqual(other.seqs, [1, 2, 3]);
  assert.equal(other.leads, false);
});

test("a leader that hangs loses the lead; when it is back, it follows", async () => {
  await openAll(3);
  const hung = leader();
  hung.hung = true;
  const others = tabs.filter((tab) => tab !== hung);
  server.append(2);
  for (const tab of others) await tab.until(() => tab.state === "reconnecting");
  server.append(2);
  await whole(others);
  assert.equal(hung.leads, false);
  hung.hung = false;
  server.append(1);
  await whole();
  assert.equal(server.streams.size, 1);
});

test("a tab that becomes visible asks, and takes the lead where nobody answers", async () => {
  for (let n = 0; n < 2; n++) open({ env: { heartbeatMs: 60_000 } });
  for (const tab of tabs) await tab.live();
  const hung = leader();
  hung.hung = true;
  const other = /** @type {Tab} */ (tabs.find((tab) => tab !== hung));
  server.append(1);
  // What it said before is no answer.
  await new Promise((resolve) => setTimeout(resolve, 50));
  other.document.dispatchEvent(new Event("visibilitychange"));
  await other.until(() => other.leads);
  await whole([other]);
});

test("a follower fills what it did not hear, by itself", async () => {
  await openAll(3);
  const [first, second] = tabs.filter((tab) => !tab.leads);
  assert.ok(first && second);
  server.append(2);
  await whole();
  leader().hung = true;
  server.append(50);
  await leader().whole(52);
  leader().hung = false;
  server.append(1);
  await whole();
  // What fills a gap ends when it is filled.
  await first.until(() => server.streams.size === 1);
});

test("no follower is live while the leader is not", async () => {
  await openAll(4);
  server.instead = () => new Response("", { status: 503 });
  server.cut();
  for (const tab of tabs) await tab.until(() => tab.client.status().reason === "the server answers 503");
  for (const tab of tabs) assert.equal(tab.state, "reconnecting");
  server.append(3);
  server.instead = null;
  await whole();
});

test("a reset reaches every tab", async () => {
  server.append(9);
  await openAll(4);
  server.logId = "00000000000000bb";
  server.events = [];
  server.append(2);
  server.cut();
  for (const tab of tabs) await tab.until(() => tab.states.length === 2);
  for (const tab of tabs) await tab.live();
  server.append(2);
  for (const tab of tabs) await tab.whole(4);
  for (const { seqs, states } of tabs) {
    assert.deepEqual(seqs, [3, 4]);
    assert.deepEqual(
      states.map(({ seq, reason }) => [seq, reason]),
      [
        [9, "start"],
        [2, "other_log"],
      ],
    );
  }
});

test("signed out in one tab is signed out in all, and signing in anywhere is for all", async () => {
  await openAll(3);
  server.instead = () => new Response("", { status: 401 });
  server.cut();
  for (const tab of tabs) await tab.until(() => tab.state === "signed_out");
  const late = open();
  await late.until(() => late.state === "signed_out");
  server.instead = null;
  server.append(1);
  leader().client.reload();
  for (const tab of tabs) await tab.whole(1);
});

test("other kinds are another stream", async () => {
  await openAll(1);
  const other = open({ kinds: ["c.d"] });
  await other.live();
  assert.equal(server.streams.size, 2);
  server.append(2);
  server.append(1, "c.d");
  await other.until(() => other.seqs.length === 1);
  assert.deepEqual(other.seqs, [3]);
});

test("followers with kinds fill gaps too", async () => {
  for (let n = 0; n < 3; n++) open({ kinds: ["c.d"] });
  for (const tab of tabs) await tab.live();
  leader().hung = true;
  for (let n = 0; n < 5; n++) {
    server.append(2);
    server.append(1, "c.d");
  }
  await leader().until(() => leader().seqs.length === 5);
  leader().hung = false;
  server.append(1, "c.d");
  for (const tab of tabs) await tab.until(() => tab.seqs.length === 6);
  for (const tab of tabs) assert.deepEqual(tab.seqs, [3, 6, 9, 12, 15, 16]);
});

test("events before the state in a follower", async () => {
  server.append(5);
  await openAll(1);
  const tab = open({ after: 2 });
  await tab.live();
  server.append(1);
  await tab.whole(6);
  assert.deepEqual(tab.seqs, [3, 4, 5, 6]);
  assert.deepEqual(tab.states, [{ seq: 5, reason: "start", given: 3 }]);
});

test("nonsense on the channel changes nothing", async () => {
  await openAll(2);
  const channel = new BroadcastChannel(JSON.stringify(["hivelog", "http://log.example/prefix/", []]));
  const nonsense = [
    null,
    7,
    "x",
    [],
    {},
    { type: "frames" },
    {
      type: "frames",
      from: "x",
      frames: [null, 3, {}, { name: "", id: "x", data: "", prev: 0 }, { name: 1 }],
    },
    { type: "link", from: "x", link: null },
    { type: "link", from: "x", link: { state: "live" } },
    { type: "link", from: "x", link: { state: "signed_out", reason: {}, retry_at_ms: "x" } },
    { type: "frames", from: "x", frames: [{ name: "", id: "00000000000000aa-0", data: "no json", prev: 0 }] },
    { type: "__proto__", from: "x" },
  ];
  for (const message of nonsense) channel.postMessage(message);
  server.append(2);
  await whole();
  channel.close();
});

test("locks that are refused leave each tab its own stream", async () => {
  locks.request = () => Promise.reject(new DOMException("not here", "SecurityError"));
  for (let n = 0; n < 2; n++) open();
  for (const tab of tabs) await tab.live();
  server.append(3);
  await whole();
  assert.equal(server.streams.size, 2);
});

test("the lead is taken ten times while events come", async () => {
  await openAll(3);
  const name = JSON.stringify(["hivelog", "http://log.example/prefix/", []]);
  for (let n = 0; n < 10; n++) {
    server.append(2);
    await locks.request(name, { steal: true }, () => undefined);
    server.append(1);
    await new Promise((resolve) => setTimeout(resolve, n * 2));
  }
  await whole();
  await tabs[0]?.until(() => server.streams.size === 1);
});
