/** @file How did the board stand at an earlier moment? */

import "./patch.js";
import { asked, go, onAddress, seqOf } from "./address.js";
import { get, Problem } from "./api.js";
import { button, element } from "./card.js";
import { describe } from "./kinds/index.js";
import { pastBoard } from "./pastboard.js";
import { absolute } from "./time.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./client.js").LogEvent} LogEvent */
/** @typedef {import("./client.js").State} State */

const TRIES = 3;
const AGAIN_MS = 400;
/** The kinds that change the board. */
const BOARD_KINDS = [
  "approval_added",
  "approval_resolved",
  "question_added",
  "question_resolved",
  "transient_set",
  "transient_cleared",
];

/**
 * @param {unknown} error
 * @param {number} seq
 */
function reason(error, seq) {
  if (!(error instanceof Problem)) return `The board of that time cannot be shown: ${String(error)}.`;
  if (error.status === 410)
    return `What happened up to #${seq} was pruned, so the board cannot be told as it stood then. Choose a later moment.`;
  if (error.status === 503)
    return "Another past board is being worked out, or this one took too long. Try again in a moment.";
  if (error.status === 401) return "You are signed out. Sign in to look at the past.";
  if (error.status === 404 || error.status === 400) return `There is no moment #${seq} on this log (yet).`;
  return `The board of that time cannot be shown: ${error.message}.`;
}

/**
 * A time for a field that takes local time.
 * @param {number} ms
 */
