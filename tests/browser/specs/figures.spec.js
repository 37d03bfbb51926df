/** @file Does the page keep its figures on a large log? `HIVELOG_FULL=1` demands them as they are. */

import { test as base, expect } from "../fixtures.js";
import { framesOf, heap, measure, quantile, read, report, run } from "../gauge.js";
import { Server } from "../server.js";
import { events, fill } from "../swarm.js";

/** @typedef {import("@playwright/test").Page} Tab */

const FULL = process.env.HIVELOG_FULL === "1";
/**
 * The plain run shares two cores with other tests and measures a debug build: it holds what would be noticed at
 * once, a figure that is missed several times over.
 */
const SLACK = FULL ? 1 : 6;
/** What is counted in the page's own time suffers less: only from caches and clocks that others use too. */
const OWN_SLACK = FULL ? 1 : 2.5;
const LOG_EVENTS = FULL ? 1_000_000 : 100_000;
const SCROLLED_EVENTS = FULL ? 100_000 : 12_000;
const TRACED_EVENTS = 6_000;
const LOADS = FULL ? 7 : 3;
const SECONDS = FULL ? 15 : 5;
const PAINTS = FULL ? 50 : 20;

const PAINTED_MS = 100;
/** A frame of a screen of 60 Hz; nothing is faster there, so as much as the clock's own unrest is added. */
const FRAME_MS = 16.7;
const UNREST_MS = 0.5;
const INPUT_MS = 100;
const LIVE_MS = 500;
const RATE = 500;
/** What comes on top, so that whatever kept it would be seen: with its objects it is twice what the page may grow by. */
const MORE_EVENTS = 20_000;
const HEAP_GROWTH_BYTES = 3 << 20;

/** @type {import("@playwright/test").Fixtures<{}, {log: Server}, {server: Server}, {}>} */
const fixtures = {
  log: [
    // biome-ignore lint/correctness/noEmptyPattern: the runner reads names of fixtures out of the pattern
    async ({}, use) => {
      const server = await Server.begin();
      await fill(server, 0, LOG_EVENTS);
      await use(server);
      await server.end();
    },
    { scope: "worker", timeout: 600_000 },
  ],
  server: async ({ log }, use) => use(log),
};

const test = base.extend(fixtures);

// One after another: they share a log, and measure.
test.describe.configure({ mode: "default", timeout: FULL ? 600_000 : 300_000 });

/** @param {Server} server */
const head = async (server) => JSON.parse(await server.call("api/history?limit=1")).seq;

/** @param {Tab} tab @param {Server} server */
async function open(tab, server) {
  await measure(tab);
  await tab.goto(server.base);
  await expect.poll(async () => (await read(tab)).live_ms).toBeGreaterThan(0);
}

/** Appends events one by one; when each was answered, by its seq. @param {Server} server */
async function appendSome(server) {
  /** @type {Map<number, number>} */
  const answered = new Map();
  for (let n = 0; n < PAINTS; n++) {
    const { seq } = await server.append({ kind: "figure.painted", n });
    answered.set(seq, performance.timeOrigin + performance.now());
    await new Promise((resolve) => setTimeout(resolve, 40 + ((n * 37) % 60)));
  }
  return answered;
}

/**
 * @param {string} what @param {Map<number, number>} answered @param {Record<number, number>} arrived
 * @param {(seq: number, index: number) => number | undefined} shown
 */
function judge(what, answered, arrived, shown) {
  const all = [...answered].map(([seq, at], index) => {
    const on_screen = shown(seq, index) ?? Number.POSITIVE_INFINITY;
    return { answer: Math.max(0, on_screen - at), arrival: on_screen - (arrived[seq] ?? 0) };
  });
  const since = { arrival: all.map(({ arrival }) => arrival), answer: all.map(({ answer }) => answer) };
  expect(report(`${what}, since its frame came`, since.arrival)).toBeLessThan(PAINTED_MS * SLACK);
  expect(report(`${what}, since its append was answered`, since.answer)).toBeLessThan(PAINTED_MS * SLACK);
}

/** Turns the wheel until the rows reach so far back. @param {Tab} tab @param {number} seq */
async function scrollBackTo(tab, seq) {
  await tab.locator("hive-feed .rows").hover();
  const lowest = () =>
    tab.evaluate(() => Number(document.querySelector("hive-feed li.row")?.getAttribute("data-seq")));
  for (let low = await lowest(); low > seq; low = await lowest()) {
    for (let n = 0; n < 10; n++) await tab.mouse.wheel(0, -1_500);
  }
}

test("live data is painted soon, however long the log is", async ({ page, server }) => {
  const loads = [];
  for (let n = 0; n < LOADS; n++) {
    await open(page, server);
    loads.push(Number((await read(page)).live_ms));
    await page.goto("about:blank");
  }
  report(`first paint of live data on ${await head(server)} events`, loads);
  expect(quantile(loads, 0.5)).toBeLessThan(LIVE_MS * SLACK);
});

