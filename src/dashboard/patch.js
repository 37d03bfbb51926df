/** @file How is a diff drawn? */

import { button, element } from "./card.js";
import { parseDiff } from "./diff.js";
import { untrusted } from "./text.js";

/** @typedef {import("./diff.js").File} File */
/** @typedef {import("./diff.js").Hunk} Hunk */
/** @typedef {import("./diff.js").Line} Line */

/** A diff of up to this many lines is open at once. */
const OPEN_LINES = 40;
const STEP_LINES = 400;
const STEP_FILES = 50;
const LINE_CHARS = 600;
const INDEX = /^index [0-9a-f]+\.\.[0-9a-f]+( 100644)?$/;
const SIGNS = new Map([
  ["+", "add"],
  ["-", "del"],
  ["\\", "remark"],
]);
/** Longer text is not even read before somebody asks. */
const EAGER_CHARS = 100_000;

/**
 * @param {number} count
 * @param {string} word
 */
function counted(count, word) {
  return `${count.toLocaleString()} ${word}${count === 1 ? "" : "s"}`;
}

/** @param {File} file */
function fileName(file) {
  const to = file.new === "/dev/null" || file.new === "" ? file.old : file.new;
  const span = element("span", "path");
  if (file.status === "renamed" && file.old !== file.new)
    span.append(untrusted(file.old, { max: 200 }), " \u2192 ");
  span.append(to === "" ? "no file named" : untrusted(to, { max: 200 }));
  return span;
}

/**
 * @param {number} added
 * @param {number} removed
 */
function counts(added, removed) {
  const plus = element("span", "added", `+${added.toLocaleString()}`);
  const minus = element("span", "removed", `\u2212${removed.toLocaleString()}`);
  return element("span", "diff-counts", plus, " ", minus);
}

/** @param {Line} line */
function row(line) {
  return element(
    "tr",
    SIGNS.get(line.sign) ?? "",
    element("td", "line", String(line.old ?? "")),
    element("td", "line", String(line.new ?? "")),
    element("td", "sign", line.sign || " "),
    element("td", "code", untrusted(line.text, { max: LINE_CHARS, multiline: true })),
  );
}

/** @param {Hunk} hunk */
function hunkRow(hunk) {
  const td = element("td", "", untrusted(hunk.header, { max: 200 }));
  td.colSpan = 4;
  return element("tr", "hunk", td);
}

/**
 * The rows of a file, made as they are needed.
 * @param {File} file
 */
function* rows(file) {
  for (const hunk of file.hunks) {
    if (hunk.header !== "") yield hunkRow(hunk);
    for (const line of hunk.lines) yield row(line);
  }
}

/** @param {File} file */
function lineCount(file) {
  return file.hunks.reduce((sum, hunk) => sum + hunk.lines.length, 0);
}

/**
 * Whether the lines before the changes say only what the summary says. Names that do not agree are shown.
 * @param {File} file
 */
function saysNothingNew(file) {
  const is_new = { old: file.old === "/dev/null", new: file.new === "/dev/null" };
  const before = is_new.old ? file.new : file.old;
  const after = is_new.new ? file.old : file.new;
  const expected = new Set([
    `diff --git a/${before} b/${after}`,
    is_new.old ? "--- /dev/null" : `--- a/${file.old}`,
    is_new.new ? "+++ /dev/null" : `+++ b/${file.new}`,
    `rename from ${file.old}`,
    `rename to ${file.new}`,
    `${file.status === "added" ? "new" : "deleted"} file mode 100644`,
  ]);
  if (file.note === "") return true;
  return file.note.split("\n", 12).every((line) => expected.has(line) || INDEX.test(line));
}

/** @param {File} file */
function fileBody(file) {
  const body = element("div", "file-body");
  const tbody = element("tbody", "");
  const table = element("table", "diff", tbody);
  if (!saysNothingNew(file))
    body.append(element("pre", "file-note", untrusted(file.note, { multiline: true, lines: 6, max: 600 })));
  const source = rows(file);
  let left = lineCount(file);
  if (left > 0) body.append(table);
  const more = button("more");
  const draw = () => {
    const made = take(source, STEP_LINES);
    tbody.append(...made);
    left -= made.filter((tr) => tr.className !== "hunk").length;
    if (left <= 0) {
      tbody.append(...source);
      more.remove();
      return;
    }
    more.textContent = `\u2026 ${counted(left, "more line")}`;
    body.append(more);
  };
  more.addEventListener("click", draw);
  draw();
  return body;
}

/**
 * @template T
 * @param {Iterator<T>} source
 * @param {number} most
 */
function take(source, most) {
  /** @type {T[]} */
  const taken = [];
  while (taken.length < most) {
    const next = source.next();
    if (next.done) break;
    taken.push(next.value);
  }
  return taken;
}

/**
 * @param {File} file
 * @param {boolean} is_open
 */
function fileDetails(file, is_open) {
  const details = element("details", "file");
  const summary = element("summary", "", fileName(file), " ");
  if (file.status !== "changed") summary.append(element("span", "tag", file.status), " ");
  summary.append(counts(file.added, file.removed));
  details.append(summary);
  let is_drawn = false;
  const draw = () => {
    if (is_drawn) return;
    is_drawn = true;
    details.append(fileBody(file));
  };
  details.addEventListener("toggle", () => details.open && draw());
  if (is_open) {
    draw();
    details.open = true;
  }
  return details;
}

/** Draws the diff that its `text` is, per file. */
export class Patch extends HTMLElement {
  #text = "";
  /** @type {File[] | null} */
  #files = null;

  /** @param {string} text */
  set text(text) {
    this.#text = text;
    this.#files = null;
    this.replaceChildren();
    if (text.length <= EAGER_CHARS) {
      this.#draw(false);
      return;
    }
    const open = button("more", `Open the diff (${Math.ceil(text.length / 1024).toLocaleString()} KiB)`);
    open.addEventListener("click", () => this.#draw(true));
    this.append(open);
  }

  get text() {
    return this.#text;
  }

  /** Opens all files, or closes them if all are open. */
  toggle() {
    if (!this.#files) this.#draw(false);
    const all = /** @type {HTMLDetailsElement[]} */ ([...this.querySelectorAll("details.file")]);
    const is_open = all.every((one) => one.open);
    for (const one of all) one.open = !is_open;
  }

  /** @param {boolean} is_asked whether somebody asked for it, so that focus has to go somewhere */
  #draw(is_asked) {
    const files = parseDiff(this.#text);
    this.#files = files;
    const total = files.reduce((sum, file) => sum + lineCount(file), 0);
    const added = files.reduce((sum, file) => sum + file.added, 0);
    const removed = files.reduce((sum, file) => sum + file.removed, 0);
    const head = element("p", "diff-head", `${counted(files.length, "file")} `, counts(added, removed));
    this.replaceChildren(...(files.length > 1 ? [head] : []));
    this.#drawFiles(0, total <= OPEN_LINES || (is_asked && files.length === 1));
    if (is_asked) this.querySelector("summary")?.focus({ preventScroll: true });
  }

  /**
   * @param {number} from
   * @param {boolean} is_open
   */
  #drawFiles(from, is_open) {
    const files = this.#files ?? [];
    for (const file of files.slice(from, from + STEP_FILES)) this.append(fileDetails(file, is_open));
    const left = files.length - from - STEP_FILES;
    if (left <= 0) return;
    const more = button("more", `\u2026 ${counted(left, "more file")}`);
    more.addEventListener("click", () => {
      more.remove();
      this.#drawFiles(from + STEP_FILES, false);
    });
    this.append(more);
  }
}

customElements.define("hive-diff", Patch);
