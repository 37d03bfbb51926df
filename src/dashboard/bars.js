/** @file How is a histogram drawn crisply, and read with the pointer or with keys? */

import { element } from "./card.js";
import { ticks, tickWords } from "./ticks.js";

/** @typedef {{from_ms: number, first_seq: number, count: number}} Bucket */
/** @typedef {{since: number | null, until: number | null}} Span */

const NS = "http://www.w3.org/2000/svg";
const PLOT_HEIGHT = 56;
const AXIS_HEIGHT = 18;
const TOP = 14;
const TICK_PX = 110;
/** A bar so many times as high as nine tenths of the others is cut, or it would leave them nothing. */
const SPIKE = 4;
const CUT_PX = 8;

/**
 * How high the plot reaches, in events.
 * @param {Bucket[]} buckets
 */
function topOf(buckets) {
  const counts = buckets.map(({ count }) => count).filter((count) => count > 0);
  const sorted = counts.sort((one, other) => one - other);
  const most = sorted.at(-1) ?? 0;
  const usual = sorted[Math.floor(sorted.length * 0.9)] ?? most;
  return { most, top: most > SPIKE * usual ? 2 * usual : most };
}

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 */
function svg(tag, attributes) {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  return made;
}

export class Bars {
  element = element("div", "bars");
  width = 0;
  #svg = svg("svg", { "aria-hidden": "true", focusable: "false" });
  /** @type {Bucket[]} */
  #buckets = [];
  #end_ms = 0;
  /** @type {Span} */
  #selected = { since: null, until: null };
  /** The bucket that is read, and the one where a choice began. @type {number | null} */
  #cursor = null;
  /** @type {number | null} */
  #anchor = null;
  /** Whether buckets are being chosen: others put in their place would change the choice. */
  is_dragging = false;

