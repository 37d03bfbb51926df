/** @file Is what agents write shown as text, wherever they can write it, and never anything else? */

import { approval, question, request } from "../asks.js";
import { expect, test } from "../fixtures.js";
import { DIFFS, HIDDEN, HUGE, LINES, MEMBERS, TEXTS, WORDS } from "../nasty.js";

/** @typedef {import("@playwright/test").Page} Tab */
/** @typedef {import("@playwright/test").Locator} Locator */
/** @typedef {import("../server.js").Server} Server */

const NARROW = { width: 390, height: 844 };

/** @param {number} id @param {string} text */
function everywhere(id, text) {
  const short = text.slice(0, 2000);
  const members = Object.fromEntries([...MEMBERS, short].map((name) => [name, short]));
  const approval_kind = "apply_commit";
  return [
    {
      kind: "approval_added",
      id,
      agent: "mallory",
      approval_kind,
      sha_short: text,
      diff: text,
      description: text,
    },
    {
      kind: "question_added",
      id,
      asker: "mallory",
      question: text,
      options: [text, `${text}!`],
      multi: id % 2 === 0,
      asked_at: 1,
      deadline_at: null,
    },
    { kind: "sent", from: "mallory", to: "operator", body: text, at: 1, message_id: null },
    { kind: "probe.said", text, list: [short], deep: { [short]: short }, ...members },
  ];
}

/** @param {Server} server @param {string[]} texts */
async function sayEverything(server, texts) {
  for (const [index, text] of texts.entries()) await server.append(everywhere(index + 1, text));
}

/**
 * Text that is in the page and cannot be seen for what it is.
 * @param {Locator} where @param {{except?: string}} [options]
 */
function hiddenTexts(where, { except = "template" } = {}) {
  return where.evaluate(
    (root, { hidden, except }) => {
      const is_hidden = new RegExp(hidden, "u");
      const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
      const found = [];
      while (walker.nextNode()) {
        const { data, parentElement } = /** @type {Text} */ (walker.currentNode);
        if (is_hidden.test(data) && !parentElement?.closest(except))
          found.push(JSON.stringify(data.slice(0, 80)));
      }
      return found;
    },
    { hidden: HIDDEN, except },
  );
}

/** Nothing was made of a text but text. @param {Tab} tab */
async function holdsNoMarkup(tab) {
  const foreign = "script, img, iframe, object, embed, style, svg script, [onerror], [onmouseover], b";
  await expect(tab.locator("main").locator(foreign)).toHaveCount(0);
  const links = await tab.locator("main a[href]").evaluateAll((all) => {
    const { origin } = location;
    return all
      .map((link) => new URL(/** @type {HTMLAnchorElement} */ (link).href))
      .filter((url) => url.origin !== origin && !/^https?:$/.test(url.protocol))
      .map(String);
  });
  expect(links).toEqual([]);
}

/** Buttons that decide are in sight and under the pointer, on every card. @param {Tab} tab */
async function buttonsAreAtHand(tab) {
  const lost = await tab.locator("hive-approval, hive-question").evaluateAll((cards) => {
    const found = [];
    for (const card of cards) {
      for (const button of card.querySelectorAll(".actions button")) {
        button.scrollIntoView({ block: "center" });
        const box = button.getBoundingClientRect();
        const is_inside = box.left >= 0 && box.right <= innerWidth && box.width >= 24 && box.height >= 24;
        const at = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
        if (!is_inside || at === null || !button.contains(at))
          found.push(`${card.getAttribute("aria-labelledby")}: ${button.textContent}`);
      }
    }
    return found;
  });
  expect(lost).toEqual([]);
  const { wide, room } = await tab.evaluate(() => ({
    wide: document.documentElement.scrollWidth,
    room: innerWidth,
  }));
  expect(wide).toBeLessThanOrEqual(room);
}

/** Shows an event beside, as a link to it does. @param {Tab} tab @param {number} seq */
async function open(tab, seq) {
  await tab.evaluate((seq) => {
    history.replaceState(null, "", `?event=${seq}`);
    dispatchEvent(new PopStateEvent("popstate"));
  }, seq);
  await expect(tab.locator("dialog.detail h3")).toHaveText(`Event #${seq}`);
  await expect(tab.locator("dialog.detail pre.raw")).toBeVisible();
}

