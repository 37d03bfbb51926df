/** @file Does any text at all get through the page's readers whole, in passing time? HIVELOG_SEED repeats a run. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameParser } from "../../../src/dashboard/client.js";
import { parseDiff } from "../../../src/dashboard/diff.js";

const SEED = Number(process.env.HIVELOG_SEED ?? Date.now() % 2 ** 31);
const ROUNDS = Number(process.env.HIVELOG_FUZZ_ROUNDS ?? 4000);

/** Random choices that can be made again (mulberry32). */
class Dice {
  /** @param {number} seed */
  constructor(seed) {
    this.state = seed | 0;
  }

  /** @param {number} below */
  below(below) {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  }

  /**
   * @template T
   * @param {readonly T[]} list
   * @returns {T}
   */
  pick(list) {
    return /** @type {T} */ (list[this.below(list.length)]);
  }
}

const PARTS = [
  ..."+- \\@\t\r\u2028",
  "",
  "--- a/x",
  "--- /dev/null",
  "--- ",
  "+++ b/x",
  "+++ /dev/null",
  "+++ ",
  "@@ -1 +1 @@",
  "@@ -1,2 +1,3 @@ fn main()",
  "@@ -0,0 +1,9 @@",
  "@@ -999999999999999,9 +1 @@",
  "@@",
  "@@ -1,1 +",
  "diff --git a/x b/y",
  "diff --git a/x b/y b/z",
  "diff --git ",
  "diff --cc x",
  "Index: x",
  "index 1..2 100644",
  "new file mode 100644",
  "deleted file mode 100755",
  "rename from x",
  "rename to y",
  "Binary files a and b differ",
  "GIT binary patch",
  "\\ No newline at end of file",
  "\u0000\u202e\ud800",
  "grün 漢字 🐝",
];

/** @param {Dice} dice */
function patch(dice) {
  let text = "";
  const lines = dice.below(30);
  for (let line = 0; line < lines; line++) {
    const parts = 1 + dice.below(3);
    for (let part = 0; part < parts; part++) text += dice.pick(PARTS);
    if (line + 1 < lines || dice.below(2)) text += "\n";
  }
  return text;
}

/** A counted line without anything in it stands for one space: diffs that were mailed lost it.
 * @param {string} line */
function bare(line) {
  return line === " " || line === " \r" ? line.slice(1) : line;
}

/** Every line that is shown, as it stood.
 * @param {string} text */
function shown(text) {
  const lines = [];
  for (const file of parseDiff(text)) {
    if (file.has_note) lines.push(...file.note.split("\n"));
    for (const hunk of file.hunks) {
      if (hunk.header !== "") lines.push(hunk.header);
      for (const line of hunk.lines) lines.push(line.sign + line.text);
    }
  }
  return lines.map(bare).sort();
}

test(`no line of a diff is lost (seed ${SEED})`, () => {
  const dice = new Dice(SEED);
  for (let round = 0; round < ROUNDS; round++) {
    const text = patch(dice);
    const expected = text.split("\n");
    if (expected.at(-1) === "") expected.pop();
    assert.deepEqual(shown(text), expected.map(bare).sort(), JSON.stringify(text));
  }
});

test("a diff is read in passing time, whatever it is made of", () => {
  const made = PARTS.map((part) => /** @type {[string, string]} */ ([JSON.stringify(part), `${part}\n`]));
  for (const [name, line] of [
    ...made,
    ["tabs in a name", `--- ${"\t".repeat(200_000)}\rx\n+++ ${"\t".repeat(200_000)}\rx\n`],
    ["names in a row", `diff --git a/${" b/".repeat(100_000)}\n`],
    ["pairs", "--- a\n+++ b\n"],
    ["digits", `@@ -${"1".repeat(300_000)}\n`],
    ["notes, then names", `diff --git a/x b/x\n${"x\n".repeat(50_000)}${"--- a\n+++ b\n".repeat(50_000)}`],
  ]) {
    const text = line.repeat(Math.ceil((1 << 18) / line.length));
    const begin = process.cpuUsage();
    parseDiff(text);
    // Not the time that passed: others work on this machine too.
    const took_us = process.cpuUsage(begin).user;
    assert.ok(took_us < 2_000_000, `${name}: ${took_us} µs`);
  }
});

/** @param {Dice} dice */
function stream(dice) {
  const parts = [
    "data: ",
    "data:",
    "data",
    "id: ",
    "id: a\0b",
    "event: ",
    "retry: 12",
    "retry: x",
    ": ",
    "x",
    "ü漢🐝",
    " ",
  ];
  let text = dice.below(8) === 0 ? "\ufeff" : "";
  for (let part = dice.below(40); part > 0; part--)
    text += dice.pick(dice.below(2) ? parts : ["\n", "\r", "\r\n", "\n\n"]);
  const bytes = new TextEncoder().encode(text);
  // Some of it is no UTF-8.
  if (bytes.length > 0 && dice.below(4) === 0) bytes[dice.below(bytes.length)] = 0x80 + dice.below(0x80);
  return bytes;
}

test(`frames are the same however their bytes are torn (seed ${SEED})`, () => {
  const dice = new Dice(SEED);
  let frames_seen = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = stream(dice);
    const whole = new FrameParser();
    const expected = whole.push(bytes);
    frames_seen += expected.length;
    const torn = new FrameParser();
    const frames = [];
    for (let at = 0; at < bytes.length; ) {
      const end = at + dice.below(4);
      frames.push(...torn.push(bytes.subarray(at, end)));
      at = end;
    }
    assert.deepEqual(frames, expected, `${bytes}`);
    assert.equal(torn.retryMs, whole.retryMs, `${bytes}`);
  }
  assert.ok(frames_seen > ROUNDS / 10, `${frames_seen} frames`);
});
