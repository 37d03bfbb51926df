/**
 * @file How a page stays in step with a log: one stream for all tabs of a browser, resumed for ever.
 *
 * It knows no kind of event and imports nothing, so any page can use it. Whoever hands frames on, every tab
 * keeps its own position and takes only what follows it: two leaders at once, or none, cost time but no event.
 */

/** @typedef {{seq: number, recorded_at_ms: number, kind: string, [member: string]: unknown}} LogEvent */
/**
 * @typedef {object} State A snapshot of the board.
 * @property {string} log_id
 * @property {number} seq
 * @property {number} floor
 * @property {LogEvent[]} approvals
 * @property {LogEvent[]} questions
 * @property {LogEvent[]} transients
 * @property {LogEvent[]} recent_approvals
 * @property {LogEvent[]} recent_questions
 */
/**
 * @typedef {object} Status
 * @property {"connecting"|"catching_up"|"live"|"reconnecting"|"signed_out"|"closed"} state
 * @property {number} head the highest seq heard of
 * @property {string|null} log_id
 * @property {number|null} retry_at_ms when the next attempt is made
 * @property {string|null} reason why it is not live
 * @property {boolean} leads whether this tab holds the stream
 * @property {number|null} last_frame_at_ms
 */
/** @typedef {{name: string, id: string, data: string}} Parsed */
/** @typedef {Parsed & {log: string, seq: number, prev: number}} Frame prev: the position of the frame before */
/** @typedef {{reason: string, signedOut?: boolean, soonestMs?: number, forget?: boolean, atOnce?: boolean}} Failure */
/** @typedef {{state: "lost"|"open"|"live"|"signed_out", reason: string|null, retry_at_ms: number|null}} Link */
/**
 * @typedef {object} Env what the browser gives, or a test
 * @property {typeof fetch} fetch
 * @property {LockManager|undefined} locks
 * @property {typeof BroadcastChannel|undefined} BroadcastChannel
 * @property {EventTarget & {visibilityState?: string}} document
 * @property {EventTarget} window
 * @property {() => number} now
 * @property {number} heartbeatMs how often the server says that it is there
 * @property {number} retryMs the first wait, where the server names none
 * @property {number} bufferFrames
 * @property {number} bufferChars
 */
/**
 * @typedef {object} Options
 * @property {string|URL} [url] base of the log
 * @property {string|number} [after] a seq or cursor: events from there on are given before the first state
 * @property {string[]} [kinds] only these
 * @property {(state: State, reason: string) => void} [onState] a snapshot: at first, and after each reset
 * @property {(event: LogEvent, line: string) => void} [onEvent] each event after it, once and in order
 * @property {(status: Status) => void} [onStatus]
 * @property {boolean} [share] whether the tabs of a browser share one stream
 * @property {AbortSignal} [signal]
 * @property {Partial<Env>} [env]
 */

const POSITION = /^([0-9a-f]{16})-(\d{1,16})$/;
const LINE_CHARS_MAX = 64 << 20;
const MISSED_HEARTBEATS = 3;
/** A request on a kept connection that is cut hangs: the next attempt gets another one. */
const HELLO_MS = 10_000;
const WAIT_MS_MAX = 30_000;
const RETRY_AFTER_MS_MAX = 300_000;
const SIGNED_OUT_POLL_MS = 60_000;
const ANSWER_MS = 2_000;
const STATUS_EVERY_MS = 250;

/**
 * Follows a log until `close()`.
 * @param {Options} options
 * @returns {{close(): void, reload(): void, status(): Status}}
 */
export function connect(options = {}) {
  const client = new Client(options);
  return { close: () => client.close(), reload: () => client.reload(), status: () => client.status() };
}

/** Reads server-sent events out of bytes that are torn anywhere. */
export class FrameParser {
  #decoder = new TextDecoder();
  /** The line that has not ended, in the pieces in which it came. @type {string[]} */
  #line = [];
  #lineChars = 0;
  #afterCr = false;
  #name = "";
  #id = "";
  /** @type {string[]} */
  #data = [];
  /** @type {number|null} */
  retryMs = null;

