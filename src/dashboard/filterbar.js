/** @file How are filters chosen, seen and taken away again? */

import { asked, go, onAddress } from "./address.js";
import { get } from "./api.js";
import { button, element } from "./card.js";
import { Filters, isKind } from "./filters.js";
import { isName, KINDS } from "./kinds/index.js";
import { name } from "./text.js";
import { clock } from "./time.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {"kind" | "agent"} Member */

const TYPING_MS = 350;
const KNOWN_MAX = 300;
const SHOWN_MAX = 60;

/** A menu of values, of which any number may be chosen, and a field that narrows them or takes another one. */
class Menu {
  element = element("details", "menu");
  #field = element("input", "");
  #list = element("div", "menu-list");
  #count = element("span", "count");

  /**
   * @param {string} title
   * @param {{known: () => Iterable<string>, chosen: () => string[], toggle: (value: string) => void, valid: (value: string) => boolean}} of
   * @param {AbortSignal} signal
   */
  constructor(title, of, signal) {
    this.of = of;
    this.title = title;
    const summary = element("summary", "", title, " ", this.#count);
    this.#field.type = "text";
    this.#field.autocomplete = "off";
    this.#field.spellcheck = false;
    this.#field.placeholder = "find, or type another and Enter";
    this.#field.setAttribute("aria-label", `${title}: find one`);
    this.#list.setAttribute("role", "group");
    this.#list.setAttribute("aria-label", title);
    this.element.append(summary, element("div", "menu-panel", this.#field, this.#list));
    this.element.addEventListener("toggle", () => this.element.open && this.#opened(), { signal });
    this.#field.addEventListener("input", () => this.draw(), { signal });
    this.element.addEventListener("keydown", (event) => this.#onKey(event), { signal });
    const close = (/** @type {Event} */ event) => {
      if (event.target instanceof Node && !this.element.contains(event.target)) this.element.open = false;
    };
    document.addEventListener("pointerdown", close, { signal });
    this.element.addEventListener(
      "focusout",
      (event) => {
        if (event.relatedTarget instanceof Node && !this.element.contains(event.relatedTarget))
          this.element.open = false;
      },
      { signal },
    );
  }

  #opened() {
    this.#field.value = "";
    this.draw();
    this.#field.focus();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.key === "Escape" && this.element.open) {
      this.element.open = false;
      this.element.querySelector("summary")?.focus();
    } else if (event.key === "Enter" && event.target === this.#field) {
      const value = this.#field.value.trim();
      if (!this.of.valid(value)) return;
      this.of.toggle(value);
      this.#field.value = "";
      this.draw();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  draw() {
    const chosen = this.of.chosen();
    this.#count.textContent = chosen.length > 0 ? String(chosen.length) : "";
    if (!this.element.open) return;
    const sought = this.#field.value.trim().toLowerCase();
    const all = [...new Set([...chosen, ...this.of.known()])];
    const found = all.filter((value) => value.includes(sought));
    const focused = document.activeElement instanceof HTMLInputElement ? document.activeElement.value : "";
    this.#list.replaceChildren(
      ...found.slice(0, SHOWN_MAX).map((value) => this.#choice(value, chosen.includes(value))),
    );
    if (found.length === 0) this.#list.append(element("p", "muted", "None is known by this name."));
    if (found.length > SHOWN_MAX)
      this.#list.append(element("p", "muted", `${found.length - SHOWN_MAX} more: type to find`));
    const again = [...this.#list.querySelectorAll("input")].find((box) => box.value === focused);
    if (document.activeElement === document.body) again?.focus();
  }

  /**
   * @param {string} value
   * @param {boolean} is_chosen
   */
  #choice(value, is_chosen) {
    const box = element("input", "");
    box.type = "checkbox";
    box.value = value;
    box.checked = is_chosen;
    box.addEventListener("change", () => this.of.toggle(value));
    return element("label", "choice", box, name(value));
  }
}

/** What is asked for, as fields and as chips; it writes to the address, and reads from it. */
export class FilterBar {
  element = element("div", "filters");
  /** Custom kinds that were seen. @type {Set<string>} */
  #kinds = new Set();
  /** @type {Set<string>} */
  #agents = new Set();
  #search = element("input", "");
  #chips = element("ul", "chips");
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #typing;
  #filters = Filters.ofAddress();
  #asked_at = Number.NEGATIVE_INFINITY;

  /**
   * @param {Page} page
   * @param {AbortSignal} signal
   */
  constructor(page, signal) {
    this.page = page;
    this.signal = signal;
    this.#search.type = "search";
    this.#search.id = "search";
    this.#search.placeholder = "Search all of the log: words, or beginn*";
    this.#search.autocomplete = "off";
    this.#search.maxLength = 1000;
    this.#search.setAttribute("aria-label", "Search the text of all events");
    const form = element("form", "search", this.#search);
    form.setAttribute("role", "search");
    this.kind = new Menu("Kinds", this.#menuOf("kind", this.#kinds, isKind), signal);
    this.agent = new Menu("Agents", this.#menuOf("agent", this.#agents, isName), signal);
    this.agent.element.addEventListener("toggle", () => void this.#askAgents(), { signal });
    this.#chips.setAttribute("aria-label", "Filters in force");
    this.element.append(form, this.kind.element, this.agent.element, this.#chips);
    form.addEventListener("submit", (event) => this.#submit(event), { signal });
    this.#search.addEventListener("input", () => this.#typed(), { signal });
    this.#search.addEventListener("keydown", (event) => event.key === "Escape" && this.#leave(event), {
      signal,
    });
    signal.addEventListener("abort", () => clearTimeout(this.#typing));
    page.listen("filter-agent", ({ name }) => this.addAgent(name), signal);
    onAddress(page, () => this.draw(), signal);
    this.draw();
  }

  /**
   * @param {Member} member
   * @param {Set<string>} seen
   * @param {(value: string) => boolean} valid
   */
  #menuOf(member, seen, valid) {
    return {
      known: () => (member === "kind" ? [...KINDS, ...[...seen].sort()] : [...seen].sort()),
      chosen: () => this.#filters[member === "kind" ? "kinds" : "agents"],
      toggle: (/** @type {string} */ value) => this.#toggle(member, value),
      valid,
    };
  }

  /**
   * Notes a kind that may be filtered by.
   * @param {string} kind
   */
  saw(kind) {
    if (this.#kinds.size < KNOWN_MAX && !KINDS.includes(kind)) this.#kinds.add(kind);
  }

  /** @param {unknown} who */
  addAgent(who) {
    if (!isName(who) || this.#filters.agents.includes(who)) return;
    this.#toggle("agent", who);
  }

  async #askAgents() {
    if (!this.agent.element.open || performance.now() - this.#asked_at < 10_000) return;
    this.#asked_at = performance.now();
    try {
      const { agents } = await get(this.page, "api/agents", {}, { signal: this.signal });
      for (const agent of agents) if (this.#agents.size < 10_000) this.#agents.add(String(agent.name));
    } catch {
      // The field takes any name.
    }
    this.agent.draw();
  }

  /**
   * @param {Member} member
   * @param {string} value
   */
  #toggle(member, value) {
    const now = asked().getAll(member);
    go(this.page, { [member]: now.includes(value) ? now.filter((one) => one !== value) : [...now, value] });
  }

  #typed() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#apply(false), TYPING_MS);
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    this.#apply(true);
  }

  /** @param {boolean} push */
  #apply(push) {
    clearTimeout(this.#typing);
    go(this.page, { q: this.#search.value.trim() || null }, { push });
  }

  /** @param {KeyboardEvent} event */
  #leave(event) {
    if (this.#search.value !== "") return;
    event.preventDefault();
    this.#search.blur();
  }

  draw() {
    this.#filters = Filters.ofAddress();
    if (document.activeElement !== this.#search) this.#search.value = this.#filters.q;
    this.kind.draw();
    this.agent.draw();
    this.#drawChips();
  }

  #drawChips() {
    const { kinds, agents, q, since_ms, until_ms } = this.#filters;
    const chips = [
      ...kinds.map((kind) => this.#chip("Kind", name(kind), () => this.#toggle("kind", kind))),
      ...agents.map((who) => this.#chip("Agent", name(who), () => this.#toggle("agent", who))),
    ];
    if (q !== "") chips.push(this.#chip("Text", name(q), () => go(this.page, { q: null })));
    if (since_ms !== null || until_ms !== null) {
      const from = since_ms === null ? "the beginning" : clock(since_ms);
      const to = until_ms === null ? "now" : clock(until_ms);
      const text = element("span", "", `${from} \u2013 ${to}`);
      chips.push(this.#chip("Time", text, () => go(this.page, { since: null, until: null })));
    }
    if (chips.length > 1) {
      const all = button("quiet", "Clear all");
      all.addEventListener("click", () =>
        go(this.page, { kind: null, agent: null, q: null, since: null, until: null }),
      );
      chips.push(element("li", "", all));
    }
    const had_focus = this.#chips.contains(document.activeElement);
    this.#chips.replaceChildren(...chips);
    this.#chips.hidden = chips.length === 0;
    if (had_focus) (this.#chips.querySelector("button") ?? this.#search).focus();
  }

  /**
   * @param {string} label
   * @param {HTMLElement} value
   * @param {() => void} remove
   */
  #chip(label, value, remove) {
    const cross = element("span", "", "\u00d7");
    cross.setAttribute("aria-hidden", "true");
    const clear = button("chip", element("span", "muted", `${label}: `), value, " ", cross);
    clear.title = "Take this filter away";
    clear.addEventListener("click", remove);
    const item = element("li", "", clear);
    return item;
  }
}
