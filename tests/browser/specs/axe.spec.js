/** @file Is the page accessible by what a machine can tell, in light and dark, wide and narrow; and how does it look? */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { approval, ask, request } from "../asks.js";
import { expect, test } from "../fixtures.js";

/** @typedef {import("@playwright/test").Page} Tab */
/** @typedef {import("../server.js").Server} Server */

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SCREENS = new URL("../../../target/browser/screens/", import.meta.url);
const FULL = process.env.HIVELOG_FULL === "1";
const SIZES = /** @type {const} */ ([
  [1440, 900],
  [390, 844],
]);
/** What has a picture of its own. @type {Record<string, string>} */
const PARTS = {
  waiting: "#waiting",
  agents: "#agents",
  activity: "#activity",
  events: "#events",
  header: "body > header",
  detail: "dialog.detail",
};
const DIFF = `diff --git a/src/index.rs b/src/index.rs
--- a/src/index.rs
+++ b/src/index.rs
@@ -1,3 +1,4 @@ fn open()
 let file = File::open(path)?;
-let index = Index::read(file);
+let index = Index::read(&file)?;
+index.check()?;
 Ok(index)
diff --git a/src/old.rs b/src/old.rs
deleted file mode 100644
--- a/src/old.rs
+++ /dev/null
@@ -1 +0,0 @@
-mod old;
`;

/** @param {Server} server */
async function fill(server) {
  /** @param {string} from @param {string} to @param {string} body */
  const say = (from, to, body) => ({ kind: "sent", from, to, body, at: 1_763_829_000, message_id: null });
  await server.append([
    say("ada", "bob", "please review the index"),
    say("bob", "ada", "it reads well; see https://example.org/spec \u202e hidden"),
    { kind: "deploy.finished", service: "web", seconds: 3.5, agent: "carol" },
  ]);
  await request(server, {
    description: "Swap the index\n\nIt is read twice.",
    diff: DIFF,
    sha_short: "9f5db55",
  });
  await request(server, { description: "A helper", approval_kind: "spawn", diff: null });
  await ask(server, { question: "Which colour?", options: ["red", "green"], ttl_seconds: 3_600 });
  await ask(server, { question: "Which of them?", options: ["one", "two", "three"], multi: true });
  await server.call("api/transients/ada", { method: "PUT", body: { transient_kind: "rebuilding" } });
  const done = await request(server, { description: "An old one" });
  await server.call(`api/approvals/${done}/resolve`, { body: { status: "denied", note: "not now" } });
}

/** The rules that ask what colour something is; the others ask of the document, which has none. */
const OF_COLOURS = { runOnly: { type: "rule", values: ["color-contrast", "link-in-text-block"] } };

/** What axe finds, each with the elements that it is about. @param {Tab} tab @param {object} [options] */
async function violations(tab, options = {}) {
  // As an expression of the debugger's it needs no leave of the page's policy.
  if (!(await tab.evaluate(() => "axe" in globalThis))) await tab.evaluate(`${AXE}; undefined`);
  const { violations } = await tab.evaluate(
    (options) => /** @type {any} */ (globalThis).axe.run(options),
    options,
  );
  return violations.map((/** @type {any} */ { id, nodes }) => [
    id,
    nodes.map((/** @type {any} */ { html, failureSummary }) => `${html.slice(0, 200)}: ${failureSummary}`),
  ]);
}

/** Pictures of it all, for people. @param {Tab} tab @param {string} name @param {string} as @param {string[]} parts */
async function shoot(tab, name, as, parts) {
  for (const [what, where] of [[name, tab], ...parts.map((part) => [part, tab.locator(PARTS[part] ?? "")])]) {
    const path = fileURLToPath(new URL(`${what}-${as}.png`, SCREENS));
    await /** @type {Tab} */ (where).screenshot({ path, animations: "disabled" });
  }
}

/**
 * What is shown now has nothing that axe finds, wide and narrow, in light and dark.
 * @param {Tab} tab @param {string} name @param {string[]} [parts] those that have a picture of their own
 */
async function isAccessible(tab, name, parts = []) {
  for (const [width, height] of SIZES) {
    await tab.setViewportSize({ width, height });
    for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
      await tab.emulateMedia({ colorScheme });
      // The page draws anew what depends on its size.
      await tab.evaluate(
        () => new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(then))),
      );
      const found = await violations(tab, colorScheme === "light" || FULL ? {} : OF_COLOURS);
      expect(found, `${name}, ${width} px, ${colorScheme}`).toEqual([]);
      if (FULL) await shoot(tab, name, `${width}-${colorScheme}`, parts);
    }
  }
}

test("what waits, an event in detail, the past", async ({ page, server }) => {
  await fill(server);
  await page.goto(server.base);
  await expect(page.locator("hive-approval, hive-question")).toHaveCount(4);
  await expect(page.locator("hive-feed li.row").first()).toBeAttached();
  await expect(page.locator("hive-agents tbody tr")).toHaveCount(4);
  await page.locator(".recent > summary").click();
  await expect(page.locator(".recent-list")).toContainText("not now");
  await approval(page, 1).locator("details.file").first().locator("summary").focus();
  await isAccessible(page, "page", ["waiting", "agents", "activity", "events", "header"]);

  await page.goto(`${server.base}?event=4`);
  await expect(page.locator("dialog.detail pre.raw")).toContainText("approval_added");
  await isAccessible(page, "beside", ["detail"]);

  await page.goto(`${server.base}?at=6`);
  await expect(page.locator(".past-board")).toContainText("Waited for the operator: 3");
  await page.locator(".past-board details > summary").first().click();
  await isAccessible(page, "past");
});

test("an empty log, the keys, and a server that is away", async ({ page, server }) => {
  await page.goto(server.base);
  await expect(page.locator("hive-waiting")).toContainText("Nothing waits for you.");
  await expect(page.locator("hive-header")).toContainText("Live");
  await isAccessible(page, "empty");
  await fill(server);
  await expect(page.locator("hive-approval, hive-question")).toHaveCount(4);
  await page.keyboard.press("?");
  await expect(page.locator("dialog.legend")).toBeVisible();
  await isAccessible(page, "keys");
  await page.keyboard.press("Escape");
  await server.stop();
  await expect(page.locator(".banner")).toBeVisible();
  await isAccessible(page, "away");
});

test.describe("where one has to sign in", () => {
  test.use({ auth: true });

  test("signed out", async ({ page, server }) => {
    await page.goto(server.base);
    await expect(page.locator("hive-session")).toContainText("You are signed out");
    await isAccessible(page, "signed-out");
  });
});
