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

/** What axe finds, each with the elements that it is about. @param {Tab} tab */
async function violations(tab) {
  // As an expression of the debugger's it needs no leave of the page's policy.
  await tab.evaluate(`${AXE}; undefined`);
  const { violations } = await tab.evaluate(() => /** @type {any} */ (globalThis).axe.run());
  return violations.map((/** @type {any} */ { id, nodes }) => [
    id,
    nodes.map((/** @type {any} */ { html, failureSummary }) => `${html.slice(0, 200)}: ${failureSummary}`),
  ]);
}

/** @param {Tab} tab @param {string} name @param {string} [part] */
async function shoot(tab, name, part) {
  const path = fileURLToPath(new URL(`${name}.png`, SCREENS));
  await (part ? tab.locator(part) : tab).screenshot({ path, animations: "disabled" });
}

for (const scheme of /** @type {const} */ (["light", "dark"])) {
  for (const [width, height] of /** @type {const} */ ([
    [1440, 900],
    [390, 844],
  ])) {
    const as = `${width}-${scheme}`;
    test.describe(`${scheme}, ${width} px`, () => {
      test.use({ colorScheme: scheme, viewport: { width, height } });

      test("what waits, an event in detail, the past", async ({ page, server }) => {
        await fill(server);
        await page.goto(server.base);
        await expect(page.locator("hive-approval, hive-question")).toHaveCount(4);
        await expect(page.locator("hive-feed li.row").first()).toBeAttached();
        await expect(page.locator("hive-agents tbody tr")).toHaveCount(4);
        await page.locator(".recent > summary").click();
        await expect(page.locator(".recent-list")).toContainText("not now");
        await approval(page, 1).locator("details.file").first().locator("summary").focus();
        expect(await violations(page)).toEqual([]);
        await shoot(page, `page-${as}`);
        for (const part of ["waiting", "agents", "activity", "events"])
          await shoot(page, `${part}-${as}`, `#${part}`);
        await shoot(page, `header-${as}`, "body > header");

        await page.goto(`${server.base}?event=4`);
        const detail = page.locator("dialog.detail");
        await expect(detail.locator("pre.raw")).toContainText("approval_added");
        expect(await violations(page)).toEqual([]);
        await shoot(page, `detail-${as}`, "dialog.detail");

        await page.goto(`${server.base}?at=6`);
        await expect(page.locator(".past-board")).toContainText("Waited for the operator: 3");
        await page.locator(".past-board details > summary").first().click();
        expect(await violations(page)).toEqual([]);
        await shoot(page, `past-${as}`);
      });

      test("an empty log, the keys, and a server that is away", async ({ page, server }) => {
        await page.goto(server.base);
        await expect(page.locator("hive-waiting")).toContainText("Nothing waits for you.");
        await expect(page.locator("hive-header")).toContainText("Live");
        expect(await violations(page)).toEqual([]);
        await shoot(page, `empty-${as}`);
        await fill(server);
        await expect(page.locator("hive-approval, hive-question")).toHaveCount(4);
        await page.keyboard.press("?");
        await expect(page.locator("dialog.legend")).toBeVisible();
        expect(await violations(page)).toEqual([]);
        await shoot(page, `keys-${as}`);
        await page.keyboard.press("Escape");
        await server.stop();
        await expect(page.locator(".banner")).toBeVisible();
        expect(await violations(page)).toEqual([]);
        await shoot(page, `away-${as}`);
      });
    });
  }
}

test.describe("where one has to sign in", () => {
  test.use({ auth: true });

  test("signed out", async ({ page, server }) => {
    await page.goto(server.base);
    await expect(page.locator("hive-session")).toContainText("You are signed out");
    expect(await violations(page)).toEqual([]);
    await shoot(page, "signed-out-1440-light");
  });
});
