/** @file What does the address say that can be shared, and how does it change? */

/** The members of the address that are the page's. */
const OURS = ["kind", "agent", "q", "since", "until", "event", "at"];

/** What the address asks for now. */
export function asked() {
  return new URLSearchParams(location.search);
}

/**
 * The address with other values: a list or a text sets a member, null takes it away.
 * @param {Record<string, string | string[] | null>} changes
 */
export function addressWith(changes) {
  const params = asked();
  for (const member of OURS) {
    const value = changes[member];
    if (value === undefined) continue;
    params.delete(member);
    for (const one of Array.isArray(value) ? value : [value])
      if (one !== null && one !== "") params.append(member, one);
  }
  const query = params.toString();
  return query === "" ? location.pathname : `?${query}`;
}

/**
 * Changes the address and tells whoever listens.
 * @param {EventTarget} page
 * @param {Record<string, string | string[] | null>} changes
 * @param {{push?: boolean}} [options] whether the way back leads to what was before
 */
export function go(page, changes, { push = true } = {}) {
  const target = addressWith(changes);
  if (target === (location.search || location.pathname)) return;
  if (push) history.pushState(null, "", target);
  else history.replaceState(history.state, "", target);
  page.dispatchEvent(new CustomEvent("address"));
}

/**
 * Listens to all changes of the address.
 * @param {EventTarget} page
 * @param {() => void} listener
 * @param {AbortSignal} signal
 */
export function onAddress(page, listener, signal) {
  page.addEventListener("address", listener, { signal });
  window.addEventListener("popstate", listener, { signal });
}

/**
 * A whole number from 1 on, or null.
 * @param {string | null} text
 */
export function seqOf(text) {
  const seq = text !== null && /^\d{1,16}$/u.test(text) ? Number(text) : 0;
  return Number.isSafeInteger(seq) && seq > 0 ? seq : null;
}

/**
 * A time in the address: unix seconds or RFC 3339, as the server reads it.
 * @param {string | null} text
 */
export function msOf(text) {
  if (text === null || text === "") return null;
  const ms = /^\d+$/u.test(text) ? Number(text) * 1000 : Date.parse(text);
  return Number.isFinite(ms) && ms >= 0 && ms <= 8.64e15 ? ms : null;
}

/** @param {number} ms */
export function timeText(ms) {
  return new Date(ms).toISOString();
}
