/** @file Which rows of the loaded events are in the document? Those in view and a few around them. */

import { addressWith } from "./address.js";
import { element } from "./card.js";
import { readEvent } from "./kinds/exact.js";
import { describe } from "./kinds/index.js";
import { absolute, clock } from "./time.js";

/** @typedef {import("./loaded.js").Loaded} Loaded */
/** @typedef {import("./range.js").Row} Row */

const AROUND_ROWS = 12;
/** Above the first row there is room for one line that says what is there. */
const EDGE_ROWS = 1;

/**
 * @param {Row} row
 * @returns {HTMLLIElement}
 */
function drawn(row) {
  const item = element("li", "row");
  item.dataset.seq = String(row.seq);
  const link = element("a", "row-link");
  link.href = addressWith({ event: String(row.seq) });
  link.tabIndex = -1;
  link.draggable = false;
  try {
    const event = readEvent(row.line);
    const { label, glyph, tone, summary } = describe(event);
    const at = element("time", "row-at", clock(event.recorded_at_ms));
    at.title = absolute(event.recorded_at_ms);
    const mark = element("span", "glyph", glyph);
    mark.setAttribute("aria-hidden", "true");
    const kind = element("span", `row-kind ${tone}`, mark, element("bdi", "", label));
    kind.title = event.kind;
    link.append(at, kind, element("span", "row-text", summary), element("span", "row-seq", `#${row.seq}`));
  } catch {
    link.append(element("span", "row-text", `Event ${row.seq} cannot be read; open it to see its text.`));
  }
  item.append(link);
  return item;
}

/** Draws a window of the rows; where the reader is stays where it is, whatever comes or goes above. */
export class Rows {
  /** The newest row is kept in view. */
  follows = true;
  /** The row that keys move, by its seq. */
  current = 0;
  element = element("div", "rows");
  #list = element("ol", "row-list");
  #edge = element("p", "row-edge");
  #size = element("div", "row-size");
  #probe = element("div", "row-probe");
  /** @type {Map<number, HTMLLIElement>} */
  #drawn = new Map();
  #height = 28;
  #marked = 0;
  /** Where this page put the view last. */
  #own_top = 0;
  /** The height of all rows, as it was drawn last. */
  #drawn_px = 0;

