/** @file What happened, and what happens now? */

import { asked, go, onAddress, seqOf } from "./address.js";
import { button, element } from "./card.js";
import { Detail } from "./detail.js";
import { Saver, words } from "./download.js";
import { drawer } from "./draw.js";
import { FilterBar } from "./filterbar.js";
import { Filters } from "./filters.js";
import { Loaded } from "./loaded.js";
import { readStretch } from "./range.js";
import { Rows } from "./rows.js";
import { clock } from "./time.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./client.js").LogEvent} LogEvent */

export class Feed extends HTMLElement {
  #leaving = new AbortController();
  // All of these are made when the page is given.
  #page = /** @type {Page} */ (/** @type {unknown} */ (null));
  filters = /** @type {FilterBar} */ (/** @type {unknown} */ (null));
  loaded = /** @type {Loaded} */ (/** @type {unknown} */ (null));
  rows = /** @type {Rows} */ (/** @type {unknown} */ (null));
  detail = /** @type {Detail} */ (/** @type {unknown} */ (null));
  saver = /** @type {Saver} */ (/** @type {unknown} */ (null));
  #key = "";
  /** Somebody pressed pause: then reaching the end does not follow again. */
  #is_paused = false;
  #follow = button("follow");
  #news = button("primary news");
  #state = element("p", "feed-state muted");
  #first = button("quiet", "First");
  #draw = () => {};

