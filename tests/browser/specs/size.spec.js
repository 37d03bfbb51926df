/** @file Is the page as small as it is promised to be? */

import { expect, test } from "../fixtures.js";

/** All files of the page that ships, uncompressed. */
const SHIPPED_BYTES_MAX = 150_000;
/** The source, which a debug build serves: comments, types and long names more. */
const SOURCE_BYTES_MAX = 300_000;

test("the files of the page", async ({ page, server }) => {
  /** @type {Map<string, Promise<Buffer>>} */
  const files = new Map();
  page.on("response", (response) => {
    const { pathname } = new URL(response.url());
    if (/\.(js|css|svg)$|\/$/.test(pathname)) files.set(pathname, response.body());
  });
  await page.goto(server.base);
  await expect(page.locator("hive-header")).toContainText("Live");
  const sizes = await Promise.all([...files.values()].map(async (body) => (await body).length));
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  const client = (await files.get("/client.js")) ?? Buffer.alloc(0);
  const ships = !client.includes("@typedef");
  console.log(`${files.size} files, ${bytes} bytes, ${ships ? "as they ship" : "the source"}`);
  expect(files.size).toBeGreaterThan(45);
  expect(bytes).toBeLessThan(ships ? SHIPPED_BYTES_MAX : SOURCE_BYTES_MAX);
});
