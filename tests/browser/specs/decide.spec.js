/** @file Does what the operator decides happen once, and does every open page show who decided what? */

import {
  approval,
  ask,
  events,
  isLive,
  isMarked,
  mark,
  question,
  request,
  stopClock,
  windOn,
} from "../asks.js";
import { expect, test } from "../fixtures.js";

/** @typedef {import("@playwright/test").Page} Tab */
/** @typedef {import("../server.js").Server} Server */

/** Sooner than anything that is asked again in turns: what shows by then came by the stream. */
const AT_ONCE = { timeout: 10_000 };

/** @param {Tab} tab */
const header = (tab) => tab.locator("hive-header");

/**
 * Selects the next card that nobody has decided, as a hand on the keyboard does.
 * @param {Tab} tab
 */
async function selectNext(tab) {
  const selected = () =>
    tab.evaluate(() => {
      const card = document.activeElement;
      if (!card?.matches("hive-approval:not(.settled), hive-question:not(.settled)")) return null;
      return card.getAttribute("aria-labelledby");
    });
  // A settled card that goes away hands the focus on, so it is looked at before a key is pressed.
  await expect(async () => {
    if ((await selected()) === null) await tab.keyboard.press("j");
    expect(await selected()).not.toBeNull();
  }).toPass({ intervals: [20] });
  const [, what, id] = /^hive-(approval|question)-(\d+)$/.exec((await selected()) ?? "") ?? [];
  return { what, id: Number(id) };
}

/** @param {Tab} tab @param {number} id */
async function decideByKeys(tab, id) {
  if (id % 2 === 1) return tab.keyboard.press("a");
  await tab.keyboard.press("d");
  await expect(approval(tab, id).locator(".note-hint")).toHaveText("Enter denies, Esc goes back");
  await tab.keyboard.type(`not ${id}`);
  await tab.keyboard.press("Enter");
}

/** Radio buttons, check boxes, words: in the order in which the questions were asked. @param {Tab} tab @param {number} id */
async function answerByKeys(tab, id) {
  await tab.keyboard.press("a");
  await expect(question(tab, id).locator("input, textarea").first()).toBeFocused();
  if (id === 1) await tab.keyboard.press("ArrowDown");
  if (id === 2) for (const key of ["Space", "Tab", "Tab", "Space"]) await tab.keyboard.press(key);
  if (id === 3) await tab.keyboard.type("in my own words");
  await tab.keyboard.press("Control+Enter");
}

test("approved in one page, seen in another: who and what", async ({ page, elsewhere, server }) => {
  const id = await request(server, { description: "swap the index" });
  for (const tab of [page, elsewhere]) {
    await tab.goto(server.base);
    await expect(tab).toHaveTitle("(1) hivelog");
    await isLive(tab);
    await stopClock(tab);
  }
  await expect(approval(elsewhere, id).getByRole("button", { name: `Approve ${id}` })).toBeVisible();
  await approval(page, id).getByRole("textbox").fill("go on");
  await approval(page, id)
    .getByRole("button", { name: `Approve ${id}` })
    .click();
  await expect(approval(elsewhere, id).locator(".settled-line")).toHaveText(
    /^Approved by operator .*: go on$/,
    AT_ONCE,
  );
  await expect(approval(page, id).locator(".settled-line")).toHaveText(
    /^Approved by operator .*: go on \(you\)$/,
  );
  for (const tab of [page, elsewhere]) {
    await expect(approval(tab, id).getByRole("button", { name: /^(Approve|Deny)/ })).toHaveCount(0);
    await expect(tab).toHaveTitle("hivelog");
    await expect(tab.locator("hive-waiting [role=status]").first()).toHaveText("Nothing waits for you.");
  }
});

test("two pages decide at once: one event, and the loser shows the winner", async ({
  page,
  elsewhere,
  server,
}) => {
  const id = await request(server);
  const tabs = [page, elsewhere];
  let held = 0;
  /** @type {() => void} */
  let release = () => {};
  const both = new Promise((resolve) => {
    release = () => resolve(undefined);
  });
  for (const tab of tabs) {
    await tab.goto(server.base);
    await tab.route("**/resolve", async (route) => {
      held += 1;
      if (held === tabs.length) release();
      await both;
      await route.continue();
    });
  }
  await Promise.all([
    approval(page, id)
      .getByRole("button", { name: `Approve ${id}` })
      .click(),
    approval(elsewhere, id)
      .getByRole("button", { name: `Deny ${id}` })
      .click(),
  ]);
  for (const tab of tabs) await expect(approval(tab, id).locator(".settled-line")).toBeVisible();
  const resolved = await events(server, "approval_resolved");
  expect(resolved).toHaveLength(1);
  const winner = resolved[0].status === "approved" ? page : elsewhere;
  const word = resolved[0].status === "approved" ? "Approved" : "Denied";
  for (const tab of tabs) {
    const line = approval(tab, id).locator(".settled-line");
    await expect(line).toContainText(`${word} by operator`);
    if (tab === winner) await expect(line).toContainText("(you)");
    else await expect(line).not.toContainText("(you)");
  }
});

