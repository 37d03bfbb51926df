/** @file Can the address share what is looked at: the past, filters, a search, one event; and what is saved of it? */

import { readFile } from "node:fs/promises";
import { approval, ask, request } from "../asks.js";
import { expect, test } from "../fixtures.js";

/** @typedef {import("@playwright/test").Page} Tab */
/** @typedef {import("../server.js").Server} Server */

/** @param {string} from @param {string} to @param {string} body */
const say = (from, to, body) => ({ kind: "sent", from, to, body, at: 1, message_id: null });

/** @param {Tab} tab */
const rows = (tab) => tab.locator("hive-feed li.row");

/** @param {Tab} tab @param {number} seq */
const row = (tab, seq) => tab.locator(`hive-feed li.row[data-seq="${seq}"]`);

/** @param {Tab} tab */
const chips = (tab) => tab.getByRole("list", { name: "Filters in force" });

test("the board as it stood, plainly the past, with nothing to decide", async ({ page, server }) => {
  const first = await request(server, { description: "was open then" });
  const asked = await ask(server, { question: "asked then" });
  await server.append(say("ada", "bob", "between"));
  await server.call(`api/approvals/${first}/resolve`, { body: { status: "approved" } });
  await server.call(`api/questions/${asked}/cancel`, { body: { by: "operator" } });
  const now = await request(server, { description: "is open now" });
  await page.goto(`${server.base}?at=3`);
  const past = page.getByRole("region", { name: "The board in the past" });
  await expect(past.getByRole("heading", { level: 3 })).toHaveText(/^The past: .* after event #3$/);
  await expect(past).toContainText("Waited for the operator: 2");
  await expect(past).toContainText("was open then");
  await expect(past).toContainText("asked then");
  await expect(past).not.toContainText("is open now");
  await past.locator("details > summary").first().click();
  await expect(past.locator("hive-diff")).toBeVisible();
  await expect(past.getByRole("button", { name: /approve|deny|answer|cancel/i })).toHaveCount(0);
  await expect(past.locator("input, textarea")).toHaveCount(0);
  // What waits now stands beside it and is what can be decided.
  await expect(approval(page, now)).toContainText("is open now");
  await expect(approval(page, first)).toHaveCount(0);
  await page.reload();
  await expect(past).toContainText("Waited for the operator: 2");
  await past.getByRole("button", { name: "Change »" }).click();
  await expect(page).toHaveURL(/\?at=4$/);
  await expect(past).toContainText("Waited for the operator: 1");
  await past.getByRole("button", { name: "‹ Event" }).click();
  await expect(page).toHaveURL(/\?at=3$/);
  await expect(past).toContainText("Waited for the operator: 2");
  await past.getByRole("button", { name: "Back to now" }).click();
  await expect(past).toHaveCount(0);
  await expect(page).toHaveURL(server.base);
});

test("a moment that is none, or a number that is none", async ({ page, server }) => {
  await server.append(say("ada", "bob", "only"));
  await page.goto(`${server.base}?at=999`);
  await expect(page.locator("hive-past").getByRole("alert")).toContainText("There is no moment #999");
  await page.goto(`${server.base}?at=%3Cb%3E&event=-1&kind=__proto__&agent=%E2%80%AE`);
  await expect(row(page, 1)).toBeVisible();
  await expect(page.getByRole("region", { name: "The board in the past" })).toHaveCount(0);
});

test("a moment is chosen by its time or its number", async ({ page, server }) => {
  await request(server, { description: "was open then" });
  await server.append(say("ada", "bob", "later"));
  await page.goto(server.base);
  await page.getByText("Look at the past").click();
  await page.getByLabel("or at event #").fill("1");
  await page.getByRole("button", { name: "Show the board then" }).click();
  await expect(page).toHaveURL(/\?at=1$/);
  await expect(page.locator(".past-board")).toContainText("was open then");
  await page.goBack();
  await expect(page.getByRole("region", { name: "The board in the past" })).toHaveCount(0);
  await expect(page).toHaveURL(server.base);

  // Both events are of other seconds, since the field takes whole ones.
  await new Promise((resolve) => setTimeout(resolve, 2_100));
  const after = await request(server, { description: "came later" });
  const { recorded_at_ms } = JSON.parse(await server.call("api/history/3"));
  const before_ms = Math.floor(recorded_at_ms / 1_000) * 1_000;
  const local = new Date(before_ms - new Date(before_ms).getTimezoneOffset() * 60_000);
  await page.getByText("Look at the past").click();
  await page.getByLabel("At this time").fill(local.toISOString().slice(0, 19));
  await page.getByRole("button", { name: "Show the board then" }).click();
  await expect(page).toHaveURL(/\?at=2$/);
  await expect(page.locator(".past-board")).toContainText("Waited for the operator: 1");
  await expect(page.locator(".past-board")).not.toContainText("came later");
  await expect(approval(page, after)).toBeVisible();
  await page.getByRole("button", { name: "Back to now" }).click();
  await page.getByText("Look at the past").click();
  await page.getByLabel("At this time").fill("2001-01-01T00:00:00");
  await page.getByRole("button", { name: "Show the board then" }).click();
  await expect(page.locator("hive-past").getByRole("alert")).toContainText("Nothing had happened by then");
});

test("a past that is pruned, or not to be had now, says so and comes back", async ({ page, server }) => {
  const gone = await request(server);
  await server.call(`api/approvals/${gone}/resolve`, { body: { status: "denied" } });
  await request(server, { description: "was open then" });
  const kinds = ["approval_added", "approval_resolved"];
  await server.call("api/prune", { body: { before_seq: 3, kinds } });
  await page.goto(`${server.base}?at=1&event=1`);
  const alert = page.locator("hive-past").getByRole("alert");
  await expect(alert).toContainText("What happened up to #1 was pruned");
  await expect(page.locator("dialog.detail")).toContainText("Event 1 was pruned");
  await expect(page.locator(".past-board")).toBeEmpty();
  // What is now is not touched by it.
  await expect(page.locator("hive-approval")).toHaveCount(1);

  const busy = { status: 503, type: "urn:hivelog:busy", title: "another board is being worked out" };
  await page.route("**/api/state?at=3", (route) => {
    const answer = { status: 503, contentType: "application/problem+json", body: JSON.stringify(busy) };
    return route.fulfill(answer);
  });
  await page.goto(`${server.base}?at=3`);
  await expect(alert).toContainText("Try again in a moment");
  await page.unroute("**/api/state?at=3");
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.locator(".past-board")).toContainText("was open then");
  await expect(page.locator("hive-past .problem")).toHaveText("");
});

