/** @file Which events does a search by words find? The same ones here as on the server, which has the same rules. */

const RUN = /[\p{Alphabetic}\p{N}]+/gu;
const NO_LETTER = /[^\p{Alphabetic}\p{N}]/gu;
/** Scripts that write no spaces: each character is a word by itself. */
const ALONE =
  /[\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\uff66-\uff9f\u{20000}-\u{3ffff}]/u;
const WORD_CHARS_MAX = 64;

/** @typedef {{word: string, is_prefix: boolean}} Term */

/** @param {string[]} chars */
function lower(chars) {
  const cut = chars.slice(0, WORD_CHARS_MAX);
  return cut.map((char) => char.toLowerCase().replace(NO_LETTER, "")).join("");
}

/**
 * The words of a text, each with where it ends.
 * @param {string} text
 * @returns {Generator<{word: string, end: number}, void>}
 */
function* words(text) {
  for (const { 0: run, index } of text.matchAll(RUN)) {
    if (!ALONE.test(run)) {
      yield { word: lower([...run]), end: index + run.length };
      continue;
    }
    /** @type {string[]} */
    let chars = [];
    let at = index;
    for (const char of run) {
      const is_alone = ALONE.test(char);
      if (is_alone && chars.length > 0) yield { word: lower(chars), end: at };
      if (is_alone) chars = [];
      at += char.length;
      if (is_alone) yield { word: lower([char]), end: at };
      else chars.push(char);
    }
    if (chars.length > 0) yield { word: lower(chars), end: at };
  }
}

/**
 * What was typed: whole words, or with `*` behind it the beginning of one.
 * @param {string} query
 * @returns {Term[]}
 */
export function terms(query) {
  /** @type {Map<string, Term>} */
  const found = new Map();
  for (const { word, end } of words(query)) {
    const is_prefix = query.charAt(end) === "*";
    found.set(word + (is_prefix ? "*" : ""), { word, is_prefix });
  }
  return [...found.values()];
}

/**
 * @param {unknown} value
 * @param {(text: string) => boolean} each says whether it has enough
 */
function eachText(value, each) {
  /** @type {unknown[]} */
  const rest = [value];
  while (rest.length > 0) {
    const next = rest.pop();
    if (typeof next === "string") {
      if (each(next)) return;
    } else if (Array.isArray(next)) for (const one of next) rest.push(one);
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
  eachText(payload, (text) => {
    for (const { word } of words(text)) {
      for (const term of missing) {
        if (term.is_prefix ? word.startsWith(term.word) : word === term.word) missing.delete(term);
      }
      if (missing.size === 0) return true;
    }
    return missing.size === 0;
  });
  return missing.size === 0;
}
