/** @file What waits for the operator? */

import { ApprovalCard } from "./approval.js";
import { button, element } from "./card.js";
import { drawer } from "./draw.js";
import { closedRows, isOpen, openCount, openRows } from "./open.js";
import { QuestionCard } from "./question.js";
import { Recent } from "./recent.js";
import { opening } from "./store.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./open.js").Open} Open */
/** @typedef {{what: import("./open.js").What, card: ApprovalCard | QuestionCard, item: HTMLLIElement}} Held */

const SHOWN_STEP = 100;
/** Cards made in one frame, so that a long list does not hold up the page. */
const MADE_MAX = 8;
/** How long a settled card stays, as a line. */
const STAY_MS = 7000;
const TAP_MS = 700;
const CAN_HOVER = matchMedia("(hover: hover)");
/** Settled cards that are kept in their place under a pointer. */
const SETTLED_MAX = 100;

class Waiting extends HTMLElement {
  #ended = new AbortController();
  #summary = element("p", "summary");
  #list = element("ol", "cards");
  #more = button("more");
  #recent = new Recent();
  /** @type {Map<string, Held>} */
  #cards = new Map();
  #limit = SHOWN_STEP;
  #log_id = "";
  #redraw = () => {};
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {Page} page */
  set page(page) {
    const { signal } = this.#ended;
    this.#redraw = drawer(() => this.#draw(page), signal);
    const summarise = drawer(() => this.#summarise(page), signal, 500);
    const note = () => {
      this.#redraw();
      summarise();
    };
    page.listen(
      "state",
      () => {
        this.#renew(page);
        note();
      },
      signal,
    );
    page.listen(
      "event",
      ({ changed }) => (changed === "approvals" || changed === "questions") && note(),
      signal,
    );
    page.listen(
      "session",
      () => {
        this.#drawActions();
        note();
      },
      signal,
    );
    page.listen("redacted", ({ seq }) => this.#redacted(page, seq), signal);
    this.#summary.setAttribute("role", "status");
    this.#more.addEventListener("click", () => {
      this.#limit += SHOWN_STEP;
      this.#redraw();
    });
    for (const type of ["pointerleave", "pointerover"])
      this.#list.addEventListener(type, () => this.#timer !== undefined && this.#redraw());
    this.append(this.#summary, this.#list, this.#more, this.#recent);
    this.#summarise(page);
    this.#more.hidden = true;
  }

  disconnectedCallback() {
    this.#ended.abort();
    clearTimeout(this.#timer);
  }

  /**
   * Moves to the next card, or the one before.
   * @param {1 | -1} step
   */
  move(step) {
    const cards = [...this.#cards.values()].map(({ card }) => card);
    const at = cards.findIndex((card) => card.contains(document.activeElement));
    const to = at === -1 ? (step === 1 ? 0 : cards.length - 1) : at + step;
    const card = cards[Math.max(0, Math.min(cards.length - 1, to))];
    this.#focus(card);
  }

  /**
   * @param {string} key
   */
  select(key) {
    this.#focus(this.#cards.get(key)?.card);
  }

  /** The card that has the focus. */
  get selected() {
    for (const { card } of this.#cards.values()) if (card.contains(document.activeElement)) return card;
    return null;
  }

  /** @param {HTMLElement | undefined} card */
  #focus(card) {
    card?.focus({ preventScroll: true });
    card?.scrollIntoView({ block: "nearest" });
  }

  #drawActions() {
    for (const { card } of this.#cards.values()) card.drawActions();
  }

  /** @param {Page} page */
  #summarise({ board }) {
    const text = board ? summary(board.approvals.size, board.questions.size) : "Not loaded yet.";
    if (this.#summary.textContent !== text) this.#summary.textContent = text;
  }

  /** @param {Page} page */
  #draw(page) {
    const { board } = page;
    // A card has its buttons from the start, so that it does not grow under a pointer.
    if (!board || !page.asked) return;
    if (this.#log_id !== board.log_id) this.#clear(board.log_id);
    this.#settle(board);
    this.#fold();
    this.#add(page);
    const left = openCount(board) - this.#limit;
    this.#more.hidden = left <= 0;
    this.#more.textContent = `Show more: ${left.toLocaleString()} newer ones wait too`;
    this.#recent.show(board);
  }

  /**
   * Another log under the same page: nothing that was shown is of it.
   * @param {string} log_id
   */
  #clear(log_id) {
    this.#log_id = log_id;
    this.#cards.clear();
    this.#list.replaceChildren();
  }

  /**
   * Shows on each card that was closed what became of it.
   * @param {import("./store.js").Board} board
   */
  #settle(board) {
    /** @type {Map<string, Open> | null} */
    let closed = null;
    for (const [key, { what, card }] of this.#cards) {
      if (card.is_settled === "whole" || isOpen(board, what, card.row)) continue;
      closed ??= new Map(closedRows(board).map((one) => [one.key, one]));
      card.settle(closed.get(key)?.row ?? {}, "whole");
    }
  }

  /**
   * A card that shows a text that is gone gives its place to one without.
   * @param {Page} page
   * @param {number} seq
   */
  #redacted({ board }, seq) {
    const closed = new Map(board ? closedRows(board).map(({ key, row }) => [key, row]) : []);
    for (const [key, { card, item }] of this.#cards) {
      if (card.row.seq !== seq && closed.get(key)?.resolved_seq !== seq) continue;
      this.#cards.delete(key);
      item.remove();
    }
    this.#redraw();
  }

