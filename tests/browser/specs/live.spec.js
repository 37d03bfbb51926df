/** @file Does the page itself say what its stream is, and only that? */

import { events, hurry, isMarked, mark, request } from "../asks.js";
import { expect, signIn, test } from "../fixtures.js";

/** @typedef {import("@playwright/test").Page} Tab */

const FULL = process.env.HIVELOG_FULL === "1";
/** As often as the server says that it is there. */
const HEARTBEAT_MS = 15_000;

/** @param {Tab} tab */
const header = (tab) => tab.locator("hive-header");

/** @param {Tab} tab @param {number} head */
async function showsLive(tab, head) {
  await expect(async () => {
    await hurry(tab);
    await expect(header(tab)).toContainText("Live", { timeout: 500 });
    await expect(tab.locator(".head-seq")).toHaveText(head.toLocaleString("en"), { timeout: 500 });
  }).toPass({ intervals: [50] });
}

/** The rows of the feed, from the first on. @param {Tab} tab */
const seqs = (tab) =>
  tab.locator("hive-feed li.row").evaluateAll((rows) => rows.map((row) => Number(row.dataset.seq)));

/** @param {number} to */
const upTo = (to) => Array.from({ length: to }, (_, index) => index + 1);

/** @param {Tab} tab @returns {Promise<boolean>} */
const leads = (tab) =>
  tab.evaluate(() => /** @type {any} */ (document.querySelector("hive-feed")).loaded.page.status.leads);

test("killed and started again twenty times, without a reload: the head each time, every event once", async ({
  page,
  server,
}) => {
  // All rows are in sight, and so in the document.
  await page.setViewportSize({ width: 1440, height: 1700 });
  await page.goto(server.base);
  await mark(page);
  for (let round = 1; round <= 20; round++) {
    // Only a page that was live loses its stream.
    const before = await server.append({ kind: "probe.before", round });
    await showsLive(page, before.seq);
    await server.stop();
    await expect(header(page)).toContainText("Reconnecting");
    await server.start();
    const { seq } = await server.append({ kind: "probe.after", round });
    await showsLive(page, seq);
  }
  expect(await isMarked(page)).toBe(true);
  await expect.poll(() => seqs(page)).toEqual(upTo(40));
});

test("what was being read when the line was lost is read by the next one", async ({ page, server }) => {
  await server.append([1, 2, 3].map((n) => ({ kind: "probe.event", n })));
  // What is asked before the line is lost is never answered, and nobody says so.
  const held = new Set();
  let is_lost = false;
  await page.route(/history\?before=\d+&order=desc&limit=500/, (route) =>
    is_lost ? route.continue() : void held.add(route),
  );
  await page.goto(server.base);
  await expect(header(page)).toContainText("Live");
  await expect.poll(() => held.size).toBeGreaterThan(0);
  is_lost = true;
  await server.stop();
  await expect(header(page)).toContainText("Reconnecting");
  expect(await seqs(page)).toEqual([]);
  await server.start();
  await showsLive(page, 3);
  await expect.poll(() => seqs(page)).toEqual(upTo(3));
});

test("what is read once is read again when the line is lost meanwhile, though no snapshot is taken anew", async ({
  page,
  server,
}) => {
  await server.append({ kind: "sent", from: "alice", to: "bob", body: "x", at: 1 });
  const held = new Set();
  await page.route(/api\/agents/, (route) => (held.size === 0 ? void held.add(route) : route.continue()));
  await page.goto(server.base);
  await expect(header(page)).toContainText("Live");
  await expect.poll(() => held.size).toBe(1);
  await expect(page.locator("hive-agents")).toContainText("Nobody was seen yet");
  await page.evaluate(() => document.dispatchEvent(new Event("freeze")));
  await expect(page.locator("hive-agents")).toContainText("alice");
});

test("a log that takes the place of another shows no time of that one", async ({ page, server }) => {
  await request(server, { agent: "alice" });
  const [added] = await events(server, "approval_added");
  await server.stop();
  const { db } = server;
  server.replaceByExport();
  const early = server.db;
  server.db = db;
  await server.start();
  await server.append({ kind: "sent", from: "alice", to: "bob", body: "x", at: 1 });
  await page.goto(server.base);
  const last = header(page).locator(".fact time");
  const times = page.locator("hive-agents tbody tr", { hasText: "alice" }).locator("time");
  for (const time of [last, times.first(), times.last()]) await expect(time).toHaveAttribute("data-ms", /\d/);
  await server.stop();
  server.db = early;
  await server.start();
  await showsLive(page, 1);
  for (const time of [last, times.last()])
    await expect(time).toHaveAttribute("data-ms", String(added.recorded_at_ms));
  await expect(times.first()).toHaveText("\u2013");
  await expect(times.first()).not.toHaveAttribute("data-ms");
});