test("scrolled back to the first event of a log that is longer than what is kept, each once and in order", async ({
  page,
  server,
}) => {
  const count = 7_000;
  test.setTimeout(300_000);
  await page.setViewportSize({ width: 1280, height: 1_700 });
  for (let n = 0; n < count; n += 1_000)
    await server.append(Array.from({ length: 1_000 }, (_, m) => ({ kind: "probe.event", n: n + m + 1 })));
  await page.goto(server.base);
  await expect(row(page, count)).toBeInViewport();
  // What is drawn is noted at each change: no gap and no double within, and all there was in the end.
  await page.evaluate(() => {
    const seen = new Set();
    /** @type {string[]} */
    const wrong = [];
    const look = () => {
      const rows = [...document.querySelectorAll("hive-feed li.row")];
      const seqs = rows.map((row) => Number(/** @type {HTMLElement} */ (row).dataset.seq));
      seqs.forEach((seq, index) => {
        if (index > 0 && seq !== Number(seqs[index - 1]) + 1) wrong.push(`${seqs[index - 1]} before ${seq}`);
        if (!rows[index]?.textContent?.includes(`n: ${seq}`)) wrong.push(`${seq}: another text`);
        seen.add(seq);
      });
    };
    look();
    new MutationObserver(look).observe(/** @type {Element} */ (document.querySelector("hive-feed ol")), {
      childList: true,
    });
    Object.assign(globalThis, { seen, wrong });
  });
  await page.locator("hive-feed .rows").hover();
  await expect(async () => {
    for (let n = 0; n < 10; n++) {
      await page.mouse.wheel(0, -1_100);
      // Not faster than it is drawn: what is scrolled past unseen is not drawn.
      await page.evaluate(
        () => new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(then))),
      );
    }
    await expect(row(page, 1)).toBeInViewport({ timeout: 20 });
  }).toPass({ intervals: [1] });
  await expect(page.locator("hive-feed .row-edge")).toHaveText("The log begins here.");
  const { seen, wrong } = await page.evaluate(() => {
    const { seen, wrong } = /** @type {any} */ (globalThis);
    return { seen: seen.size, wrong };
  });
  expect(wrong).toEqual([]);
  expect(seen).toBe(count);
  // And forward again, over what was dropped: to the end, and what comes is there.
  await page.locator("hive-feed .rows").press("End");
  await expect(row(page, count)).toBeInViewport();
  const { seq } = await server.append({ kind: "probe.event", n: count + 1 });
  await expect(row(page, seq)).toBeInViewport();
});

