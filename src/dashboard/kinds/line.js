/** @file How does text that nobody vouches for stand in one line? */

import { element } from "../card.js";
import { name, untrusted } from "../text.js";

const CHARS_MAX = 240;

/**
 * The text in one line, cut without a button: what is beyond it stands in the event's detail.
 * @param {unknown} value
 * @param {number} [max]
 */
export function oneLine(value, max = CHARS_MAX) {
  const whole = written(value);
  const head = whole.slice(0, max);
  const last = head.charCodeAt(head.length - 1);
  const is_torn = head.length < whole.length && last >= 0xd800 && last < 0xdc00;
  const shown = (is_torn ? head.slice(0, -1) : head).replace(/[ \t\r\n]*[\r\n\t][ \t\r\n]*/gu, " ");
  const node = untrusted(shown.trim(), { max });
  if (head.length === whole.length) return node;
  return element("span", "", node, element("span", "muted", "\u2026"));
}

/** @param {unknown} value */
function written(value) {
  if (typeof value === "string") return value;
  if (typeof value !== "object") return String(value);
  return JSON.stringify(value) ?? "";
}

/**
 * A summary out of pieces: strings are ours, nodes hold what is not.
 * @param {...(Node | string)} pieces
 */
export function sentence(...pieces) {
  return element("span", "", ...pieces);
}

/** @param {unknown} value */
export function who(value) {
  return typeof value === "string" ? name(value) : element("span", "muted", "?");
}

/**
 * A list of members with what they hold, for the detail of an event.
 * @param {[string, unknown | Node][]} members those that are null or undefined are left out
 */
export function members(members) {
  const list = element("dl", "members");
  for (const [label, value] of members) {
    if (value === null || value === undefined) continue;
    // Agents name the members of their own kinds.
    list.append(
      element("dt", "", oneLine(label, 200)),
      element("dd", "", value instanceof Node ? value : long(value)),
    );
  }
  return list;
}

/**
 * The text with its lines, cut with a button that shows more.
 * @param {unknown} value
 */
export function long(value) {
  return untrusted(written(value), { max: 20_000, lines: 400, multiline: true, links: true });
}