  /**
   * @param {{read: (first: number | null, last: number) => string, select: (first: number, last: number) => void,
   *   clear: () => void, resized: () => void}} told
   * @param {AbortSignal} signal
   */
  constructor(told, signal) {
    this.told = told;
    const { element: plot } = this;
    plot.tabIndex = 0;
    plot.setAttribute("role", "slider");
    plot.setAttribute(
      "aria-label",
      "Events over time. Arrow keys read, with Shift they widen, Enter shows those events, Escape shows all.",
    );
    plot.setAttribute("aria-orientation", "horizontal");
    plot.append(this.#svg);
    plot.addEventListener("pointermove", (event) => this.#moved(event), { signal });
    plot.addEventListener("pointerleave", () => !this.is_dragging && this.#point(null), { signal });
    plot.addEventListener("pointerdown", (event) => this.#down(event), { signal });
    plot.addEventListener("pointerup", (event) => this.#up(event), { signal });
    plot.addEventListener("pointercancel", () => this.#drop(), { signal });
    plot.addEventListener("keydown", (event) => this.#onKey(event), { signal });
    plot.addEventListener("focus", () => this.#cursor === null && this.#point(this.#buckets.length - 1), {
      signal,
    });
    plot.addEventListener("blur", () => this.#drop(), { signal });
    const observer = new ResizeObserver(() => this.#resized());
    observer.observe(plot);
    signal.addEventListener("abort", () => observer.disconnect());
    this.#describe("");
  }

  #resized() {
    const width = Math.floor(this.element.clientWidth);
    if (width === this.width) return;
    this.width = width;
    this.told.resized();
  }

  /**
   * @param {Bucket[]} buckets
   * @param {number} end_ms
   * @param {Span} selected
   */
  draw(buckets, end_ms, selected) {
    const is_other = buckets.length !== this.#buckets.length;
    this.#buckets = buckets;
    this.#end_ms = end_ms;
    this.#selected = selected;
    if (is_other && this.#cursor !== null) this.#cursor = Math.min(this.#cursor, buckets.length - 1);
    this.#paint();
    if (this.#cursor !== null) this.#say();
  }

  /** @param {number} index a bucket, or the end */
  #x(index) {
    return Math.round((index * this.width) / Math.max(1, this.#buckets.length));
  }

  /** @param {number} ms */
  #xOf(ms) {
    const from = this.#buckets[0]?.from_ms ?? 0;
    return Math.round(((ms - from) / Math.max(1, this.#end_ms - from)) * this.width);
  }

  #paint() {
    const { width } = this;
    const height = TOP + PLOT_HEIGHT + AXIS_HEIGHT;
    const base = TOP + PLOT_HEIGHT;
    this.#svg.setAttribute("width", String(width));
    this.#svg.setAttribute("height", String(height));
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const { most, top } = topOf(this.#buckets);
    const parts = [...this.#band()];
    this.#buckets.forEach((bucket, index) => {
      if (bucket.count <= 0) return;
      const x = this.#x(index);
      const wide = Math.max(1, this.#x(index + 1) - x - 1);
      const high = Math.max(2, Math.round((Math.min(bucket.count, top) / top) * PLOT_HEIGHT));
      const state = this.#isIn(index) ? "" : " outside";
      parts.push(svg("rect", { class: `bar${state}`, x, y: base - high, width: wide, height: high }));
      if (bucket.count > top)
        parts.push(svg("rect", { class: "cut", x, y: base - high + CUT_PX, width: wide, height: 3 }));
    });
    parts.push(svg("rect", { class: "axis", x: 0, y: base, width, height: 1 }));
    const words = `${most.toLocaleString()} at most`;
    const cut = `; a bar with a gap is cut at ${top.toLocaleString()}`;
    if (most > 0) parts.push(this.#text(2, TOP - 3, most > top ? words + cut : words, "start"));
    parts.push(...this.#axis(base), ...this.#cursorMark(base));
    this.#svg.replaceChildren(...parts);
  }

  #band() {
    const { since, until } = this.#selected;
    if (since === null && until === null) return [];
    const x = Math.max(0, since === null ? 0 : this.#xOf(since));
    const end = Math.min(this.width, until === null ? this.width : this.#xOf(until));
    if (end < x) return [];
    return [
      svg("rect", {
        class: "band",
        x: x + 0.5,
        y: TOP - 0.5,
        width: Math.max(2, end - x - 1),
        height: PLOT_HEIGHT,
      }),
    ];
  }

  /** @param {number} index */
  #isIn(index) {
    const { since, until } = this.#selected;
    const from = this.#buckets[index]?.from_ms ?? 0;
    const to = this.#buckets[index + 1]?.from_ms ?? this.#end_ms;
    return (since === null || to > since) && (until === null || from < until);
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {string} words
   * @param {string} anchor
   */
  #text(x, y, words, anchor) {
    const text = svg("text", { x, y, "text-anchor": anchor });
    text.textContent = words;
    return text;
  }

  /** @param {number} base */
  #axis(base) {
    const [first] = this.#buckets;
    if (!first || this.#end_ms <= first.from_ms) return [];
    const { step, found } = ticks(first.from_ms, this.#end_ms, Math.max(1, Math.floor(this.width / TICK_PX)));
    return found.flatMap((ms) => {
      const x = this.#xOf(ms);
      const mark = svg("rect", { class: "axis", x, y: base, width: 1, height: 4 });
      const is_near_end = x > this.width - 50;
      const anchor = is_near_end ? "end" : x < 40 ? "start" : "middle";
      return [mark, this.#text(is_near_end ? this.width - 1 : x, base + 15, tickWords(ms, step), anchor)];
    });
  }

  /** @param {number} base */
  #cursorMark(base) {
    if (this.#cursor === null) return [];
    const { first, last } = this.#chosen(this.#cursor);
    const x = this.#x(first);
    const width = Math.max(2, this.#x(last + 1) - x);
    return [svg("rect", { class: "cursor", x: x + 0.5, y: TOP - 0.5, width: width - 1, height: base - TOP })];
  }

  /** @param {number} cursor */
  #chosen(cursor) {
    const anchor = this.#anchor ?? cursor;
    return { first: Math.min(anchor, cursor), last: Math.max(anchor, cursor) };
  }

  /** @param {number | null} index */
  #point(index) {
    const last = this.#buckets.length - 1;
    this.#cursor = index === null || last < 0 ? null : Math.max(0, Math.min(last, index));
    this.#paint();
    this.#say();
  }

  #say() {
    if (this.#cursor === null) {
      this.told.read(null, 0);
      return;
    }
    const { first, last } = this.#chosen(this.#cursor);
    this.#describe(this.told.read(first, last));
  }

  /** @param {string} words */
  #describe(words) {
    const { element: plot } = this;
    plot.setAttribute("aria-valuemin", "0");
    plot.setAttribute("aria-valuemax", String(Math.max(0, this.#buckets.length - 1)));
    plot.setAttribute("aria-valuenow", String(this.#cursor ?? 0));
    plot.setAttribute("aria-valuetext", words || "nothing is read");
  }

  /** @param {PointerEvent} event */
  #at(event) {
    const { left } = this.element.getBoundingClientRect();
    return Math.floor(((event.clientX - left) / Math.max(1, this.width)) * this.#buckets.length);
  }

  /** @param {PointerEvent} event */
  #moved(event) {
    const at = this.#at(event);
    if (at !== this.#cursor) this.#point(at);
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0 || this.#buckets.length === 0) return;
    this.element.setPointerCapture(event.pointerId);
    this.is_dragging = true;
    this.#anchor = Math.max(0, Math.min(this.#buckets.length - 1, this.#at(event)));
    this.#point(this.#anchor);
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (!this.is_dragging) return;
    this.#point(this.#at(event));
    this.#choose();
  }

  #choose() {
    this.is_dragging = false;
    if (this.#cursor === null) return;
    const { first, last } = this.#chosen(this.#cursor);
    this.#anchor = null;
    this.told.select(first, last);
    this.#point(this.#cursor);
  }

  #drop() {
    this.is_dragging = false;
    this.#anchor = null;
    this.#point(null);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const end = this.#buckets.length - 1;
    const now = this.#cursor ?? end;
    const steps = new Map([
      ["ArrowLeft", now - 1],
      ["ArrowRight", now + 1],
      ["PageUp", now - 10],
      ["PageDown", now + 10],
      ["Home", 0],
      ["End", end],
    ]);
    const to = steps.get(event.key);
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (to !== undefined) {
      this.#anchor = event.shiftKey ? (this.#anchor ?? now) : null;
      this.#point(to);
    } else if (event.key === "Enter" || event.key === " ") this.#choose();
    else if (event.key === "Escape") this.told.clear();
    else return;
    event.preventDefault();
  }
}