test("filters, a search and an event in the address survive a reload", async ({ page, server }) => {
  await server.append([
    say("ada", "bob", "review the index"),
    say("ada", "bob", "unrelated"),
    say("carol", "bob", "review the cache"),
    { kind: "probe.review", agent: "ada", text: "review this" },
    say("bob", "ada", "the review is done"),
  ]);
  await page.goto(`${server.base}?kind=sent&agent=ada&q=review&event=5`);
  for (let round = 0; round < 2; round++) {
    await expect(rows(page)).toHaveCount(2);
    await expect(row(page, 1)).toContainText("review the index");
    await expect(row(page, 5)).toContainText("the review is done");
    await expect(chips(page).getByRole("button")).toHaveText([
      /^Kind: sent/,
      /^Agent: ada/,
      /^Text: review/,
      "Clear all",
    ]);
    await expect(page.getByRole("searchbox")).toHaveValue("review");
    await expect(page.locator("dialog.detail h3")).toHaveText("Event #5");
    await expect(page.locator("dialog.detail pre.raw")).toContainText("the review is done");
    await page.reload();
  }
  await page.locator("dialog.detail").getByRole("button", { name: "Close" }).click();
  await expect(page).toHaveURL(/\?kind=sent&agent=ada&q=review$/);
  await chips(page).getByRole("button", { name: "Clear all" }).click();
  await expect(rows(page)).toHaveCount(5);
  await expect(page).toHaveURL(server.base);
  await page.goBack();
  await expect(rows(page)).toHaveCount(2);
});

test("a filter on an agent, chosen on the page, holds for what comes too", async ({ page, server }) => {
  await server.append([say("ada", "bob", "one"), say("carol", "bob", "two"), say("bob", "ada", "three")]);
  await page.goto(server.base);
  await expect(rows(page)).toHaveCount(3);
  await page.locator("hive-agents tbody tr", { hasText: "ada" }).getByRole("button").click();
  await expect(page).toHaveURL(/\?agent=ada$/);
  await expect(rows(page)).toHaveCount(2);
  await server.append([say("carol", "bob", "not for it"), say("dave", "ada", "for it")]);
  await expect(row(page, 5)).toContainText("for it");
  await expect(row(page, 4)).toHaveCount(0);
  await page.locator("hive-feed details.menu", { hasText: "Agents" }).locator("summary").click();
  await page.getByRole("checkbox", { name: "carol" }).check();
  await expect(page).toHaveURL(/\?agent=ada&agent=carol$/);
  await expect(rows(page)).toHaveCount(5);
});