test("a denial carries its note", async ({ page, server }) => {
  const id = await request(server);
  await page.goto(server.base);
  await approval(page, id).getByRole("textbox").fill("not before the tests pass");
  await approval(page, id)
    .getByRole("button", { name: `Deny ${id}` })
    .click();
  await expect(approval(page, id).locator(".settled-line")).toContainText("Denied by operator");
  await expect(approval(page, id).locator(".settled-line")).toContainText("not before the tests pass");
  const [event] = await events(server, "approval_resolved");
  expect([event.status, event.note]).toEqual(["denied", "not before the tests pass"]);
});

test("five requests and three questions by the keyboard alone, over a kill of the server", async ({
  page,
  server,
}) => {
  for (let n = 1; n <= 5; n++) await request(server, { description: `change ${n}` });
  await ask(server, { options: ["red", "green"] });
  await ask(server, { options: ["a", "b", "c"], multi: true });
  await ask(server);
  await page.goto(server.base);
  await mark(page);
  await expect(page).toHaveTitle("(8) hivelog");
  await expect(page.getByRole("button", { name: /^Approve \d/ })).toHaveCount(5);
  for (let left = 8; left > 0; left--) {
    const { what, id } = await selectNext(page);
    await (what === "approval" ? decideByKeys(page, id) : answerByKeys(page, id));
    const card = (what === "approval" ? approval : question)(page, id);
    await expect(card.and(page.locator(":not(.settled)"))).toHaveCount(0);
  }
  await server.stop();
  await expect(header(page)).toContainText("Reconnecting");
  await expect(page).toHaveTitle(/not live/);
  await server.start();
  await isLive(page);
  expect(await isMarked(page)).toBe(true);
  await expect(page).toHaveTitle("hivelog");
  await expect(page.locator(".recent > summary")).toHaveText("Recently decided (8)");
  const decided = (await events(server, "approval_resolved")).map(({ id, status, note }) => [
    id,
    status,
    note ?? null,
  ]);
  expect(decided.sort()).toEqual([
    [1, "approved", null],
    [2, "denied", "not 2"],
    [3, "approved", null],
    [4, "denied", "not 4"],
    [5, "approved", null],
  ]);
  const answers = (await events(server, "question_resolved")).map(({ id, answer }) => [id, answer]);
  expect(answers.sort()).toEqual([
    [1, "green"],
    [2, "a\nc"],
    [3, "in my own words"],
  ]);
  const after = await request(server, { description: "after the restart" });
  await expect(approval(page, after)).toContainText("after the restart");
  await selectNext(page);
  await page.keyboard.press("a");
  await expect(approval(page, after).locator(".settled-line")).toContainText("Approved by operator");
});

test("what is decided becomes a line, but never moves what is under the pointer", async ({
  page,
  server,
}) => {
  const ids = [];
  for (let n = 0; n < 4; n++) ids.push(await request(server, { description: `change ${n}` }));
  const [first, second, third] = /** @type {[number, number, number]} */ (/** @type {unknown} */ (ids));
  await page.goto(server.base);
  const button = (/** @type {number} */ id) => approval(page, id).getByRole("button", { name: `Deny ${id}` });
  await button(second).hover();
  await stopClock(page);
  const before = await button(second).boundingBox();
  await server.call(`api/approvals/${first}/resolve`, { body: { status: "approved" } });
  await expect(approval(page, first).locator(".settled-line")).toContainText("Approved by");
  await page.waitForTimeout(300);
  expect(await button(second).boundingBox()).toEqual(before);
  const below = await approval(page, third).boundingBox();
  await button(second).click();
  await expect(approval(page, second).locator(".settled-line")).toContainText("Denied by");
  // Somebody who clicks twice meets nothing else there.
  await page.waitForTimeout(300);
  expect(await approval(page, third).boundingBox()).toEqual(below);
  await page.locator("h1").hover();
  for (const id of [first, second]) {
    const card = approval(page, id);
    await expect(card).toHaveClass(/compact/);
    expect((await card.boundingBox())?.height).toBeLessThan(60);
    await expect(card).toContainText(`change ${id - 1}`);
    await expect(card.locator(".settled-line")).toBeVisible();
    await expect(card.locator("hive-diff")).toBeHidden();
  }
  await windOn(page, 6_500);
  await page.waitForTimeout(1_000);
  await expect(page.locator("hive-approval")).toHaveCount(4);
  await windOn(page, 1_000);
  await expect(page.locator("hive-approval")).toHaveCount(2);
});

