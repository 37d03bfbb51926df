/** @file How does the shown range become a file? */

import { Problem, url } from "./api.js";

/** @typedef {import("./page.js").Page} Page */

/** What is kept in memory at most where the browser cannot write to a file as it comes. */
export const BLOB_BYTES_MAX = 64 * 1024 * 1024;

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
export async function download(page, params, name, progress, signal) {
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
