/** @file What every browser test stands on: a real server, and eyes on whatever a page must never do. */

import { test as base, expect } from "@playwright/test";
import { Line } from "./line.js";
import { Server } from "./server.js";

export { expect };

/** What the browser says of a server that was killed or that refused: the tests do both. */
const LOST_LINE = /Failed to load resource|net::ERR_|the server responded with a status of/;

/** So many times slower pages are than the machine is: what holds on a fast one by luck is found. */
const SLOW = Number(process.env.HIVELOG_SLOW ?? 1);

/** @param {import("@playwright/test").BrowserContext} context */
function slowDown(context) {
  if (SLOW <= 1) return;
  context.on("page", async (page) => {
    try {
      const session = await context.newCDPSession(page);
      await session.send("Emulation.setCPUThrottlingRate", { rate: SLOW });
    } catch {
      // It was closed meanwhile.
    }
  });
}

/**
 * What a page must never do, seen in all pages of a context.
 * @param {import("@playwright/test").BrowserContext} context
 * @param {() => string[]} origins those that may be asked
 */
async function watch(context, origins) {
  /** @type {string[]} */
  const found = [];
  slowDown(context);
  context.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    const isLocal = protocol === "blob:" || protocol === "about:";
    if (!isLocal && !origins().includes(origin)) found.push(`a request to ${request.url()}`);
  });
  context.on("dialog", async (dialog) => {
    found.push(`a dialog: ${dialog.message()}`);
    await dialog.dismiss();
  });
  context.on("weberror", (error) => found.push(`an error: ${error.error().stack ?? error.error()}`));
  context.on("console", (message) => {
    if (message.type() !== "error" || LOST_LINE.test(message.text())) return;
    found.push(`on the console: ${message.text()}`);
  });
  await context.exposeBinding("reportViolation", (_, text) => found.push(`a CSP report: ${text}`));
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sample }) => {
      const report = /** @type {any} */ (globalThis).reportViolation;
      report(`${violatedDirective} ${blockedURI} ${sample}`);
    });
  });
  return found;
}

/**
 * @typedef {object} Fixtures
 * @property {boolean} auth whether the server asks who one is: `test.use({ auth: true })`
 * @property {Server} server a server of its own, at a port that it keeps when it is killed and started again
 * @property {Line} line a way to it that can be cut
 * @property {import("@playwright/test").Page} elsewhere a page of another browser, looked at as all are
 * @property {Set<string>} origins what pages may ask beside the server
 * @property {string[]} found what pages did that they must not; it has to stay empty
 */

/** @type {import("@playwright/test").Fixtures<Fixtures, {}, import("@playwright/test").PlaywrightTestArgs, import("@playwright/test").PlaywrightWorkerArgs>} */
const fixtures = {
  auth: [false, { option: true }],
  server: async ({ auth }, use) => {
    const server = await Server.begin({ auth });
    await use(server);
    await server.end();
  },
  line: async ({ server, origins }, use) => {
    const line = await Line.begin(server.port);
    origins.add(new URL(line.base).origin);
    await use(line);
    line.end();
  },
  elsewhere: async ({ browser, server, origins }, use) => {
    const context = await browser.newContext();
    const found = await watch(context, () => [new URL(server.base).origin, ...origins]);
    await use(await context.newPage());
    await context.close();
    expect(found).toEqual([]);
  },
  // biome-ignore lint/correctness/noEmptyPattern: the runner reads names of fixtures out of the pattern
  origins: async ({}, use) => use(new Set()),
  found: [
    async ({ context, server, origins }, use) => {
      const found = await watch(context, () => [new URL(server.base).origin, ...origins]);
      await use(found);
      expect(found).toEqual([]);
    },
    { auto: true },
  ],
};

export const test = base.extend(fixtures);

/**
 * Opens the page, signed in by a link of `hivelog login`.
 * @param {import("@playwright/test").Page} page @param {Server} server @param {string} [base]
 */
export async function signIn(page, server, base = server.base) {
  const link = new URL(server.login());
  await page.goto(new URL(`./${link.hash}`, base).href);
}
