/** @file What do all parts of the page share? */

/** @typedef {import("./client.js").Status} Status */
/** @typedef {import("./client.js").State} State */
/** @typedef {import("./client.js").LogEvent} LogEvent */
/** @typedef {import("./store.js").Board} Board */
/** @typedef {{name: string | null, roles: string[]}} Session */
/** @typedef {"approvals" | "questions" | "transients" | null} Changed */

/**
 * Dispatches `session`, `status`, `state` {state, reason}, and `event` {event, line, changed} for each event, at once:
 * a listener notes what came and draws later, because thousands a second may come while the page catches up.
 */
export class Page extends EventTarget {
  /** @type {Session | null} */
  #session = null;
  #reload = () => {};

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
    /** @type {Board | null} */
    this.board = null;
  }

  /** Who is signed in; null is nobody. */
  get session() {
    return this.#session;
  }

  set session(session) {
    const before = this.#session;
    const is_same = before?.name === session?.name && String(before?.roles) === String(session?.roles);
    if (this.asked && is_same && (before === null) === (session === null)) return;
    this.asked = true;
    this.#session = session;
    this.dispatchEvent(new CustomEvent("session", { detail: session }));
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

  /** @param {Status} status */
  setStatus(status) {
    this.status = status;
    this.dispatchEvent(new CustomEvent("status", { detail: status }));
  }

  /**
   * @param {Board} board
   * @param {State} state
   * @param {string} reason
   */
  setState(board, state, reason) {
    this.board = board;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, reason } }));
  }

  /**
   * @param {LogEvent} event
   * @param {string} line
   */
  take(event, line) {
    const changed = /** @type {Changed} */ (this.board?.apply(event) ?? null);
    this.dispatchEvent(new CustomEvent("event", { detail: { event, line, changed } }));
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