  /**
   * @param {Loaded} loaded
   * @param {{open: (seq: number) => void, draw: () => void, left: () => void, ended: () => void}} told
   * @param {AbortSignal} signal
   */
  constructor(loaded, told, signal) {
    this.loaded = loaded;
    this.told = told;
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "group");
    this.element.setAttribute(
      "aria-label",
      "Events, oldest first. Arrow keys move, Enter opens, Home and End go to the first and the last.",
    );
    this.#list.setAttribute("role", "list");
    this.#size.append(this.#edge, this.#list);
    this.#probe.setAttribute("aria-hidden", "true");
    this.element.append(this.#probe, this.#size);
    this.element.addEventListener("scroll", () => this.#scrolled(), { signal, passive: true });
    this.element.addEventListener("wheel", (event) => event.deltaY < 0 && this.#leave(), {
      signal,
      passive: true,
    });
    this.element.addEventListener("keydown", (event) => this.#onKey(event), { signal });
    this.element.addEventListener("click", (event) => this.#onClick(event), { signal });
    const observer = new ResizeObserver(() => this.#resized());
    observer.observe(this.element);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  /** Of what is drawn: rows that came since then are none that the reader scrolled away from. */
  get isAtEnd() {
    const { scrollTop, clientHeight } = this.element;
    return this.loaded.is_attached && scrollTop + clientHeight >= this.#drawn_px - 6;
  }

  get #total() {
    return (this.loaded.rows.length + EDGE_ROWS) * this.#height;
  }

  /** Forgets what is drawn: the rows are others now. */
  clear() {
    this.#drawn.clear();
    this.#list.replaceChildren();
    this.#scrollTo(0);
  }

  /**
   * A row that says something else now is drawn anew.
   * @param {number} seq
   */
  forget(seq) {
    this.#drawn.get(seq)?.remove();
    this.#drawn.delete(seq);
  }

  #leave() {
    if (!this.follows || this.element.scrollHeight <= this.element.clientHeight) return;
    this.follows = false;
    this.told.left();
  }

  /** @param {number} px */
  #scrollTo(px) {
    this.element.scrollTop = px;
    this.#own_top = this.element.scrollTop;
  }

  #scrolled() {
    // What this page did itself says nothing about what the reader wants.
    if (Math.abs(this.element.scrollTop - this.#own_top) < 1) return this.told.draw();
    this.#own_top = -1;
    if (this.isAtEnd) this.told.ended();
    else this.#leave();
    this.told.draw();
  }

  #resized() {
    const before = this.#height;
    const height = this.#probe.getBoundingClientRect().height || before;
    if (height !== before) {
      const first = this.element.scrollTop / before;
      this.#height = height;
      this.#resize();
      if (!this.follows) this.#scrollTo(first * height);
    }
    this.draw();
  }

  #resize() {
    if (this.#drawn_px === this.#total) return;
    this.#drawn_px = this.#total;
    this.#size.style.setProperty("height", `${this.#drawn_px}px`);
  }

  draw() {
    const { loaded, element: scroller } = this;
    const height = this.#height;
    this.#resize();
    if (loaded.shift !== 0 && !this.follows) this.#scrollTo(scroller.scrollTop + loaded.shift * height);
    loaded.shift = 0;
    if (this.follows) this.#scrollTo(this.#total);
    const count = loaded.rows.length;
    const top = scroller.scrollTop / height - EDGE_ROWS;
    // Read before anything is drawn: afterwards it would have the browser lay out all that was.
    const room = scroller.clientHeight / height;
    const bottom = top + room;
    const first = Math.max(0, Math.min(count, Math.floor(top)));
    const last = Math.max(first, Math.min(count, Math.ceil(bottom)));
    loaded.view = { first, last };
    this.#drawWindow(Math.max(0, first - AROUND_ROWS), Math.min(count, last + AROUND_ROWS));
    if (room > 0) this.#readAhead(first, count - last);
  }

  /**
   * @param {number} above rows above those in view
   * @param {number} below
   */
  #readAhead(above, below) {
    const { loaded } = this;
    if (loaded.problem) return;
    if (above < loaded.ahead && !loaded.is_start && !loaded.is_reading_older) void loaded.older();
    if (below < loaded.ahead && !loaded.is_attached && !loaded.is_reading_newer) void loaded.newer();
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  #drawWindow(from, to) {
    const rows = this.loaded.rows.slice(from, to);
    const wanted = new Set(rows.map((row) => row.seq));
    for (const [seq, item] of this.#drawn) {
      if (wanted.has(seq)) continue;
      if (item.contains(document.activeElement)) this.element.focus({ preventScroll: true });
      item.remove();
      this.#drawn.delete(seq);
    }
    this.#list.style.setProperty("transform", `translateY(${(from + EDGE_ROWS) * this.#height}px)`);
    let next = this.#list.firstElementChild;
    for (const row of rows) {
      let item = this.#drawn.get(row.seq);
      if (!item) {
        item = drawn(row);
        this.#drawn.set(row.seq, item);
        if (row.seq === this.#marked) item.classList.add("shown");
      }
      if (item === next) next = next.nextElementSibling;
      else this.#list.insertBefore(item, next);
    }
  }

  /**
   * What stands above the first row.
   * @param {...(Node | string)} words
   */
  edge(...words) {
    if (words.length === 1 && this.#edge.textContent === words[0]) return;
    this.#edge.replaceChildren(...words);
  }

  /**
   * Marks the row whose event is shown beside.
   * @param {number} seq
   */
  mark(seq) {
    this.#drawn.get(this.#marked)?.classList.remove("shown");
    this.#marked = seq;
    this.#drawn.get(seq)?.classList.add("shown");
    if (seq !== 0) this.current = seq;
  }

  /**
   * Where the row is among the loaded ones, or where it would be.
   * @param {number} seq
   */
  indexOf(seq) {
    const { rows } = this.loaded;
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((rows[middle]?.seq ?? 0) < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Brings a loaded row into view.
   * @param {number} index
   * @param {"nearest" | "center"} block
   */
  reveal(index, block = "nearest") {
    const { element: scroller } = this;
    const top = (index + EDGE_ROWS) * this.#height;
    const bottom = top + this.#height - scroller.clientHeight;
    if (index < this.loaded.rows.length - 1) this.#leave();
    // The place is told by the rows as they are now.
    this.loaded.shift = 0;
    this.#resize();
    if (block === "center") this.#scrollTo(top - (scroller.clientHeight - this.#height) / 2);
    else if (scroller.scrollTop > top) this.#scrollTo(top);
    else if (scroller.scrollTop < bottom) this.#scrollTo(bottom);
    this.draw();
  }

  /**
   * Puts focus on the row that keys move.
   * @param {number} index
   */
  focusRow(index) {
    const row = this.loaded.rows[index];
    if (!row) return;
    this.current = row.seq;
    this.reveal(index);
    const link = this.#drawn.get(row.seq)?.firstElementChild;
    if (link instanceof HTMLElement) link.focus({ preventScroll: true });
  }

  /** @param {number} step */
  #move(step) {
    const { rows, view } = this.loaded;
    const now = this.indexOf(this.current);
    const is_near = rows[now]?.seq === this.current && now >= view.first - 1 && now <= view.last;
    const start = step > 0 ? view.first : view.last - 1;
    this.focusRow(is_near ? Math.max(0, Math.min(rows.length - 1, now + step)) : start);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    if (event.key === "ArrowDown") this.#move(1);
    else if (event.key === "ArrowUp") this.#move(-1);
    else if (event.key === "Home" || event.key === "End") {
      this.element.dispatchEvent(
        new CustomEvent(event.key === "Home" ? "to-start" : "to-end", { bubbles: true }),
      );
    } else if (event.key === "Enter" && event.target === this.element && this.current !== 0)
      this.told.open(this.current);
    else return;
    event.preventDefault();
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    const link = event.target instanceof Element ? event.target.closest(".row-link") : null;
    const item = link?.closest("li");
    if (!item) return;
    event.preventDefault();
    this.told.open(Number(item.dataset.seq));
  }
}