test("each text in each field of what waits, wide and narrow", async ({ page, server }) => {
  await sayEverything(server, TEXTS);
  await page.goto(server.base);
  await expect(page.locator("hive-approval")).toHaveCount(TEXTS.length);
  await expect(page.locator("hive-question")).toHaveCount(TEXTS.length);
  await holdsNoMarkup(page);
  expect(await hiddenTexts(page.locator("body"))).toEqual([]);
  await buttonsAreAtHand(page);
  await page.setViewportSize(NARROW);
  await buttonsAreAtHand(page);
  for (const [index, text] of TEXTS.entries()) {
    // What has no hidden characters stands there letter by letter.
    if (new RegExp(`${HIDDEN}|\\u200d|\\u0301`, "u").test(text) || text.length > 150) continue;
    const [title = ""] = text.trim().split("\n");
    await expect(approval(page, index + 1).locator("h3")).toHaveText(title);
    await expect(question(page, index + 1).locator("h3")).toHaveText(title);
  }
  const bidi = TEXTS.findIndex((text) => text.includes("\u202e")) + 1;
  await expect(approval(page, bidi).locator("h3")).toHaveText(
    "userU+202Etxt.exeU+202CU+2066isolateU+2069U+200F",
  );
  const terminal = TEXTS.findIndex((text) => text.includes("[2J")) + 1;
  await expect(question(page, terminal).locator("h3")).toHaveText("U+001B[2JU+001B[1;1HapprovedU+001B[0m");
});

test("each text in the feed, and in the detail of each event", async ({ page, server }) => {
  // A word without an end takes the browser a second to lay out; there is a test of large texts.
  await sayEverything(
    server,
    TEXTS.filter((text) => text.length < 64 << 10),
  );
  await page.goto(server.base);
  const { seq: last_seq } = await server.append({ kind: "probe.last" });
  await expect(page.locator(`hive-feed li[data-seq="${last_seq}"]`)).toBeVisible();
  const kept = await page.evaluate(
    async ({ last_seq, hidden }) => {
      const is_hidden = new RegExp(hidden, "u");
      const found = [];
      for (let seq = 1; seq < last_seq; seq++) {
        history.replaceState(null, "", `?event=${seq}`);
        dispatchEvent(new PopStateEvent("popstate"));
        const detail = /** @type {Element} */ (document.querySelector("dialog.detail"));
        while (!detail.querySelector("pre.raw")) await new Promise((resolve) => setTimeout(resolve));
        if (detail.querySelector("h3")?.textContent !== `Event #${seq}`) found.push(`no event ${seq}`);
        // The names of members have a test of their own.
        for (const part of detail.querySelectorAll("dd, pre, .detail-when"))
          if (is_hidden.test(part.textContent ?? "")) found.push(`event ${seq}: ${part.className}`);
      }
      return found;
    },
    { last_seq, hidden: HIDDEN },
  );
  expect(kept).toEqual([]);
  await holdsNoMarkup(page);
  expect(await hiddenTexts(page.locator("body"), { except: "dt" })).toEqual([]);
});

test("the name of a member is marked too", async ({ page, server }) => {
  await server.append({ kind: "probe.said", "user\u202etxt.exe": "x", "\u001b[2Japproved": "y" });
  await page.goto(server.base);
  await open(page, 1);
  await expect(page.locator("dialog.detail dt").first()).toHaveText("userU+202Etxt.exe");
  expect(await hiddenTexts(page.locator("dialog.detail dl"))).toEqual([]);
});

test("the raw text of an event is the one received", async ({ page, server }) => {
  await page.goto(server.base);
  // Digits that a number of this language cannot hold, members twice, an order of their own.
  const line = '{"kind":"probe.raw","z":1.50,"a":12345678901234567890,"__proto__":{"x":1.0E+2},"m":"<b>"}';
  const answer = await fetch(`${server.base}api/events`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: line,
  });
  expect(answer.status).toBe(201);
  await open(page, 1);
  const received = (await server.call("api/history/1")).trim();
  expect(received).toContain(line.slice(1, -1).split(",").slice(1).join(","));
  await expect(page.locator("dialog.detail pre.raw")).toHaveText(received);
});