test("a line that goes dead without a word is noticed after three heartbeats", async ({
  page,
  server,
  line,
}) => {
  test.setTimeout(300_000);
  // By a clock that stands: a slow machine is no silence.
  await page.addInitScript((stands) => {
    const it = /** @type {any} */ (globalThis);
    const { now } = Date;
    const begun_ms = now();
    it.late_ms = 0;
    Date.now = () => (stands ? begun_ms : now()) + it.late_ms;
  }, !FULL);
  /** In full the true time is waited for; else the page's clock is wound on, a tick at a time. @param {number} ms */
  const pass = async (ms) => {
    if (FULL) return page.waitForTimeout(ms);
    for (let left = ms; left > 0; left -= HEARTBEAT_MS / 3) {
      await page.evaluate((ms) => {
        const it = /** @type {any} */ (globalThis);
        it.late_ms += ms;
        dispatchEvent(new Event("online"));
      }, HEARTBEAT_MS / 3);
    }
  };
  await page.goto(line.base);
  await server.append({ kind: "probe.before" });
  await expect(page.locator(".head-seq")).toHaveText("1");
  // Before its stream has said hello a page waits for seconds only.
  await expect(header(page)).toContainText("Live");
  line.hush();
  await server.append([{ kind: "probe.unheard" }, { kind: "probe.unheard" }]);
  await pass(HEARTBEAT_MS * 2.5);
  await expect(header(page)).toContainText("Live");
  await expect(page.locator(".head-seq")).toHaveText("1");
  // Told by the page itself, which may be live again before anybody looks.
  await page.evaluate(() => {
    const { page } = /** @type {any} */ (document.querySelector("hive-feed")).loaded;
    page.listen(
      "status",
      (/** @type {any} */ { state, reason }) => {
        const it = /** @type {any} */ (globalThis);
        it.said = [...(it.said ?? []), `${state}: ${reason}`];
      },
      new AbortController().signal,
    );
  });
  await pass(HEARTBEAT_MS);
  await expect
    .poll(() => page.evaluate(() => String(/** @type {any} */ (globalThis).said)))
    .toMatch(/reconnecting: nothing was heard for (4|5)\d s/);
  // It goes on by another connection; what was appended meanwhile is there.
  await expect(async () => {
    if (!FULL) await pass(HEARTBEAT_MS / 3);
    await expect(header(page)).toContainText("Live", { timeout: 1_000 });
    await expect(page.locator(".head-seq")).toHaveText("3", { timeout: 1_000 });
  }).toPass({ intervals: [50] });
  await expect.poll(() => seqs(page)).toEqual(upTo(3));
});

test("seven pages of one browser, one stream; the leader is frozen, thawed, and closes", async ({
  context,
  server,
}) => {
  /** @type {Tab[]} */
  let tabs = [];
  for (let n = 0; n < 7; n++) {
    const tab = await context.newPage();
    await tab.goto(server.base);
    tabs.push(tab);
  }
  /** Each of them is live and has every event once, by one stream. @param {Tab[]} those */
  const whole = async (those) => {
    const { seq } = await server.append({ kind: "probe.event" });
    for (const tab of those) await showsLive(tab, seq);
    for (const tab of those) await expect.poll(() => seqs(tab)).toEqual(upTo(seq));
    await expect.poll(() => server.streams()).toBe(1);
  };
  const leader = async () => {
    // One that does not answer for a while is followed by another, and steps back as soon as it looks.
    let which = await Promise.all(tabs.map(leads));
    await expect(async () => {
      which = await Promise.all(tabs.map(leads));
      expect(which.filter(Boolean)).toHaveLength(1);
    }).toPass();
    return /** @type {Tab} */ (tabs[which.indexOf(true)]);
  };
  await whole(tabs);
  const frozen = await leader();
  const devtools = await context.newCDPSession(frozen);
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  await whole(tabs.filter((tab) => tab !== frozen));
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
  await whole(tabs);
  const closing = await leader();
  tabs = tabs.filter((tab) => tab !== closing);
  await Promise.all([closing.close(), server.append({ kind: "probe.event" })]);
  await whole(tabs);
});

test("names without end are not all kept, nor sorted at each new one", async ({ page, server }) => {
  await page.goto(server.base);
  await expect(header(page)).toContainText("Live");
  for (let batch = 0; batch < 7; batch += 1) {
    const names = Array.from({ length: 900 }, (_, n) => batch * 900 + n);
    await server.append(names.map((n) => ({ kind: "sent", from: `a${n}`, to: `b${n}`, body: "x", at: 1 })));
  }
  await expect(page.locator(".head-seq")).toHaveText("6,300");
  await expect(page.locator("hive-agents")).toContainText("9,800 more agents");
});

test.describe("where one has to sign in", () => {
  test.use({ auth: true });

  test("signed out, then signed in by a link", async ({ page, server }) => {
    await page.goto(server.base);
    await expect(header(page)).toContainText("Signed out");
    await signIn(page, server);
    await expect(header(page)).toContainText("Live");
    expect(new URL(page.url()).hash).toBe("");
  });
});
