/** @file What does an event say? A kind that nobody taught the page is a readable row too. */

import { approvalAdded, approvalResolved } from "./approval.js";
import { custom } from "./custom.js";
import { message } from "./message.js";
import { questionAdded, questionResolved } from "./question.js";
import { transientCleared, transientSet } from "./transient.js";

/** @typedef {import("../client.js").LogEvent} LogEvent */
/**
 * @typedef {object} Description
 * @property {string} label the kind in a word, and how it ended where it ended something
 * @property {string} glyph one character beside the label, so that nothing hangs on colour
 * @property {"ok" | "warn" | "danger" | "info" | "accent" | "muted"} tone
 * @property {Node} summary one line
 * @property {() => Node} body all of it, made where it is looked at
 * @property {{path: string, id: number} | null} [opener] the item that the event is about, where the log can be asked for it
 */
/** @typedef {(event: LogEvent) => Description} Describer */

/** @type {Map<string, Describer>} */
const FIXED = new Map([
  ["sent", message],
  ["delivered", message],
  ["approval_added", approvalAdded],
  ["approval_resolved", approvalResolved],
  ["question_added", questionAdded],
  ["question_resolved", questionResolved],
  ["transient_set", transientSet],
  ["transient_cleared", transientCleared],
]);

/** The kinds that every log knows, in the order in which they are offered. */
export const KINDS = [...FIXED.keys()];

/** The members that make an event concern somebody, when they hold a name. */
const NAMING = ["from", "to", "agent", "asker", "answerer", "by", "name"];
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/u;

/** @param {unknown} text what the server takes as a name @returns {text is string} */
export function isName(text) {
  return typeof text === "string" && NAME.test(text);
}

/**
 * Whom the event concerns by its own members.
 * @param {LogEvent} event
 * @returns {string[]}
 */
export function names(event) {
  const found = new Set();
  for (const member of NAMING) {
    const value = Object.hasOwn(event, member) ? event[member] : null;
    if (isName(value)) found.add(value);
  }
  return [...found];
}

/**
 * @param {LogEvent} event
 * @returns {Description & {agents: string[]}}
 */
export function describe(event) {
  const describer = FIXED.get(event.kind) ?? custom;
  return { ...describer(event), agents: names(event) };
}