test("halves of characters are marked, and no cut makes one", async ({ page, server }) => {
  // The server takes no such text; a file that was written by something else may hold one.
  const half = "a\ud83d|\udc1d|\ufffd";
  await page.route("**/api/history?**", async (route) => {
    const answer = await route.fetch();
    const text = (await answer.text()).replaceAll("HALF", "a\\ud83d|\\udc1d|\ufffd");
    await route.fulfill({ response: answer, body: text });
  });
  await server.append({ kind: "probe.said", text: "HALF" });
  // A bee at each place where a text may be cut.
  for (let n = 0; n < 4; n++)
    await server.append({ kind: "probe.said", text: "x".repeat(n) + "🐝".repeat(30_000) });
  await request(server, { description: `${"x".repeat(199)}${"🐝".repeat(3_000)}\ny${"🐝".repeat(3_000)}` });
  await page.goto(server.base);
  await expect(approval(page, 1).locator(".mark")).toHaveCount(0);
  await expect(page.locator('li.row[data-seq="1"]')).toContainText("aU+D83D|U+DC1D|\ufffd");
  await page.locator('li.row[data-seq="1"] a').click();
  await expect(page.locator("dialog.detail dd").first()).toContainText("aU+D83D|U+DC1D|\ufffd");
  for (let seq = 2; seq <= 5; seq++) {
    await open(page, seq);
    await page.locator("dialog.detail button.more").first().click();
    // A half would be marked.
    await expect(page.locator("dialog.detail .mark")).toHaveCount(0);
  }
  const torn = await page.evaluate(() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      const { data } = /** @type {Text} */ (walker.currentNode);
      if (!data.isWellFormed()) found.push(data.slice(0, 40));
    }
    return found;
  });
  expect(torn).toEqual([]);
  // What an operator pastes may be torn too: it is not sent as something else, and nothing is claimed.
  const card = approval(page, 1);
  await card.getByRole("textbox").evaluate((field, text) => {
    /** @type {HTMLInputElement} */ (field).value = text;
  }, half);
  await card.getByRole("button", { name: "Deny 1" }).click();
  await expect(card.getByRole("alert")).toContainText("Nothing was decided");
  await expect(card.locator(".settled-line")).toHaveCount(0);
});

test("texts as large as they come", async ({ page, server }) => {
  await page.setViewportSize(NARROW);
  await page.goto(server.base);
  const diff = `--- a/x\n+++ b/x\n@@ -0,0 +1,10000 @@\n${LINES.replace(/^/gm, "+")}\n`;
  const ids = [];
  ids.push(await request(server, { description: HUGE }));
  ids.push(await request(server, { description: LINES, diff }));
  ids.push(await request(server, { description: "one long line", diff: `+${"x".repeat(900_000)}` }));
  ids.push(await request(server, { description: "\n".repeat(10_000), sha_short: "f".repeat(100_000) }));
  ids.push(await request(server, { description: `ends\n${"\u202e\n".repeat(10_000)}`, diff: HUGE }));
  const body = { asker: "bob", question: LINES, options: [HUGE.slice(0, 300_000), LINES], multi: true };
  await server.call("api/questions", { body });
  const { seq } = await server.append({
    kind: "sent",
    from: "ada",
    to: "bob",
    body: HUGE,
    at: 1,
    message_id: null,
  });
  await expect(page.locator("hive-approval")).toHaveCount(ids.length);
  await expect(page.locator("hive-question")).toHaveCount(1);
  await buttonsAreAtHand(page);
  await holdsNoMarkup(page);
  // The whole of it is there, in steps.
  const lines = approval(page, /** @type {number} */ (ids[1]));
  await lines.locator(".prose button.more").click();
  await expect(lines.locator(".prose")).toContainText("line 300\n");
  await expect(lines.locator(".prose button.more")).toBeVisible();
  await lines.getByRole("button", { name: /^Open the diff/ }).click();
  await expect(lines.locator("tr.add").first()).toContainText("line 0");
  await buttonsAreAtHand(page);
  await open(page, seq);
  await expect(page.locator("dialog.detail")).toContainText("<b>mega</b>");
  await holdsNoMarkup(page);
  await page.locator("dialog.detail").getByRole("button", { name: "Close" }).click();
  for (const id of ids) {
    await approval(page, id)
      .getByRole("button", { name: `Deny ${id}` })
      .click();
    await expect(approval(page, id).locator(".settled-line")).toContainText("Denied by operator");
  }
});