test("scrolled far back it scrolls smoothly, and shows what comes at once", async ({ page, server }) => {
  await open(page, server);
  const end_seq = (await head(server)) - SCROLLED_EVENTS;
  await run(page, true);
  await scrollBackTo(page, end_seq + TRACED_EVENTS);
  const frames = await framesOf(page, () => scrollBackTo(page, end_seq));
  await run(page, false);
  const { deltas, long } = await read(page);
  console.log(`${SCROLLED_EVENTS} events back, frames of more than 50 ms: ${long.map(Math.round)}`);
  expect(frames.length).toBeGreaterThan(50);
  expect(report("what a frame takes of the main thread", frames)).toBeLessThan(FRAME_MS * OWN_SLACK);
  expect(report("from frame to frame while scrolling", deltas)).toBeLessThan((FRAME_MS + UNREST_MS) * SLACK);

  const back = await appendSome(server);
  await expect(page.locator("hive-feed .news")).toContainText(`${PAINTS} new`);
  await expect.poll(async () => (await read(page)).counted[PAINTS]).toBeGreaterThan(0);
  const { arrived, counted } = await read(page);
  judge("scrolled back, one more that is new", back, arrived, (_, index) => counted[index + 1]);

  await page.locator("hive-feed .news").click();
  await expect(page.locator("hive-feed .news")).toBeHidden();
  const end = await appendSome(server);
  const last = [...end.keys()].at(-1);
  await expect(page.locator(`hive-feed li[data-seq="${last}"]`)).toBeInViewport();
  await expect.poll(async () => (await read(page)).painted[Number(last)]).toBeGreaterThan(0);
  const followed = await read(page);
  judge("following, a new row", end, followed.arrived, (seq) => followed.painted[seq]);
});

test("while much comes it obeys at once, and holds no more than before", async ({ page, server }) => {
  await open(page, server);
  let next = Math.ceil((await head(server)) / 100 + 1) * 100;
  /** @param {number} count */
  const take = (count) => {
    next += count;
    return next - count;
  };
  /** @param {number} count as many come at once, and are shown */
  const flood = async (count) => {
    const from = await head(server);
    await fill(server, take(count), count);
    await expect(page.locator(".head-seq")).toHaveText((from + count).toLocaleString("en"));
    // What was decided while it was shown goes after a while.
    await expect.poll(() => page.locator("hive-waiting .settled").count()).toBe(0);
    return from + count;
  };
  const search = page.getByRole("searchbox");
  const row = page.locator("hive-feed li.row").nth(15);
  const use = async () => {
    await search.pressSequentially("cache", { delay: 80 });
    await expect(page.locator(".chips")).toContainText("cache");
    await page.getByRole("button", { name: "Pause" }).click();
    await row.click();
    await page.keyboard.press("Escape");
    await search.fill("");
    await search.press("Enter");
    // What is asked anew is followed.
    await expect(page.getByRole("button", { name: "Pause" })).toBeVisible();
  };
  await use();
  // As many as it ever keeps.
  const from = await flood(6_000);
  const before = await heap(page);
  let sent = 0;
  let is_over = false;
  const begun = performance.now();
  const coming = (async () => {
    while (!is_over) {
      // After a pause of the machine more are due than one append may have.
      const due = Math.min(1_000, Math.floor(((performance.now() - begun) / 1000) * RATE) - sent);
      if (due > 0) await server.append(events(take(due), due));
      sent += due;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  const lags = () => sent < ((performance.now() - begun) / 1000) * RATE * 0.95;
  while (performance.now() - begun < SECONDS * 1000 || lags()) await use();
  is_over = true;
  await coming;
  const seconds = (performance.now() - begun) / 1000;
  const { inputs } = await read(page);
  await expect(page.locator(".head-seq")).toHaveText((from + sent).toLocaleString("en"));
  await flood(MORE_EVENTS);
  // What is still read or drawn goes soon; what is kept stays.
  let growth = Number.POSITIVE_INFINITY;
  for (let looks = 0; looks < 20 && growth >= HEAP_GROWTH_BYTES; looks++) {
    if (looks > 0) await page.waitForTimeout(500);
    growth = (await heap(page)) - before;
  }
  console.log(`${(sent / seconds).toFixed(0)} events/s for ${seconds.toFixed(1)} s`);
  console.log(
    `heap: ${(before / 2 ** 20).toFixed(1)} MiB before, ${(growth / 2 ** 20).toFixed(2)} MiB more after`,
  );
  expect(report("from a key or a click to the next paint", inputs)).toBeLessThan(INPUT_MS * SLACK);
  expect(sent / seconds).toBeGreaterThan(RATE * 0.9);
  expect(growth).toBeLessThan(HEAP_GROWTH_BYTES);
});
