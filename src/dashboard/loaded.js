/** @file Which events are in memory? A bounded stretch of the asked-for ones; its far end is dropped and read again. */

import { readStretch } from "./range.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./client.js").LogEvent} LogEvent */
/** @typedef {import("./filters.js").Filters} Filters */
/** @typedef {import("./range.js").Row} Row */

const PAGE_ROWS = 500;
const ROWS_MAX = 5000;
/** Rows are dropped some hundred at a time, so that a live event costs no copy of the list. */
const SLACK_ROWS = 500;
const CHARS_MAX = 48 * 1024 * 1024;
const PENDING_MAX = 5000;
/** So many rows beside those in view are never dropped; fewer where they are large. */
const NEAR_ROWS = 150;
const NEAR_HEAVY_ROWS = 40;
/** Older or newer rows are read when fewer than this are left to scroll through: less than is near, or they would
 * be dropped and read for ever. */
const AHEAD_ROWS = 120;
const AHEAD_HEAVY_ROWS = 16;

export class Loaded {
  /** @type {Row[]} oldest first */
  rows = [];
  /** Rows that came (or went, negative) above the others since this was last read. */
  shift = 0;
  /** Events after the newest row in view, not yet looked at. */
  news = 0;
  /** The oldest row is the first there is. */
  is_start = false;
  /** The newest row is the last there is: live events follow it. */
  is_attached = true;
  /** @type {unknown} why reading failed last */
  problem = null;
  /** The rows in view. */
  view = { first: 0, last: 0 };
  /** Everything from here on, up to the newest row, was looked at. */
  low = 1;
  is_reading_older = false;
  is_reading_newer = false;

  #chars = 0;
  #high = 0;
  #live = 0;
  /** @type {Row[] | null} live events while the gap before them is read */
  #pending = null;
  #reading = new AbortController();

  /**
   * @param {Page} page
   * @param {Filters} filters
   * @param {() => void} changed
   */
  constructor(page, filters, changed) {
    this.page = page;
    this.filters = filters;
    this.changed = changed;
  }

  /** Whether the last snapshot or event was seen, so that there is a place to start from. */
  get isKnown() {
    return this.#live > 0 || this.page.board !== null;
  }

  close() {
    this.#reading.abort();
  }