test("a search finds what is not loaded, and what comes", async ({ page, server }) => {
  await server.append({ kind: "probe.said", text: "the needle of long ago" });
  for (let batch = 0; batch < 3; batch++)
    await server.append(Array.from({ length: 1_000 }, (_, n) => ({ kind: "probe.event", n })));
  await page.goto(server.base);
  await expect(row(page, 3_001)).toBeVisible();
  await page.keyboard.press("/");
  await page.keyboard.type("needl*");
  await expect(rows(page)).toHaveCount(1);
  await expect(row(page, 1)).toContainText("the needle of long ago");
  await server.append([
    { kind: "probe.said", text: "hay" },
    { kind: "probe.said", text: "another needle" },
  ]);
  await expect(row(page, 3_003)).toContainText("another needle");
  await expect(rows(page)).toHaveCount(2);
  await page.getByRole("searchbox").fill("nothing-has-this-word");
  await expect(page.locator("hive-feed")).toContainText("No event is like that.");
});

test("paused, the rows stay and new ones are counted", async ({ page, server }) => {
  await server.append(Array.from({ length: 100 }, (_, n) => ({ kind: "probe.event", n })));
  await page.goto(server.base);
  await expect(row(page, 100)).toBeInViewport();
  await page.getByRole("button", { name: "Pause" }).click();
  await server.append([{ kind: "probe.event" }, { kind: "probe.event" }]);
  const news = page.getByRole("button", { name: "2 new" });
  await expect(news).toBeVisible();
  await expect(row(page, 100)).toBeInViewport();
  await news.click();
  await expect(row(page, 102)).toBeInViewport();
  await expect(news).toBeHidden();
});

test("what is saved are the lines as the log has them", async ({ page, server }) => {
  // Where there is a dialog for it no test can choose a file.
  await page.addInitScript(() => Object.defineProperty(window, "showSaveFilePicker", { value: undefined }));
  await server.append([
    say("ada", "bob", "one \u202e<b>"),
    { kind: "probe.number", n: 1.5, deep: { a: [null, "\u2028"] } },
    say("bob", "ada", "two"),
  ]);
  await page.goto(`${server.base}?kind=sent`);
  await expect(rows(page)).toHaveCount(2);
  const whole = await server.call("api/history", { accept: "application/x-ndjson" });
  const [one, , two] = whole.split("\n");
  for (const [filters, expected] of [
    ["?kind=sent", `${one}\n${two}\n`],
    ["", whole],
  ]) {
    await page.goto(server.base + filters);
    await expect(rows(page)).not.toHaveCount(0);
    const saving = page.waitForEvent("download");
    await page.getByRole("button", { name: "Download" }).click();
    const saved = await saving;
    expect(saved.suggestedFilename()).toMatch(/^hivelog-[0-9a-f]+\.ndjson$/);
    expect(await readFile(await saved.path(), "utf8")).toBe(expected);
    await expect(page.locator("hive-feed")).toContainText("each event as it was received");
  }
});

test("what is left below the floor is scrolled to as everything else", async ({ page, server }) => {
  const sent = { kind: "sent", from: "alice", to: "bob", body: "hello", at: 1 };
  for (let part = 0; part < 3; part++)
    await server.append(Array.from({ length: 600 }, (_, n) => ({ kind: "probe.kept", part, n })));
  await server.append(Array.from({ length: 400 }, () => sent));
  await server.call("api/prune", { body: { before_seq: 2_000, kinds: ["sent"] } });
  await page.goto(server.base);
  await expect(row(page, 2_200)).toBeInViewport();
  await page.locator("hive-feed .rows").hover();
  await expect(async () => {
    await page.mouse.wheel(0, -3_000);
    await expect(row(page, 1)).toBeInViewport({ timeout: 50 });
  }).toPass({ intervals: [10] });
  await expect(page.locator("hive-feed .row-edge")).toHaveText("The log begins here.");
});