function localText(ms) {
  const date = new Date(ms);
  return new Date(ms - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

export class Past extends HTMLElement {
  #leaving = new AbortController();
  #reading = new AbortController();
  #page = /** @type {Page} */ (/** @type {unknown} */ (null));
  #seq = 0;
  #chooser = element("details", "past-chooser");
  #time = element("input", "");
  #number = element("input", "");
  #said = element("p", "problem");
  #banner = element("div", "past-banner");
  #title = element("h3", "");
  #event = element("p", "past-event");
  #board = element("div", "past-board");
  #steps = element("div", "past-steps");

  /** @param {Page} page */
  set page(page) {
    this.#leaving.abort();
    this.#leaving = new AbortController();
    const { signal } = this.#leaving;
    this.#page = page;
    this.#build(page, signal);
    onAddress(page, () => this.#addressed(), signal);
    page.listen(
      "session",
      () => this.#seq !== 0 && !this.#banner.ariaBusy && !this.#board.firstChild && void this.#read(),
      signal,
    );
    page.listen("state", ({ reason }) => reason !== "start" && this.#seq !== 0 && void this.#read(), signal);
    page.listen("redacted", () => this.#seq !== 0 && void this.#read(), signal);
    this.#addressed();
  }

  disconnectedCallback() {
    this.#leaving.abort();
    this.#reading.abort();
  }

  /**
   * @param {Page} page
   * @param {AbortSignal} signal
   */
  #build(page, signal) {
    const now = button("primary", "Back to now");
    now.addEventListener("click", () => this.#close(), { signal });
    this.#steps.replaceChildren(
      this.#step("\u00ab Change", "The board before the last change", () => this.#toChange(-1)),
      this.#step("\u2039 Event", "One event earlier", async () => this.#seq - 1),
      this.#step("Event \u203a", "One event later", async () =>
        Math.min(this.#seq + 1, page.board?.seq ?? this.#seq + 1),
      ),
      this.#step("Change \u00bb", "The board after the next change", () => this.#toChange(1)),
      element("span", "spring"),
      now,
    );
    this.#title.tabIndex = -1;
    this.#said.setAttribute("role", "alert");
    this.#banner.setAttribute("role", "region");
    this.#banner.setAttribute("aria-label", "The board in the past");
    this.#banner.append(this.#title, this.#event, this.#steps, this.#board);
    this.#banner.hidden = true;
    this.#banner.addEventListener(
      "keydown",
      (event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        this.#close();
      },
      { signal },
    );
    this.#chooser.append(element("summary", "muted", "Look at the past"), this.#form(signal));
    this.replaceChildren(this.#chooser, this.#said, this.#banner);
  }

  /** @param {AbortSignal} signal */
  #form(signal) {
    this.#time.type = "datetime-local";
    this.#time.step = "1";
    this.#number.type = "text";
    this.#number.inputMode = "numeric";
    this.#number.size = 10;
    const show = element("button", "", "Show the board then");
    show.type = "submit";
    const form = element("form", "past-form");
    form.append(
      element("label", "", element("span", "muted", "At this time "), this.#time),
      element("label", "", element("span", "muted", "or at event # "), this.#number),
      show,
    );
    // The last one that was filled in counts.
    this.#time.addEventListener("input", () => (this.#number.value = ""), { signal });
    this.#number.addEventListener("input", () => (this.#time.value = ""), { signal });
    form.addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        void this.#choose();
      },
      { signal },
    );
    this.#chooser.addEventListener(
      "toggle",
      () => {
        if (this.#chooser.open && this.#time.value === "" && this.#number.value === "")
          this.#time.value = localText(Date.now() - 600_000);
      },
      { signal },
    );
    return form;
  }

  /**
   * @param {string} label
   * @param {string} title
   * @param {() => Promise<number | null>} target
   */
  #step(label, title, target) {
    const made = button("quiet", label);
    made.title = title;
    made.addEventListener("click", async () => {
      try {
        const seq = await target();
        if (seq === null || seq < 1 || seq === this.#seq) return this.#say("There is none on that side.");
        this.#goTo(seq, false);
      } catch (error) {
        this.#say(reason(error, this.#seq));
      }
    });
    return made;
  }

  /** @param {string} words */
  #say(words) {
    this.#said.textContent = words;
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#say(reason(error, this.#seq));
    if (!(error instanceof Problem) || (error.status > 0 && error.status !== 503)) return;
    const again = button("quiet", "Try again");
    again.addEventListener("click", () => void this.#read());
    this.#said.append(" ", again);
  }

  /**
   * @param {number} seq
   * @param {boolean} push
   */
  #goTo(seq, push) {
    go(this.#page, { at: String(seq) }, { push });
  }

  #close() {
    go(this.#page, { at: null });
    this.#chooser.querySelector("summary")?.focus();
  }

  async #choose() {
    this.#say("");
    if (this.#number.value.trim() !== "") {
      const seq = seqOf(this.#number.value.trim().replace(/^#/u, ""));
      return seq === null ? this.#say("That is no event's number.") : this.#goTo(seq, true);
    }
    const ms = Date.parse(this.#time.value);
    if (!Number.isFinite(ms)) return this.#say("Choose a time, or the number of an event.");
    try {
      const seq = await this.#seqAt(ms);
      if (seq === null) return this.#say("Nothing had happened by then that the log still has.");
      this.#goTo(seq, true);
    } catch (error) {
      this.#say(reason(error, 0));
    }
  }

  /** @param {number} ms */
  async #seqAt(ms) {
    const params = { until: new Date(ms).toISOString(), limit: 1 };
    const { events } = await get(this.#page, "api/history", params, {
      signal: this.#leaving.signal,
    });
    return events[0] ? Number(events[0].seq) : null;
  }

  /**
   * Where the board changed last before this moment, or changes next.
   * @param {-1 | 1} by
   * @returns {Promise<number | null>}
   */
  async #toChange(by) {
    const page = this.#page;
    const params = by < 0 ? { before: this.#seq, order: "desc" } : { after: this.#seq };
    const query = { ...params, limit: 1, kind: BOARD_KINDS };
    const { events } = await get(page, "api/history", query, { signal: this.#leaving.signal });
    return events[0] ? Number(events[0].seq) : null;
  }

  #addressed() {
    const seq = seqOf(asked().get("at")) ?? 0;
    if (seq === this.#seq) return;
    const had_focus = this.#banner.contains(document.activeElement);
    const was_open = this.#seq !== 0;
    this.#seq = seq;
    this.#reading.abort();
    this.#banner.hidden = seq === 0;
    this.classList.toggle("in-past", seq !== 0);
    this.#say("");
    if (seq === 0) return this.#board.replaceChildren();
    this.#chooser.open = false;
    void this.#read();
    if (!was_open && !had_focus) this.#title.focus({ preventScroll: true });
  }

  async #read(tries = TRIES) {
    const page = this.#page;
    const seq = this.#seq;
    this.#reading.abort();
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    this.#title.textContent = `The past: the board as it stood after event #${seq.toLocaleString()}`;
    this.#banner.setAttribute("aria-busy", "true");
    // A past that another one took the place of is no answer to show.
    try {
      const [state, event] = await Promise.all([
        get(page, "api/state", { at: seq }, { signal }),
        get(page, `api/history/${seq}`, {}, { signal }).catch(() => null),
      ]);
      if (signal.aborted) return;
      this.#say("");
      this.#show(state, event);
    } catch (error) {
      if (signal.aborted) return;
      // One that was given up a moment ago may be worked out still; one that was asked for may have signed in since.
      const is_passing =
        error instanceof Problem && (error.status === 503 || (error.status === 401 && page.session));
      if (is_passing && tries > 1)
        return void setTimeout(() => !signal.aborted && this.#read(tries - 1), AGAIN_MS);
      this.#event.replaceChildren();
      this.#board.replaceChildren();
      this.#fail(error);
    }
    this.#banner.removeAttribute("aria-busy");
  }

  /**
   * @param {State} state
   * @param {LogEvent | null} event
   */
  #show(state, event) {
    const at_ms = event?.recorded_at_ms ?? null;
    const when = at_ms === null ? "" : ` at ${absolute(at_ms)},`;
    this.#title.textContent = `The past: the board as it stood${when} after event #${this.#seq.toLocaleString()}`;
    this.#event.replaceChildren();
    if (event) {
      const { label, glyph, tone, summary } = describe(event);
      this.#event.append(
        element("span", `row-kind ${tone}`, `${glyph} `, element("bdi", "", label)),
        " ",
        summary,
      );
    }
    this.#board.replaceChildren(pastBoard(state, at_ms));
  }
}

customElements.define("hive-past", Past);
