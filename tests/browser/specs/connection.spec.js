/** @file Does the stream of real tabs in a real browser survive what happens to servers, lines and tabs? */

import { hurry } from "../asks.js";
import { expect, signIn, test } from "../fixtures.js";

/** @typedef {import("@playwright/test").Page} Tab */
/** @typedef {import("../server.js").Server} Server */
/** @typedef {{seqs: number[], states: [number, string][], status: import("../../../src/dashboard/client.js").Status, board: number}} Seen */

/**
 * A document of the server's own with nothing in it but the client and the board.
 * @param {Tab} tab @param {string} base @param {{heartbeatMs?: number}} [env]
 */
async function openProbe(tab, base, env = {}) {
  // Its icon: a document under the policy of the page, with no script of its own.
  await tab.goto(`${base}icon.svg`);
  await tab.evaluate(
    async ({ base, env }) => {
      const { connect } = await import(`${base}client.js`);
      const { Board } = await import(`${base}store.js`);
      /** @type {any} */
      const seen = { seqs: [], states: [], lateMs: 0 };
      /** @type {any} */
      let board;
      seen.client = connect({
        url: base,
        onState: (/** @type {any} */ state, /** @type {string} */ reason) => {
          board = seen.board = new Board(state);
          seen.states.push([state.seq, reason]);
        },
        onEvent: (/** @type {any} */ event, /** @type {string} */ line) => {
          if (JSON.parse(line).seq !== event.seq) throw new Error("another line");
          board.apply(event);
          seen.seqs.push(event.seq);
        },
        env: { now: () => Date.now() + seen.lateMs, retryMs: 100, ...env },
      });
      Object.assign(globalThis, { seen });
    },
    { base, env },
  );
}

/** @param {Tab} tab @returns {Promise<Seen>} */
function look(tab) {
  return tab.evaluate(() => {
    const { seqs, states, client, board } = /** @type {any} */ (globalThis).seen;
    return { seqs, states, status: client.status(), board: board?.seq };
  });
}

/** @param {Tab} tab @param {number} head */
async function isLiveAt(tab, head) {
  await expect
    .poll(async () => {
      await hurry(tab);
      const { status, board } = await look(tab);
      return [status.state, board];
    })
    .toEqual(["live", head]);
  return look(tab);
}

/**
 * The one tab that leads: one that does not answer for a while is followed by another, and steps back when it looks.
 * @param {Tab[]} tabs @returns {Promise<Tab>}
 */
async function leaderOf(tabs) {
  /** @type {Tab[]} */
  let leaders = [];
  await expect(async () => {
    const leads = await Promise.all(tabs.map(async (tab) => (await look(tab)).status.leads));
    leaders = tabs.filter((_, index) => leads[index]);
    expect(leaders).toHaveLength(1);
  }).toPass();
  return /** @type {Tab} */ (leaders[0]);
}

/** @param {number} from @param {number} to */
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

/** @param {Server} server @param {number} count */
async function append(server, count) {
  const { last_seq } = await server.append(
    Array.from({ length: count }, (_, n) => ({ kind: "probe.event", n })),
  );
  return /** @type {number} */ (last_seq);
}

test("a machine that slept does not trust its line", async ({ page, server, line }) => {
  await openProbe(page, line.base, { heartbeatMs: 3_000 });
  await isLiveAt(page, 0);
  line.hush();
  await append(server, 3);
  await page.evaluate(() => {
    /** @type {any} */ (globalThis).seen.lateMs = 8_000;
  });
  expect((await isLiveAt(page, 3)).seqs).toEqual(range(1, 3));
});

test("seven tabs, all live, one stream; the leader closes, five times", async ({ context, server }) => {
  /** @type {Tab[]} */
  let tabs = [];
  for (let n = 0; n < 7; n++) {
    const tab = await context.newPage();
    await openProbe(tab, server.base);
    tabs.push(tab);
  }
  for (let round = 0; round < 5; round++) {
    const head = await append(server, 5);
    for (const tab of tabs) expect((await isLiveAt(tab, head)).states).toHaveLength(1);
    await expect.poll(() => server.streams()).toBe(1);
    const leader = await leaderOf(tabs);
    tabs = tabs.filter((tab) => tab !== leader);
    await Promise.all([leader.close(), append(server, 20)]);
  }
  for (const tab of tabs) {
    const { seqs, states } = await isLiveAt(tab, 125);
    expect(seqs).toEqual(range((states[0]?.[0] ?? 0) + 1, 125));
  }
});

