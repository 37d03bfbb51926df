/** @file What do the tests let agents want of the operator, and where does the page show it? */

import { expect } from "@playwright/test";

/** @typedef {import("@playwright/test").Page} Tab */
/** @typedef {import("./server.js").Server} Server */

export const DIFF = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n same\n-old\n+new\n";

/**
 * A request for approval; its id.
 * @param {Server} server @param {Record<string, unknown>} [members] @param {string} [token]
 * @returns {Promise<number>}
 */
export async function request(server, members = {}, token) {
  const body = { approval_kind: "apply_commit", description: "a change", diff: DIFF, ...members };
  const whole = token ? body : { agent: "ada", ...body };
  return JSON.parse(await server.call("api/approvals", { body: whole, token })).id;
}

/**
 * A question to the operator; its id.
 * @param {Server} server @param {Record<string, unknown>} [members]
 * @returns {Promise<number>}
 */
export async function ask(server, members = {}) {
  const body = { asker: "bob", question: "which one?", ...members };
  return JSON.parse(await server.call("api/questions", { body })).id;
}

/**
 * The events of one kind, as the log has them.
 * @param {Server} server @param {string} kind @param {string} [token]
 * @returns {Promise<any[]>}
 */
export async function events(server, kind, token) {
  return JSON.parse(await server.call(`api/history?kind=${kind}&limit=1000`, { token })).events;
}

/** @param {Tab} tab @param {number} id */
export const approval = (tab, id) => tab.locator(`hive-approval:has(#hive-approval-${id})`);

/** @param {Tab} tab @param {number} id */
export const question = (tab, id) => tab.locator(`hive-question:has(#hive-question-${id})`);

/**
 * What is marked by this is gone after a reload.
 * @param {Tab} tab
 */
export const mark = (tab) => tab.evaluate(() => Object.assign(globalThis, { loaded: "once" }));

/** @param {Tab} tab */
export const isMarked = (tab) => tab.evaluate(() => /** @type {any} */ (globalThis).loaded === "once");

/**
 * Stops the clock by which a page takes settled cards away and reads again, but no timer: on a slow machine nothing
 * is over before it was looked at.
 * @param {Tab} tab
 */
export const stopClock = (tab) =>
  tab.evaluate(() => {
    const now = performance.now();
    performance.now = () => now;
  });

/**
 * Sets it on, once.
 * @param {Tab} tab @param {number} ms
 */
export const windOn = (tab, ms) =>
  tab.evaluate((ms) => {
    const now = performance.now() + ms;
    performance.now = () => now;
  }, ms);

/** Nobody waits for the ten seconds that a server may ask for. @param {Tab} tab */
export const hurry = (tab) => tab.evaluate(() => dispatchEvent(new Event("online")));

/** Waits until a page is live. @param {Tab} tab */
export async function isLive(tab) {
  await expect(async () => {
    await hurry(tab);
    await expect(tab.locator("hive-header")).toContainText("Live", { timeout: 500 });
  }).toPass({ intervals: [50] });
}
