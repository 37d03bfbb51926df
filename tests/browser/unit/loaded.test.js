/** @file Are the events in memory a stretch without a hole, whatever comes while one of its ends is read? */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

// The words of rows are made with elements, of which none is wanted here.
Object.assign(globalThis, { HTMLElement: class {}, customElements: { define() {} }, matchMedia: () => ({}) });
const { Filters } = await import("../../../src/dashboard/filters.js");
const { Loaded } = await import("../../../src/dashboard/loaded.js");

/** A log of so many events, whose answers wait until they are let go. */
class Log {
  head = 0;
  /** @type {(() => void)[]} */
  held = [];
  is_held = false;

  /** @param {number} seq */
  line(seq) {
    return JSON.stringify({ seq, recorded_at_ms: 1, kind: "probe.event" });
  }

  /** @param {URL} url */
  async fetch(url) {
    const params = url.searchParams;
    const limit = Number(params.get("limit"));
    const is_desc = params.get("order") === "desc";
    const before = Math.min(Number(params.get("before") ?? Infinity), this.head + 1);
    const after = Number(params.get("after") ?? 0);
    const from = is_desc ? Math.max(1, before - limit) : after + 1;
    const to = Math.min(this.head + 1, from + limit, is_desc ? before : Infinity);
    const lines = Array.from({ length: Math.max(0, to - from) }, (_, n) => this.line(from + n));
    if (this.is_held) await new Promise((resolve) => this.held.push(() => resolve(undefined)));
    const around = { seq: this.head, next_after: to - 1, next_before: from };
    return new Response(`${JSON.stringify(around).slice(0, -1)},"events":[${lines.join(",")}]}`);
  }

  async letGo() {
    while (this.held.length === 0) await sleep(1);
    for (const go of this.held.splice(0)) go();
  }
}

/** @param {number} head */
function begin(head) {
  const log = new Log();
  log.head = head;
  globalThis.fetch = /** @type {any} */ ((/** @type {URL} */ url) => log.fetch(url));
  const page = {
    base: new URL("http://log.test/"),
    line: new AbortController().signal,
    redacted: new Map(),
    board: null,
  };
  const loaded = new Loaded(/** @type {any} */ (page), new Filters(new URLSearchParams()), () => {});
  loaded.goesOnFrom(head);
  /** @param {number} count */
  const come = (count) => {
    for (let n = 0; n < count; n += 1) {
      const line = log.line(++log.head);
      loaded.take(JSON.parse(line), line);
      // The reader follows.
      const last = loaded.rows.length;
      if (loaded.is_attached) loaded.view = { first: Math.max(0, last - 30), last };
    }
  };
  return { log, loaded, come };
}

/** @param {import("../../../src/dashboard/loaded.js").Loaded} loaded */
function isWhole({ rows, low }) {
  const first = rows[0]?.seq ?? 0;
  assert.equal(low, first, "what was looked at begins with the first row");
  for (const [index, { seq }] of rows.entries()) assert.equal(seq, first + index);
}

test("older rows that are read while those above the live ones are dropped leave no hole", async () => {
  const { log, loaded, come } = begin(1000);
  await loaded.newest();
  log.is_held = true;
  const reading = loaded.older();
  // The one that has rows dropped: there is room for what is being read again.
  come(5001);
  await log.letGo();
  await reading;
  isWhole(loaded);
  assert.equal(loaded.is_reading_older, false);
  log.is_held = false;
  const { low } = loaded;
  loaded.view = { first: 0, last: 30 };
  await loaded.older();
  isWhole(loaded);
  assert.equal(loaded.low, low - 500);
});

test("newer rows that are read while those before them are dropped leave no hole", async () => {
  const { log, loaded } = begin(20_000);
  await loaded.around(10_000);
  while (loaded.rows.length < 5000) await loaded.newer();
  // The reader went back to the upper end.
  loaded.view = { first: 0, last: 30 };
  log.is_held = true;
  const newer = loaded.newer();
  while (log.held.length === 0) await sleep(1);
  log.is_held = false;
  await loaded.older();
  await loaded.older();
  assert.equal(loaded.rows.length, 5000, "rows were dropped below");
  await log.letGo();
  await newer;
  isWhole(loaded);
  await loaded.newer();
  isWhole(loaded);
});
