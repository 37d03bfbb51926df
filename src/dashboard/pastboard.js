/** @file How is a board drawn that nobody can decide on any more? */

import { element } from "./card.js";
import { describe } from "./kinds/index.js";
import { name } from "./text.js";
import { clock, duration } from "./time.js";

/** @typedef {import("./client.js").LogEvent} LogEvent */
/** @typedef {import("./client.js").State} State */

const ROWS_MAX = 100;

/**
 * @param {string} title
 * @param {LogEvent[]} rows
 * @param {(row: LogEvent) => Node} draw
 */
function part(title, rows, draw) {
  const head = element("h4", "", `${title}: ${rows.length.toLocaleString()}`);
  const list = element(
    "ul",
    "past-list",
    ...rows.slice(0, ROWS_MAX).map((row) => element("li", "", draw(row))),
  );
  if (rows.length > ROWS_MAX)
    list.append(element("li", "muted", `\u2026 ${(rows.length - ROWS_MAX).toLocaleString()} more`));
  return element("div", "", head, list);
}

/**
 * What waited then, and since when; all of it on demand.
 * @param {LogEvent} row
 * @param {number | null} at_ms
 */
function waiting(row, at_ms) {
  const { glyph, label, summary, body } = describe(row);
  const age = at_ms === null ? "" : ` had waited ${duration((at_ms - row.recorded_at_ms) / 1000)}`;
  const line = element(
    "summary",
    "",
    `${glyph} ${label} #${row.id} `,
    summary,
    element("span", "muted", age),
  );
  const details = element("details", "", line);
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(body());
  });
  return details;
}

/**
 * @param {LogEvent} row
 * @param {number | null} at_ms
 */
function running(row, at_ms) {
  const since = typeof row.since_unix === "number" ? row.since_unix * 1000 : row.recorded_at_ms;
  const words = at_ms === null ? `since ${clock(since)}` : `for ${duration((at_ms - since) / 1000)}`;
  return element("span", "", name(row.name), " was ", name(row.transient_kind), ` ${words}`);
}

/**
 * @param {State} state
 * @param {number | null} at_ms when that was
 */
export function pastBoard(state, at_ms) {
  const open = [...state.approvals, ...state.questions].sort((one, other) => one.seq - other.seq);
  return element(
    "div",
    "",
    part("Waited for the operator", open, (row) => waiting(row, at_ms)),
    part("In a lifecycle action", state.transients, (row) => running(row, at_ms)),
  );
}