  /**
   * The row of an event whose text is gone says so, and what was read before that does not come back.
   * @param {Row} row
   */
  #clean(row) {
    const line = this.page.redacted.get(row.seq);
    if (line === undefined) return row;
    const { seq, recorded_at_ms, kind } = JSON.parse(row.line);
    return { seq, line: line ?? JSON.stringify({ seq, recorded_at_ms, kind, redacted: true }) };
  }

  clean() {
    this.rows = this.rows.map((row) => this.#clean(row));
    this.#pending = this.#pending?.map((row) => this.#clean(row)) ?? null;
  }

  /** @param {number} seq where the live events go on from */
  goesOnFrom(seq) {
    this.#live = seq;
  }

  /** @param {Filters} filters */
  ask(filters) {
    this.filters = filters;
    this.newest();
  }

  #empty() {
    this.#reading.abort();
    this.#reading = new AbortController();
    this.rows = [];
    this.#chars = 0;
    this.shift = 0;
    this.news = 0;
    this.problem = null;
    this.#pending = null;
    this.view = { first: 0, last: 0 };
    this.is_reading_older = false;
    this.is_reading_newer = false;
  }

  /** Reads the newest, pinned to the snapshot: what comes later comes live. */
  newest() {
    this.#empty();
    this.is_attached = true;
    this.is_start = this.#live === 0;
    this.#high = this.#live;
    this.low = this.#live + 1;
    this.changed();
    return this.older();
  }

  /** Reads from the beginning. */
  oldest() {
    this.#empty();
    this.is_attached = false;
    this.is_start = true;
    this.#high = 0;
    this.low = 1;
    this.changed();
    return this.newer();
  }

  /** @param {number} seq what stands on both sides of it is read */
  around(seq) {
    this.#empty();
    this.is_attached = seq >= this.#live;
    this.is_start = false;
    this.#high = Math.min(seq, this.#live);
    this.low = this.#high + 1;
    this.changed();
    return Promise.all([this.older(), this.newer()]);
  }

  /**
   * @param {LogEvent} event
   * @param {string} line
   * @returns whether it is asked for
   */
  take(event, line) {
    if (event.seq <= this.#live) return false;
    this.#live = event.seq;
    const is_wanted = this.filters.wants(event, this.page);
    if (this.is_attached) this.#high = event.seq;
    if (!is_wanted) return false;
    const row = { seq: event.seq, line };
    if (this.is_attached) this.#push([row]);
    else if (this.#pending) this.#hold(row);
    return true;
  }

  /** @param {Row} row */
  #hold(row) {
    this.#pending?.push(row);
    // Then the gap is read once more, to a later end.
    if (this.#pending && this.#pending.length > PENDING_MAX) this.#pending = null;
  }

  /** @param {Row[]} rows */
  #push(rows) {
    for (const row of rows) {
      this.rows.push(row);
      this.#chars += row.line.length;
    }
    this.#trim();
  }

  async older() {
    if (this.is_reading_older || this.is_start) return;
    this.is_reading_older = true;
    const params = this.filters.params();
    const before = this.low;
    params.set("before", String(before));
    params.set("order", "desc");
    params.set("limit", String(PAGE_ROWS));
    const { signal } = this.#reading;
    try {
      const { rows: read, next_before } = await readStretch(this.page, params, signal);
      if (signal.aborted) return;
      this.problem = null;
      // Where rows were dropped meanwhile these are not the next ones: who nears the end reads again.
      if (this.low === before) this.#unshift(read, next_before);
    } catch (error) {
      if (signal.aborted) return;
      this.problem = error;
    }
    this.is_reading_older = false;
    this.changed();
  }

  /**
   * @param {Row[]} read
   * @param {number} next_before
   */
  #unshift(read, next_before) {
    const rows = read.map((row) => this.#clean(row));
    this.is_start = next_before <= 1 || next_before >= this.low;
    this.low = Math.min(this.low, next_before);
    this.rows = rows.concat(this.rows);
    for (const row of rows) this.#chars += row.line.length;
    this.shift += rows.length;
    this.view = { first: this.view.first + rows.length, last: this.view.last + rows.length };
    this.#trim();
  }

  async newer() {
    if (this.is_reading_newer || this.is_attached) return;
    this.is_reading_newer = true;
    const params = this.filters.params();
    const after = this.#high;
    params.set("after", String(after));
    params.set("limit", String(PAGE_ROWS));
    const { signal } = this.#reading;
    const live = this.#live;
    this.#pending = [];
    try {
      const { rows: read, next_after } = await readStretch(this.page, params, signal);
      if (signal.aborted) return;
      this.problem = null;
      if (this.#high === after) this.#append(read, next_after, live);
    } catch (error) {
      if (signal.aborted) return;
      this.problem = error;
    }
    this.#pending = null;
    this.is_reading_newer = false;
    this.changed();
  }

  /**
   * @param {Row[]} read
   * @param {number} next_after
   * @param {number} live the head when they were asked for
   */
  #append(read, next_after, live) {
    const rows = read.map((row) => this.#clean(row));
    const after = this.#high;
    this.#high = Math.max(after, next_after);
    if ((this.#high >= live || next_after <= after) && this.#pending) {
      this.is_attached = true;
      rows.push(...this.#pending.filter((row) => row.seq > this.#high));
      this.#high = Math.max(this.#high, this.#live);
    }
    this.#push(rows);
  }

  /** How many rows are to be there beside those in view. */
  get ahead() {
    return this.#isHeavy ? AHEAD_HEAVY_ROWS : AHEAD_ROWS;
  }

  get #isHeavy() {
    return this.#chars > CHARS_MAX * 0.75;
  }

  #isOver(slack = 0) {
    return this.rows.length > ROWS_MAX + slack || this.#chars > CHARS_MAX;
  }

  /** Drops rows at the end that is farther from what is in view. */
  #trim() {
    if (!this.#isOver(SLACK_ROWS)) return;
    const near = this.#isHeavy ? NEAR_HEAVY_ROWS : NEAR_ROWS;
    const above = this.view.first - near;
    const below = this.rows.length - this.view.last - near;
    if (above >= below) this.#dropAbove(above);
    else this.#dropBelow(below);
  }

  /** @param {number} most */
  #dropAbove(most) {
    let count = 0;
    for (; count < most && this.#isOver(count); count += 1) this.#chars -= this.rows[count]?.line.length ?? 0;
    if (count === 0) return;
    this.rows = this.rows.slice(count);
    this.shift -= count;
    this.view = { first: this.view.first - count, last: this.view.last - count };
    this.low = this.rows[0]?.seq ?? this.low;
    this.is_start = false;
  }

  /** @param {number} most */
  #dropBelow(most) {
    let count = 0;
    while (count < most && this.#isOver(0)) {
      this.#chars -= this.rows.pop()?.line.length ?? 0;
      count += 1;
    }
    if (count === 0) return;
    this.#high = this.rows.at(-1)?.seq ?? this.#high;
    this.is_attached = false;
  }
}
