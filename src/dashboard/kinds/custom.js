/** @file What does an event of a kind say that the page was not taught? */

import { element } from "../card.js";
import { opener } from "./approval.js";
import { members, oneLine, sentence, who } from "./line.js";

const ENVELOPE = new Set(["seq", "recorded_at_ms", "kind"]);
const NAMING = new Set(["agent", "from", "to", "name", "by", "asker", "answerer"]);
const PREVIEW_MEMBERS = 6;
const PREVIEW_CHARS = 60;
const BODY_MEMBERS = 200;

/** @param {import("../client.js").LogEvent} event */
function payload(event) {
  return Object.entries(event).filter(([member]) => !ENVELOPE.has(member));
}

/** @type {import("./index.js").Describer} */
export function custom(event) {
  const approval = opener("api/approvals", event.approval_id);
  const question = approval ? null : opener("api/questions", event.question_id);
  return {
    label: event.kind,
    glyph: "\u00b7",
    tone: "muted",
    summary: preview(event),
    body: () => {
      const all = payload(event);
      const list = members(all.slice(0, BODY_MEMBERS).map(([member, value]) => [member, shown(value)]));
      if (all.length <= BODY_MEMBERS) return list;
      const more = `${(all.length - BODY_MEMBERS).toLocaleString()} more members: see the raw event`;
      return element("div", "", list, element("p", "muted", more));
    },
    opener: approval ?? question,
  };
}

/** @param {unknown} value */
function shown(value) {
  return value === null || value === undefined ? "null" : value;
}

/** @param {import("../client.js").LogEvent} event */
function preview(event) {
  const line = sentence();
  const actor = event.agent ?? event.from ?? event.name;
  if (typeof actor === "string") line.append(who(actor), " ");
  if (opener("", event.approval_id)) line.append(`\u2192 approval ${event.approval_id} `);
  let count = 0;
  for (const [member, value] of payload(event)) {
    if (member === "approval_id" || (NAMING.has(member) && value === actor)) continue;
    count += 1;
    if (count > PREVIEW_MEMBERS) {
      line.append(element("span", "muted", "\u2026"));
      break;
    }
    line.append(
      element("span", "muted", oneLine(member, 40), ": "),
      oneLine(shown(value), PREVIEW_CHARS),
      "  ",
    );
  }
  return line;
}