  /** @param {Uint8Array} bytes @returns {Parsed[]} */
  push(bytes) {
    /** @type {Parsed[]} */
    const frames = [];
    const text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") return frames;
    // The LF of a CRLF that was torn in two is no line of its own.
    let begin = this.#afterCr && text.startsWith("\n") ? 1 : 0;
    this.#afterCr = text.endsWith("\r");
    const ends = /\r\n|\r|\n/g;
    ends.lastIndex = begin;
    for (let end = ends.exec(text); end; end = ends.exec(text)) {
      this.#line.push(text.slice(begin, end.index));
      this.#take(this.#line.join(""), frames);
      this.#line = [];
      this.#lineChars = 0;
      begin = ends.lastIndex;
    }
    this.#line.push(text.slice(begin));
    this.#lineChars += text.length - begin;
    if (this.#lineChars > LINE_CHARS_MAX) throw new SyntaxError("a line of the stream does not end");
    return frames;
  }

  /** @param {string} line @param {Parsed[]} frames */
  #take(line, frames) {
    if (line === "") {
      if (this.#data.length > 0) frames.push({ name: this.#name, id: this.#id, data: this.#data.join("\n") });
      this.#name = "";
      this.#data = [];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#name = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d{1,9}$/.test(value)) this.retryMs = Number(value);
  }
}

/** The tabs of a browser: one of them leads, all hear what it says. */
class Tabs {
  #env;
  #name;
  #hooks;
  #channel;
  #from = Math.random().toString(36).slice(2);
  #closed = false;
  /** @type {AbortController|null} */
  #queued = null;
  /** @type {(() => void)|null} */
  #release = null;
  /** What was asked for last: an older request that is granted after all gives the lock back. */
  #turn = 0;

  /**
   * @param {Env} env @param {string} name
   * @param {{lead(): void, deposed(): void, hear(message: Record<string, unknown>): void}} hooks
   */
  constructor(env, name, hooks) {
    this.#env = env;
    this.#name = name;
    this.#hooks = hooks;
    const Channel = /** @type {typeof BroadcastChannel} */ (env.BroadcastChannel);
    this.#channel = new Channel(name);
    this.#channel.onmessage = ({ data }) => {
      if (
        typeof data === "object" &&
        data &&
        typeof data.type === "string" &&
        typeof data.from === "string"
      ) {
        hooks.hear(data);
      }
    };
  }

  /** @param {Record<string, unknown>} message */
  post(message) {
    if (!this.#closed) this.#channel.postMessage({ ...message, from: this.#from });
  }

  /** Asks for the lead: in turn, or by taking it from a tab that does not answer. */
  async ask(steal = false) {
    this.leave();
    const turn = ++this.#turn;
    this.#queued = new AbortController();
    const how = steal ? { steal } : { signal: this.#queued.signal };
    let led = false;
    try {
      await this.#env.locks?.request(this.#name, how, () => {
        if (turn !== this.#turn) return;
        led = true;
        const held = new Promise((resolve) => {
          this.#release = () => resolve(undefined);
        });
        this.#hooks.lead();
        return held;
      });
    } catch {
      // Taken by another tab, or given up; or there are no locks to be had here, and each tab is alone.
      if (!led && turn === this.#turn) this.#hooks.lead();
    }
    if (led && turn === this.#turn) this.#hooks.deposed();
  }

  leave() {
    this.#turn++;
    this.#queued?.abort();
    this.#release?.();
    this.#queued = this.#release = null;
  }

  close() {
    this.leave();
    this.#closed = true;
    this.#channel.close();
  }
}

class Client {
  #options;
  /** @type {Env} */
  #env;
  #base;
  /** @type {Tabs|null} */
  #tabs = null;
  #leads = false;
  #away = false;
  #closed = false;
  #begun = false;
  #head = 0;
  #retryMs;
  /** @type {string|null} */
  #logId = null;
  /** The last position that was taken. @type {{log: string, seq: number}|null} */
  #position = null;
  /** @type {string|number|undefined} */
  #after;
  /** A state that waits for the events before it. @type {{state: State, reason: string}|null} */
  #pending = null;
  /** What came while there was no state. @type {Frame[]} */
  #buffer = [];
  #bufferChars = 0;
  /** The stream that feeds this tab, whoever holds it. @type {Link} */
  #link = { state: "lost", reason: null, retry_at_ms: null };
  /** What this tab itself could not get. @type {{failure: Failure, retry_at_ms: number}|null} */
  #trouble = null;
  /** How far the leader is. @type {{log: string, seq: number}|null} */
  #heard = null;
  /** When the leader was heard, and when this tab's own stream was. */
  #heardAt;
  #readAt;
  /** Whether its own stream has yet to begin. */
  #awaits = false;
  /** @type {number|null} */
  #lastFrameAt = null;
  #tickedAt;
  /** @type {AbortController|null} */
  #streaming = null;
  /** @type {((reason: string, more?: Partial<Failure>) => void)|null} */
  #cut = null;
  /** @type {AbortController|null} */
  #loading = null;
  #loadReason = "start";
  /** Where this tab's own stream may end, since the leader's goes on from there. */
  #target = 0;
  /** @type {Set<() => void>} */
  #waits = new Set();
  #listening = new AbortController();
  /** @type {ReturnType<typeof setInterval>} */
  #ticker;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #answerTimer;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #statusTimer;
  #said = "";

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#env = { ...browser(), ...options.env };
    this.#retryMs = this.#env.retryMs;
    this.#after = options.after;
    this.#heardAt = this.#readAt = this.#tickedAt = this.#env.now();
    const base = "document" in globalThis ? document.baseURI : undefined;
    this.#base = new URL(options.url ?? "./", base);
    if (options.share !== false && this.#env.locks && this.#env.BroadcastChannel) {
      const name = JSON.stringify(["hivelog", this.#base.href, [...(options.kinds ?? [])].sort()]);
      this.#tabs = new Tabs(this.#env, name, {
        lead: () => this.#lead(),
        deposed: () => this.#deposed(),
        hear: (message) => this.#hear(message),
      });
    }
    this.#ticker = setInterval(() => this.#tick(), this.#env.heartbeatMs / 3);
    this.#listen();
    options.signal?.addEventListener("abort", () => this.close(), { signal: this.#listening.signal });
    if (options.signal?.aborted) this.close();
    else this.#join();
  }

  #listen() {
    const { document, window } = this.#env;
    const { signal } = this.#listening;
    const leave = () => this.#leave();
    const join = () => this.#away && this.#join();
    const awake = () => {
      if (document.visibilityState !== "hidden") this.#wake();
    };
    document.addEventListener("freeze", leave, { signal });
    document.addEventListener("resume", join, { signal });
    window.addEventListener("pagehide", leave, { signal });
    window.addEventListener("pageshow", join, { signal });
    window.addEventListener("online", () => this.#wake(), { signal });
    document.addEventListener("visibilitychange", awake, { signal });
  }

  #join() {
    this.#away = false;
    this.#heardAt = this.#readAt = this.#tickedAt = this.#env.now();
    if (!this.#position) this.#load(this.#loadReason);
    if (!this.#tabs) return this.#lead();
    this.#tabs.ask();
    this.#ping();
  }

  #leave() {
    if (this.#closed || this.#away) return;
    this.#away = true;
    if (this.#leads) this.#tabs?.post({ type: "leave" });
    this.#leads = false;
    this.#tabs?.leave();
    this.#stop();
    this.#setLink({ state: "lost", reason: "this page was set aside", retry_at_ms: null });
  }

  #stop() {
    this.#answered();
    this.#streaming?.abort();
    this.#loading?.abort();
    this.#streaming = this.#loading = this.#cut = this.#trouble = null;
  }

  close() {
    if (this.#closed) return;
    this.#leave();
    this.#closed = true;
    this.#tabs?.close();
    this.#stop();
    clearInterval(this.#ticker);
    this.#listening.abort();
    this.#buffer = [];
    this.#pending = null;
    this.#changed();
  }

  /** Reads the state anew, and tries at once where there is a wait: after signing in, for one. */
  reload() {
    if (this.#closed || this.#away) return;
    if (this.#leads && this.#link.state === "signed_out") this.#setLink({ ...this.#link, state: "lost" });
    this.#tabs?.post({ type: "ping" });
    this.#trouble = null;
    this.#restart("reload");
    for (const wait of [...this.#waits]) wait();
  }

  /** @returns {Status} */
  status() {
    const trouble = this.#trouble;
    return {
      state: this.#state(),
      head: this.#head,
      log_id: this.#logId,
      retry_at_ms: trouble?.retry_at_ms ?? this.#link.retry_at_ms,
      reason: trouble?.failure.reason ?? this.#link.reason,
      leads: this.#leads,
      last_frame_at_ms: this.#lastFrameAt,
    };
  }

  /** @returns {Status["state"]} */
  #state() {
    if (this.#closed) return "closed";
    if (this.#link.state === "signed_out" || this.#trouble?.failure.signedOut) return "signed_out";
    if (this.#link.state === "lost" || this.#trouble) return this.#begun ? "reconnecting" : "connecting";
    const filling = !this.#leads && this.#streaming;
    const whole = this.#position && !this.#pending && !this.#loading && !filling;
    return whole && this.#link.state === "live" ? "live" : "catching_up";
  }

  #changed() {
    const status = this.status();
    const { head: _, last_frame_at_ms: __, ...rest } = status;
    const said = JSON.stringify(rest);
    if (said !== this.#said) {
      this.#said = said;
      clearTimeout(this.#statusTimer);
      this.#statusTimer = undefined;
      guarded(() => this.#options.onStatus?.(status));
    } else if (this.#statusTimer === undefined && !this.#closed) {
      // Head and time change with every frame; nobody reads them that fast.
      this.#statusTimer = setTimeout(() => {
        this.#statusTimer = undefined;
        if (!this.#closed) guarded(() => this.#options.onStatus?.(this.status()));
      }, STATUS_EVERY_MS);
    }
  }

  // --- who holds the stream ---------------------------------------------------------------------------

  #lead() {
    this.#leads = true;
    this.#answered();
    this.#setLink({
      state: "lost",
      reason: this.#begun ? "the stream is opened anew" : null,
      retry_at_ms: null,
    });
    this.#run();
  }

  #deposed() {
    if (this.#closed || this.#away) return;
    this.#leads = false;
    this.#streaming?.abort();
    this.#streaming = this.#cut = null;
    this.#setLink({ state: "lost", reason: "another tab took the stream", retry_at_ms: null });
    this.#tabs?.ask();
    this.#ping();
  }

  /** Asks the leader for a sign of life; one that gives none has lost the lead. */
  #ping() {
    this.#tabs?.post({ type: "ping" });
    if (this.#answerTimer !== undefined) return;
    // Spread, lest all tabs take the lead from one another.
    const wait = ANSWER_MS * (1 + Math.random() / 2);
    this.#answerTimer = setTimeout(() => {
      this.#answerTimer = undefined;
      if (!this.#leads && !this.#away && !this.#closed) this.#tabs?.ask(true);
    }, wait);
  }

  /** @param {Link} link */
  #setLink(link) {
    this.#link = link;
    if (link.state === "open" || link.state === "live") this.#begun = true;
    if (this.#leads) this.#tellLink();
    this.#changed();
  }

  #tellLink() {
    const { log, seq } = this.#heard ?? this.#position ?? { log: null, seq: 0 };
    this.#tabs?.post({ type: "link", link: this.#link, log, seq, head: this.#head });
  }

  /** @param {Record<string, unknown>} message */
  #hear(message) {
    if (this.#closed || this.#away) return;
    if (message.type === "ping" && this.#leads) {
      this.#tellLink();
      for (const wait of [...this.#waits]) wait();
    }
    if (this.#leads) return;
    if (message.type === "leave") {
      this.#setLink({ state: "lost", reason: "the tab with the stream closed", retry_at_ms: null });
    } else if (message.type === "link" && isLink(message.link)) {
      this.#alive();
      const wasOut = this.#state() === "signed_out";
      const { log, seq, head } = message;
      if (isSeq(head) && log === this.#logId) this.#head = Math.max(this.#head, head);
      const { state, reason, retry_at_ms } = message.link;
      const flows = state === "open" || state === "live";
      // One without a stream may still speak of a log that is gone.
      if (flows && typeof log === "string" && isSeq(seq)) this.#behind({ log, seq });
      this.#setLink({ state, reason, retry_at_ms });
      if (wasOut && flows) for (const wait of [...this.#waits]) wait();
    } else if (message.type === "frames" && Array.isArray(message.frames)) {
      this.#alive();
      for (const { name, id, prev, data } of message.frames.filter(isShared)) {
        const frame = framed({ name, id, data }, prev);
        if (!frame) continue;
        this.#heard = { log: frame.log, seq: frame.seq };
        this.#take(frame);
      }
    }
  }

  #answered() {
    clearTimeout(this.#answerTimer);
    this.#answerTimer = undefined;
  }

  #alive() {
    this.#answered();
    this.#heardAt = this.#env.now();
  }

  #tick() {
    if (this.#closed || this.#away) return;
    const now = this.#env.now();
    const beat = this.#env.heartbeatMs;
    // A clock that was set back must not make the silence look short for hours.
    this.#heardAt = Math.min(this.#heardAt, now);
    this.#readAt = Math.min(this.#readAt, now);
    const [heard, read] = [now - this.#heardAt, now - this.#readAt];
    const silence = this.#leads ? read : heard;
    const slept = now - this.#tickedAt > 2 * beat && silence > 1.5 * beat;
    this.#tickedAt = now;
    const most = MISSED_HEARTBEATS * beat;
    const reason = slept ? "the machine slept" : `nothing was heard for ${Math.round(silence / 1000)} s`;
    if (slept || read > (this.#awaits ? Math.min(most, HELLO_MS) : most)) this.#cut?.(reason);
    if (this.#leads) return;
    // The timers of a hidden leader are slow: who is shown tells it that the wait is over.
    const { state, retry_at_ms } = this.#link;
    if (state === "lost" && retry_at_ms !== null && now > retry_at_ms + beat / 10) this.#ping();
    if (heard <= most && !slept) return;
    this.#heardAt = now;
    if (state !== "signed_out") this.#setLink({ state: "lost", reason, retry_at_ms: null });
    this.#ping();
  }

  #wake() {
    if (this.#closed || this.#away) return;
    this.#tick();
    for (const wait of [...this.#waits]) wait();
    if (!this.#leads) this.#ping();
  }

  // --- the stream -------------------------------------------------------------------------------------

  /** Keeps a stream open: for all tabs while this one leads, else until it has filled its own gap. */
  async #run() {
    const forAll = this.#leads;
    this.#streaming?.abort();
    const stop = new AbortController();
    this.#streaming = stop;
    const tries = { failed: 0 };
    while (!stop.signal.aborted) {
      const failure = await this.#stream(stop.signal, forAll, tries);
      if (stop.signal.aborted) return;
      if (failure.forget) this.#restart("position");
      const wait = failure.atOnce && tries.failed === 0 ? 0 : this.#waitMs(failure, tries.failed);
      tries.failed++;
      const retry_at_ms = this.#env.now() + wait;
      if (forAll) {
        const state = failure.signedOut ? "signed_out" : "lost";
        this.#setLink({ state, reason: failure.reason, retry_at_ms });
      } else {
        this.#trouble = { failure, retry_at_ms };
        this.#changed();
      }
      await this.#pause(wait, failure, stop.signal);
    }
  }

  /**
   * One connection, from its request to its end.
   * @param {AbortSignal} signal @param {boolean} forAll @param {{failed: number}} tries
   * @returns {Promise<Failure>}
   */
  async #stream(signal, forAll, tries) {
    const cut = new AbortController();
    /** @type {Failure} */
    let failure = { reason: "the server cannot be reached" };
    this.#cut = (reason, more) => {
      failure = { reason, ...more };
      cut.abort();
    };
    this.#readAt = this.#env.now();
    this.#awaits = true;
    try {
      const either = AbortSignal.any([signal, cut.signal]);
      const response = await this.#get("api/stream", this.#streamQuery(), either);
      if (!response.ok) return refused(response, this.#env.now());
      const type = response.headers.get("content-type") ?? "";
      const isStream = type.startsWith("text/event-stream");
      if (!isStream || !response.body) return { reason: "the answer is not a stream" };
      failure = { reason: "the stream ended" };
      if (!forAll) this.#trouble = null;
      await this.#read(response.body.getReader(), signal, forAll, tries);
    } catch (error) {
      if (error instanceof SyntaxError) failure = { reason: "the stream is not one of hivelog" };
    } finally {
      cut.abort();
    }
    return failure;
  }

  /**
   * @param {ReadableStreamDefaultReader<Uint8Array>} reader
   * @param {AbortSignal} signal @param {boolean} forAll @param {{failed: number}} tries
   */
  async #read(reader, signal, forAll, tries) {
    const parser = new FrameParser();
    /** @type {number|null} */
    let prev = null;
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal.aborted) return;
      this.#readAt = this.#env.now();
      this.#awaits = false;
      /** @type {Frame[]} */
      const frames = [];
      for (const parsed of parser.push(value)) {
        const frame = framed(parsed, parsed.name === "hello" || parsed.name === "reset" ? null : prev);
        if (!frame) throw new SyntaxError(`a frame has the id ${parsed.id}`);
        prev = frame.seq;
        frames.push(frame);
      }
      this.#retryMs = parser.retryMs ?? this.#retryMs;
      if (forAll) this.#share(frames);
      for (const frame of frames) {
        if (signal.aborted) return;
        if (frame.name === "caught_up") tries.failed = 0;
        this.#take(frame);
        if (forAll) this.#mark(frame);
        else if (this.#isFilled(frame)) return this.#filled();
      }
    }
  }

  /** @param {Frame[]} frames */
  #share(frames) {
    const last = frames.at(-1);
    if (!last) return;
    this.#heard = { log: last.log, seq: last.seq };
    const shared = frames.map(({ name, id, prev, data }) => ({ name, id, prev, data }));
    this.#tabs?.post({ type: "frames", frames: shared });
  }

  /** @param {Frame} frame */
  #mark(frame) {
    if (frame.name === "hello") {
      // A request from before the cut may hang for long.
      if (this.#loading && this.#begun) this.#load(this.#loadReason);
      this.#setLink({ state: "open", reason: null, retry_at_ms: null });
    } else if (frame.name === "caught_up") {
      this.#setLink({ state: "live", reason: null, retry_at_ms: null });
    }
  }

  #streamQuery() {
    const query = new URLSearchParams();
    const last = this.#position ?? this.#buffer.at(-1);
    if (last) query.set("after", `${last.log}-${last.seq}`);
    else if (this.#after !== undefined) query.set("after", String(this.#after));
    for (const kind of this.#options.kinds ?? []) query.append("kind", kind);
    return query;
  }

  /** @param {string} path @param {URLSearchParams|null} query @param {AbortSignal} signal */
  #get(path, query, signal) {
    const headers = { accept: query ? "text/event-stream" : "application/json" };
    const url = new URL(path, this.#base);
    if (query) url.search = query.toString();
    // `no-cache` has the browser ask with the tag of what it has; a redirect could lead off this origin.
    const cache = query ? "no-store" : "no-cache";
    return this.#env.fetch(url, { signal, headers, cache, credentials: "same-origin", redirect: "error" });
  }

  // --- frames -----------------------------------------------------------------------------------------

  /** @param {Frame} frame */
  #take(frame) {
    this.#lastFrameAt = this.#env.now();
    this.#count(frame);
    const position = this.#position;
    const reset = frame.name === "reset" ? String(JSON.parse(frame.data).reason) : null;
    // A state that was read since, because of the `hello` before, is not read again.
    const isPast = reset !== "future" && position?.log === frame.log && position.seq >= frame.seq;
    if (reset !== null && !isPast) this.#restart(reset);
    else if (position && frame.log !== position.log) this.#restart("other_log");
    else if (position) return this.#follow(frame, position);
    this.#keep(frame);
  }

  /** @param {Frame} frame */
  #count(frame) {
    if (frame.log !== this.#logId) this.#head = 0;
    this.#logId = frame.log;
    const told = frame.name === "" ? frame.seq : Number(JSON.parse(frame.data).seq);
    // After a reset the head may be lower than before.
    this.#head = frame.name === "reset" ? told : Math.max(this.#head, told);
    this.#changed();
  }

  /** @param {Frame} frame */
  #keep(frame) {
    this.#bufferChars += frame.data.length;
    if (this.#buffer.length >= this.#env.bufferFrames || this.#bufferChars > this.#env.bufferChars) {
      // The gap that this leaves is seen when the state is there, and read again from the server.
      this.#buffer = [];
      this.#bufferChars = frame.data.length;
    }
    this.#buffer.push(frame);
  }

  /** @param {Frame} frame @param {{log: string, seq: number}} position */
  #follow(frame, position) {
    if (frame.prev > position.seq) return this.#behind(frame);
    if (frame.seq <= position.seq) return;
    this.#position = { log: frame.log, seq: frame.seq };
    if (this.#pending && frame.seq > this.#pending.state.seq) this.#show();
    if (frame.name === "") {
      const event = JSON.parse(frame.data);
      guarded(() => this.#options.onEvent?.(event, frame.data));
    }
    if (this.#pending && frame.seq >= this.#pending.state.seq) this.#show();
  }

  /** What is between this tab's position and that one is read from the server. @param {{log: string, seq: number}} to */
  #behind(to) {
    const position = this.#position;
    if (!position) return;
    if (to.log !== position.log) return this.#restart("other_log");
    if (to.seq <= position.seq) return;
    if (this.#leads) return this.#cut?.("a gap in the stream", { atOnce: true });
    this.#target = Math.max(this.#target, to.seq);
    if (!this.#streaming) this.#run();
    this.#changed();
  }

  /** @param {Frame} frame */
  #isFilled(frame) {
    // At the head nothing is missing, whatever was promised.
    return frame.name === "caught_up" || (this.#position && this.#position.seq >= this.#target);
  }

  #filled() {
    this.#streaming?.abort();
    this.#streaming = this.#cut = null;
    this.#target = 0;
    this.#changed();
  }

  // --- the state --------------------------------------------------------------------------------------

  /** What was known does not hold any more. @param {string} reason */
  #restart(reason) {
    this.#position = this.#pending = null;
    this.#buffer = [];
    this.#bufferChars = 0;
    this.#after = undefined;
    if (!this.#leads) this.#filled();
    this.#load(reason);
    this.#changed();
  }

  /** @param {string} reason */
  async #load(reason) {
    this.#loading?.abort();
    const stop = new AbortController();
    this.#loading = stop;
    this.#loadReason = reason;
    for (let failed = 0; !stop.signal.aborted; failed++) {
      const failure = await this.#loadOnce(reason, stop.signal, failed);
      if (!failure || stop.signal.aborted) return;
      const wait = this.#waitMs(failure, failed);
      this.#trouble = { failure, retry_at_ms: this.#env.now() + wait };
      this.#changed();
      await this.#pause(wait, failure, stop.signal);
    }
  }

  /** @param {string} reason @param {AbortSignal} stop @param {number} failed @returns {Promise<Failure|null>} */
  async #loadOnce(reason, stop, failed) {
    try {
      // A large state on a slow line gets more time each time.
      const limit = AbortSignal.timeout(4 * this.#env.heartbeatMs * 2 ** Math.min(failed, 6));
      const signal = AbortSignal.any([stop, limit]);
      const response = await this.#get("api/state", null, signal);
      if (!response.ok) return refused(response, this.#env.now());
      /** @type {State} */
      const state = await response.json();
      if (stop.aborted) return null;
      const isState = typeof state.log_id === "string" && isSeq(state.seq);
      if (!isState) return { reason: "the answer is not a state" };
      const last = this.#buffer.at(-1);
      if (last && last.log !== state.log_id) {
        this.#buffer = [];
        return { reason: "the log was replaced" };
      }
      this.#settle(state, reason);
      return null;
    } catch {
      return { reason: "the state cannot be read" };
    }
  }

  /** @param {State} state @param {string} reason */
  #settle(state, reason) {
    this.#loading = this.#trouble = null;
    const after = this.#after === undefined ? null : cursor(this.#after, state.log_id);
    this.#after = undefined;
    this.#position = after ?? { log: state.log_id, seq: state.seq };
    if (this.#logId !== state.log_id) this.#head = 0;
    this.#logId = state.log_id;
    this.#head = Math.max(this.#head, state.seq);
    this.#pending = { state, reason };
    if (this.#position.seq >= state.seq) this.#show();
    const buffer = this.#buffer;
    this.#buffer = [];
    this.#bufferChars = 0;
    for (const frame of buffer) {
      if (this.#position && frame.log === this.#position.log) this.#follow(frame, this.#position);
    }
    this.#changed();
  }

  #show() {
    const pending = this.#pending;
    this.#pending = null;
    if (pending) guarded(() => this.#options.onState?.(pending.state, pending.reason));
    this.#changed();
  }

  // --- waiting ----------------------------------------------------------------------------------------

  /** @param {Failure} failure @param {number} failed */
  #waitMs(failure, failed) {
    const most = failure.signedOut ? SIGNED_OUT_POLL_MS : Math.min(WAIT_MS_MAX, this.#retryMs * 2 ** failed);
    const wait = most * (0.5 + Math.random() / 2);
    return failure.soonestMs === undefined
      ? wait
      : Math.max(wait, failure.soonestMs + Math.random() * this.#retryMs);
  }

  /** @param {number} ms @param {Failure} failure @param {AbortSignal} signal */
  #pause(ms, failure, signal) {
    const soonest = this.#env.now() + (failure.soonestMs ?? 0);
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waits.delete(wake);
        signal.removeEventListener("abort", done);
        resolve(undefined);
      };
      const wake = () => {
        if (this.#env.now() >= soonest) done();
      };
      const timer = setTimeout(done, ms);
      this.#waits.add(wake);
      signal.addEventListener("abort", done);
    });
  }
}

/** @returns {Env} */
function browser() {
  return {
    fetch: (input, init) => globalThis.fetch(input, init),
    locks: globalThis.navigator?.locks,
    BroadcastChannel: globalThis.BroadcastChannel,
    document: globalThis.document ?? new EventTarget(),
    window: globalThis.window ?? new EventTarget(),
    now: () => Date.now(),
    heartbeatMs: 15_000,
    retryMs: 1_000,
    bufferFrames: 20_000,
    bufferChars: 8 << 20,
  };
}

/** @param {Parsed} parsed @param {number|null} prev @returns {Frame|null} */
function framed(parsed, prev) {
  const [, log, text] = POSITION.exec(parsed.id) ?? [];
  const seq = Number(text);
  return log && isSeq(seq) ? { ...parsed, log, seq, prev: prev ?? seq } : null;
}

/** @param {string|number} after @param {string} log */
function cursor(after, log) {
  const [, named, seq] = POSITION.exec(String(after)) ?? [];
  return { log: named ?? log, seq: Number(seq ?? after) };
}

/** @param {unknown} value @returns {value is number} */
function isSeq(value) {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** @param {any} link @returns {link is Link} */
function isLink(link) {
  const words = ["lost", "open", "live", "signed_out"];
  const isText = link?.reason === null || typeof link?.reason === "string";
  const isTime = link?.retry_at_ms === null || Number.isFinite(link?.retry_at_ms);
  return words.includes(link?.state) && isText && isTime;
}

/** @param {any} frame @returns {frame is Parsed & {prev: number}} */
function isShared(frame) {
  return (
    [frame?.name, frame?.id, frame?.data].every((text) => typeof text === "string") && isSeq(frame?.prev)
  );
}

/** What an answer that is none means. @param {Response} response @param {number} now @returns {Failure} */
function refused(response, now) {
  response.body?.cancel().catch(() => {});
  const { status } = response;
  if (status === 401) return { reason: "nobody is signed in", signedOut: true };
  if (status === 403) return { reason: "the one who is signed in may not read this log", signedOut: true };
  const after = response.headers.get("retry-after");
  const wanted = /^\d+$/.test(after ?? "") ? Number(after) * 1_000 : Date.parse(after ?? "") - now;
  const soonestMs = Number.isFinite(wanted) ? Math.min(Math.max(wanted, 0), RETRY_AFTER_MS_MAX) : undefined;
  return { reason: `the server answers ${status}`, soonestMs, forget: status === 400 };
}

/** A fault in the page's own code must not end the stream. @param {() => void} call */
function guarded(call) {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