test("a decision by HTTP shows at once", async ({ page, server }) => {
  const id = await request(server);
  const asked = await ask(server, { options: ["yes", "no"] });
  await page.goto(server.base);
  await expect(approval(page, id)).toBeVisible();
  await expect(question(page, asked)).toBeVisible();
  await isLive(page);
  await stopClock(page);
  await server.call(`api/approvals/${id}/resolve`, { body: { status: "failed", note: "does not apply" } });
  await expect(approval(page, id).locator(".settled-line")).toContainText(
    /Failed to go through by \S+ .*does not apply/,
    AT_ONCE,
  );
  await server.call(`api/questions/${asked}/answer`, { body: { selected: ["no"], answerer: "operator" } });
  await expect(question(page, asked).locator(".settled-line")).toHaveText(
    /^Answered by operator .*: no$/,
    AT_ONCE,
  );
});

test("a question is cancelled in two steps", async ({ page, server }) => {
  const id = await ask(server);
  await page.goto(server.base);
  const card = question(page, id);
  await card.getByRole("button", { name: "Cancel question" }).click();
  await expect(card.getByRole("button", { name: "Keep it" })).toBeFocused();
  await card.getByRole("button", { name: "Keep it" }).click();
  await expect(card.getByRole("button", { name: "Cancel question" })).toBeFocused();
  expect(await events(server, "question_resolved")).toEqual([]);
  await card.getByRole("button", { name: "Cancel question" }).click();
  await card.getByRole("button", { name: "Cancel it unanswered" }).click();
  await expect(card.locator(".settled-line")).toContainText("Cancelled by operator");
  const [event] = await events(server, "question_resolved");
  expect(event.outcome).toBe("cancelled");
});

test("what is typed and where the focus is survive what arrives", async ({ page, server }) => {
  const first = await request(server);
  const id = await request(server);
  await page.goto(server.base);
  const note = approval(page, id).getByRole("textbox");
  await note.fill("half a th");
  await stopClock(page);
  for (let n = 0; n < 20; n++) await request(server, { description: `more ${n}` });
  await server.call(`api/approvals/${first}/resolve`, { body: { status: "approved" } });
  await expect(page.locator("hive-approval")).toHaveCount(22);
  await expect(approval(page, first).locator(".settled-line")).toBeVisible();
  await expect(note).toBeFocused();
  await page.keyboard.type("ought");
  await expect(note).toHaveValue("half a thought");
});

test("a question that nobody answered in time is shown as expired", async ({ page, server }) => {
  await page.goto(server.base);
  await isLive(page);
  await stopClock(page);
  const id = await ask(server, { ttl_seconds: 2 });
  await expect(question(page, id).locator(".settled-line")).toContainText("Expired unanswered");
  await expect(question(page, id).getByRole("button", { name: "Answer" })).toHaveCount(0);
});

test("with the server away a decision is not claimed, and holds when it is repeated", async ({
  page,
  server,
}) => {
  const id = await request(server);
  await page.goto(server.base);
  await expect(header(page)).toContainText("Live");
  const approve = approval(page, id).getByRole("button", { name: `Approve ${id}` });
  await expect(approve).toBeVisible();
  await server.stop();
  await approve.click();
  await expect(approval(page, id).getByRole("alert")).not.toBeEmpty();
  await expect(approval(page, id).locator(".settled-line")).toHaveCount(0);
  await server.start();
  await isLive(page);
  await approve.click();
  await expect(approval(page, id).locator(".settled-line")).toContainText("Approved by operator");
  expect(await events(server, "approval_resolved")).toHaveLength(1);
});

test("with an event open beside the rows the keys go on, with one over them they do not", async ({
  page,
  server,
}) => {
  const id = await request(server);
  await page.goto(`${server.base}?event=1`);
  await expect(page.locator("dialog.detail pre.raw")).toBeVisible();
  await expect(approval(page, id).getByRole("textbox")).toBeVisible();
  await page.keyboard.press("j");
  await expect(approval(page, id)).toBeFocused();
  await page.keyboard.press("d");
  await expect(approval(page, id).getByRole("textbox")).toBeFocused();
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  await expect(page.getByRole("searchbox", { name: "Search" })).toBeFocused();
  await page.setViewportSize({ width: 900, height: 700 });
  await expect(page.locator("dialog.detail h3").first()).toBeFocused();
  await page.keyboard.press("?");
  await page.keyboard.press("j");
  await expect(page.locator("dialog.legend")).toBeHidden();
  await expect(page.locator("dialog.detail h3").first()).toBeFocused();
});

test.describe("where one has to sign in", () => {
  test.use({ auth: true });

  test("who may only read sees what waits and no buttons", async ({ page, server }) => {
    const agent = server.token("ada", "agent");
    const reader = server.token("looker", "read");
    const id = await request(server, { description: "a helper" }, agent);
    await page.goto(server.base);
    await page.getByLabel("Token").fill(reader);
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect(approval(page, id)).toContainText("a helper");
    await expect(page.locator("hive-session")).toContainText("needs the role operator");
    await expect(approval(page, id).getByRole("button", { name: /Approve|Deny/ })).toHaveCount(0);
    await expect(approval(page, id).getByRole("textbox")).toHaveCount(0);
  });
});
