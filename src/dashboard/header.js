/** @file Is what the page shows true now, and who is signed in? */

import { get } from "./api.js";
import { button, element } from "./card.js";
import { drawer } from "./draw.js";
import { Notifier } from "./notify.js";
import { signOut } from "./session.js";
import { name, plain } from "./text.js";
import { ago, clock, setLast, until } from "./time.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./page.js").Status} Status */

/** How long it may catch up before the page is marked as not live. */
const PATIENCE_MS = 700;

/** @type {Map<string, string>} */
const WORDS = new Map([
  ["connecting", "Connecting"],
  ["catching_up", "Catching up"],
  ["live", "Live"],
  ["reconnecting", "Reconnecting"],
  ["signed_out", "Signed out"],
  ["closed", "Closed"],
]);

class Header extends HTMLElement {
  #ended = new AbortController();
  #state = element("strong", "state");
  #head = element("span", "head-seq");
  #last = ago(Number.NaN);
  #who = element("div", "who");
  #banner = element("p", "banner");
  #why = element("span", "");
  #retry = element("span", "");
  /** When the last event was recorded. */
  #last_ms = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #patience;

  /** @param {Page} page */
  set page(page) {
    const { signal } = this.#ended;
    const note = drawer(() => this.#draw(page), signal, 100);
    page.listen("status", () => this.#status(page), signal);
    page.listen(
      "state",
      ({ is_other }) => {
        if (is_other) this.#last_ms = 0;
        note();
        this.#askLast(page);
      },
      signal,
    );
    page.listen(
      "event",
      ({ event }) => {
        this.#last_ms = event.recorded_at_ms;
        note();
      },
      signal,
    );
    page.listen("session", () => this.#drawWho(page), signal);
    const again = button("quiet", "Retry now");
    again.addEventListener("click", () => page.reload());
    this.#banner.hidden = true;
    this.#banner.append(this.#why, " ", this.#retry, " ", again);
    this.#state.setAttribute("role", "status");
    const seq = element("span", "fact", element("span", "label", "head seq "), this.#head);
    const last = element("span", "fact", element("span", "label", "last event "), this.#last);
    const notifier = new Notifier(page, signal);
    this.append(this.#state, seq, last, element("span", "spring"), this.#banner, notifier.button, this.#who);
    this.#status(page);
  }

  disconnectedCallback() {
    this.#ended.abort();
    clearTimeout(this.#patience);
  }

  /**
   * A snapshot does not say when the last event was.
   * @param {Page} page
   */
  async #askLast(page) {
    try {
      const { signal } = this.#ended;
      const { log_id, events } = await get(page, "api/history", { limit: 1 }, { signal });
      if (log_id !== page.board?.log_id) return;
      this.#last_ms = Math.max(this.#last_ms, events.at(-1)?.recorded_at_ms ?? 0);
      this.#draw(page);
    } catch {
      // The next event says it.
    }
  }

  /** @param {Page} page */
  #status(page) {
    const { state } = page.status;
    const { dataset } = document.documentElement;
    dataset.connection = state;
    const is_brief = state === "connecting" || state === "catching_up";
    if (is_brief && dataset.stale === undefined) {
      // While it catches up its status comes more often than this: patience does not begin anew each time.
      this.#patience ??= setTimeout(() => {
        this.#mark(page, true);
        this.#draw(page);
      }, PATIENCE_MS);
    } else {
      clearTimeout(this.#patience);
      this.#patience = undefined;
      this.#mark(page, state !== "live");
    }
    this.#draw(page);
  }

  /**
   * Marks the whole page as not being of now.
   * @param {Page} page
   * @param {boolean} is_stale
   */
  #mark(page, is_stale) {
    const root = document.documentElement;
    if (is_stale) root.dataset.stale = "";
    else delete root.dataset.stale;
    this.#banner.hidden = !is_stale || page.status.state === "signed_out";
  }

  /** @param {Page} page */
  #draw({ status, board }) {
    this.#state.dataset.state = status.state;
    const word = WORDS.get(status.state) ?? plain(status.state, 40);
    if (this.#state.textContent !== word) this.#state.textContent = word;
    const seq = Math.max(status.head, board?.seq ?? 0);
    this.#head.textContent = seq > 0 ? seq.toLocaleString() : "\u2013";
    this.#head.title = status.log_id ? `log ${status.log_id}, shown up to ${board?.seq ?? 0}` : "";
    setLast(this.#last, this.#last_ms);
    if (!this.#banner.hidden) this.#drawBanner(status, board?.seq);
  }

  /**
   * @param {Status} status
   * @param {number | undefined} seq
   */
  #drawBanner(status, seq) {
    const at = status.last_frame_at_ms === null ? "" : `, as of ${clock(status.last_frame_at_ms)}`;
    const shown = seq === undefined ? "Nothing is loaded" : `Shown up to event ${seq}${at}`;
    const why = status.reason ? ` (${plain(status.reason, 80)})` : "";
    this.#why.textContent = this.#why.title = `${shown}${why}`;
    const { retry_at_ms } = status;
    this.#retry.replaceChildren(...(retry_at_ms === null ? [] : ["retry ", until(retry_at_ms)]));
  }

  /** @param {Page} page */
  #drawWho(page) {
    const { session } = page;
    if (session === null) return this.#who.replaceChildren();
    if (session.name === null) {
      const all = element("span", "muted", "no sign-in");
      all.title = "Whoever reaches this server reads and writes the log";
      return this.#who.replaceChildren(all);
    }
    const out = button("quiet", "Sign out");
    out.title = `Signed in as ${plain(session.name, 64)}`;
    out.addEventListener("click", () => {
      out.disabled = true;
      signOut(page).catch((/** @type {unknown} */ error) => {
        out.disabled = false;
        out.title = String(error);
        out.textContent = "Sign out failed, again?";
      });
    });
    const roles = session.roles.map((role) => plain(role, 20)).join(", ");
    this.#who.replaceChildren(name(session.name), element("span", "muted roles", roles), out);
  }
}

customElements.define("hive-header", Header);
