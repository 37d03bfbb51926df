/** @file How are times shown, and kept fresh? */

const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "always", style: "narrow" });
const ABSOLUTE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
/** What a Date can hold. */
const MS_MAX = 8.64e15;

/** @param {unknown} ms */
function date(ms) {
  return typeof ms === "number" && Math.abs(ms) <= MS_MAX ? new Date(ms) : null;
}

/**
 * A span of time in its two largest units: `3 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`.
 * @param {number} seconds
 */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/**
 * The time of day, with the day before it where that is not today.
 * @param {number} ms
 */
export function clock(ms) {
  const at = date(ms);
  if (!at) return String(ms);
  const is_today = at.toDateString() === new Date().toDateString();
  return is_today ? CLOCK.format(at) : `${DAY.format(at)} ${CLOCK.format(at)}`;
}

/**
 * The whole date and time.
 * @param {number} ms
 */
export function absolute(ms) {
  const at = date(ms);
  return at ? ABSOLUTE.format(at) : String(ms);
}

/** @param {number} ms */
function relative(ms) {
  const seconds = Math.max(0, Math.floor((Date.now() - ms) / 1000));
  if (seconds < 2) return "now";
  if (seconds < 60) return RELATIVE.format(-seconds, "second");
  if (seconds < 3600) return RELATIVE.format(-Math.floor(seconds / 60), "minute");
  if (seconds < 86_400) return RELATIVE.format(-Math.floor(seconds / 3600), "hour");
  if (seconds < 30 * 86_400) return RELATIVE.format(-Math.floor(seconds / 86_400), "day");
  return DAY.format(ms);
}

/** @param {number} ms */
function remaining(ms) {
  const seconds = Math.ceil((ms - Date.now()) / 1000);
  return seconds > 0 ? `in ${duration(seconds)}` : "over";
}

/** @type {Map<string, (ms: number) => string>} */
const WORDS = new Map([
  ["ago", relative],
  ["lasting", (/** @type {number} */ ms) => duration((Date.now() - ms) / 1000)],
  ["until", remaining],
]);

/** @param {HTMLTimeElement} element */
function refresh(element) {
  const words = WORDS.get(element.dataset.tick ?? "");
  if (!words) return;
  const text = words(Number(element.dataset.ms));
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes a time element show another moment, or none.
 * @param {HTMLTimeElement} element
 * @param {number} ms
 * @param {string} [none]
 */
export function setMoment(element, ms, none = "?") {
  const at = date(ms);
  if (!at) {
    // With the next tick the moment before would come back.
    delete element.dataset.ms;
    element.removeAttribute("datetime");
    element.title = "";
    element.textContent = none;
    return;
  }
  if (element.dataset.ms === String(ms)) return;
  element.dataset.ms = String(ms);
  element.dateTime = at.toISOString();
  element.title = ABSOLUTE.format(at);
  refresh(element);
}

/**
 * Makes a time element show when something was last; 0 is never.
 * @param {HTMLTimeElement} element
 * @param {number} ms
 */
export function setLast(element, ms) {
  setMoment(element, ms > 0 ? ms : Number.NaN, "\u2013");
}

/**
 * @param {string} tick
 * @param {number} ms
 */
function ticking(tick, ms) {
  const element = document.createElement("time");
  element.dataset.tick = tick;
  setMoment(element, ms);
  return element;
}

/**
 * How long ago it was; it keeps itself fresh while it is in the document.
 * @param {number} ms
 */
export function ago(ms) {
  return ticking("ago", ms);
}

/**
 * How long it lasts since then.
 * @param {number} ms
 */
export function lasting(ms) {
  return ticking("lasting", ms);
}

/**
 * How long it is until then, counting down.
 * @param {number} ms
 */
export function until(ms) {
  return ticking("until", ms);
}

/**
 * Keeps all times in the document fresh. One that was taken out and comes back is right within a second.
 * @param {AbortSignal} signal
 */
export function startTicking(signal) {
  const times = document.getElementsByTagName("time");
  const tick = () => {
    if (document.hidden) return;
    for (const element of times) if (element.dataset.ms) refresh(element);
  };
  const timer = setInterval(tick, 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
  document.addEventListener("visibilitychange", tick, { signal });
}
