/** @file Do the parts of the page say what is true, also when it was otherwise a moment ago? */

import assert from "node:assert/strict";
import { once } from "node:events";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { body, kept, location, parts, root, window } from "./dom.js";

const { Page } = await import("../../../src/dashboard/page.js");
const { secretName } = await import("../../../src/dashboard/api.js");
const { signInByFragment, who } = await import("../../../src/dashboard/session.js");

/** @typedef {{status?: number, body: unknown}} Answer */

/** @type {InstanceType<typeof Page>} */
let page;
/** @type {AbortController} */
let ended;
/** What the server answers to a method and a path. @type {Map<string, () => Answer | Promise<Answer>>} */
const answers = new Map();
/** @type {string[]} */
let asked = [];

globalThis.fetch = /** @type {any} */ (
  async (/** @type {URL} */ url, /** @type {RequestInit} */ init) => {
    const call = `${init.method ?? "GET"} ${url.pathname}`;
    asked.push(call);
    const { status = 200, body } = (await answers.get(call)?.()) ?? { status: 503, body: {} };
    return new Response(JSON.stringify(body), { status });
  }
);

beforeEach(() => {
  page = new Page(new URL("http://log.test/"));
  ended = new AbortController();
  answers.clear();
  asked = [];
});

afterEach(() => {
  ended.abort();
  for (const part of body.nodes) /** @type {any} */ (part).disconnectedCallback?.();
  body.replaceChildren();
  delete root.dataset.stale;
  kept.clear();
});

/** @param {string} name */
function part(name) {
  const Part = /** @type {new () => any} */ (parts.get(name));
  const made = new Part();
  made.page = page;
  body.append(made);
  return made;
}

/** @param {() => unknown} is_so */
async function until(is_so) {
  const end = Date.now() + 8_000;
  while (!is_so()) {
    if (Date.now() > end) throw new Error(`never: ${is_so}`);
    await sleep(1);
  }
}

/** @param {string} name */
const nobody = (name) => () => ({ status: 401, body: { title: name } });

/** @param {string} name @param {...string} roles */
const known =
  (name, ...roles) =>
  () => ({ body: { name, roles } });

test("a login link that was used says nothing of who is signed in", async () => {
  const panel = part("hive-session");
  kept.set(secretName(page), "second");
  answers.set("POST /session", nobody("a credential is needed"));
  answers.set("GET /session", known("alice", "operator"));
  location.hash = "#login=used";
  await signInByFragment(page, ended.signal);
  assert.equal(page.asked, false);
  await who(page, ended.signal);
  assert.equal(page.session?.name, "alice");
  location.hash = "#login=again";
  const failed = once(page, "signin-failed");
  window.dispatchEvent(new Event("hashchange"));
  await failed;
  assert.equal(page.session?.name, "alice");
  assert.equal(panel.textContent, "");
  // The same answer to a read says that it is over.
  answers.set("GET /session", nobody("a credential is needed"));
  page.asked = false;
  await who(page, ended.signal);
  assert.match(panel.textContent, /^You are signed out/);
});

test("a token that does not hold is told of where it was typed", async () => {
  const panel = part("hive-session");
  page.session = { name: "alice", roles: ["operator"] };
  assert.match(panel.textContent, /^This browser can only read/);
  answers.set("POST /session", nobody("a credential is needed"));
  const form = panel.all("form")[0];
  panel.all("input")[0].value = "wrong";
  form.dispatchEvent(new Event("submit"));
  await until(() => form.textContent.includes("This token does not hold."));
  assert.equal(panel.all("form")[0], form);
  assert.match(panel.textContent, /^This browser can only read/);
});
