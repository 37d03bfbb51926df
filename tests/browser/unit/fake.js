/** @file What stands for the server and the browser where the client is tested alone. */

import { EventEmitter } from "node:events";
import { connect } from "../../../src/dashboard/client.js";

/** @typedef {import("../../../src/dashboard/client.js").Options} Options */
/** @typedef {import("../../../src/dashboard/client.js").Status} Status */
/** @typedef {{seq: number, kind: string}} Stored */

export const HEARTBEAT_MS = 60;

/** A server in few lines: a log, its state, its streams; each may be made to fail. */
export class FakeServer {
  logId = "00000000000000aa";
  floor = 0;
  /** @type {Stored[]} */
  events = [];
  /** @type {Set<FakeStream>} */
  streams = new Set();
  /** @type {string[]} */
  requests = [];
  /** Answers instead of the next ones. @type {((path: string) => Response|undefined|Promise<Response|undefined>)|null} */
  instead = null;
  /** Whether streams say that they are there. */
  beats = true;
  /** State is held back until it resolves. @type {Promise<void>|null} */
  stateGate = null;
  /** The next stream begins as many events too late. */
  skip = 0;
  changes = new EventEmitter().setMaxListeners(0);
  #timer = setInterval(() => this.beats && this.beat(), HEARTBEAT_MS / 3);

  /** @param {number} count @param {string} [kind] */
  append(count, kind = "a.b") {
    for (let n = 0; n < count; n++) this.events.push({ seq: this.events.length + 1, kind });
    for (const stream of this.streams) stream.give();
  }

  beat() {
    for (const stream of this.streams)
      stream.control("heartbeat", stream.position, { seq: this.events.length });
  }

  /** Ends all streams. */
  cut() {
    for (const stream of [...this.streams]) stream.end();
  }

  end() {
    clearInterval(this.#timer);
    this.cut();
  }

  /** @type {typeof fetch} */
  fetch = async (input, init) => {
    const url = new URL(String(input));
    const path = url.pathname + url.search;
    this.requests.push(path);
    this.changes.emit("request", path);
    const signal = init?.signal ?? undefined;
    signal?.throwIfAborted();
    const other = await this.instead?.(path);
    if (other) return other;
    if (url.pathname.endsWith("/api/state")) {
      await this.stateGate;
      signal?.throwIfAborted();
      return Response.json(this.state());
    }
    const stream = new FakeStream(
      this,
      url.searchParams.get("after"),
      url.searchParams.getAll("kind"),
      signal,
    );
    return new Response(stream.body, { headers: { "content-type": "text/event-stream" } });
  };

  state() {
    const { logId: log_id, floor } = this;
    const lists = {
      approvals: [],
      questions: [],
      transients: [],
      recent_approvals: [],
      recent_questions: [],
    };
    return { log_id, seq: this.events.length, floor, ...lists };
  }
}

class FakeStream {
  position = 0;
  ended = false;
  #server;
  #kinds;
  /** @type {ReadableStreamDefaultController<Uint8Array>|undefined} */
  #to;

  /** @param {FakeServer} server @param {string|null} after @param {string[]} kinds @param {AbortSignal} [signal] */
  constructor(server, after, kinds, signal) {
    this.#server = server;
    this.#kinds = kinds;
    this.body = new ReadableStream({
      start: (to) => {
        this.#to = to;
      },
      cancel: () => this.end(),
    });
    signal?.addEventListener("abort", () => this.end(signal.reason));
    const head = server.events.length;
    const [log, seq] = after?.includes("-") ? after.split("-") : [server.logId, after ?? String(head)];
    server.streams.add(this);
    server.changes.emit("stream", this);
    this.position = Math.min(Number(seq) + server.skip, Math.max(head, Number(seq)));
    server.skip = 0;
    this.text("retry: 1\n");
    this.control("hello", this.position, { log_id: server.logId, seq: head, floor: server.floor });
    const reason =
      log !== server.logId
        ? "other_log"
        : Number(seq) > head
          ? "future"
          : Number(seq) < server.floor
            ? "pruned"
            : null;
    if (reason) this.reset(reason, head);
    this.give();
    this.control("caught_up", this.position, { seq: head });
  }

