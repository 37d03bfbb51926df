/** @file Who was seen, and what do they do? */

import { get } from "./api.js";
import { button, element } from "./card.js";
import { drawer } from "./draw.js";
import { isName, names } from "./kinds/index.js";
import { openRows } from "./open.js";
import { name } from "./text.js";
import { ago, lasting, setLast } from "./time.js";

/** @typedef {import("./page.js").Page} Page */
/**
 * @typedef {object} Agent
 * @property {string} name
 * @property {number} last_ms
 * @property {number} message_ms
 */

const WATCHDOG = "ttl-watchdog";
const ORDER = new Intl.Collator("en", { numeric: true });
const SHOWN_STEP = 200;
/** Agents that are known: names come without end, and each new one has all of them sorted. */
const AGENTS_MAX = 10_000;
const FILTER_FROM = 12;
/** A drawing touches only what changed, and an order by time is only that often looked at again. */
const DRAW_MS = 250;
const SORT_MS = 3000;

class Row {
  #state = element("td", "agent-state");
  #open = element("td", "number");
  #message = ago(Number.NaN);
  #last = ago(Number.NaN);
  #shown = "";

  /**
   * @param {string} agent
   * @param {() => void} choose
   */
  constructor(agent, choose) {
    const link = button("agent-name", name(agent));
    link.title = `Show only events of ${agent}`;
    link.addEventListener("click", choose);
    const head = element("th", "", link);
    head.scope = "row";
    const message = element("td", "", this.#message);
    this.element = element("tr", "", head, this.#state, this.#open, message, element("td", "", this.#last));
  }

  /**
   * @param {Agent} agent
   * @param {Record<string, unknown> | undefined} transient
   * @param {number} open
   */
  show(agent, transient, open) {
    this.#open.textContent = open > 0 ? String(open) : "";
    setLast(this.#message, agent.message_ms);
    setLast(this.#last, agent.last_ms);
    const state = transient ? `${transient.transient_kind} ${transient.since_unix}` : "";
    if (state === this.#shown) return;
    this.#shown = state;
    this.#state.replaceChildren(...(transient ? spinner(transient) : []));
  }
}

/** @param {Record<string, unknown>} transient */
function spinner(transient) {
  const spin = element("span", "spinner");
  spin.setAttribute("aria-hidden", "true");
  return [spin, name(transient.transient_kind), " ", lasting(Number(transient.since_unix) * 1000)];
}

class Agents extends HTMLElement {
  #ended = new AbortController();
  #filter = document.createElement("input");
  #filterRow = element("div", "agents-filter");
  #body = document.createElement("tbody");
  #table = element("table", "agents");
  #empty = element("p", "muted", "Nobody was seen yet.");
  #more = button("more");
  /** @type {Map<string, HTMLTableCellElement>} */
  #heads = new Map();
  /** @type {Map<string, Agent>} */
  #agents = new Map();
  /** @type {Map<string, Row>} */
  #rows = new Map();
  /** @type {Set<string>} */
  #dirty = new Set();
  /** @type {Map<string, number>} */
  #open = new Map();
  /** @type {Map<string, Record<string, unknown>>} */
  #transients = new Map();
  #is_board_new = true;
  #is_order_new = true;
  #by = "name";
  #limit = SHOWN_STEP;
  #redraw = () => {};
  #reorder = () => {};
  /** @type {Page | null} */
  #page = null;

  /** @param {Page} page */
  set page(page) {
    const { signal } = this.#ended;
    this.#page = page;
    this.#redraw = drawer(() => this.#draw(), signal, DRAW_MS);
    this.#reorder = drawer(
      () => {
        this.#is_order_new = true;
        this.#redraw();
      },
      signal,
      SORT_MS,
    );
    page.listen("state", ({ is_other }) => this.#reset(page, is_other), signal);
    page.listen("event", ({ event, changed }) => this.#take(event, changed), signal);
    this.append(this.#frame(), this.#empty);
    this.#more.hidden = true;
  }

  disconnectedCallback() {
    this.#ended.abort();
  }

  #frame() {
    this.#filter.type = "search";
    this.#filter.placeholder = "Filter agents";
    this.#filter.setAttribute("aria-label", "Filter agents by name");
    this.#filter.addEventListener("input", () => this.#orderNow());
    this.#filterRow.hidden = true;
    this.#filterRow.append(this.#filter);
    this.#more.addEventListener("click", () => {
      this.#limit += SHOWN_STEP;
      this.#orderNow();
    });
    const head = document.createElement("tr");
    head.append(this.#head("name", "Agent"), th("State"), th("Open"), this.#head("message", "Message"));
    head.append(this.#head("last", "Seen"));
    this.#table.append(element("thead", "", head), this.#body);
    this.#table.hidden = true;
    return element("div", "agents-frame", this.#filterRow, this.#table, this.#more);
  }

  /**
   * @param {string} by
   * @param {string} label
   */
  #head(by, label) {
    const cell = th("");
    const sort = button("sort", label);
    sort.title = by === "name" ? "Sort by name" : "Sort by this, newest first";
    sort.addEventListener("click", () => {
      this.#by = by;
      this.#orderNow();
    });
    cell.append(sort);
    this.#heads.set(by, cell);
    return cell;
  }

  #orderNow() {
    this.#is_order_new = true;
    this.#redraw();
  }

  /**
   * @param {Page} page
   * @param {boolean} is_other
   */
  async #reset(page, is_other) {
    const { board } = page;
    if (!board) return;
    if (is_other) this.#agents.clear();
    for (const { row } of openRows(board))
      this.#seen(row.agent ?? row.asker, Number(row.recorded_at_ms), false);
    for (const row of board.transients.values()) this.#seen(row.name, Number(row.recorded_at_ms), false);
    this.#is_board_new = true;
    this.#orderNow();
    try {
      const { log_id, agents } = await get(page, "api/agents", undefined, { signal: this.#ended.signal });
      if (log_id !== page.board?.log_id) return;
      for (const agent of agents) {
        this.#seen(agent.name, agent.last_at_ms, false);
        this.#seen(agent.name, agent.last_message_at_ms ?? 0, true);
      }
      this.#orderNow();
    } catch {
      // Then it is those whose events come by.
    }
  }

  /**
   * @param {import("./client.js").LogEvent} event
   * @param {import("./page.js").Changed} changed
   */
  #take(event, changed) {
    if (changed) this.#is_board_new = true;
    const is_message = event.kind === "sent" || event.kind === "delivered";
    for (const who of names(event)) this.#seen(who, event.recorded_at_ms, is_message);
    this.#redraw();
  }

  /**
   * @param {unknown} who
   * @param {number} at_ms
   * @param {boolean} is_message
   */
  #seen(who, at_ms, is_message) {
    if (!isName(who) || who === WATCHDOG) return;
    let agent = this.#agents.get(who);
    if (!agent) {
      if (this.#agents.size === AGENTS_MAX) return;
      agent = { name: who, last_ms: 0, message_ms: 0 };
      this.#agents.set(who, agent);
      this.#is_order_new = true;
    }
    if (at_ms > agent.last_ms) agent.last_ms = at_ms;
    if (is_message && at_ms > agent.message_ms) agent.message_ms = at_ms;
    this.#dirty.add(who);
  }

  #countBoard() {
    const { board } = this.#page ?? {};
    if (!this.#is_board_new || !board) return;
    this.#is_board_new = false;
    const changed = new Set([...this.#open.keys(), ...this.#transients.keys()]);
    this.#open.clear();
    for (const { row } of openRows(board)) {
      const who = String(row.agent ?? row.asker);
      this.#open.set(who, (this.#open.get(who) ?? 0) + 1);
    }
    this.#transients = new Map();
    for (const row of board.transients.values()) this.#transients.set(String(row.name), row);
    for (const who of [...changed, ...this.#open.keys(), ...this.#transients.keys()]) this.#dirty.add(who);
  }

  #draw() {
    this.#countBoard();
    if (this.#is_order_new) this.#order();
    else if (this.#by !== "name" && this.#dirty.size > 0 && !this.#body.matches(":hover")) this.#reorder();
    for (const who of this.#dirty) this.#show(who);
    this.#dirty.clear();
  }

  /** @param {string} who */
  #show(who) {
    const agent = this.#agents.get(who);
    if (agent) this.#rows.get(who)?.show(agent, this.#transients.get(who), this.#open.get(who) ?? 0);
  }

  #order() {
    this.#is_order_new = false;
    const words = this.#filter.value.trim().toLowerCase();
    const all = [...this.#agents.values()];
    const found = words === "" ? all : all.filter((agent) => agent.name.includes(words));
    found.sort(byOf(this.#by));
    const before = this.#rows;
    this.#rows = new Map();
    for (const { name: who } of found.slice(0, this.#limit)) {
      this.#rows.set(who, before.get(who) ?? new Row(who, () => this.#choose(who)));
      this.#dirty.add(who);
    }
    this.#place(before);
    for (const [by, cell] of this.#heads) {
      if (by === this.#by) cell.setAttribute("aria-sort", by === "name" ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    }
    this.#filterRow.hidden = all.length < FILTER_FROM && words === "";
    this.#table.hidden = all.length === 0;
    this.#empty.hidden = all.length > 0;
    this.#more.hidden = found.length <= this.#limit;
    this.#more.textContent = `\u2026 ${(found.length - this.#limit).toLocaleString()} more agents`;
  }

  /**
   * Moves only the rows that are not where they belong, so that the focus stays.
   * @param {Map<string, Row>} before
   */
  #place(before) {
    for (const [who, row] of before) if (!this.#rows.has(who)) row.element.remove();
    let at = this.#body.firstElementChild;
    for (const row of this.#rows.values()) {
      if (row.element === at) at = at.nextElementSibling;
      else this.#body.insertBefore(row.element, at);
    }
  }

  /** @param {string} who */
  #choose(who) {
    this.#page?.dispatchEvent(new CustomEvent("filter-agent", { detail: { name: who } }));
  }
}

/** @param {string} label */
function th(label) {
  const cell = element("th", "", label);
  cell.scope = "col";
  return cell;
}

/**
 * @param {string} by
 * @returns {(one: Agent, other: Agent) => number}
 */
function byOf(by) {
  const byName = (/** @type {Agent} */ one, /** @type {Agent} */ other) =>
    ORDER.compare(one.name, other.name);
  if (by === "message") return (one, other) => other.message_ms - one.message_ms || byName(one, other);
  if (by === "last") return (one, other) => other.last_ms - one.last_ms || byName(one, other);
  return byName;
}

customElements.define("hive-agents", Agents);