  /**
   * The events before a snapshot did not come by: a card that shows another text than its row now gives its place.
   * @param {Page} page
   */
  #renew({ board }) {
    if (!board) return;
    const rows = new Map([...openRows(board), ...closedRows(board)].map(({ key, row }) => [key, row]));
    for (const [key, { card, item }] of this.#cards) {
      const row = rows.get(key);
      if (!row || opening(row) !== opening(card.row)) {
        this.#cards.delete(key);
        item.remove();
      } else if (card.is_settled && row.resolved_seq) card.settle(row, "whole");
    }
  }

  /** Settled cards become a line, and go after a while, without moving what is under the pointer. */
  #fold() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const now = performance.now();
    const settled = [...this.#cards].filter(([, { card }]) => card.is_settled);
    for (const [key, held] of settled) {
      const age_ms = now - held.card.settled_at;
      // Where nothing hovers, a finger that taps twice must not meet the next card.
      const under =
        CAN_HOVER.matches || age_ms < TAP_MS ? this.#list.querySelector(":scope > li:hover") : null;
      const is_forced = settled.length > SETTLED_MAX;
      if (age_ms >= STAY_MS) this.#shrink(held, under, is_forced, () => this.#takeAway(key, held));
      else if (!held.card.matches(".compact")) this.#shrink(held, under, false, () => held.card.compact());
    }
    if (settled.length > 0) this.#timer = setTimeout(this.#redraw, TAP_MS);
  }

  /**
   * @param {Held} held
   * @param {Element | null} under what is under the pointer
   * @param {boolean} is_forced
   * @param {() => void} change
   */
  #shrink({ item }, under, is_forced, change) {
    const is_above = under !== null && (item === under || Boolean(item.compareDocumentPosition(under) & 4));
    const scroller = scrollerOf(this);
    const room = item === under ? 0 : scroller.scrollTop;
    if (is_above && room < item.offsetHeight + 16 && !is_forced) return;
    const before = under?.getBoundingClientRect().top ?? 0;
    change();
    if (is_above && under?.isConnected) scroller.scrollTop += under.getBoundingClientRect().top - before;
  }

  /**
   * @param {string} key
   * @param {Held} held
   */
  #takeAway(key, { card, item }) {
    const next = item.nextElementSibling ?? item.previousElementSibling;
    const had_focus = card.contains(document.activeElement);
    this.#cards.delete(key);
    item.remove();
    if (had_focus)
      /** @type {HTMLElement | null} */ (next?.firstElementChild)?.focus({ preventScroll: true });
  }

  /** @param {Page} page */
  #add(page) {
    const { board } = page;
    if (!board) return;
    let count = 0;
    let made = 0;
    for (const open of openRows(board)) {
      if (count === this.#limit) return;
      count += 1;
      const held = this.#cards.get(open.key);
      if (held?.card.row.seq === open.row.seq) continue;
      if (made === MADE_MAX) return this.#redraw();
      this.#place(page, open);
      made += 1;
    }
  }

  /**
   * @param {Page} page
   * @param {Open} open
   */
  #place(page, { key, what, row }) {
    this.#cards.get(key)?.item.remove();
    const card = what === "approval" ? new ApprovalCard() : new QuestionCard();
    card.show(page, row);
    const item = document.createElement("li");
    item.append(card);
    const after = [...this.#cards.values()].find((held) => Number(held.card.row.seq) > Number(row.seq));
    this.#list.insertBefore(item, after?.item ?? null);
    this.#cards.set(key, { what, card, item });
    if (after) this.#sort();
  }

  /** The map's order is that of the cards. */
  #sort() {
    const sorted = [...this.#cards].sort(
      ([, one], [, other]) => Number(one.card.row.seq) - Number(other.card.row.seq),
    );
    this.#cards = new Map(sorted);
  }
}

/**
 * @param {number} approvals
 * @param {number} questions
 */
function summary(approvals, questions) {
  if (approvals + questions === 0) return "Nothing waits for you.";
  const parts = [];
  if (approvals > 0) parts.push(`${approvals.toLocaleString()} approval${approvals === 1 ? "" : "s"}`);
  if (questions > 0) parts.push(`${questions.toLocaleString()} question${questions === 1 ? "" : "s"}`);
  return `${parts.join(" and ")}, oldest first`;
}

/**
 * What scrolls when this part is too long.
 * @param {HTMLElement} part
 */
function scrollerOf(part) {
  const section = part.closest("section");
  const is_own = section !== null && /auto|scroll/.test(getComputedStyle(section).overflowY);
  return is_own ? section : (document.scrollingElement ?? document.documentElement);
}

customElements.define("hive-waiting", Waiting);

export { Waiting };
