/** @file Is the page readable where a browser takes its colours away, or shows no motion? */

import { approval, isLive, request } from "../asks.js";
import { expect, test } from "../fixtures.js";

/** @typedef {import("@playwright/test").Locator} Locator */

/** @param {Locator} where @param {string} name */
const style = (where, name) =>
  where.evaluate((element, name) => getComputedStyle(element).getPropertyValue(name), name);

test("with forced colours all that says something is seen", async ({ page, server }) => {
  await page.emulateMedia({ forcedColors: "active" });
  await server.append(Array.from({ length: 40 }, (_, n) => ({ kind: "probe.event", n })));
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  const id = await request(server);
  await page.goto(server.base);
  const bars = page.locator("hive-activity rect.bar");
  await expect(bars).toHaveCount(2);
  const ground = await style(page.locator("#activity"), "background-color");
  expect(await style(bars.first(), "fill")).not.toBe(ground);
  const plot = page.getByRole("slider");
  await plot.focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter");
  // What is not chosen differs from what is, and both from the ground.
  const outside = page.locator("hive-activity rect.bar.outside");
  await expect(outside).toHaveCount(1);
  const fills = [await style(outside, "fill"), await style(bars.first(), "fill"), ground];
  expect(new Set(fills).size).toBe(3);
  // The band behind the chosen bars hides none of them.
  expect(await style(page.locator("hive-activity rect.band"), "fill")).not.toBe(fills[1]);
  const approve = approval(page, id).getByRole("button", { name: `Approve ${id}` });
  expect(await style(approve, "border-top-style")).toBe("solid");
  expect(await style(approve, "border-top-color")).not.toBe(await style(approve, "background-color"));
  // Whether it is live is a ring or a disc, whose disc is drawn with what may be seen.
  const state = page.locator(".state");
  await expect(state).toHaveText("Live");
  const disc = await state.evaluate((element) => {
    const { backgroundColor, borderTopColor } = getComputedStyle(element, "::before");
    return [backgroundColor, borderTopColor];
  });
  expect(disc[0]).toBe(disc[1]);
  await page.screenshot({ path: "../../target/browser/screens/forced-colours.png" });
});

test("what says that the page is not live covers no title and no way to a section", async ({
  page,
  server,
}) => {
  await server.append({ kind: "probe.event" });
  await page.goto(server.base);
  await expect(page.locator(".state")).toHaveText("Live");
  const facts = page.locator("hive-header .fact");
  await server.stop();
  const banner = page.locator(".banner");
  await expect(banner).toContainText("Shown up to event 1, as of");
  for (const width of [390, 700, 1_099, 1_100, 1_399, 1_400]) {
    await page.setViewportSize({ width, height: 800 });
    const covered = await banner.evaluate((banner) => {
      const box = banner.getBoundingClientRect();
      const is_under = (/** @type {Element} */ one) => {
        const { left, right, top, bottom, width } = one.getBoundingClientRect();
        const is_apart = right <= box.left || left >= box.right || bottom <= box.top || top >= box.bottom;
        return width > 1 && !is_apart;
      };
      const others = "h1, h2, nav a, .state, .fact, hive-header > button, .who, main button, main input";
      const is_cut = box.left < 0 || box.right > innerWidth || box.height < 20;
      return [...document.querySelectorAll(others)]
        .filter(is_under)
        .map((one) => one.textContent)
        .concat(is_cut ? ["cut"] : []);
    });
    expect([width, covered]).toEqual([width, []]);
    await expect(banner.getByRole("button", { name: "Retry now" })).toBeInViewport({ ratio: 1 });
  }
  await server.start();
  await page.setViewportSize({ width: 390, height: 800 });
  await isLive(page);
  await expect(banner).toBeHidden();
  // Both facts in full, with what they are called.
  await expect(facts).toHaveText([/^head seq 1$/, /^last event .+/]);
  for (const fact of await facts.all()) {
    await expect(fact).toBeInViewport({ ratio: 1 });
    expect(await fact.evaluate((one) => one.scrollWidth <= one.clientWidth + 1)).toBe(true);
  }
});

test("with reduced motion nothing turns", async ({ page, server }) => {
  await server.call("api/transients/ada", { method: "PUT", body: { transient_kind: "rebuilding" } });
  await page.goto(server.base);
  const spinner = page.locator(".spinner");
  await expect(spinner).toBeVisible();
  expect(await style(spinner, "animation-name")).toBe("turn");
  await page.emulateMedia({ reducedMotion: "reduce" });
  const moving = await page.evaluate(() => document.getAnimations().length);
  expect(moving).toBe(0);
  await expect(page.locator(".agent-state")).toContainText("rebuilding");
});
