/** @file What do all parts of the page share? */

import { getText, Problem } from "./api.js";

/** @typedef {import("./client.js").Status} Status */
/** @typedef {import("./client.js").State} State */
/** @typedef {import("./client.js").LogEvent} LogEvent */
/** @typedef {import("./store.js").Board} Board */
/** @typedef {{name: string | null, roles: string[]}} Session */
/** @typedef {"approvals" | "questions" | "transients" | null} Changed */

const REDACTED = "hivelog.redacted";
/** How long until a text that could not be read is asked for again. */
const AGAIN_MS = 2000;

/**
 * Dispatches `session`, `status`, `state` {state, reason, is_other}, and `event` {event, line, changed} for each event, at once:
 * a listener notes what came and draws later, because thousands a second may come while the page catches up.
 * `redacted` {seq} says that the text of that event is gone: whoever shows it takes what `redacted` holds instead.
 */
export class Page extends EventTarget {
  /** @type {Session | null} */
  #session = null;
  #reload = () => {};
  #line = new AbortController();

  /** @param {URL} base the URL of the log */
  constructor(base) {
    super();
    this.base = base;
    /** Whether it is known by now who is signed in. */
    this.asked = false;
    /** @type {Status} */
    this.status = {
      state: "connecting",
      head: 0,
      log_id: null,
      retry_at_ms: null,
      reason: null,
      leads: false,
      last_frame_at_ms: null,
    };
    /** A second secret that the server did not take. @type {string | null} */
    this.refused = null;
    /** @type {Board | null} */
    this.board = null;
    /** The lines of events whose text is gone; null until what is left of it was read. @type {Map<number, string | null>} */
    this.redacted = new Map();
  }

  /** Who is signed in; null is nobody. */
  get session() {
    return this.#session;
  }

  set session(session) {
    // Who hears that nobody is signed in may ask for something, to hear it again.
    if (this.asked && this.#session === null && session === null) return;
    this.asked = true;
    this.#session = session;
    this.dispatchEvent(new CustomEvent("session"));
  }

  /** @param {string | null} secret is not that of the session whose cookie this browser has */
  refuse(secret) {
    this.refused = secret;
    this.dispatchEvent(new CustomEvent("session"));
  }

  /**
   * Whether the one who is signed in has one of these roles.
   * @param {...string} roles
   */
  can(...roles) {
    return this.#session?.roles.some((role) => roles.includes(role)) ?? false;
  }

  /**
   * Says how the stream is started anew.
   * @param {() => void} reload
   */
  set onreload(reload) {
    this.#reload = reload;
  }

  /** Starts the stream anew: after signing in, or because somebody does not want to wait. */
  reload() {
    this.#reload();
  }

  /** Aborts when the line that the stream comes by is lost: of a read nobody else says that no answer comes. */
  get line() {
    return this.#line.signal;
  }

  /** @param {Status} status */
  setStatus(status) {
    const is_lost = status.state === "reconnecting" && this.status.state !== "reconnecting";
    this.status = status;
    if (is_lost) {
      const lost = this.#line;
      this.#line = new AbortController();
      lost.abort(new DOMException("the line was lost", "TimeoutError"));
    }
    this.dispatchEvent(new CustomEvent("status", { detail: status }));
  }

  /**
   * @param {Board} board
   * @param {State} state
   * @param {string} reason
   */
  setState(board, state, reason) {
    const before = this.board;
    // A seq of another log is another event, and so is one that comes again in a log that was set back.
    const is_other = before !== null && (before.log_id !== board.log_id || before.seq > board.seq);
    if (is_other) this.redacted.clear();
    this.board = board;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, reason, is_other } }));
  }

  /**
   * @param {LogEvent} event
   * @param {string} line
   */
  take(event, line) {
    const changed = /** @type {Changed} */ (this.board?.apply(event) ?? null);
    this.dispatchEvent(new CustomEvent("event", { detail: { event, line, changed } }));
    const seq = event.redacted_seq;
    if (event.kind === REDACTED && Number.isSafeInteger(seq)) void this.#redact(Number(seq));
  }

  /**
   * Nothing shows that text any more, whether or not it can be read what is left.
   * @param {number} seq
   */
  async #redact(seq) {
    const tell = (/** @type {string | null} */ line) => {
      this.redacted.set(seq, line);
      this.board?.redact(seq, line === null ? null : JSON.parse(line));
      this.dispatchEvent(new CustomEvent("redacted", { detail: { seq } }));
    };
    const log_id = this.board?.log_id;
    tell(null);
    while (this.board?.log_id === log_id) {
      try {
        const { text } = await getText(this, `api/history/${seq}`);
        if (this.board?.log_id === log_id) tell(text.trimEnd());
        return;
      } catch (error) {
        if (error instanceof Problem && (error.status === 404 || error.status === 410)) return;
        // Nobody who is away or signed out is asked again and again.
        do await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        while (this.status.state !== "live");
      }
    }
  }

  /**
   * Listens until the signal aborts.
   * @param {string} type
   * @param {(detail: any) => void} listener
   * @param {AbortSignal} signal
   */
  listen(type, listener, signal) {
    this.addEventListener(type, (event) => listener(/** @type {CustomEvent} */ (event).detail), { signal });
  }
}
