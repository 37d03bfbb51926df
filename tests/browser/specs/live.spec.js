/** @file Does the page itself say what its stream is, and only that? */

import { expect, signIn, test } from "../fixtures.js";

/** @typedef {import("@playwright/test").Page} Tab */

/** @param {Tab} tab */
const header = (tab) => tab.locator("hive-header");

/** @param {Tab} tab @param {number} head */
async function showsLive(tab, head) {
  await expect(async () => {
    await tab.evaluate(() => dispatchEvent(new Event("online")));
    await expect(header(tab)).toContainText("Live", { timeout: 500 });
    await expect(header(tab)).toContainText(String(head), { timeout: 500 });
  }).toPass();
}

test("live, reconnecting, live again, without a reload", async ({ page, server }) => {
  await page.goto(server.base);
  await page.evaluate(() => Object.assign(globalThis, { loaded: "once" }));
  for (let round = 1; round <= 3; round++) {
    await server.append({ kind: "probe.event", round });
    await showsLive(page, round);
    await server.stop();
    await expect(header(page)).toContainText("Reconnecting");
    await server.start();
  }
  await showsLive(page, 3);
  expect(await page.evaluate(() => /** @type {any} */ (globalThis).loaded)).toBe("once");
});

test("seven pages of one browser, one stream", async ({ context, server }) => {
  /** @type {Tab[]} */
  const tabs = [];
  for (let n = 0; n < 7; n++) {
    const tab = await context.newPage();
    await tab.goto(server.base);
    tabs.push(tab);
  }
  await server.append({ kind: "probe.event" });
  for (const tab of tabs) await showsLive(tab, 1);
  await expect.poll(() => server.streams()).toBe(1);
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