test("a broken diff loses no line", async ({ page, server }) => {
  for (const diff of DIFFS) await request(server, { diff });
  await page.goto(server.base);
  await expect(page.locator("hive-approval")).toHaveCount(DIFFS.length);
  expect(await hiddenTexts(page.locator("body"))).toEqual([]);
  for (const [index, diff] of DIFFS.entries()) {
    const shown = await approval(page, index + 1)
      .locator("hive-diff")
      .evaluate((patch) => patch.textContent?.replace(/\s/g, "") ?? "");
    const is_marked = new RegExp(HIDDEN, "u");
    for (const line of diff.split(/\r?\n/)) {
      if (is_marked.test(line)) continue;
      // Of the two lines that name a file its path is enough.
      expect(shown).toContain(line.replace(/^(---|\+\+\+) ([ab]\/)?|\s/g, ""));
    }
  }
  await buttonsAreAtHand(page);
});

test("notes and answers of others", async ({ page, server }) => {
  const agent = "mallory";
  for (let id = 1; id <= TEXTS.length; id++) {
    await server.append([
      { kind: "approval_added", id, agent, approval_kind: "x", sha_short: null, diff: null, description: "" },
      {
        kind: "question_added",
        id,
        asker: agent,
        question: "",
        options: [],
        multi: false,
        asked_at: 1,
        deadline_at: null,
      },
    ]);
  }
  await page.goto(server.base);
  await expect(page.locator("hive-approval")).toHaveCount(TEXTS.length);
  // Under the pointer a settled card stays where it is.
  await approval(page, TEXTS.length).hover();
  for (const [index, note] of TEXTS.entries()) {
    await server.call(`api/approvals/${index + 1}/resolve`, { body: { status: "denied", note } });
    await server.call(`api/questions/${index + 1}/answer`, {
      body: { answer: note, answerer: "operator" },
    });
  }
  await expect(page).toHaveTitle("hivelog");
  await page.locator(".recent > summary").click();
  await expect(page.locator(".recent-list > li")).toHaveCount(TEXTS.length * 2);
  await expect(page.locator(".recent-list")).toContainText("<img src=x onerror=alert(1)>");
  await expect(page.locator(".recent-list")).toContainText("userU+202Etxt.exeU+202C");
  await holdsNoMarkup(page);
  expect(await hiddenTexts(page.locator("body"))).toEqual([]);
});

test("names and kinds that objects have too", async ({ page, server }) => {
  for (const [index, word] of WORDS.entries()) {
    await request(server, { agent: word, approval_kind: word });
    await server.call(`api/transients/${word}`, { method: "PUT", body: { transient_kind: "starting" } });
    await server.append([
      {
        kind: `probe.${word}`,
        ...Object.fromEntries(MEMBERS.map((name) => [name, word])),
        from: { to: word },
        to: 1,
      },
      { kind: `${word}.${word}`, agent: word, agents: [[]], at: null, id: Number.MAX_SAFE_INTEGER },
      { kind: "sent", from: word, to: word, body: word, at: index, message_id: null },
    ]);
  }
  await page.goto(`${server.base}?${WORDS.map((word) => `agent=${word}`).join("&")}`);
  await expect(page.locator("hive-approval")).toHaveCount(WORDS.length);
  for (const word of WORDS) {
    await expect(page.locator("hive-agents tbody tr", { hasText: word }).first()).toContainText(word);
    await expect(page.locator("hive-feed li", { hasText: `${word}.${word}` })).toHaveCount(1);
  }
  for (let seq = 1; seq <= WORDS.length * 5; seq++) await open(page, seq);
});
