/** @file What does a unified diff say? Tolerant of anything, it never loses a line of the text. */

/**
 * @typedef {object} Line
 * @property {string} sign `+`, `-`, a space, `\` for a remark of diff itself, or nothing where the text is no diff
 * @property {string} text
 * @property {number | null} old
 * @property {number | null} new
 */
/**
 * @typedef {object} Hunk
 * @property {number | null} old_start null where the text does not say
 * @property {number | null} new_start
 * @property {string} header the line as it stood, or empty
 * @property {Line[]} lines
 */
/**
 * @typedef {object} File
 * @property {string} old
 * @property {string} new
 * @property {"added" | "deleted" | "renamed" | "binary" | "changed"} status
 * @property {Hunk[]} hunks
 * @property {string} note the lines that are no change: modes, index, what could not be read
 * @property {boolean} has_note whether there is such a line, be it an empty one
 * @property {number} added
 * @property {number} removed
 */

const HUNK = /^@@ -(\d{1,15})(?:,(\d{1,15}))? \+(\d{1,15})(?:,(\d{1,15}))? @@/;

/** Reads line by line; knows the file and the hunk that a line belongs to. */
class Reader {
  /** @type {File[]} */
  files = [];
  /** @type {File | null} */
  file = null;
  /** @type {Hunk | null} */
  hunk = null;
  left_old = 0;
  left_new = 0;
  at_old = 0;
  at_new = 0;

  startFile() {
    /** @type {File} */
    const file = {
      old: "",
      new: "",
      status: "changed",
      hunks: [],
      note: "",
      has_note: false,
      added: 0,
      removed: 0,
    };
    this.file = file;
    this.hunk = null;
    this.left_old = 0;
    this.left_new = 0;
    this.files.push(file);
    return file;
  }

  /** @param {string} line */
  note(line) {
    const file = this.file ?? this.startFile();
    file.note += file.has_note ? `\n${line}` : line;
    file.has_note = true;
  }

  /**
   * @param {string} sign
   * @param {string} text
   * @param {boolean} is_counted whether the hunk said that there is such a line
   */
  push(sign, text, is_counted) {
    const { file, hunk } = this;
    if (!file || !hunk) return this.note(sign + text);
    const has_old = is_counted && (sign === "-" || sign === " ");
    const has_new = is_counted && (sign === "+" || sign === " ");
    hunk.lines.push({ sign, text, old: has_old ? this.at_old : null, new: has_new ? this.at_new : null });
    if (sign === "+") file.added += 1;
    if (sign === "-") file.removed += 1;
    if (has_old) {
      this.at_old += 1;
      this.left_old -= 1;
    }
    if (has_new) {
      this.at_new += 1;
      this.left_new -= 1;
    }
  }

  /** @param {string} line */
  startHunk(line) {
    const file = this.file ?? this.startFile();
    const found = HUNK.exec(line);
    const [, old_start, old_count = "1", new_start, new_count = "1"] = found ?? [];
    this.left_old = found ? Number(old_count) : 0;
    this.left_new = found ? Number(new_count) : 0;
    this.at_old = Number(old_start ?? 0);
    this.at_new = Number(new_start ?? 0);
    this.hunk = {
      old_start: found ? this.at_old : null,
      new_start: found ? this.at_new : null,
      header: line,
      lines: [],
    };
    file.hunks.push(this.hunk);
  }

  /**
   * Takes a line that the open hunk has announced.
   * @param {string} line
   */
  takesCounted(line) {
    if (!this.hunk) return false;
    const sign = line.charAt(0);
    if (sign === "\\") {
      this.push("\\", line.slice(1), false);
      return true;
    }
    const { left_old, left_new } = this;
    const is_empty = line === "" || line === "\r";
    const is_announced =
      (sign === "+" && left_new > 0) ||
      (sign === "-" && left_old > 0) ||
      ((sign === " " || is_empty) && left_old > 0 && left_new > 0);
    if (!is_announced) return false;
    this.push(is_empty ? " " : sign, is_empty ? line : line.slice(1), true);
    return true;
  }

  /**
   * Takes a line outside of what hunks have announced.
   * @param {string} line
   * @param {string | undefined} next
   */
  take(line, next) {
    if (line.startsWith("diff --git ") || line.startsWith("diff --cc ") || line.startsWith("Index: ")) {
      this.startFile();
      this.paths(line);
      return this.note(line);
    }
    if (line.startsWith("--- ") && next?.startsWith("+++ ")) {
      if (!this.file || this.file.hunks.length > 0 || this.file.note.includes("\n+++ ")) this.startFile();
      const file = /** @type {File} */ (this.file);
      file.old = path(line.slice(4), "a/");
      return this.note(line);
    }
    if (line.startsWith("+++ ") && this.file && this.file.hunks.length === 0) {
      this.file.new = path(line.slice(4), "b/");
      return this.note(line);
    }
    if (line.startsWith("@@")) return this.startHunk(line);
    const sign = /^[-+ ]/.test(line) ? line.charAt(0) : "";
    if (this.hunk && (sign !== "" || this.hunk.header === "")) {
      return this.push(sign, line.slice(sign.length), false);
    }
    if (!this.file || (sign !== "" && sign !== " ")) {
      this.file ??= this.startFile();
      this.hunk = { old_start: null, new_start: null, header: "", lines: [] };
      this.file.hunks.push(this.hunk);
      return this.push(sign, line.slice(sign.length), false);
    }
    this.status(line);
    return this.note(line);
  }

  /** @param {string} line */
  paths(line) {
    const found = /^diff --git a\/(.*) b\/(.*)$/.exec(line);
    if (!found || !this.file) return;
    [, this.file.old = "", this.file.new = ""] = found;
  }

  /** @param {string} line */
  status(line) {
    const { file } = this;
    if (!file) return;
    if (line.startsWith("new file mode ")) file.status = "added";
    else if (line.startsWith("deleted file mode ")) file.status = "deleted";
    else if (line.startsWith("Binary files ") || line === "GIT binary patch") file.status = "binary";
    else if (line.startsWith("rename from ")) {
      file.status = "renamed";
      file.old = line.slice(12);
    } else if (line.startsWith("rename to ")) file.new = line.slice(10);
  }
}

/**
 * @param {string} text
 * @param {string} prefix
 */
function path(text, prefix) {
  // Not by an expression: one that looks for the end from each tab takes minutes for a line of them.
  const tab = text.indexOf("\t");
  const bare = (tab < 0 ? text : text.slice(0, tab)).replace(/\r$/, "");
  return bare.startsWith(prefix) ? bare.slice(prefix.length) : bare;
}

/**
 * @param {string} text
 * @returns {File[]}
 */
export function parseDiff(text) {
  const reader = new Reader();
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  lines.forEach((line, index) => {
    if (!reader.takesCounted(line)) reader.take(line, lines[index + 1]);
  });
  for (const file of reader.files) {
    if (file.status !== "changed") continue;
    if (file.old === "/dev/null") file.status = "added";
    else if (file.new === "/dev/null") file.status = "deleted";
  }
  return reader.files;
}
