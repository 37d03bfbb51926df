/** @file What was decided lately? */

import { approvalOutcome, approvalTitle } from "./approval.js";
import { element, outcomeLine } from "./card.js";
import { closedRows } from "./open.js";
import { questionOutcome, questionTitle } from "./question.js";
import { name, untrusted } from "./text.js";

/** @typedef {import("./store.js").Board} Board */
/** @typedef {import("./open.js").Open} Open */

/** The requests and questions that were closed last, newest first; drawn only while it is open. */
export class Recent extends HTMLElement {
  #details = element("details", "recent");
  #summary = document.createElement("summary");
  #list = element("ul", "recent-list");
  /** By their rows: one that changed is drawn anew. @type {Map<object, HTMLLIElement>} */
  #items = new Map();
  /** @type {Board | null} */
  #board = null;

  connectedCallback() {
    if (this.firstChild) return;
    this.#details.append(this.#summary, this.#list);
    this.#details.addEventListener("toggle", () => this.#draw());
    this.#summary.textContent = "Recently decided";
    this.append(this.#details);
  }

  /** @param {Board} board */
  show(board) {
    this.#board = board;
    const count = board.recentApprovals.length + board.recentQuestions.length;
    this.#summary.textContent = `Recently decided (${count})`;
    this.#draw();
  }

  #draw() {
    if (!this.#details.open || !this.#board) return;
    const before = this.#items;
    this.#items = new Map();
    for (const closed of closedRows(this.#board)) {
      this.#items.set(closed.row, before.get(closed.row) ?? item(closed));
    }
    for (const [row, old] of before) if (!this.#items.has(row)) old.remove();
    let at = this.#list.firstElementChild;
    for (const one of this.#items.values()) {
      if (one === at) at = at.nextElementSibling;
      else this.#list.insertBefore(one, at);
    }
  }
}

/** @param {Open} closed */
function item({ what, row }) {
  const is_approval = what === "approval";
  const title = untrusted(is_approval ? approvalTitle(row) : questionTitle(row), { max: 120 });
  const outcome = is_approval ? approvalOutcome(row) : questionOutcome(row);
  const head = element(
    "div",
    "recent-head",
    name(is_approval ? row.agent : row.asker),
    " ",
    element("span", "number", `#${row.id}`),
    " ",
    title,
  );
  return element("li", "", head, element("div", "", outcomeLine(outcome)));
}

customElements.define("hive-recent", Recent);
