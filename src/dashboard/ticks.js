/** @file At which round moments does an axis of time have its marks, and what do they say? */

import { clock } from "./time.js";

const DAY_MS = 86_400_000;
const STEPS_MS = [
  10,
  50,
  100,
  500,
  1000,
  5000,
  10_000,
  30_000,
  60_000,
  300_000,
  600_000,
  1_800_000,
  3_600_000,
  10_800_000,
  21_600_000,
  43_200_000,
  DAY_MS,
  2 * DAY_MS,
  7 * DAY_MS,
  14 * DAY_MS,
  30 * DAY_MS,
  91 * DAY_MS,
  365 * DAY_MS,
  3650 * DAY_MS,
];
const DATE = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const MINUTE = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/**
 * @param {number} ms
 * @param {number} step
 */
export function tickWords(ms, step) {
  if (step >= DAY_MS) return DATE.format(ms);
  if (step >= 60_000) {
    const date = new Date(ms);
    return date.getHours() + date.getMinutes() === 0 ? DATE.format(ms) : MINUTE.format(ms);
  }
  const fraction = step < 1000 ? `.${String(Math.floor(ms) % 1000).padStart(3, "0")}` : "";
  return clock(ms) + fraction;
}

/**
 * Round moments, as the reader's clock shows them.
 * @param {number} from
 * @param {number} to
 * @param {number} most
 */
export function ticks(from, to, most) {
  const step = STEPS_MS.find((one) => (to - from) / one <= most) ?? (to - from) / Math.max(1, most);
  const zone = new Date(from).getTimezoneOffset() * 60_000;
  const found = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at < to; at += step) found.push(at);
  return { step, found: found.slice(0, 50) };
}
