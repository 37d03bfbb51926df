/** @file What does a message say? */

import { long, members, oneLine, sentence, who } from "./line.js";

/** @type {import("./index.js").Describer} */
export function message(event) {
  const is_sent = event.kind === "sent";
  return {
    label: is_sent ? "sent" : "delivered",
    glyph: is_sent ? "\u2192" : "\u21d2",
    tone: is_sent ? "accent" : "muted",
    summary: sentence(who(event.from), " \u2192 ", who(event.to), ": ", oneLine(event.body)),
    body: () =>
      members([
        ["From", who(event.from)],
        ["To", who(event.to)],
        ["Message", event.message_id],
        ["Text", long(event.body)],
      ]),
  };
}