  /** @param {Page} page */
  set page(page) {
    this.#leaving.abort();
    this.#leaving = new AbortController();
    const { signal } = this.#leaving;
    this.#page = page;
    this.#is_paused = false;
    this.#draw = drawer(() => this.#drawn(), signal);
    this.filters = new FilterBar(page, signal);
    const loaded = new Loaded(page, Filters.ofAddress(), this.#draw);
    this.loaded = loaded;
    this.saver = new Saver(page, () => loaded.filters.params(), this.#draw, signal);
    const told = {
      open: (/** @type {number} */ seq) => go(page, { event: String(seq) }, { push: this.detail.seq === 0 }),
      draw: this.#draw,
      left: () => this.#draw(),
      ended: () => this.#ended(),
    };
    this.rows = new Rows(this.loaded, told, signal);
    this.detail = new Detail(
      page,
      {
        close: () => go(page, { event: null }),
        step: (by) => void this.#step(by),
        reveal: (seq) => void this.#reveal(seq),
        open: (seq) => go(page, { event: String(seq) }, { push: false }),
      },
      signal,
    );
    this.#build(signal);
    this.#listen(page, signal);
  }

  disconnectedCallback() {
    this.#leaving.abort();
    this.loaded?.close();
  }

  /** @param {AbortSignal} signal */
  #build(signal) {
    const { rows, detail, filters, saver } = this;
    this.#state.setAttribute("role", "status");
    const bar = element(
      "div",
      "feed-bar",
      this.#follow,
      this.#state,
      element("span", "spring"),
      this.#first,
      saver.element,
    );
    this.#news.hidden = true;
    const main = element("div", "feed-rows", rows.element, this.#news);
    this.replaceChildren(filters.element, bar, element("div", "feed-main", main, detail.element));
    this.#follow.addEventListener("click", () => this.#toggle(), { signal });
    this.#news.addEventListener("click", () => this.#toEnd(), { signal });
    this.#first.addEventListener("click", () => this.#toStart(), { signal });
    rows.element.addEventListener("to-start", () => this.#toStart(), { signal });
    rows.element.addEventListener("to-end", () => this.#toEnd(), { signal });
    rows.element.addEventListener(
      "keydown",
      (event) => {
        if (event.key === "Escape" && detail.seq !== 0) go(this.#page, { event: null });
      },
      { signal },
    );
  }

  /**
   * @param {Page} page
   * @param {AbortSignal} signal
   */
  #listen(page, signal) {
    page.listen("state", ({ state }) => this.#begin(state.seq), signal);
    page.listen("event", ({ event, line }) => this.#take(event, line), signal);
    page.listen("status", ({ state }) => (state === "live" ? this.#again() : this.#draw()), signal);
    page.listen("session", () => this.#again(), signal);
    page.listen("redacted", ({ seq }) => this.#redacted(seq), signal);
    onAddress(page, () => this.#addressed(), signal);
    if (page.board) this.#begin(page.board.seq);
    this.#addressed();
    this.#draw();
  }

  /** @param {number} seq the snapshot that the newest events are pinned to */
  #begin(seq) {
    this.loaded.goesOnFrom(seq);
    this.#key = Filters.ofAddress().key;
    this.#restart();
    // What was redacted before the snapshot did not come by, and its seq may be another log's.
    if (this.detail.seq !== 0) this.detail.again(this.detail.seq);
  }

  /** Reads the newest of what is asked for now. */
  #restart() {
    const { loaded, rows } = this;
    rows.clear();
    rows.follows = !this.#is_paused;
    void loaded.ask(Filters.ofAddress());
  }

  /** What could not be read is tried once more. */
  #again() {
    this.loaded.problem = null;
    this.#draw();
  }

  /**
   * @param {LogEvent} event
   * @param {string} line
   */
  #take(event, line) {
    const { loaded, rows } = this;
    this.filters.saw(event.kind);
    if (!loaded.take(event, line)) return;
    if (!rows.follows) loaded.news += 1;
    this.#draw();
  }

  /** @param {number} seq */
  #redacted(seq) {
    this.loaded.clean();
    this.rows.forget(seq);
    this.detail.again(seq);
    this.#draw();
  }

  #addressed() {
    const { loaded, detail, rows } = this;
    const { key } = Filters.ofAddress();
    if (key !== this.#key && loaded.isKnown) {
      this.#key = key;
      this.#is_paused = false;
      this.#restart();
    }
    const seq = seqOf(asked().get("event"));
    if (seq === null) return this.#closeDetail();
    const line = loaded.rows[rows.indexOf(seq)];
    void detail.show(seq, line?.seq === seq ? line.line : null);
    rows.mark(seq);
    this.classList.add("has-detail");
  }

  #closeDetail() {
    const { detail, rows, loaded } = this;
    if (detail.seq === 0) return;
    const { seq } = detail;
    detail.hide();
    rows.mark(0);
    this.classList.remove("has-detail");
    const index = rows.indexOf(seq);
    if (loaded.rows[index]?.seq === seq && !rows.follows) rows.focusRow(index);
    else rows.element.focus({ preventScroll: true });
  }

  /**
   * Shows the event before or after the shown one, of those that are asked for.
   * @param {-1 | 1} by
   */
  async #step(by) {
    const { loaded, detail, rows } = this;
    const page = this.#page;
    const { seq } = detail;
    const index = rows.indexOf(seq);
    const is_here = loaded.rows[index]?.seq === seq;
    const next = is_here ? loaded.rows[index + by] : undefined;
    if (next) {
      if (!rows.follows || by < 0) rows.reveal(index + by);
      return go(page, { event: String(next.seq) }, { push: false });
    }
    const params = loaded.filters.params();
    params.set("limit", "1");
    params.set(by < 0 ? "before" : "after", String(seq));
    if (by < 0) params.set("order", "desc");
    try {
      const found = (await readStretch(page, params, this.#leaving.signal)).rows[0];
      if (detail.seq !== seq) return;
      if (found) go(page, { event: String(found.seq) }, { push: false });
      else detail.say(by < 0 ? "There is none before it." : "There is none after it.");
    } catch (error) {
      if (!this.#leaving.signal.aborted) detail.say(words(error));
    }
  }

  /** @param {number} seq is brought into view, between those that came before and after it */
  async #reveal(seq) {
    const { loaded, rows, detail } = this;
    const page = this.#page;
    if (!loaded.filters.isEmpty && loaded.rows[rows.indexOf(seq)]?.seq !== seq) {
      go(page, { kind: null, agent: null, q: null, since: null, until: null });
    }
    rows.follows = false;
    if (loaded.rows[rows.indexOf(seq)]?.seq !== seq) await loaded.around(seq);
    rows.reveal(rows.indexOf(seq), "center");
    if (!matchMedia("(min-width: 1100px)").matches) go(page, { event: null });
    rows.mark(detail.seq);
  }

  #toggle() {
    const { rows } = this;
    if (!rows.follows) return this.#toEnd();
    rows.follows = false;
    this.#is_paused = true;
    this.#draw();
  }

  #toEnd() {
    const { loaded, rows } = this;
    this.#is_paused = false;
    rows.follows = true;
    loaded.news = 0;
    if (!loaded.is_attached) {
      rows.clear();
      void loaded.newest();
    }
    rows.element.focus({ preventScroll: true });
    this.#draw();
  }

  #toStart() {
    const { loaded, rows } = this;
    rows.follows = false;
    rows.clear();
    if (!loaded.is_start) void loaded.oldest();
    rows.element.focus({ preventScroll: true });
    this.#draw();
  }

  /** The reader scrolled to the end of all there is. */
  #ended() {
    const { loaded, rows } = this;
    loaded.news = 0;
    if (!this.#is_paused) rows.follows = true;
  }

  #drawn() {
    const { loaded, rows } = this;
    if (!this.isConnected) return;
    rows.draw();
    const is_following = rows.follows;
    this.#follow.textContent = is_following ? "Pause" : "Follow";
    this.#follow.title = is_following
      ? "Stop moving with what comes"
      : "Go to the newest and move with what comes";
    this.#news.hidden = is_following || loaded.news === 0;
    this.#news.textContent = `\u2193 ${loaded.news.toLocaleString()} new`;
    rows.edge(...this.#edge());
    const state = this.saver.said || this.#stateWords(is_following);
    if (this.#state.textContent !== state) this.#state.textContent = state;
  }

  /** @param {boolean} is_following */
  #stateWords(is_following) {
    const { state, head } = this.#page.status;
    if (state === "signed_out") return "Signed out: nothing new is shown.";
    if (state !== "live" && state !== "catching_up")
      return `Not live: events up to #${head.toLocaleString()} at most.`;
    if (state === "catching_up") return "Catching up\u2026";
    const until = this.loaded.filters.until_ms ?? null;
    if (until !== null && until <= Date.now()) return `Up to ${clock(until)}`;
    if (is_following) return "Live";
    return this.#is_paused ? "Paused" : "Scrolled back";
  }

  #edge() {
    const { loaded } = this;
    if (loaded.problem) {
      const again = button("quiet", "Try again");
      again.addEventListener("click", () => this.#again());
      return [element("span", "problem", `Events cannot be read: ${words(loaded.problem)}. `), again];
    }
    if (!loaded.is_start) {
      if (loaded.filters.isEmpty) return ["Reading older events\u2026"];
      return [`Looking for older ones, before #${loaded.low.toLocaleString()}\u2026`];
    }
    if (loaded.rows.length > 0)
      return [loaded.filters.isEmpty ? "The log begins here." : "There are no older ones."];
    if (!loaded.isKnown && this.#page.status.state === "signed_out") return ["Sign in to see what happened."];
    if (loaded.is_reading_newer || !loaded.isKnown) return ["Reading\u2026"];
    return [loaded.filters.isEmpty ? "Nothing has happened yet." : "No event is like that."];
  }
}

customElements.define("hive-feed", Feed);