  /** @param {string} reason @param {number} seq */
  reset(reason, seq) {
    this.position = seq;
    this.control("reset", seq, { reason, log_id: this.#server.logId, seq, floor: this.#server.floor });
  }

  give() {
    for (; this.position < this.#server.events.length; this.position++) {
      const { seq, kind } = /** @type {Stored} */ (this.#server.events[this.position]);
      if (this.#kinds.length > 0 && !this.#kinds.includes(kind)) continue;
      // Spaces that a second rendering would lose.
      const line = `{"seq":${seq},  "recorded_at_ms":1,"kind":"${kind}"}`;
      this.text(`id: ${this.#server.logId}-${seq}\ndata: ${line}\n\n`);
    }
  }

  /** @param {string} name @param {number} seq @param {unknown} data */
  control(name, seq, data) {
    this.text(`event: ${name}\nid: ${this.#server.logId}-${seq}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  /** @param {string} text */
  text(text) {
    if (!this.ended) this.#to?.enqueue(new TextEncoder().encode(text));
  }

  /** @param {unknown} [error] */
  end(error) {
    if (this.ended) return;
    this.ended = true;
    this.#server.streams.delete(this);
    if (error) this.#to?.error(error);
    else
      try {
        this.#to?.close();
      } catch {
        /* cancelled by the reader */
      }
  }
}

/** Web Locks for the tabs of one test: for each name a queue, and the right to steal. */
export class FakeLocks {
  /** @type {Map<string, {queue: (() => void)[], held: {lose: (error: Error) => void}|null}>} */
  #names = new Map();
  /** How long the next in a queue waits for a lock that was given back. */
  delayMs = 0;

  /** @type {any} */
  request = (
    /** @type {string} */ name,
    /** @type {LockOptions} */ options,
    /** @type {() => unknown} */ callback,
  ) =>
    new Promise((resolve, reject) => {
      const lock = this.#names.get(name) ?? { queue: [], held: null };
      this.#names.set(name, lock);
      const give = () => {
        const held = { lose: reject };
        lock.held = held;
        const next = () => {
          if (lock.held !== held) return;
          lock.held = null;
          const next = lock.queue.shift();
          if (this.delayMs > 0) setTimeout(() => next?.(), this.delayMs);
          else next?.();
        };
        Promise.resolve().then(callback).then(resolve, reject).finally(next);
      };
      if (options.steal) {
        lock.held?.lose(new DOMException("stolen", "AbortError"));
        return give();
      }
      options.signal?.addEventListener("abort", () => {
        const at = lock.queue.indexOf(give);
        if (at < 0) return;
        lock.queue.splice(at, 1);
        reject(new DOMException("given up", "AbortError"));
      });
      if (lock.held) lock.queue.push(give);
      else give();
    });
}

/** A tab: a client, and what it was told. */
export class Tab {
  /** @type {number[]} */
  seqs = [];
  /** @type {string[]} */
  lines = [];
  /** @type {{seq: number, reason: string, given: number}[]} */
  states = [];
  /** @type {Status[]} */
  statuses = [];
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  window = new EventTarget();
  /** Added to the time that it sees. */
  lateMs = 0;
  /** Whether it is hung: it hears and says nothing. */
  hung = false;
  fetch;
  #told = new EventEmitter().setMaxListeners(0);

  /** @param {FakeServer} server @param {FakeLocks|undefined} locks @param {Options} [options] */
  constructor(server, locks, options = {}) {
    this.fetch = server.fetch;
    this.client = connect({
      url: "http://log.example/prefix/",
      onState: ({ seq }, reason) =>
        this.#note(() => this.states.push({ seq, reason, given: this.seqs.length })),
      onEvent: ({ seq }, line) =>
        this.#note(() => {
          this.seqs.push(seq);
          this.lines.push(line);
        }),
      onStatus: (status) => this.#note(() => this.statuses.push(status)),
      ...options,
      env: {
        fetch: (input, init) => this.fetch(input, init),
        locks: /** @type {any} */ (locks),
        BroadcastChannel: locks && channelOf(this),
        document: this.document,
        window: this.window,
        now: () => Date.now() + this.lateMs,
        heartbeatMs: HEARTBEAT_MS,
        retryMs: 1,
        ...options.env,
      },
    });
  }

  /** @param {() => unknown} note */
  #note(note) {
    note();
    this.#told.emit("told");
  }

  get state() {
    return this.client.status().state;
  }

  get leads() {
    return this.client.status().leads;
  }

  /** @param {() => unknown} condition @param {string} [what] */
  async until(condition, what = String(condition)) {
    const end = Date.now() + 8_000;
    while (!condition()) {
      if (Date.now() > end)
        throw new Error(
          `never: ${what}; ${JSON.stringify({ ...this.client.status(), seqs: this.seqs.slice(-5), states: this.states })}`,
        );
      const told = new Promise((resolve) => this.#told.once("told", resolve));
      await Promise.race([told, new Promise((resolve) => setTimeout(resolve, 10))]);
    }
  }

  async live() {
    await this.until(() => this.state === "live", "live");
  }

  /** Every event after the first state, once and in order. @param {number} head */
  async whole(head) {
    await this.until(
      () =>
        this.state === "live" &&
        this.client.status().head >= head &&
        (this.seqs.at(-1) ?? this.states.at(-1)?.seq) === head,
      `at ${head}`,
    );
  }
}

/** @param {Tab} tab @returns {typeof BroadcastChannel} */
function channelOf(tab) {
  return class extends BroadcastChannel {
    /** @param {unknown} message */
    postMessage(message) {
      if (!tab.hung) super.postMessage(message);
    }
  };
}

/** @param {number} from @param {number} to */
export const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
