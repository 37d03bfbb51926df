/** @file Does a text that is redacted go from every open page at once? */

import { approval, ask, hurry, isLive, isMarked, mark, question, request, stopClock } from "../asks.js";
import { expect, test } from "../fixtures.js";

/** @typedef {import("@playwright/test").Page} Tab */
/** @typedef {import("../server.js").Server} Server */

const SECRET = "hunter2";

/** @param {Tab} tab @param {number} seq */
const row = (tab, seq) => tab.locator(`hive-feed li.row[data-seq="${seq}"]`);

/** Again while a reader holds old pages, as the server asks for. @param {Server} server @param {number} seq */
const redact = (server, seq) =>
  expect(() => server.call(`api/events/${seq}/redact`, { method: "POST" })).toPass();

/** @param {Tab} tab */
const isGone = (tab) => expect(tab.locator("body")).not.toContainText(SECRET, { timeout: 10_000 });

test("a request: its card, its row, its detail, the past, in every tab", async ({ context, server }) => {
  await server.append({ kind: "probe.before" });
  const id = await request(server, { description: `the password is ${SECRET}`, sha_short: "abc1234" });
  const other = await request(server, { description: "stays" });
  const now = await context.newPage();
  const follower = await context.newPage();
  const past = await context.newPage();
  await now.goto(`${server.base}?event=2`);
  await follower.goto(server.base);
  await past.goto(`${server.base}?at=2`);
  await expect(now.locator("dialog.detail")).toContainText(SECRET);
  await expect(past.locator(".past-board")).toContainText(SECRET);
  for (const tab of [now, follower, past]) {
    await expect(approval(tab, id)).toContainText(SECRET);
    await expect(row(tab, 2)).toContainText(SECRET);
    await mark(tab);
  }
  const note = approval(follower, other).getByRole("textbox");
  await note.fill("half a th");
  await redact(server, 2);
  for (const tab of [now, follower, past]) {
    await isGone(tab);
    await expect(approval(tab, id).locator("h3")).toHaveText("[redacted]");
    await expect(row(tab, 2)).toContainText("[redacted]");
    await expect(row(tab, 4)).toContainText("hivelog.redacted");
    expect(await isMarked(tab)).toBe(true);
  }
  const raw = (await server.call("api/history/2")).trim();
  await expect(now.locator("dialog.detail pre.raw")).toHaveText(raw);
  await expect(past.locator(".past-board")).toContainText("[redacted]");
  await expect(note).toBeFocused();
  await expect(note).toHaveValue("half a th");
  await stopClock(follower);
  await approval(now, id)
    .getByRole("button", { name: `Approve ${id}` })
    .click();
  await expect(approval(follower, id).locator(".settled-line")).toContainText("Approved by");
});

test("a note, and a question of which it cannot be read what is left", async ({ page, server }) => {
  const asked = await ask(server, { question: `is it ${SECRET}?`, options: [SECRET, "no"] });
  const done = await request(server);
  await server.call(`api/approvals/${done}/resolve`, {
    body: { status: "denied", note: `it is ${SECRET}` },
  });
  await page.goto(server.base);
  await page.locator(".recent > summary").click();
  await expect(page.locator(".recent-list")).toContainText(SECRET);
  await redact(server, 3);
  await expect(page.locator(".recent-list")).toContainText("[redacted]");
  await expect(page.locator(".recent-list")).not.toContainText(SECRET);
  await expect(row(page, 3)).toContainText("[redacted]");
  await expect(question(page, asked)).toContainText(SECRET);

  await page.route("**/api/history/1", (route) => route.abort());
  await redact(server, 1);
  await isGone(page);
  await expect(question(page, asked)).toContainText("A question without words");
  await page.unroute("**/api/history/1");
  await expect(question(page, asked).locator("h3")).toHaveText("[redacted]");
  await expect(question(page, asked).locator(".option")).toHaveText(["[redacted] 1", "[redacted] 2"]);
});

test("what was read before and comes after is cleaned too", async ({ page, server }) => {
  await server.append({ kind: "probe.said", text: SECRET });
  await server.append(Array.from({ length: 700 }, (_, n) => ({ kind: "probe.event", n })));
  /** @type {() => void} */
  let release = () => {};
  const held = new Promise((resolve) => {
    release = () => resolve(undefined);
  });
  let is_held = false;
  await page.route("**/api/history?before=*&order=desc&limit=500", async (route) => {
    const answer = await route.fetch();
    if ((await answer.text()).includes(SECRET)) {
      is_held = true;
      await held;
    }
    await route.fulfill({ response: answer });
  });
  await page.goto(server.base);
  await expect(row(page, 701)).toBeInViewport();
  await page.getByRole("button", { name: "First" }).hover();
  await page.locator("hive-feed .rows").hover();
  await expect(async () => {
    await page.mouse.wheel(0, -5_000);
    expect(is_held).toBe(true);
  }).toPass({ intervals: [50] });
  await redact(server, 1);
  await expect(page.locator(".head-seq")).toHaveText("702");
  release();
  await expect(async () => {
    await page.mouse.wheel(0, -5_000);
    await expect(row(page, 1)).toContainText("redacted: true", { timeout: 200 });
  }).toPass({ intervals: [50] });
  await isGone(page);
});

