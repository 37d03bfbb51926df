/** @file What do all things that wait have in common? */

import { freshKey, NO_SECRET, Problem } from "./api.js";
import { name, untrusted } from "./text.js";
import { ago, setMoment } from "./time.js";

/** Which part of the window a card takes that is a tall one. */
const TALL = 0.5;

/** @typedef {import("./page.js").Page} Page */
/** @typedef {Record<string, unknown>} Row */
/**
 * @typedef {object} Outcome
 * @property {"ok" | "danger" | "muted"} tone
 * @property {string} word
 * @property {unknown} by
 * @property {unknown} text
 * @property {number | null} at_ms
 */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} className
 * @param {...(Node | string)} children
 */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/**
 * @param {string} className
 * @param {...(Node | string)} children
 */
export function button(className, ...children) {
  const made = element("button", className, ...children);
  made.type = "button";
  return made;
}

/**
 * The first line of a text, and what is below it.
 * @param {unknown} value
 */
export function headed(value) {
  const text = typeof value === "string" ? value.trim() : "";
  const feed = text.indexOf("\n");
  return feed === -1
    ? { first: text, rest: "" }
    : { first: text.slice(0, feed), rest: text.slice(feed + 1).trim() };
}

/**
 * @param {unknown} seconds
 * @returns {number | null}
 */
export function ms(seconds) {
  return typeof seconds === "number" ? seconds * 1000 : null;
}

/**
 * What became of it, in words.
 * @param {Outcome} outcome
 */
export function outcomeLine(outcome) {
  const line = element("span", "outcome", element("strong", outcome.tone, outcome.word));
  if (typeof outcome.by === "string") line.append(" by ", name(outcome.by));
  if (outcome.at_ms !== null) line.append(" ", ago(outcome.at_ms));
  if (typeof outcome.text === "string" && outcome.text !== "") {
    line.append(": ", untrusted(outcome.text, { max: 300, multiline: true, lines: 4 }));
  }
  return line;
}

/**
 * A card: what waits, and how it is decided. It is drawn once; what was typed into it stays until it is settled.
 */
export class Card extends HTMLElement {
  /** @type {Page | null} */
  page = null;
  /** @type {Row} */
  row = {};
  /**
   * Whether it was settled, and from what: by the answer to this page, or from the board, which has it whole.
   * @type {false | "answer" | "whole"}
   */
  is_settled = false;
  /** When it was settled, on the clock of performance.now(). */
  settled_at = 0;
  /** @type {boolean | null} */
  #may = null;
  /** Whether this page decided it. */
  #is_mine = false;
  #sent = "";
  #key = "";
  #problem = element("p", "problem");
  #foot = element("div", "foot");
  /** The buttons of a card that is longer than what is in sight stay in sight. */
  #sizes = new ResizeObserver(() => this.classList.toggle("tall", this.offsetHeight > innerHeight * TALL));

  /**
   * @param {Page} page
   * @param {Row} row
   */
  show(page, row) {
    this.page = page;
    this.row = row;
    this.tabIndex = 0;
    this.setAttribute("role", "article");
    this.#problem.setAttribute("role", "alert");
    const title = element("h3", "");
    title.id = `${this.localName}-${row.id}`;
    this.setAttribute("aria-labelledby", title.id);
    title.append(this.heading());
    this.append(this.#head(), title, ...this.content(), this.#foot);
    this.drawActions();
  }

  connectedCallback() {
    this.#sizes.observe(this);
  }

  disconnectedCallback() {
    this.#sizes.disconnect();
  }

  /** Draws the actions that the one who is signed in may do; what is typed stays if that is as before. */
  drawActions() {
    // Signed out, what is typed waits for who signs in next.
    if (this.is_settled || !this.page?.session) return;
    const may = this.page.can("operator");
    if (may === this.#may) return;
    this.#may = may;
    this.#foot.replaceChildren(this.#problem, ...(may ? [this.actions()] : []));
  }

  /** @returns {Node} */
  heading() {
    return document.createTextNode("");
  }

  /** @returns {Node[]} */
  content() {
    return [];
  }

  /** @returns {HTMLElement} */
  actions() {
    return element("div", "actions");
  }

  /** @returns {[string, unknown, Node[]]} what it is, who wants it, and more of the kind */
  origin() {
    return ["", "", []];
  }

  /**
   * @param {Row} _row an event that closed it, or its row on the board
   * @returns {Outcome}
   */
  outcome(_row) {
    return { tone: "muted", word: "Closed", by: null, text: null, at_ms: null };
  }

  #head() {
    const [what, who, extra] = this.origin();
    const head = element("div", "card-head");
    const at = ago(0);
    setMoment(at, typeof this.row.recorded_at_ms === "number" ? this.row.recorded_at_ms : Number.NaN);
    head.append(element("span", "tag", what), " ", name(who), ...extra, element("span", "spring"));
    head.append(at, " ", element("span", "number", `#${this.row.id}`));
    return head;
  }

  /**
   * Shows what became of it, in place of the buttons.
   * @param {Row} row
   * @param {"answer" | "whole"} source
   */
  settle(row, source) {
    const outcome = this.outcome(row);
    const had_focus = this.#foot.contains(document.activeElement);
    if (!this.is_settled) {
      // Until it becomes a line it keeps its height.
      this.style.setProperty("min-height", `${this.getBoundingClientRect().height}px`);
      this.settled_at = performance.now();
    }
    this.is_settled = source;
    this.classList.add("settled");
    const line = element("p", "settled-line", outcomeLine(outcome));
    if (this.#is_mine) line.append(mine());
    this.#foot.replaceChildren(line);
    if (had_focus) this.focus({ preventScroll: true });
  }

  /** Becomes a line. */
  compact() {
    const had_focus = this.contains(document.activeElement);
    this.classList.add("compact");
    if (had_focus) this.focus({ preventScroll: true });
  }

  /** @param {string} text */
  complain(text) {
    this.#problem.textContent = text;
  }

  /**
   * Sends a decision: the same one under the same key, so that it can be repeated after any failure.
   * @param {string} path
   * @param {Row} body
   * @param {Row} settled what is true of the card if it is stored
   * @param {(path: string, body: Row, key: string) => Promise<unknown>} send
   */
  async decide(path, body, settled, send) {
    if (this.is_settled || this.hasAttribute("aria-busy")) return;
    const content = path + JSON.stringify(body);
    if (content !== this.#sent) {
      this.#sent = content;
      this.#key = freshKey();
    }
    this.setAttribute("aria-busy", "true");
    this.complain("");
    try {
      await send(path, body, this.#key);
      this.#is_mine = true;
      if (this.is_settled) this.#foot.firstElementChild?.append(mine());
      else this.settle(settled, "answer");
    } catch (error) {
      if (error instanceof Problem && error.winner) this.settle(error.winner, "whole");
      else if (!this.is_settled) this.complain(explain(error));
    } finally {
      this.removeAttribute("aria-busy");
    }
  }
}

function mine() {
  return element("span", "muted", " (you)");
}

/** @param {unknown} error */
function explain(error) {
  if (!(error instanceof Problem)) return String(error);
  if (error.status === 401) return "You are signed out: nothing was decided.";
  if (error.type === NO_SECRET) return "Nothing was decided: this browser can only read. Sign in again.";
  if (error.isUnknown)
    return `It is not known whether this was stored (${error.words}). Doing the same again is safe.`;
  return `Nothing was decided: ${error.words}`;
}
