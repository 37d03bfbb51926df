/** @file How does the shown range become a file? */

import { Problem, url } from "./api.js";
import { button } from "./card.js";

/** @typedef {import("./page.js").Page} Page */

/** What is kept in memory at most where the browser cannot write to a file as it comes. */
const BLOB_BYTES_MAX = 64 * 1024 * 1024;
/** So long it is said what a download came to. */
const SAID_MS = 12_000;

/** @param {number} bytes */
function size(bytes) {
  const kib = bytes / 1024;
  return kib < 1024 ? `${Math.ceil(kib).toLocaleString()} KiB` : `${(kib / 1024).toFixed(1)} MiB`;
}

/**
 * Why something could not be read.
 * @param {unknown} error
 */
export function words(error) {
  return error instanceof Problem ? error.words : error instanceof Error ? error.message : "it failed";
}

/** @param {unknown} error */
function failure(error) {
  if (error instanceof DOMException && error.name === "AbortError") return "The download was stopped.";
  if (!(error instanceof RangeError)) return `The download failed: ${words(error)}.`;
  const most = `This is more than ${size(BLOB_BYTES_MAX)}, all that this browser can save from a page`;
  return `${most}: narrow the range, or use \u201chivelog export\u201d.`;
}

/** @typedef {{write: (bytes: Uint8Array<ArrayBuffer>) => Promise<void>, done: () => Promise<void>, drop: () => Promise<void>}} Target */

/**
 * A file that somebody picks, where the browser lets pages write to one.
 * @param {string} name
 * @returns {Promise<Target | null>}
 */
async function pickedFile(name) {
  const pick = /** @type {any} */ (window).showSaveFilePicker;
  if (typeof pick !== "function") return null;
  const types = [{ description: "Events, one a line", accept: { "application/x-ndjson": [".ndjson"] } }];
  const handle = await pick.call(window, { suggestedName: name, types });
  const writable = await handle.createWritable();
  return {
    write: (bytes) => writable.write(bytes),
    done: () => writable.close(),
    drop: () => writable.abort().catch(() => {}),
  };
}

/**
 * A file that the browser saves when all of it is here.
 * @param {string} name
 * @returns {Target}
 */
function collectedFile(name) {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  let parts = [];
  let size = 0;
  return {
    async write(bytes) {
      size += bytes.byteLength;
      if (size > BLOB_BYTES_MAX) throw new RangeError("too large");
      parts.push(bytes);
    },
    async done() {
      const address = URL.createObjectURL(new Blob(parts, { type: "application/x-ndjson" }));
      const link = document.createElement("a");
      link.href = address;
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    },
    async drop() {
      parts = [];
    },
  };
}

/**
 * Saves a range as lines, each as it was received.
 * @param {Page} page
 * @param {URLSearchParams} params
 * @param {string} name
 * @param {(bytes: number) => void} progress
 * @param {AbortSignal} signal
 */
async function download(page, params, name, progress, signal) {
  const target = (await pickedFile(name)) ?? collectedFile(name);
  try {
    const headers = { accept: "application/x-ndjson" };
    const response = await fetch(url(page, "api/history", params), { headers, signal, cache: "no-store" });
    if (!response.ok || !response.body) {
      throw new Problem(response.status, await response.json().catch(() => ({})));
    }
    const reader = response.body.getReader();
    let size = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      await target.write(/** @type {Uint8Array<ArrayBuffer>} */ (value));
      size += value.byteLength;
      progress(size);
    }
    await target.done();
    return size;
  } catch (error) {
    await target.drop();
    throw error;
  }
}

/** The button that saves what is asked for, up to now, and stops that. */
export class Saver {
  element = button("quiet", "Download");
  /** @type {AbortController | null} */
  #saving = null;
  #said = "";
  #said_until = 0;

  /**
   * @param {Page} page
   * @param {() => URLSearchParams} params
   * @param {() => void} draw
   * @param {AbortSignal} signal
   */
  constructor(page, params, draw, signal) {
    this.page = page;
    this.params = params;
    this.draw = draw;
    this.element.title = "Saves all events that the filters let through, a line each";
    this.element.addEventListener("click", () => void this.#pressed(), { signal });
    signal.addEventListener("abort", () => this.#saving?.abort());
  }

  /** What a download came to, for a while; else nothing. */
  get said() {
    return performance.now() < this.#said_until ? this.#said : "";
  }

  async #pressed() {
    if (this.#saving) return this.#saving.abort();
    const saving = new AbortController();
    this.#saving = saving;
    const { page } = this;
    const params = this.params();
    params.set("before", String((page.board?.seq ?? page.status.head) + 1));
    const progress = (/** @type {number} */ bytes) => {
      this.element.textContent = `Stop (${size(bytes)})`;
    };
    progress(0);
    try {
      const name = `hivelog-${page.status.log_id ?? "events"}.ndjson`;
      const bytes = await download(page, params, name, progress, saving.signal);
      this.#said = `Saved ${size(bytes)}, each event as it was received.`;
    } catch (error) {
      this.#said = failure(error);
    }
    this.#saving = null;
    this.element.textContent = "Download";
    this.#said_until = performance.now() + SAID_MS;
    setTimeout(this.draw, SAID_MS);
    this.draw();
  }
}