test("what was redacted in one log is not taken for an event of another", async ({ page, server }) => {
  await server.append({ kind: "app.note", text: SECRET });
  await page.goto(server.base);
  await expect(row(page, 1)).toContainText(SECRET);
  await redact(server, 1);
  await expect(row(page, 1)).toContainText("redacted: true");
  await server.stop();
  server.db = `${server.db}.other`;
  await server.start();
  await server.append({ kind: "app.note", text: "of another log" });
  await isLive(page);
  await expect(row(page, 1)).toContainText("of another log");
  await mark(page);
  await server.append({ kind: "app.note", text: "goes on" });
  await expect(row(page, 2)).toContainText("goes on");
  await expect(row(page, 1)).toContainText("of another log");
});

test("what was redacted before a snapshot goes too: the card, the detail, the past", async ({
  context,
  server,
}) => {
  await server.append({ kind: "probe.before" });
  const id = await request(server, { description: `the password is ${SECRET}` });
  const other = await request(server, { description: "stays" });
  const now = await context.newPage();
  const past = await context.newPage();
  await now.goto(`${server.base}?event=2`);
  await past.goto(`${server.base}?at=2`);
  await expect(now.locator("dialog.detail pre.raw")).toContainText(SECRET);
  await expect(past.locator(".past-board")).toContainText(SECRET);
  for (const tab of [now, past]) await expect(approval(tab, id)).toContainText(SECRET);
  const note = approval(now, other).getByRole("textbox");
  await note.fill("half a th");
  await server.stop();
  // From here on no event comes by that says it: a snapshot is waited for.
  for (const tab of [now, past]) await tab.getByRole("button", { name: "Retry now" }).click();
  server.run("redact", "2", "--db", server.db);
  await server.start();
  for (const tab of [now, past]) {
    await isLive(tab);
    await isGone(tab);
    await expect(approval(tab, id).locator("h3")).toHaveText("[redacted]");
  }
  await expect(now.locator("dialog.detail pre.raw")).toContainText("[redacted]");
  await expect(past.locator(".past-board")).toContainText("[redacted]");
  await expect(note).toHaveValue("half a th");
});

test("a settled card shows what a snapshot says of it", async ({ page, server }) => {
  const kept = await request(server, { description: "stays" });
  const id = await request(server, { description: `the password is ${SECRET}` });
  await page.goto(server.base);
  await expect(approval(page, id)).toContainText(SECRET);
  await stopClock(page);
  const resolve = (/** @type {number} */ id, /** @type {string} */ note) =>
    server.call(`api/approvals/${id}/resolve`, { body: { status: "denied", note } });
  await resolve(id, "no");
  await resolve(kept, `it is ${SECRET}`);
  await expect(approval(page, id).locator(".settled-line")).toContainText("Denied by");
  await expect(approval(page, kept).locator(".settled-line")).toContainText(SECRET);
  await server.stop();
  await page.getByRole("button", { name: "Retry now" }).click();
  for (const seq of ["2", "4"]) server.run("redact", seq, "--db", server.db);
  await server.start();
  await isLive(page);
  // The event that denied it says what was asked, and was not redacted: its row may.
  await expect(page.locator("hive-waiting")).not.toContainText(SECRET, { timeout: 10_000 });
  await expect(approval(page, kept).locator(".settled-line")).toContainText("[redacted]");
});

test("another log's event takes the place of the one that is open", async ({ page, server }) => {
  await server.append({ kind: "app.note", text: SECRET });
  await page.goto(`${server.base}?event=1`);
  await expect(page.locator("dialog.detail pre.raw")).toContainText(SECRET);
  await server.stop();
  server.db = `${server.db}.other`;
  await server.start();
  await server.append({ kind: "app.note", text: "of another log" });
  await isLive(page);
  await expect(page.locator("dialog.detail pre.raw")).toContainText("of another log");
  await isGone(page);
});

test.describe("where one has to sign in", () => {
  test.use({ auth: true });

  test("another log's past takes the place of the one that is open", async ({ page, server }) => {
    const admin = () => server.token("root", "admin");
    const open = { kind: "approval_added", id: 1, agent: "ada", approval_kind: "spawn" };
    await server.append({ ...open, description: SECRET }, admin());
    const link = new URL(server.login());
    await page.goto(`${server.base}?at=1${link.hash}`);
    await expect(page.locator(".past-board")).toContainText(SECRET);
    await server.stop();
    server.db = `${server.db}.other`;
    await server.start();
    const token = admin();
    await server.append({ ...open, description: "of another log" }, token);
    await expect(async () => {
      await hurry(page);
      await expect(page.locator("hive-session")).toContainText("You are signed out", { timeout: 500 });
    }).toPass({ intervals: [50] });
    await page.getByLabel("Token").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect(page.locator(".past-board")).toContainText("of another log");
    await isGone(page);
  });
});
