/** @file When did much happen? A histogram that leads to what happened then. */

import { asked, go, msOf, onAddress, timeText } from "./address.js";
import { get, Problem } from "./api.js";
import { Bars } from "./bars.js";
import { button, element } from "./card.js";
import { drawer } from "./draw.js";
import { absolute, duration } from "./time.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./bars.js").Bucket} Bucket */

const REFETCH_MS = 4000;
/** Without events the right edge moves on as often as this. */
const IDLE_REFETCH_MS = 30_000;
const BUCKET_PX = 7;
const BUCKETS_MAX = 240;
/** Zooming out shows a span so many times as long. */
const OUT = 4;
const SPAN_MS_MIN = 1000;

/** @param {number} count */
function events(count) {
  return `${count.toLocaleString()} ${count === 1 ? "event" : "events"}`;
}

export class Activity extends HTMLElement {
  #leaving = new AbortController();
  #page = /** @type {Page} */ (/** @type {unknown} */ (null));
  /** What is looked at; null is without end on that side. @type {{since: number | null, until: number | null}} */
  #view = { since: null, until: null };
  /** @type {Bucket[]} */
  #buckets = [];
  /** Where the last bucket ends. */
  #end_ms = 0;
  /** The events after this seq are not in the buckets. */
  #counted = 0;
  #fetched_at = Number.NEGATIVE_INFINITY;
  #is_fetching = false;
  #is_stale = true;
  /** What is pointed at, or else a summary. */
  #words = element("p", "activity-words muted");
  #readout = "";
  #problem = "";
  #in = button("quiet", "Zoom in");
  #out = button("quiet", "Zoom out");
  #clear = button("quiet", "All times");
  #note = () => {};

