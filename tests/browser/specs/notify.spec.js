/** @file Does the browser tell of what waits, once, after consent, while nobody looks, and of nothing that is over? */

import { approval, hurry, request } from "../asks.js";
import { expect, test } from "../fixtures.js";

/** @typedef {import("@playwright/test").Page} Tab */
/** @typedef {{title: string, body: string, tag: string, is_closed: boolean}} Notice */

/** @param {Tab} tab @returns {Promise<Notice[]>} */
const notices = (tab) => tab.evaluate(() => /** @type {any} */ (globalThis).notices);

/** Whether somebody looks at this tab. @param {Tab} tab @param {boolean} is_looking */
const look = (tab, is_looking) =>
  tab.evaluate((is_looking) => {
    document.hasFocus = () => is_looking;
  }, is_looking);

test.beforeEach(async ({ context, server }) => {
  await context.grantPermissions(["notifications"], { origin: server.base });
  await context.addInitScript(() => {
    const Real = Notification;
    /** @type {any[]} */
    const all = [];
    class Noted extends Real {
      /** @param {string} title @param {NotificationOptions} [options] */
      constructor(title, options) {
        super(title, options);
        this.noted = { title, body: options?.body, tag: options?.tag, is_closed: false };
        all.push(this.noted);
      }

      close() {
        this.noted.is_closed = true;
        super.close();
      }
    }
    // What comes is gathered for a second, by a timer of that length.
    const { setTimeout: start, clearTimeout: stop } = globalThis;
    const gathering = new Set();
    Object.assign(globalThis, {
      setTimeout: (/** @type {any} */ then, /** @type {number} */ ms, /** @type {any[]} */ ...rest) => {
        const timer = start(() => {
          gathering.delete(timer);
          then(...rest);
        }, ms);
        if (ms === 1_000) gathering.add(timer);
        return timer;
      },
      clearTimeout: (/** @type {number} */ timer) => {
        gathering.delete(timer);
        stop(timer);
      },
    });
    Object.assign(globalThis, { notices: all, Notification: Noted, gathering });
  });
});

/** Until nothing that came together is still gathered. @param {Tab[]} tabs */
async function gathered(...tabs) {
  for (const tab of tabs)
    await expect.poll(() => tab.evaluate(() => /** @type {any} */ (globalThis).gathering.size)).toBe(0);
}

test("consent, then one for each thing that waits, and none for what is over", async ({
  context,
  server,
}) => {
  await request(server, { description: "waited before" });
  const page = await context.newPage();
  const other = await context.newPage();
  for (const tab of [page, other]) {
    await tab.goto(server.base);
    await expect(tab.locator("hive-header")).toContainText("Live");
    await look(tab, false);
  }
  await request(server, { description: "before consent" });
  for (const tab of [page, other]) await expect(tab.locator("hive-approval")).toHaveCount(2);
  await gathered(page, other);
  expect([...(await notices(page)), ...(await notices(other))]).toEqual([]);

  const consent = page.getByRole("button", { name: "Notify me" });
  await expect(consent).toHaveAttribute("aria-pressed", "false");
  await consent.click();
  await expect(page.getByRole("button", { name: "Notifying" })).toHaveAttribute("aria-pressed", "true");
  // By one commit: on a busy machine a second may pass between one call and the next.
  const [id, over] = [3, 4];
  const of = { agent: "ada", approval_kind: "spawn" };
  const which = { asker: "bob", question: "which one?", options: [], multi: false, asked_at: 1 };
  await server.append([
    { kind: "approval_added", id, ...of, description: "swap \u202e the index" },
    { kind: "question_added", id: 1, ...which },
    { kind: "approval_added", id: over, ...of, description: "is decided at once" },
    { kind: "approval_resolved", id: over, ...of, status: "denied", resolved_at: 1 },
  ]);
  for (const tab of [page, other]) await expect(tab.locator("hive-approval:not(.settled)")).toHaveCount(3);
  await gathered(page, other);
  // One of the tabs tells, not each.
  const told = [...(await notices(page)), ...(await notices(other))];
  expect(told.map(({ title, body }) => [title, body])).toEqual([
    ["ada wants approval", "swap \ufffd the index"],
    ["bob asks", "which one?"],
  ]);
  expect(told.some(({ is_closed }) => is_closed)).toBe(false);

  await server.call(`api/approvals/${id}/resolve`, { body: { status: "approved" } });
  const all = async () => [...(await notices(page)), ...(await notices(other))];
  await expect.poll(async () => (await all()).map(({ is_closed }) => is_closed)).toEqual([true, false]);

  await look(page, true);
  await look(other, true);
  const seen = await request(server, { description: "somebody looks" });
  for (const tab of [page, other]) await expect(approval(tab, seen)).toBeVisible();
  await gathered(page, other);
  expect(await all()).toHaveLength(2);

  await page.getByRole("button", { name: "Notifying" }).click();
  await look(page, false);
  await look(other, false);
  const last = await request(server, { description: "no more consent" });
  for (const tab of [page, other]) await expect(approval(tab, last)).toBeVisible();
  await gathered(page, other);
  expect(await all()).toHaveLength(2);
});

test("many at once are told as a number, and those of another log too", async ({ page, server }) => {
  await page.goto(server.base);
  await expect(page.locator("hive-header")).toContainText("Live");
  await page.getByRole("button", { name: "Notify me" }).click();
  await look(page, false);
  // By one commit: what comes a second apart on a busy machine is told apart.
  const asked = { kind: "approval_added", agent: "ada", approval_kind: "spawn" };
  await server.append([1, 2, 3, 4, 5, 6].map((id) => ({ ...asked, id })));
  await expect
    .poll(async () => (await notices(page)).map(({ title }) => title))
    .toEqual(["6 new things wait for you"]);
  // A log put in its place that is not as long.
  await server.stop();
  server.db = `${server.db}.other`;
  await server.start();
  await expect(async () => {
    await hurry(page);
    await expect(page.locator("hive-waiting")).toContainText("Nothing waits for you.", { timeout: 300 });
  }).toPass({ intervals: [50] });
  await request(server, { description: "of this log" });
  await expect.poll(async () => (await notices(page)).at(-1)?.body).toBe("of this log");
});