for (const how of ["frozen", "hung"]) {
  test(`a ${how} leader hands over, and follows when it is back`, async ({ context, server }) => {
    const tabs = [await context.newPage(), await context.newPage(), await context.newPage()];
    for (const tab of tabs) await openProbe(tab, server.base);
    for (const tab of tabs) await isLiveAt(tab, 0);
    const leader = await leaderOf(tabs);
    const others = tabs.filter((tab) => tab !== leader);
    const devtools = await context.newCDPSession(leader);
    if (how === "frozen") await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
    else {
      // A debugger that stops it in its tracks: no event tells the page.
      await devtools.send("Debugger.enable");
      await devtools.send("Debugger.pause");
      void leader.evaluate(() => 1).catch(() => {});
      for (const tab of others)
        await tab.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    }
    await append(server, 3);
    for (const tab of others) expect((await isLiveAt(tab, 3)).seqs).toEqual(range(1, 3));
    if (how === "frozen") await devtools.send("Page.setWebLifecycleState", { state: "active" });
    else await devtools.send("Debugger.disable");
    await append(server, 2);
    for (const tab of tabs) expect((await isLiveAt(tab, 5)).seqs).toEqual(range(1, 5));
    await expect.poll(() => server.streams()).toBe(1);
  });
}

test("a log that is restored under the page is shown as it is", async ({ context, server }) => {
  const tabs = [await context.newPage(), await context.newPage()];
  await append(server, 9);
  for (const tab of tabs) await openProbe(tab, server.base);
  for (const tab of tabs) await isLiveAt(tab, 9);
  const before = (await look(/** @type {Tab} */ (tabs[0]))).status.log_id;
  await append(server, 4);
  for (const tab of tabs) await isLiveAt(tab, 13);
  await server.stop();
  server.replaceByExport();
  await server.start();
  const head = await append(server, 2);
  expect(head).toBe(15);
  for (const tab of tabs) {
    const { status, states } = await isLiveAt(tab, 15);
    expect(status.log_id).not.toBe(before);
    expect(states[1]?.[1]).toBe("other_log");
    expect(states).toHaveLength(2);
  }
});

test("without Web Locks each tab keeps its own stream", async ({ context, server }) => {
  await context.addInitScript(() =>
    Object.defineProperty(Navigator.prototype, "locks", { value: undefined }),
  );
  const tabs = [await context.newPage(), await context.newPage()];
  for (const tab of tabs) await openProbe(tab, server.base);
  const head = await append(server, 3);
  for (const tab of tabs) expect((await isLiveAt(tab, head)).status.leads).toBe(true);
  await expect.poll(() => server.streams()).toBe(2);
});

test.describe("where one has to sign in", () => {
  test.use({ auth: true });

  test("signed out it says so; one tab signs in and all are live", async ({ context, server }) => {
    const admin = server.token("a", "admin");
    const tabs = [await context.newPage(), await context.newPage()];
    for (const tab of tabs) await openProbe(tab, server.base);
    for (const tab of tabs) await expect.poll(async () => (await look(tab)).status.state).toBe("signed_out");
    const page = await context.newPage();
    await signIn(page, server);
    await expect.poll(async () => (await context.cookies()).length).toBe(1);
    const [first, second] = /** @type {[Tab, Tab]} */ (tabs);
    await first.evaluate(() => /** @type {any} */ (globalThis).seen.client.reload());
    await isLiveAt(first, 0);
    await isLiveAt(second, 0);
    await server.append({ kind: "probe.event" }, admin);
    for (const tab of tabs) await isLiveAt(tab, 1);
    await first.evaluate((base) => fetch(`${base}session`, { method: "DELETE" }), server.base);
  });
});
