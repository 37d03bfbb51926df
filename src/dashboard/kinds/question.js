/** @file What does a question say, when it is asked and when it is closed? */

import { element } from "../card.js";
import { absolute } from "../time.js";
import { opener } from "./approval.js";
import { long, members, oneLine, sentence, who } from "./line.js";

/** @typedef {import("./index.js").Description["tone"]} Tone */

/** @type {Map<unknown, [string, string, Tone]>} */
const CLOSED = new Map([
  ["answered", ["answered", "\u21a9", "ok"]],
  ["cancelled", ["cancelled", "\u2298", "muted"]],
  ["expired", ["expired", "\u29d6", "warn"]],
]);
const OPTIONS_MAX = 100;

/** @param {unknown} options */
function list(options) {
  if (!Array.isArray(options) || options.length === 0) return null;
  const shown = options.slice(0, OPTIONS_MAX).map((option) => element("li", "", oneLine(option, 2000)));
  const more = options.length - shown.length;
  if (more > 0) shown.push(element("li", "muted", `\u2026 ${more.toLocaleString()} more: see the raw event`));
  return element("ul", "", ...shown);
}

/** @type {import("./index.js").Describer} */
export function questionAdded(event) {
  const deadline = typeof event.deadline_at === "number" ? absolute(event.deadline_at * 1000) : null;
  return {
    label: "question",
    glyph: "?",
    tone: "warn",
    summary: sentence(who(event.asker), " asks: ", oneLine(event.question)),
    body: () =>
      members([
        ["Question", event.id],
        ["Asker", who(event.asker)],
        ["Text", long(event.question)],
        [event.multi === true ? "Options (several)" : "Options", list(event.options)],
        ["Deadline", deadline],
      ]),
  };
}

/** @type {import("./index.js").Describer} */
export function questionResolved(event) {
  const outcome = event.outcome ?? (event.cancelled === true ? "cancelled" : "answered");
  const [label, glyph, tone] = CLOSED.get(outcome) ?? ["closed", "\u25c6", "info"];
  const is_answered = outcome === "answered";
  const said = is_answered ? [" answers: ", oneLine(event.answer)] : [` closed it: ${label}`];
  return {
    label,
    glyph,
    tone,
    summary: sentence(`question ${Number(event.id)}: `, who(event.answerer), ...said),
    body: () =>
      members([
        ["Question", event.id],
        ["Outcome", outcome],
        ["By", who(event.answerer)],
        ["Answer", long(event.answer)],
        ["Selected", list(event.selected)],
      ]),
    opener: opener("api/questions", event.id),
  };
}
