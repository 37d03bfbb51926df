/** @file How does text that nobody vouches for go into the page? */

/** Controls (but tab and newline), formats, surrogates without their half, separators, variation selectors, blanks that look like nothing. */
const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u2800\u3164\uffa0]|\u034f|[\u17b4\u17b5]|[\u180b-\u180f]|[\ufe00-\ufe0f]|[\u{e0000}-\u{e0fff}]/u;
/** The same one at a time with its repeats, or the marks of a letter beyond the fourth. */
const RUNS = new RegExp(`(?<![\\p{M}])\\p{M}{4}(\\p{M}+)|(${HIDDEN.source})\\2*`, "gu");
const LINKS = /\bhttps?:\/\/[^\s<>"'`]+/gu;
/** An emoji may carry its own selector, and be joined to the next. */
const EMOJI_BEFORE = /(?:[\p{Extended_Pictographic}\p{Emoji_Modifier}#*0-9]|\ufe0f)$/u;
const EMOJI_AFTER = /^\p{Extended_Pictographic}/u;
const STEP_CHARS = 20_000;
const STEP_LINES = 400;

/** @type {Map<number, string>} */
const NAMES = new Map([
  [0x09, "tab"],
  [0x0a, "line feed"],
  [0x0d, "carriage return"],
  [0x1b, "escape"],
  [0xad, "soft hyphen"],
  [0x61c, "Arabic letter mark"],
  [0x200b, "zero width space"],
  [0x200c, "zero width non-joiner"],
  [0x200d, "zero width joiner"],
  [0x200e, "left-to-right mark"],
  [0x200f, "right-to-left mark"],
  [0x202a, "left-to-right embedding"],
  [0x202b, "right-to-left embedding"],
  [0x202c, "pop directional formatting"],
  [0x202d, "left-to-right override"],
  [0x202e, "right-to-left override"],
  [0x2060, "word joiner"],
  [0x2066, "left-to-right isolate"],
  [0x2067, "right-to-left isolate"],
  [0x2068, "first strong isolate"],
  [0x2069, "pop directional isolate"],
  [0xfeff, "byte order mark"],
]);

/**
 * @typedef {object} Cut
 * @property {number} [max] how many UTF-16 units are shown at first
 * @property {number} [lines] how many lines are shown at first
 * @property {boolean} [multiline] whether line feeds and tabs are themselves, or marks
 * @property {boolean} [links] whether http and https addresses become links
 */

/** @param {unknown} value */
function string(value) {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** @param {number} code */
function codePoint(code) {
  return `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}

/** So much of a word that has no end yet. */
const LONG_WORDS = /\S{256}(?=\S)/gu;

/**
 * @param {string} text
 * @param {string} title
 */
function mark(text, title) {
  const element = document.createElement("span");
  element.className = "mark";
  element.textContent = text;
  element.title = title;
  return element;
}

/**
 * @param {string} char
 * @param {number} times
 */
function hiddenMark(char, times) {
  const code = char.codePointAt(0) ?? 0;
  const named = NAMES.get(code);
  const text = codePoint(code) + (times > 1 ? `\u00d7${times}` : "");
  return mark(text, named ? `${codePoint(code)} ${named}` : codePoint(code));
}

/**
 * Whether this hidden character only makes the emoji before it what it is.
 * @param {string} char
 * @param {string} before
 * @param {string} after
 */
function isOfEmoji(char, before, after) {
  if (char === "\ufe0f" || char === "\ufe0e") return EMOJI_BEFORE.test(before);
  return char === "\u200d" && EMOJI_BEFORE.test(before) && EMOJI_AFTER.test(after);
}

/**
 * Appends text with its hidden characters shown.
 * @param {Node} parent
 * @param {string} text
 * @param {boolean} multiline
 */
function appendShown(parent, text, multiline) {
  let done = 0;
  for (const found of text.matchAll(RUNS)) {
    const [run, marks, char] = found;
    if (char && multiline && (char === "\n" || char === "\t")) continue;
    const end = found.index + run.length;
    if (multiline && run === "\r" && text[end] === "\n") continue;
    if (char && run.length === char.length) {
      const before = text.slice(Math.max(0, found.index - 2), found.index);
      if (isOfEmoji(char, before, text.slice(end, end + 2))) continue;
    }
    const start = marks ? end - marks.length : found.index;
    if (start > done) appendPlain(parent, text.slice(done, start));
    const count = [...(marks ?? run)].length;
    if (marks) parent.appendChild(mark(`+${count}`, `${count} more combining marks`));
    else parent.appendChild(hiddenMark(char ?? "", count));
    done = end;
  }
  if (done < text.length) appendPlain(parent, text.slice(done));
}

/**
 * Appends text with a place to break every so often: the layout of a word of 20,000 characters takes half a second.
 * @param {Node} parent
 * @param {string} text
 */
function appendPlain(parent, text) {
  let done = 0;
  for (const word of text.matchAll(LONG_WORDS)) {
    const end = word.index + word[0].length;
    parent.appendChild(document.createTextNode(text.slice(done, end)));
    parent.appendChild(document.createElement("wbr"));
    done = end;
  }
  if (done < text.length) parent.appendChild(document.createTextNode(text.slice(done)));
}

/**
 * @param {Node} parent
 * @param {string} text
 * @param {Cut} cut
 */
function appendText(parent, text, { multiline = false, links = false }) {
  if (!links) return appendShown(parent, text, multiline);
  let done = 0;
  for (const found of text.matchAll(LINKS)) {
    const address = found[0].replace(/[.,;:!?)\]}]+$/u, "");
    if (!URL.canParse(address)) continue;
    appendShown(parent, text.slice(done, found.index), multiline);
    const link = document.createElement("a");
    link.href = address;
    link.title = link.href;
    link.rel = "noopener noreferrer";
    link.target = "_blank";
    appendShown(link, address, multiline);
    parent.appendChild(link);
    done = found.index + address.length;
  }
  appendShown(parent, text.slice(done), multiline);
}

/**
 * Where a piece that begins at `from` ends: never inside a character.
 * @param {string} text
 * @param {number} from
 * @param {number} max
 * @param {number} lines
 */
function pieceEnd(text, from, max, lines) {
  let end = Math.min(text.length, from + max);
  let feed = from - 1;
  for (let line = 0; line < lines; line += 1) {
    feed = text.indexOf("\n", feed + 1);
    if (feed === -1 || feed >= end) break;
    if (line === lines - 1) end = feed;
  }
  const code = text.charCodeAt(end - 1);
  return end > from + 1 && end < text.length && code >= 0xd800 && code < 0xdc00 ? end - 1 : end;
}

/**
 * The text, isolated from what surrounds it, with hidden characters as visible marks. What is longer is cut, with
 * a button that shows the rest in steps.
 * @param {unknown} value
 * @param {Cut} [cut]
 * @returns {HTMLElement}
 */
export function untrusted(value, cut = {}) {
  const text = string(value);
  const { max = 2000, multiline = false, lines = 24 } = cut;
  const bdi = document.createElement("bdi");
  const end = pieceEnd(text, 0, max, multiline ? lines : 1e9);
  appendText(bdi, text.slice(0, end), cut);
  if (end === text.length) return bdi;
  const whole = document.createElement("span");
  whole.append(bdi, " ", more(text, end, bdi, cut));
  return whole;
}

/**
 * @param {string} text
 * @param {number} from
 * @param {HTMLElement} bdi
 * @param {Cut} cut
 */
function more(text, from, bdi, cut) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "more";
  let shown = from;
  const label = () => {
    button.textContent = `\u2026 ${(text.length - shown).toLocaleString()} more characters`;
  };
  button.addEventListener("click", (event) => {
    event.stopPropagation();
    const end = pieceEnd(text, shown, STEP_CHARS, cut.multiline ? STEP_LINES : 1e9);
    appendText(bdi, text.slice(shown, end), cut);
    shown = end;
    if (end < text.length) return label();
    bdi.tabIndex = -1;
    if (document.activeElement === button) bdi.focus({ preventScroll: true });
    button.remove();
  });
  label();
  return button;
}

/**
 * The name of an agent or a kind: one short isolated word.
 * @param {unknown} text
 */
export function name(text) {
  const element = untrusted(text, { max: 64 });
  element.classList.add("name");
  return element;
}

/**
 * Text for where the page cannot draw: one line, cut, with hidden characters replaced.
 * @param {unknown} value
 * @param {number} max
 */
export function plain(value, max) {
  const text = string(value).slice(0, max * 4);
  const shown = text.replace(RUNS, (run, marks) =>
    marks ? run.slice(0, -marks.length) : /^\s+$/u.test(run) ? " " : "\ufffd",
  );
  const chars = [...shown.trim()];
  return chars.length > max ? `${chars.slice(0, max - 1).join("")}\u2026` : chars.join("");
}
