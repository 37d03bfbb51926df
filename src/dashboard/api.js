/** @file How does the page call the server? */

/** @typedef {import("./page.js").Page} Page */

/** How long a write may take before its outcome is unknown. */
const WRITE_MS = 20_000;
/** How long a read may take: a past board of a long log takes seconds. */
const READ_MS = 60_000;

/** The type of the problem that a write by the cookie alone is. */
export const NO_SECRET = "urn:hivelog:session";

/** What the server refused, or why it could not be asked. */
export class Problem extends Error {
  /**
   * @param {number} status 0 if there was no answer
   * @param {{type?: unknown, title?: unknown, detail?: unknown, winner?: unknown}} body
   */
  constructor(status, body) {
    const title = typeof body.title === "string" ? body.title : `the server answered ${status}`;
    super(title);
    this.status = status;
    this.type = typeof body.type === "string" ? body.type : "about:blank";
    this.title = title;
    this.detail = typeof body.detail === "string" ? body.detail : null;
    /** The event that won, where somebody else was first. */
    this.winner = /** @type {import("./client.js").LogEvent | undefined} */ (body.winner);
  }

  /** Why, in one line. */
  get words() {
    return this.detail ? `${this.title}: ${this.detail}` : this.title;
  }

  /** Whether a write may have been stored all the same. */
  get isUnknown() {
    return this.status === 0 || (this.status >= 500 && this.status !== 503 && this.status !== 507);
  }
}

/** @param {Page} page */
export function secretName(page) {
  return `hivelog_session_${page.base.pathname}`;
}

/**
 * The second secret of the session, which a write needs besides the cookie.
 * @param {Page} page
 */
export function secret(page) {
  try {
    return localStorage.getItem(secretName(page));
  } catch {
    return null;
  }
}

/**
 * @param {Page} page
 * @param {string | null} value
 */
export function keepSecret(page, value) {
  try {
    if (value === null) localStorage.removeItem(secretName(page));
    else localStorage.setItem(secretName(page), value);
  } catch {
    // Without storage the session only reads, and a write says so.
  }
}

/** An idempotency key that nobody used before. */
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/**
 * @param {Page} page
 * @param {string} path
 * @param {Record<string, unknown> | URLSearchParams} [params]
 */
export function url(page, path, params) {
  const target = new URL(path, page.base);
  if (params instanceof URLSearchParams) {
    target.search = params.toString();
    return target;
  }
  for (const [name, value] of Object.entries(params ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") target.searchParams.append(name, String(one));
    }
  }
  return target;
}

/**
 * @param {Page} page
 * @param {URL} target
 * @param {RequestInit} init
 */
async function call(page, target, init) {
  const { session } = page;
  /** @type {Response} */
  let response;
  try {
    response = await fetch(target, { credentials: "same-origin", cache: "no-store", ...init });
  } catch (error) {
    const is_late = error instanceof DOMException && error.name === "TimeoutError";
    if (init.signal?.aborted && !is_late) throw error;
    throw new Problem(0, {
      title: is_late ? "the server did not answer in time" : "the server cannot be reached",
    });
  }
  if (response.ok) return response;
  // A code or a token that does not hold says nothing of who is signed in, nor does what was asked before that one was.
  const is_sign_in = init.method === "POST" && target.pathname.endsWith("/session");
  if (response.status === 401 && !is_sign_in && page.session === session) page.session = null;
  throw new Problem(response.status, await response.json().catch(() => ({})));
}

/**
 * @param {Page} page
 * @param {string} path
 * @param {Record<string, unknown> | URLSearchParams} [params]
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function get(page, path, params, options = {}) {
  const { text } = await getText(page, path, params, options);
  return JSON.parse(text);
}

/**
 * The answer as it came, for those who show it. What is asked when the line is lost is asked once more by another one.
 * @param {Page} page
 * @param {string} path
 * @param {Record<string, unknown> | URLSearchParams} [params]
 * @param {{signal?: AbortSignal, accept?: string}} [options]
 */
export async function getText(page, path, params, { signal, accept = "application/json" } = {}) {
  const target = url(page, path, params);
  const ends = [AbortSignal.timeout(READ_MS), ...(signal ? [signal] : [])];
  for (;;) {
    const { line } = page;
    const either = AbortSignal.any([line, ...ends]);
    try {
      const response = await call(page, target, { signal: either, headers: { accept } });
      return { text: await response.text(), response };
    } catch (error) {
      if (line.aborted && !ends.some(({ aborted }) => aborted)) continue;
      if (signal?.aborted || error instanceof Problem) throw error;
      throw new Problem(0, { title: "the answer broke off" });
    }
  }
}

/**
 * Writes. With the same key it is done once, however often it is sent.
 * @param {Page} page
 * @param {string} method
 * @param {string} path
 * @param {unknown} body
 * @param {{key?: string, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function send(page, method, path, body, { key, signal = AbortSignal.timeout(WRITE_MS) } = {}) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (key) headers["idempotency-key"] = key;
  const second = secret(page);
  if (second) headers["x-hivelog-session"] = second;
  const init = { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) };
  const response = await call(page, url(page, path), init).catch((error) => {
    if (error.type === NO_SECRET) page.refuse(second);
    throw error;
  });
  const text = await response.text().catch(() => "");
  return text === "" ? null : JSON.parse(text);
}
