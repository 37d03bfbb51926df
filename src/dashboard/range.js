/** @file How is a page of history read, with the text of each event kept as it came? */

import { getText } from "./api.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {{seq: number, line: string}} Row */
/**
 * @typedef {object} Stretch
 * @property {Row[]} rows oldest first
 * @property {number} head the head at the read
 * @property {number} next_after
 * @property {number} next_before
 */

const EVENTS = '"events":[';
const QUOTE = 34;
const BACKSLASH = 92;
const COMMA = 44;
const OPEN = new Set([91, 123]);
const CLOSE = new Set([93, 125]);

/**
 * Where the string ends that begins at `from`.
 * @param {string} text
 * @param {number} from
 */
function stringEnd(text, from) {
  let at = from;
  for (;;) {
    at = text.indexOf('"', at + 1);
    if (at === -1) return text.length;
    let slashes = 0;
    while (text.charCodeAt(at - 1 - slashes) === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return at;
  }
}

/**
 * The texts of an array's values, not one character of them changed.
 * @param {string} text
 * @param {number} from just behind the opening bracket
 * @returns {{values: string[], end: number}} where `end` is the closing bracket
 */
export function split(text, from) {
  /** @type {string[]} */
  const values = [];
  let start = from;
  let depth = 0;
  for (let at = from; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = stringEnd(text, at);
    else if (OPEN.has(code)) depth += 1;
    else if (CLOSE.has(code)) {
      depth -= 1;
      if (depth >= 0) continue;
      if (at > start) values.push(text.slice(start, at));
      return { values, end: at };
    } else if (code === COMMA && depth === 0) {
      values.push(text.slice(start, at));
      start = at + 1;
    }
  }
  throw new SyntaxError("the page of history ends too early");
}

/**
 * The seq of an event as it stands on the wire: it is the first member.
 * @param {string} line
 */
function seqOfLine(line) {
  const found = /^\s*\{"seq":(\d+)/u.exec(line);
  return found ? Number(found[1]) : Number(JSON.parse(line).seq);
}

/**
 * @param {string} text
 * @returns {Stretch}
 */
export function stretchOf(text) {
  const start = text.indexOf(EVENTS);
  if (start === -1) throw new SyntaxError("this is no page of history");
  const { values, end } = split(text, start + EVENTS.length);
  const around = JSON.parse(text.slice(0, start + EVENTS.length) + text.slice(end));
  const rows = values.map((line) => ({ seq: seqOfLine(line), line }));
  const is_turned = rows.length > 1 && (rows[0]?.seq ?? 0) > (rows.at(-1)?.seq ?? 0);
  if (is_turned) rows.reverse();
  const { seq: head, next_after, next_before } = around;
  return { rows, head, next_after, next_before };
}

/**
 * @param {Page} page
 * @param {URLSearchParams} params
 * @param {AbortSignal} signal
 */
export async function readStretch(page, params, signal) {
  const { text } = await getText(page, "api/history", params, { signal });
  return stretchOf(text);
}
