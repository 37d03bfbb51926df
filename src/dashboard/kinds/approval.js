/** @file What does an approval say, when it is asked for and when it is decided? */

import "../patch.js";
import { element } from "../card.js";
import { long, members, oneLine, sentence, who } from "./line.js";

/** @typedef {import("./index.js").Description["tone"]} Tone */

/** @type {Map<unknown, [string, string, Tone]>} */
const DECIDED = new Map([
  ["approved", ["approved", "\u2713", "ok"]],
  ["denied", ["denied", "\u2715", "danger"]],
  ["failed", ["failed", "!", "danger"]],
]);

/**
 * The item that an event is about, where its id can be one.
 * @param {string} path
 * @param {unknown} id
 */
export function opener(path, id) {
  return typeof id === "number" && Number.isSafeInteger(id) && id > 0 ? { path, id } : null;
}

/** @param {import("../client.js").LogEvent} event */
function subject(event) {
  return event.description ?? event.sha_short ?? event.approval_kind;
}

/** @type {import("./index.js").Describer} */
export function approvalAdded(event) {
  return {
    label: "approval wanted",
    glyph: "\u25c7",
    tone: "warn",
    summary: sentence(
      who(event.agent),
      " asks for ",
      oneLine(event.approval_kind, 40),
      ": ",
      oneLine(subject(event)),
    ),
    body: () => {
      const list = members([
        ["Approval", event.id],
        ["Agent", who(event.agent)],
        ["For", event.approval_kind],
        ["Commit", event.sha_short],
        ["Description", event.description],
      ]);
      if (typeof event.diff !== "string" || event.diff === "") return list;
      const diff = /** @type {import("../patch.js").Patch} */ (document.createElement("hive-diff"));
      diff.text = event.diff;
      return element("div", "", list, diff);
    },
  };
}

/** @type {import("./index.js").Describer} */
export function approvalResolved(event) {
  const [label, glyph, tone] = DECIDED.get(event.status) ?? ["decided", "\u25c6", "info"];
  const note =
    typeof event.note === "string" && event.note !== "" ? [" \u2014 ", oneLine(event.note, 120)] : [];
  const by = typeof event.by === "string" ? [" \u00b7 by ", who(event.by)] : [];
  return {
    label,
    glyph,
    tone,
    summary: sentence(who(event.agent), ": ", oneLine(subject(event), 120), ...by, ...note),
    body: () =>
      members([
        ["Approval", event.id],
        ["Decision", event.status],
        ["By", event.by ?? null],
        ["Note", event.note],
        ["Agent", who(event.agent)],
        ["For", event.approval_kind],
        ["Commit", event.sha_short],
        ["Description", typeof event.description === "string" ? long(event.description) : null],
      ]),
    opener: opener("api/approvals", event.id),
  };
}
