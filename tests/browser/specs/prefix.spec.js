/** @file Does the page work under a path that a proxy takes off, and at a port that is not the server's? */

import { approval, ask, hurry, question, request } from "../asks.js";
import { Door } from "../door.js";
import { test as base, expect, signIn } from "../fixtures.js";

/** @typedef {import("@playwright/test").Page} Tab */

/** @type {import("@playwright/test").Fixtures<{door: Door}, {}, {server: import("../server.js").Server, origins: Set<string>}>} */
const fixtures = {
  door: async ({ server, origins }, use) => {
    const door = await Door.begin(server.port, "/deep/hive");
    origins.add(new URL(door.base).origin);
    await use(door);
    door.end();
    // All that the page asks for is beside its document.
    expect(door.strays).toEqual([]);
  },
};

const test = base.extend(fixtures);

/** @param {Tab} tab @param {Door} door */
function watchPaths(tab, door) {
  /** @type {Set<string>} */
  const paths = new Set();
  tab.on("request", (request) => {
    const url = new URL(request.url());
    if (url.port === String(door.port)) paths.add(url.pathname);
    else paths.add(request.url());
  });
  return paths;
}

test("live, decided, searched and in the past, all under the path", async ({ page, server, door }) => {
  const id = await request(server, { description: "swap the index" });
  const asked = await ask(server, { options: ["red", "green"] });
  const paths = watchPaths(page, door);
  await page.goto(door.base);
  await expect(page.locator("hive-header")).toContainText("Live");
  await expect(page).toHaveTitle("(2) hivelog");
  await approval(page, id)
    .getByRole("button", { name: `Approve ${id}` })
    .click();
  await expect(approval(page, id).locator(".settled-line")).toContainText("Approved by operator");
  await question(page, asked).getByLabel("green").check();
  await question(page, asked).getByRole("button", { name: "Answer" }).click();
  await expect(question(page, asked).locator(".settled-line")).toContainText("green");
  const { seq } = await server.append({ kind: "probe.said", text: "unheard of" });
  await page.getByRole("searchbox").fill("unheard");
  await expect(page.locator("hive-feed li.row")).toHaveCount(1);
  await page.locator(`hive-feed li[data-seq="${seq}"] a`).click();
  await expect(page.locator("dialog.detail pre.raw")).toContainText("unheard of");
  await expect(page).toHaveURL(`${door.base}?q=unheard&event=${seq}`);
  await page.goto(`${door.base}?at=2`);
  await expect(page.locator(".past-board")).toContainText("Waited for the operator: 2");
  for (const path of paths) expect(path).toMatch(/^\/deep\/hive\//);
  expect([...paths]).toContain("/deep/hive/api/stream");
});

test("killed and started again behind the proxy, the page goes on", async ({ page, server, door }) => {
  await page.goto(door.base);
  await expect(page.locator("hive-header")).toContainText("Live");
  await server.stop();
  await expect(page.locator("hive-header")).toContainText("Reconnecting");
  await server.start();
  const id = await request(server);
  await expect(async () => {
    await hurry(page);
    await expect(approval(page, id)).toBeVisible({ timeout: 500 });
    await expect(page.locator("hive-header")).toContainText("Live", { timeout: 500 });
  }).toPass();
});

test.describe("where one has to sign in", () => {
  test.use({ auth: true });

  test("signed in by a link under the path, and writes", async ({ page, server, door }) => {
    const id = await request(server, { description: "a helper" }, server.token("ada", "agent"));
    await page.goto(door.base);
    await expect(page.locator("hive-session")).toContainText("You are signed out");
    await signIn(page, server, door.base);
    await expect(page).toHaveURL(door.base);
    await approval(page, id)
      .getByRole("button", { name: `Deny ${id}` })
      .click();
    await expect(approval(page, id).locator(".settled-line")).toContainText("Denied by");
    await page.reload();
    await expect(page.locator("hive-header")).toContainText("Live");
    await page.getByRole("button", { name: "Sign out" }).click();
    await expect(page.locator("hive-session")).toContainText("You are signed out");
  });
});
