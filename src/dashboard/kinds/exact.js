/** @file How is an event read so that its numbers are shown with the digits that they came with? */

import { KINDS } from "./index.js";

/** @typedef {import("../client.js").LogEvent} LogEvent */

const ENVELOPE = new Set(["seq", "recorded_at_ms"]);

/**
 * A number that would be written otherwise stays the text that it was.
 * @param {string} member
 * @param {unknown} value
 * @param {{source?: string}} [context] where the browser gives it
 */
function exact(member, value, context) {
  const source = context?.source;
  if (typeof value !== "number" || source === undefined || ENVELOPE.has(member)) return value;
  return String(value) === source ? value : source;
}

/**
 * The fixed kinds hold no numbers but ids and times, which are safe integers.
 * @param {string} line
 * @returns {LogEvent}
 */
export function readEvent(line) {
  const event = JSON.parse(line);
  return KINDS.includes(event.kind) ? event : JSON.parse(line, exact);
}
