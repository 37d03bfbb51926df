/** @file What is one event, whole: in words, and as it was received? */

import { addressWith } from "./address.js";
import { get, getText, Problem } from "./api.js";
import { button, element } from "./card.js";
import { readEvent } from "./kinds/exact.js";
import { describe } from "./kinds/index.js";
import { name, untrusted } from "./text.js";
import { absolute, ago } from "./time.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./client.js").LogEvent} LogEvent */

const WIDE = "(min-width: 1100px)";
const RAW_CHARS = 20_000;
/** Text beyond this is not laid out anew: the copy of it would be as large. */
const PRETTY_CHARS_MAX = 4 * 1024 * 1024;

/**
 * The same JSON with line breaks: no token of it changes.
 * @param {string} json
 */
export function laidOut(json) {
  const parts = [];
  let depth = 0;
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gu)) {
    const is_open = token === "{" || token === "[";
    if (token === "}" || token === "]") {
      depth -= 1;
      if (parts.at(-1)?.trim() !== (token === "}" ? "{" : "[")) parts.push("\n", "  ".repeat(depth));
    } else if (/^[{[]$/u.test(parts.at(-1) ?? "")) parts.push("\n", "  ".repeat(depth));
    parts.push(token);
    if (is_open) depth += 1;
    else if (token === ",") parts.push("\n", "  ".repeat(depth));
    else if (token === ":") parts.push(" ");
  }
  return parts.join("");
}

/** @param {string} text */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without https on another host there is only the old way.
  const area = element("textarea", "");
  area.value = text;
  document.body.append(area);
  area.select();
  const is_copied = document.execCommand("copy");
  area.remove();
  if (!is_copied) throw new Error("the browser does not let this page copy");
}

/** Why an event cannot be shown. @param {unknown} error @param {number} seq */
function reason(error, seq) {
  if (error instanceof Problem && error.status === 404) return `There is no event ${seq} (yet).`;
  if (error instanceof Problem && error.status === 410)
    return `Event ${seq} was pruned: the log does not have it any more.`;
  if (error instanceof Problem && error.status === 401)
    return "You are signed out. Sign in to see this event.";
  return `Event ${seq} cannot be shown: ${error instanceof Error ? error.message : "unknown reason"}.`;
}

/** A panel beside the rows, or over all of a small screen. */
export class Detail {
  element = element("dialog", "detail");
  /** The event that is shown; 0 is none. */
  seq = 0;
  #title = element("h3", "");
  #content = element("div", "detail-content");
  #older = button("quiet", "\u2191 Older");
  #newer = button("quiet", "\u2193 Newer");
  #said = element("span", "muted");
  #wide = matchMedia(WIDE);
  #line = "";
  #is_pretty = false;
  #reading = new AbortController();

