/** @file Are frames read the same wherever the bytes are torn? */

import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameParser } from "../../../src/dashboard/client.js";

const TEXT = [
  "retry: 1234\n",
  "event: hello\nid: 0123456789abcdef-0\ndata: {}\n\n",
  ": a comment\ndata: grün 漢字 🐝 \\r\nid: 0123456789abcdef-1\n\n",
  "event:heartbeat\ndata:a\ndata\ndata:  b\nid: 0123456789abcdef-2\n\n",
  "event: nothing\n\n",
  "unknown: x\nid: a\0b\nretry: -1\ndata: :colon: \n\n",
].join("");

const EXPECTED = [
  { name: "hello", id: "0123456789abcdef-0", data: "{}" },
  { name: "", id: "0123456789abcdef-1", data: "grün 漢字 🐝 \\r" },
  { name: "heartbeat", id: "0123456789abcdef-2", data: "a\n\n b" },
  { name: "", id: "0123456789abcdef-2", data: ":colon: " },
];

for (const [name, end] of [
  ["LF", "\n"],
  ["CR", "\r"],
  ["CRLF", "\r\n"],
]) {
  const bytes = new TextEncoder().encode(TEXT.replaceAll("\n", /** @type {string} */ (end)));

  test(`${name}, in two pieces, torn at every byte`, () => {
    for (let at = 0; at <= bytes.length; at++) {
      const parser = new FrameParser();
      const frames = [...parser.push(bytes.slice(0, at)), ...parser.push(bytes.slice(at))];
      // The LF that may still come after a last CR does not make the frame wait.
      assert.deepEqual(frames, EXPECTED, `torn at ${at}`);
      assert.equal(parser.retryMs, 1234);
    }
  });

  test(`${name}, byte by byte, with empty pieces between`, () => {
    const parser = new FrameParser();
    const frames = [...bytes].flatMap((byte) => [
      ...parser.push(new Uint8Array()),
      ...parser.push(Uint8Array.of(byte)),
    ]);
    assert.deepEqual(frames, EXPECTED);
  });
}

test("a megabyte in small pieces is read in passing time", () => {
  const parser = new FrameParser();
  const bytes = new TextEncoder().encode(`data: ${"x".repeat(4 << 20)}\n\n`);
  const begin = process.cpuUsage();
  let frames = 0;
  for (let at = 0; at < bytes.length; at += 1_000)
    frames += parser.push(bytes.subarray(at, at + 1_000)).length;
  assert.equal(frames, 1);
  assert.ok(process.cpuUsage(begin).user < 2_000_000);
});

test("a BOM at the start is no text", () => {
  const frames = new FrameParser().push(new TextEncoder().encode("\ufeffdata: x\n\n"));
  assert.equal(frames[0]?.data, "x");
});
