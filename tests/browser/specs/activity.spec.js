/** @file Does the histogram lead to what happened then, by pointer and by keys, and does it tell the truth? */

import { isLive, stopClock, windOn } from "../asks.js";
import { expect, test } from "../fixtures.js";

/** @typedef {import("@playwright/test").Page} Tab */

/** @param {Tab} tab */
const rows = (tab) => tab.locator("hive-feed li.row");

/** Where the pointer is over a part of the plot. @param {Tab} tab @param {number} part */
async function at(tab, part) {
  const box = await tab.locator("hive-activity .bars").boundingBox();
  if (!box) throw new Error("no plot");
  return { x: box.x + Math.min(box.width - 2, Math.max(2, box.width * part)), y: box.y + box.height / 2 };
}

/**
 * Brushes from a bar to the end. The plot reaches to when it was read, and may be read again while the pointer is on
 * its way: what stands where the button went down is looked at, and holds from then on.
 * @param {Tab} tab @param {number} bar @param {string} words
 */
async function brushFrom(tab, bar, words) {
  const plot = tab.getByRole("slider", { name: /Events over time/ });
  const end = await at(tab, 1);
  await expect(async () => {
    const box = await tab.locator("hive-activity rect.bar").nth(bar).boundingBox();
    if (!box) throw new Error("no bar");
    await tab.mouse.move(box.x + 1, end.y);
    await tab.mouse.down();
    const read = (await plot.getAttribute("aria-valuetext")) ?? "";
    if (read.endsWith(words)) return;
    await tab.mouse.up();
    throw new Error(`another bar: ${read}`);
  }).toPass();
  await tab.mouse.move(end.x, end.y, { steps: 4 });
  await tab.mouse.up();
}

test("one spike leaves the rest to be read, and says that it is cut", async ({ page, server }) => {
  await server.append(Array.from({ length: 900 }, (_, n) => ({ kind: "probe.spike", n })));
  for (let n = 0; n < 20; n++) {
    await new Promise((resolve) => setTimeout(resolve, 60));
    await server.append({ kind: "probe.event", n });
  }
  // Up to now is a long time where a page takes long to come.
  const until = new Date().toISOString();
  await page.route("**/api/activity?*", (route) =>
    route.continue({ url: `${route.request().url()}&until=${until}` }),
  );
  await page.goto(server.base);
  const bars = page.locator("hive-activity rect.bar");
  await expect.poll(() => bars.count()).toBeGreaterThan(12);
  const heights = await bars.evaluateAll((all) => all.map((bar) => Number(bar.getAttribute("height"))));
  expect(Math.min(...heights)).toBeGreaterThan(12);
  await expect(page.locator("hive-activity rect.cut")).toHaveCount(1);
  await expect(page.locator("hive-activity svg")).toContainText(
    /9\d\d at most; a bar with a gap is cut at \d/,
  );
  const { x, y } = await at(page, 0);
  await page.mouse.move(x, y);
  await expect(page.locator(".activity-words")).toContainText(/: 9\d\d events$/);
});

test("a click and a brush lead to what happened then; all times leads back", async ({ page, server }) => {
  await server.append(Array.from({ length: 400 }, (_, n) => ({ kind: "probe.early", n })));
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  await server.append({ kind: "probe.late" });
  await page.goto(server.base);
  const words = page.locator(".activity-words");
  const bars = page.locator("hive-activity rect.bar");
  await expect(words).toHaveText(/^401 events from .* to now\.$/);
  await expect(bars).toHaveCount(2);

  // One that is small beside a large one is seen, and the mark says how high the plot is.
  const heights = await bars.evaluateAll((all) => all.map((bar) => Number(bar.getAttribute("height"))));
  expect(heights[1]).toBeGreaterThanOrEqual(2);
  expect(heights[0]).toBeGreaterThan(/** @type {number} */ (heights[1]));
  await expect(page.locator("hive-activity svg")).toContainText("400");

  const first = await at(page, 0);
  await page.mouse.move(first.x, first.y);
  await expect(words).toContainText("400 events");
  await page.mouse.down();
  await page.mouse.up();
  await expect(page).toHaveURL(/\?since=.+&until=.+/);
  await expect(rows(page).first()).toContainText("probe.early");
  await expect(page.locator("hive-activity rect.bar.outside")).toHaveCount(1);
  await expect(page.locator(".chips")).toContainText("Time");

  await brushFrom(page, 1, ": 1 event");
  await expect(rows(page)).toHaveCount(1);
  await expect(rows(page)).toContainText("probe.late");
  // The end is open: what comes belongs to it.
  await server.append({ kind: "probe.later" });
  await expect(rows(page)).toHaveCount(2);
  await page.reload();
  await expect(rows(page)).toHaveCount(2);

  await page.getByRole("button", { name: "All times" }).click();
  await expect(page).toHaveURL(server.base);
  await expect(rows(page).last()).toContainText("probe.later");

  // The same with keys.
  await expect(words).toHaveText(/^402 events/);
  const plot = page.getByRole("slider", { name: /Events over time/ });
  await plot.focus();
  await page.keyboard.press("Home");
  await expect(plot).toHaveAttribute("aria-valuetext", /: 400 events$/);
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/since=.+&until=/);
  await page.keyboard.press("Escape");
  await expect(page).toHaveURL(server.base);
});

test("what is being chosen stays as it is under the pointer, and is read again afterwards", async ({
  page,
  server,
}) => {
  await server.append(Array.from({ length: 400 }, (_, n) => ({ kind: "probe.early", n })));
  await page.goto(server.base);
  await isLive(page);
  const words = page.locator(".activity-words");
  await expect(words).toHaveText(/^400 events/);
  await stopClock(page);
  const { x, y } = await at(page, 0);
  await page.mouse.move(x, y);
  await page.mouse.down();
  const chosen = await words.textContent();
  expect(chosen).toMatch(/: 400 events$/);
  let reads = 0;
  page.on("request", (request) => {
    if (request.url().includes("api/activity")) reads += 1;
  });
  // Its time to be read again, by the next ticks of a second.
  await server.append({ kind: "probe.late" });
  await expect(page.locator(".head-seq")).toHaveText("401");
  await windOn(page, 60_000);
  await page.waitForTimeout(2_100);
  await expect(words).toHaveText(chosen ?? "");
  expect(reads).toBe(0);
  await page.mouse.up();
  await expect(page).toHaveURL(/\?since=.+&until=.+/);
  await expect.poll(() => reads).toBeGreaterThan(0);
  await expect(words).not.toHaveText(chosen ?? "");
});

test("what could not be read while the server was away is read as soon as it is back", async ({
  page,
  server,
}) => {
  await server.append({ kind: "probe.event" });
  await page.goto(server.base);
  const words = page.locator(".activity-words");
  await expect(words).toHaveText(/^1 event from/);
  await server.append({ kind: "probe.event" });
  await expect(page.locator("hive-header")).toContainText("head seq 2");
  await server.stop();
  // Read in vain because it has another width, and, by a clock that stands, not again in turn.
  await stopClock(page);
  await page.setViewportSize({ width: 1100, height: 720 });
  await expect(words).toContainText("Not up to date");
  await server.start();
  await isLive(page);
  await expect(words).toHaveText(/^2 events from/);
});