  /**
   * @param {Page} page
   * @param {{close: () => void, step: (by: -1 | 1) => void, reveal: (seq: number) => void, open: (seq: number) => void}} told
   * @param {AbortSignal} signal
   */
  constructor(page, told, signal) {
    this.page = page;
    this.told = told;
    const close = button("quiet", "Close");
    const reveal = button("quiet", "Show among the others");
    this.#title.id = "detail-title";
    this.#title.tabIndex = -1;
    this.#said.setAttribute("role", "status");
    this.element.setAttribute("aria-labelledby", this.#title.id);
    const head = element(
      "div",
      "detail-head",
      this.#title,
      element("span", "spring"),
      this.#older,
      this.#newer,
      close,
    );
    this.element.append(head, this.#content, element("div", "detail-foot", reveal, this.#said));
    close.addEventListener("click", () => told.close(), { signal });
    reveal.addEventListener("click", () => told.reveal(this.seq), { signal });
    this.#older.addEventListener("click", () => told.step(-1), { signal });
    this.#newer.addEventListener("click", () => told.step(1), { signal });
    this.element.addEventListener(
      "cancel",
      (event) => {
        event.preventDefault();
        told.close();
      },
      { signal },
    );
    this.element.addEventListener("keydown", (event) => this.#onKey(event), { signal });
    this.#wide.addEventListener("change", () => this.seq !== 0 && this.#appear(), { signal });
    signal.addEventListener("abort", () => this.#reading.abort());
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    this.told.close();
  }

  #appear() {
    if (this.element.open) this.element.close();
    if (this.#wide.matches) this.element.show();
    else this.element.showModal();
    this.#title.focus({ preventScroll: true });
  }

  /** @param {string} words */
  say(words) {
    this.#said.textContent = words;
  }

  /**
   * Shows an event: from its text where that is here, else from the log.
   * @param {number} seq
   * @param {string | null} line
   */
  async show(seq, line) {
    if (seq === this.seq) return;
    this.seq = seq;
    this.say("");
    this.#title.replaceChildren(`Event #${seq}`);
    this.#appear();
    this.#reading.abort();
    if (line !== null) return this.#draw(line);
    await this.#read(seq);
  }

  /**
   * Its text is another one now: if it is the one that is shown, it is read anew.
   * @param {number} seq
   */
  again(seq) {
    if (seq === this.seq) void this.#read(seq);
  }

  /** @param {number} seq */
  async #read(seq) {
    this.#reading.abort();
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    this.#line = "";
    this.#content.replaceChildren(element("p", "muted", "Loading\u2026"));
    try {
      const { text } = await getText(this.page, `api/history/${seq}`, {}, { signal });
      if (!signal.aborted) this.#draw(text.trimEnd());
    } catch (error) {
      if (!signal.aborted) this.#content.replaceChildren(element("p", "problem", reason(error, seq)));
    }
  }

  hide() {
    if (this.seq === 0) return;
    this.#reading.abort();
    this.seq = 0;
    this.#line = "";
    this.element.close();
    this.#content.replaceChildren();
  }

  /** @param {string} line */
  #draw(line) {
    this.#line = line;
    const parts = [];
    try {
      parts.push(...this.#described(readEvent(line)));
    } catch {
      parts.push(element("p", "problem", "This event cannot be drawn; below is its text."));
    }
    this.#content.replaceChildren(...parts, this.#raw());
    this.#content.scrollTop = 0;
  }

  /** @param {LogEvent} event */
  #described(event) {
    const { label, glyph, tone, body, opener } = describe(event);
    const kind = element("span", `row-kind ${tone}`, `${glyph} `, element("bdi", "", label));
    const when = element("p", "detail-when", kind, " ");
    if (label !== event.kind) when.append(name(event.kind), " ");
    when.append(
      element("span", "muted", absolute(event.recorded_at_ms), " (", ago(event.recorded_at_ms), ")"),
    );
    return [when, body(), ...(opener ? [this.#origin(opener)] : [])];
  }

  /** @param {{path: string, id: number}} opener */
  #origin({ path, id }) {
    const what = path === "api/approvals" ? "approval" : "question";
    const find = button("quiet", `Show what ${what} ${id} asked for`);
    find.addEventListener("click", async () => {
      try {
        const row = await get(this.page, `${path}/${id}`, {}, { signal: this.#reading.signal });
        this.told.open(Number(row.seq));
      } catch (error) {
        const is_gone = error instanceof Problem && (error.status === 404 || error.status === 410);
        this.say(is_gone ? `There is no ${what} ${id} on this log.` : String(error));
      }
    });
    return element("p", "", find);
  }

  #raw() {
    const pre = element("pre", "raw");
    pre.tabIndex = 0;
    pre.setAttribute("aria-label", "The event as it was received");
    const pretty = button("quiet", "Lay out");
    pretty.disabled = this.#line.length > PRETTY_CHARS_MAX;
    const draw = () => {
      const text = this.#is_pretty && !pretty.disabled ? laidOut(this.#line) : this.#line;
      pre.replaceChildren(untrusted(text, { max: RAW_CHARS, lines: 1000, multiline: true }));
      pretty.setAttribute("aria-pressed", String(this.#is_pretty));
    };
    pretty.addEventListener("click", () => {
      this.#is_pretty = !this.#is_pretty;
      draw();
    });
    draw();
    const copied = this.#copyButton("Copy", () => this.#line, "The text was copied, as it was received.");
    const address = () => new URL(addressOf(this.seq), document.baseURI).href;
    const link = this.#copyButton("Copy link", address, "The link to this event was copied.");
    const head = element(
      "div",
      "raw-head",
      element("h4", "", "As received"),
      element("span", "spring"),
      pretty,
      copied,
      link,
    );
    return element("div", "raw-part", head, pre);
  }

  /**
   * @param {string} label
   * @param {() => string} text
   * @param {string} done
   */
  #copyButton(label, text, done) {
    const made = button("quiet", label);
    made.addEventListener("click", () => {
      copy(text()).then(
        () => this.say(done),
        (error) => this.say(`It could not be copied: ${error.message}`),
      );
    });
    return made;
  }
}

/** @param {number} seq */
function addressOf(seq) {
  const none = { kind: null, agent: null, q: null, since: null, until: null, at: null };
  return addressWith({ ...none, event: String(seq) });
}
