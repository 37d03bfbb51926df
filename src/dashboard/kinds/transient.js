/** @file What does a lifecycle action say, when it begins and when it ends? */

import { absolute } from "../time.js";
import { members, oneLine, sentence, who } from "./line.js";

/** @typedef {import("./index.js").Description["tone"]} Tone */

/** @type {Map<unknown, [string, Tone]>} */
const REASONS = new Map([
  ["done", ["done", "ok"]],
  ["failed", ["failed", "danger"]],
  ["lease_expired", ["lease ran out", "warn"]],
  ["restart", ["server restarted", "warn"]],
]);

/** @type {import("./index.js").Describer} */
export function transientSet(event) {
  const ends = typeof event.expires_at === "number" ? absolute(event.expires_at * 1000) : null;
  const since = typeof event.since_unix === "number" ? absolute(event.since_unix * 1000) : null;
  return {
    label: "started",
    glyph: "\u25d0",
    tone: "info",
    summary: sentence(who(event.name), " is ", oneLine(event.transient_kind, 40)),
    body: () =>
      members([
        ["Agent", who(event.name)],
        ["Action", event.transient_kind],
        ["Since", since],
        ["Lease until", ends],
      ]),
  };
}

/** @type {import("./index.js").Describer} */
export function transientCleared(event) {
  const [words, tone] = REASONS.get(event.reason) ?? ["", "muted"];
  return {
    label: "ended",
    glyph: "\u25cf",
    tone,
    summary: sentence(who(event.name), " is through: ", words === "" ? oneLine(event.reason, 80) : words),
    body: () =>
      members([
        ["Agent", who(event.name)],
        ["Reason", event.reason],
      ]),
  };
}