  /** @param {Page} page */
  set page(page) {
    this.#leaving.abort();
    this.#leaving = new AbortController();
    const { signal } = this.#leaving;
    this.#page = page;
    this.#note = drawer(() => this.#draw(), signal, 250);
    this.bars = new Bars(
      {
        read: (first, last) => this.#read(first, last),
        select: (first, last) => this.#select(first, last),
        clear: () => this.#unselect(),
        resized: () => this.#stale(),
      },
      signal,
    );
    const tools = element(
      "div",
      "activity-tools",
      this.#words,
      element("span", "spring"),
      this.#in,
      this.#out,
      this.#clear,
    );
    this.replaceChildren(tools, this.bars.element);
    this.#in.addEventListener("click", () => this.#zoomIn(), { signal });
    this.#out.addEventListener("click", () => this.#zoomOut(), { signal });
    this.#clear.addEventListener(
      "click",
      () => {
        this.#unselect();
        this.#look(null, null);
      },
      { signal },
    );
    page.listen("state", () => this.#stale(), signal);
    page.listen("event", ({ event }) => this.#take(event), signal);
    // What could not be read while the server was away can be now.
    const look = () => (this.#problem !== "" && page.status.state === "live" ? this.#stale() : this.#note());
    page.listen("status", look, signal);
    page.listen("session", () => this.#stale(), signal);
    onAddress(page, () => this.#note(), signal);
    const timer = setInterval(() => this.#tick(), 1000);
    signal.addEventListener("abort", () => clearInterval(timer));
    this.#note();
  }

  disconnectedCallback() {
    this.#leaving.abort();
  }

  get #selected() {
    const params = asked();
    return { since: msOf(params.get("since")), until: msOf(params.get("until")) };
  }

  #stale() {
    this.#is_stale = true;
    this.#fetched_at = Number.NEGATIVE_INFINITY;
    this.#tick();
    this.#note();
  }

  #tick() {
    if (document.hidden || !this.#page.board || this.#is_fetching || this.bars?.is_dragging) return;
    const age = performance.now() - this.#fetched_at;
    const is_open = this.#view.until === null;
    if (this.#is_stale ? age > REFETCH_MS : is_open && age > IDLE_REFETCH_MS) void this.#fetch();
  }

  async #fetch() {
    const page = this.#page;
    const width = this.bars?.width ?? 0;
    if (width === 0) return;
    this.#is_fetching = true;
    this.#is_stale = false;
    this.#fetched_at = performance.now();
    const { since, until } = this.#view;
    const buckets = Math.max(10, Math.min(BUCKETS_MAX, Math.floor(width / BUCKET_PX)));
    const params = {
      buckets,
      since: since === null ? null : timeText(since),
      until: until === null ? null : timeText(until),
    };
    try {
      const { signal } = this.#leaving;
      const answer = await get(page, "api/activity", params, { signal });
      // What is being chosen stays under the pointer; it is read again afterwards.
      if (this.bars?.is_dragging) {
        this.#is_stale = true;
        return;
      }
      this.#buckets = answer.buckets;
      const last = this.#buckets.at(-1);
      this.#counted = last ? last.first_seq + last.count - 1 : 0;
      this.#end_ms = until ?? this.#edge();
      this.#problem = "";
    } catch (error) {
      if (this.#leaving.signal.aborted) return;
      this.#is_stale = true;
      this.#problem = error instanceof Problem ? error.message : "the activity cannot be read";
    } finally {
      this.#is_fetching = false;
    }
    this.#note();
  }

  #edge() {
    const [first] = this.#buckets;
    const last = this.#buckets.at(-1);
    if (!first || !last) return 0;
    const steps = this.#buckets.length - 1;
    return steps > 0 ? last.from_ms + (last.from_ms - first.from_ms) / steps : last.from_ms + 1;
  }

  /** @param {{seq: number, recorded_at_ms: number}} event */
  #take(event) {
    const last = this.#buckets.at(-1);
    if (this.#view.until !== null || !last || event.seq <= this.#counted) return;
    last.count += 1;
    this.#counted = event.seq;
    this.#end_ms = Math.max(this.#end_ms, event.recorded_at_ms + 1);
    this.#is_stale = true;
    this.#note();
  }

  /**
   * @param {number | null} since
   * @param {number | null} until
   */
  #look(since, until) {
    this.#view = { since, until };
    this.#stale();
  }

  #zoomIn() {
    const { since, until } = this.#selected;
    if (since !== null || until !== null) this.#look(since, until);
  }

  #zoomOut() {
    const from = this.#buckets[0]?.from_ms ?? 0;
    const more = ((this.#end_ms - from) * (OUT - 1)) / 2;
    const since = Math.floor(from - more);
    const until = Math.ceil(this.#end_ms + more);
    const now = Date.now();
    if (until >= now && this.#view.since === null) return this.#look(null, null);
    this.#look(Math.max(0, since), until >= now ? null : until);
    void this.#widen();
  }

  /** Beyond the first event there is nothing to see. */
  async #widen() {
    const page = this.#page;
    if (this.#view.since === null) return;
    try {
      const { buckets } = await get(page, "api/activity", { buckets: 1 }, { signal: this.#leaving.signal });
      if (buckets[0] && this.#view.since !== null && this.#view.since <= buckets[0].from_ms) {
        this.#look(null, this.#view.until);
      }
    } catch {
      // Then the empty part is shown.
    }
  }

  /**
   * The feed goes to these buckets.
   * @param {number} first
   * @param {number} last
   */
  #select(first, last) {
    const page = this.#page;
    const from = this.#buckets[first]?.from_ms;
    if (from === undefined) return;
    const next = this.#buckets[last + 1]?.from_ms;
    // The last bucket of an open view goes on: what comes belongs to it.
    const until = next ?? this.#view.until;
    const end = until === null ? null : timeText(Math.max(until, from + 1));
    go(page, { since: timeText(from), until: end });
  }

  #unselect() {
    go(this.#page, { since: null, until: null });
  }

  /**
   * @param {number | null} first
   * @param {number} last
   */
  #read(first, last) {
    this.#readout = first === null ? "" : this.#spanWords(first, last);
    this.#say();
    return this.#readout;
  }

  #say() {
    const words = this.#readout || this.#summary();
    if (this.#words.textContent !== words) this.#words.textContent = words;
  }

  /**
   * @param {number} first
   * @param {number} last
   */
  #spanWords(first, last) {
    const from = this.#buckets[first]?.from_ms ?? 0;
    const to = this.#buckets[last + 1]?.from_ms ?? this.#end_ms;
    const count = this.#buckets.slice(first, last + 1).reduce((sum, bucket) => sum + bucket.count, 0);
    const long = to - from < 1000 ? `${Math.round(to - from)} ms` : duration((to - from) / 1000);
    return `${absolute(from)}, ${long}: ${events(count)}`;
  }

  #draw() {
    const { bars } = this;
    if (!bars || !this.isConnected) return;
    const { since, until } = this.#selected;
    bars.draw(this.#buckets, this.#end_ms, { since, until });
    const is_selected = since !== null || until !== null;
    const is_all = this.#view.since === null && this.#view.until === null;
    this.#in.disabled = !is_selected || this.#end_ms - (this.#buckets[0]?.from_ms ?? 0) <= SPAN_MS_MIN;
    this.#out.disabled = is_all;
    this.#clear.disabled = is_all && !is_selected;
    this.#say();
  }

  #summary() {
    if (this.#problem !== "") return `Not up to date: ${this.#problem}.`;
    const [first] = this.#buckets;
    if (!first) return "";
    const total = this.#buckets.reduce((sum, bucket) => sum + bucket.count, 0);
    const state = this.#page.status.state;
    const is_now = this.#view.until === null && (state === "live" || state === "catching_up");
    const to = this.#view.until === null ? (is_now ? "now" : "the last that came") : absolute(this.#end_ms);
    return `${events(total)} from ${absolute(first.from_ms)} to ${to}.`;
  }
}

customElements.define("hive-activity", Activity);
