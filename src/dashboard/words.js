/** @file Which events does a search by words find? The same ones here as on the server. */

const WORD = /[\p{L}\p{N}]+/gu;
const TERM = /([\p{L}\p{N}]+)(\*?)/gu;

/** @typedef {{word: string, is_prefix: boolean}} Term */

/**
 * @param {string} query
 * @returns {Term[]}
 */
export function terms(query) {
  return [...query.toLowerCase().matchAll(TERM)].map(([, word = "", star]) => ({ word, is_prefix: star === "*" }));
}

/**
 * @param {unknown} value
 * @param {(text: string) => void} each
 */
function texts(value, each) {
  /** @type {unknown[]} */
  const rest = [value];
  while (rest.length > 0) {
    const next = rest.pop();
    if (typeof next === "string") each(next);
    else if (Array.isArray(next)) for (const one of next) rest.push(one);
    else if (typeof next === "object" && next !== null) for (const one of Object.values(next)) rest.push(one);
  }
}

/**
 * Whether all words occur somewhere in the text values of the event.
 * @param {import("./client.js").LogEvent} event
 * @param {Term[]} wanted
 */
export function contains(event, wanted) {
  const missing = new Set(wanted);
  const { kind: _, ...payload } = event;
  texts(payload, (text) => {
    if (missing.size === 0) return;
    for (const [word] of text.toLowerCase().matchAll(WORD)) {
      for (const term of missing) {
        if (term.is_prefix ? word.startsWith(term.word) : word === term.word) missing.delete(term);
      }
      if (missing.size === 0) return;
    }
  });
  return missing.size === 0;
}
