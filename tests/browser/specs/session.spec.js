/** @file Does every tab know who is signed in, whichever tab signed in or out, and can one always sign in again? */

import { approval, events, isLive, isMarked, mark, request, stopClock } from "../asks.js";
import { expect, signIn, test } from "../fixtures.js";

/** @typedef {import("@playwright/test").Page} Tab */
/** @typedef {import("../server.js").Server} Server */

test.use({ auth: true });

/** @param {Tab} tab @param {number} id */
const deny = (tab, id) => approval(tab, id).getByRole("button", { name: `Deny ${id}` });

/** @param {Tab} tab */
const panel = (tab) => tab.locator("hive-session");

/** @param {Tab} tab @param {string} token */
async function signInByToken(tab, token) {
  await panel(tab).getByLabel("Token").fill(token);
  await panel(tab).getByRole("button", { name: "Sign in" }).click();
}

test("signed in, as another, and out, in one tab: the other one hears of it", async ({ context, server }) => {
  const agent = server.token("ada", "agent");
  const alice = server.token("alice", "operator");
  const bob = server.token("bob", "operator");
  const id = await request(server, { description: "a helper" }, agent);
  const tab = await context.newPage();
  const other = await context.newPage();
  for (const each of [tab, other]) {
    await each.goto(server.base);
    await expect(panel(each)).toContainText("You are signed out");
  }
  await mark(other);
  await signInByToken(tab, alice);
  await expect(deny(other, id)).toBeVisible();
  await expect(panel(other)).toBeEmpty();
  await expect(other.locator(".who")).toContainText("alice");
  const note = approval(other, id).getByRole("textbox");
  await note.fill("not now");

  const { code } = JSON.parse(await server.call("api/login", { method: "POST", token: bob }));
  await tab.goto(`${server.base}#login=${code}`);
  await expect(other.locator(".who")).toContainText("bob");
  await expect(note).toHaveValue("not now");
  await stopClock(other);
  await deny(other, id).click();
  await expect(approval(other, id).locator(".settled-line")).toHaveText(
    /^Denied by bob .*: not now \(you\)$/,
  );
  expect((await events(server, "approval_resolved", alice)).map(({ by }) => by)).toEqual(["bob"]);
  expect(await isMarked(other)).toBe(true);

  await request(server, { description: "a second helper" }, agent);
  await expect(other.locator("body")).toContainText("a second helper");
  await tab.getByRole("button", { name: "Sign out" }).click();
  for (const each of [tab, other]) {
    await expect(panel(each)).toContainText("You are signed out");
    await expect(each.locator("body")).not.toContainText("helper");
  }
});

test("without the second secret the page takes a token, and decides", async ({ page, server }) => {
  const id = await request(server, { description: "a helper" }, server.token("ada", "agent"));
  await signIn(page, server);
  await expect(deny(page, id)).toBeVisible();
  await page.evaluate(() => localStorage.clear());
  await deny(page, id).click();
  await expect(approval(page, id).getByRole("alert")).toContainText("this browser can only read");
  await expect(panel(page)).toContainText("This browser can only read");
  await signInByToken(page, "no token");
  await expect(panel(page).getByRole("alert")).toHaveText("This token does not hold.");
  await expect(panel(page)).toContainText("This browser can only read");
  await signInByToken(page, server.token("alice", "operator"));
  await expect(panel(page)).toBeEmpty();
  await stopClock(page);
  await deny(page, id).click();
  await expect(approval(page, id).locator(".settled-line")).toContainText("Denied by alice");
});

test("a login link that was used signs nobody out", async ({ context, server }) => {
  const id = await request(server, { description: "a helper" }, server.token("ada", "agent"));
  const link = `${server.base}${new URL(server.login()).hash}`;
  const tab = await context.newPage();
  const other = await context.newPage();
  // In a page that has to find out who is signed in, and in one that knows.
  for (const each of [tab, other]) {
    await each.goto(link);
    await expect(deny(each, id)).toBeVisible();
  }
  await tab.evaluate(() => {
    const { page } = /** @type {any} */ (document.querySelector("hive-feed")).loaded;
    page.addEventListener("signin-failed", () => Object.assign(globalThis, { failed: true }));
  });
  await tab.goto(link);
  await expect.poll(() => tab.evaluate(() => /** @type {any} */ (globalThis).failed)).toBe(true);
  for (const each of [tab, other]) {
    await expect(each.getByRole("button", { name: "Sign out" })).toBeVisible();
    await expect(deny(each, id)).toBeVisible();
    await expect(panel(each)).toBeEmpty();
  }
});

test("who may not read the log is told so, and takes another token", async ({ page, server }) => {
  await page.goto(server.base);
  await expect(panel(page)).toContainText("You are signed out");
  await signInByToken(page, server.token("ada", "agent"));
  await expect(panel(page)).toContainText("This credential may not read the log");
  await signInByToken(page, server.token("alice", "operator"));
  await expect(panel(page)).toBeEmpty();
  await isLive(page);
});

test("a session that came along from another port is signed in to anew, and ended", async ({
  context,
  server,
  line,
}) => {
  const alice = server.token("alice", "operator");
  const page = await context.newPage();
  const other = await context.newPage();
  await page.goto(server.base);
  await expect(panel(page)).toContainText("You are signed out");
  await other.goto(line.base);
  await signInByToken(other, alice);
  await expect(panel(other)).toBeEmpty();
  await isLive(page);
  await expect(page.locator(".who")).toContainText("alice");
  await expect(panel(page)).toContainText("This browser can only read");
  await signInByToken(page, alice);
  await expect(panel(page)).toBeEmpty();

  // The other port has the secret of a session now that is not the cookie's.
  await other.getByRole("button", { name: "Sign out" }).click();
  await expect(panel(other)).toContainText("This browser can only read");
  await signInByToken(other, alice);
  await expect(panel(other)).toBeEmpty();
  await other.getByRole("button", { name: "Sign out" }).click();
  for (const tab of [page, other]) await expect(panel(tab)).toContainText("You are signed out");
});

test("where tabs do not hear of each other, one that was signed out is live when another signs in", async ({
  context,
  server,
}) => {
  await context.addInitScript(() =>
    Object.defineProperty(Navigator.prototype, "locks", { value: undefined }),
  );
  const tab = await context.newPage();
  const other = await context.newPage();
  for (const each of [tab, other]) {
    await each.goto(server.base);
    await expect(panel(each)).toContainText("You are signed out");
  }
  await signInByToken(tab, server.token("alice", "operator"));
  // Sooner than it looks for itself.
  await expect(other.locator("hive-header")).toContainText("Live", { timeout: 10_000 });
  await expect(panel(other)).toBeEmpty();
});

test("an answer to what was asked before the sign-in does not sign out", async ({ page, server }) => {
  const id = await request(server, { description: "a helper" }, server.token("ada", "agent"));
  /** @type {() => void} */
  let asked = () => {};
  /** @type {() => void} */
  let signed = () => {};
  const isAsked = new Promise((resolve) => {
    asked = () => resolve(undefined);
  });
  const isSigned = new Promise((resolve) => {
    signed = () => resolve(undefined);
  });
  await page.route("**/session", async (route) => {
    await isAsked;
    await route.continue();
  });
  /** @type {number[]} */
  const answers = [];
  await page.route("**/api/state?at=1", async (route) => {
    const response = await route.fetch();
    answers.push(response.status());
    asked();
    await isSigned;
    await route.fulfill({ response });
  });
  const { hash } = new URL(server.login());
  await page.goto(`${server.base}?at=1${hash}`);
  await expect(deny(page, id)).toBeVisible();
  expect(answers).toEqual([401]);
  signed();
  await expect(page.locator(".past-board")).toContainText("a helper");
  await expect(panel(page)).toBeEmpty();
  await expect(deny(page, id)).toBeVisible();
});
