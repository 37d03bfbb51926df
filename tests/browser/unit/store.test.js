/** @file Does the page fold the golden list as the server does? */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Board, opening } from "../../../src/dashboard/store.js";

/** @param {string} name */
const lines = (name) =>
  readFileSync(new URL(`../../golden/${name}`, import.meta.url), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

const events = lines("board.events.ndjson");
const states = new Map(lines("board.states.ndjson").map((state) => [state.seq, state]));

test("the board after each event is the server's, its members in the same order", () => {
  const board = new Board(states.get(0));
  let compared = 0;
  for (const event of events) {
    board.apply(event);
    const expected = states.get(event.seq);
    if (!expected) continue;
    assert.equal(JSON.stringify(board.toState()), JSON.stringify(expected), `at seq ${event.seq}`);
    compared++;
  }
  assert.ok(compared > 40);
  assert.equal(board.recentApprovals.length, 50);
});

test("a snapshot and the events after it are the later snapshot, from everywhere", () => {
  const last = states.get(events.at(-1).seq);
  for (const state of states.values()) {
    const board = new Board(state);
    // The ones before are there too, as after a resume: they change nothing.
    for (const event of events) board.apply(event);
    assert.deepEqual(board.toState(), last);
  }
});

test("what a row says of its opening event stays the same when it is closed, and is another when it is redacted", () => {
  /** @type {Map<number, string>} */
  const said = new Map();
  let closed = 0;
  for (const { approvals, questions, recent_approvals, recent_questions } of states.values()) {
    for (const row of [...approvals, ...questions, ...recent_approvals, ...recent_questions]) {
      if (said.has(row.seq) && row.resolved_seq) closed++;
      assert.equal(said.get(row.seq) ?? opening(row), opening(row), `at seq ${row.seq}`);
      said.set(row.seq, opening(row));
      assert.notEqual(
        opening({ ...row, [row.agent ? "description" : "question"]: "[redacted]" }),
        opening(row),
      );
    }
  }
  assert.ok(closed > 40);
});

test("says what changed, and nothing where an id is unknown or taken", () => {
  const board = new Board(states.get(0));
  /** @param {number} seq @param {string} kind @param {Record<string, unknown>} more */
  const apply = (seq, kind, more) => board.apply({ seq, recorded_at_ms: 0, kind, ...more });
  assert.equal(apply(1, "approval_added", { id: 1, agent: "a" }), "approvals");
  assert.equal(apply(1, "approval_added", { id: 9, agent: "a" }), null);
  assert.equal(apply(2, "approval_added", { id: 1, agent: "b" }), null);
  assert.equal(board.approvals.get(1)?.agent, "a");
  assert.equal(apply(3, "approval_resolved", { id: 7, status: "denied" }), null);
  assert.equal(apply(4, "approval_resolved", { id: 1, status: "denied" }), "approvals");
  assert.equal(apply(5, "approval_resolved", { id: 1, status: "approved" }), null);
  assert.equal(board.recentApprovals[0]?.status, "denied");
  assert.equal(apply(6, "question_resolved", { id: 1 }), null);
  assert.equal(apply(7, "transient_cleared", { name: "__proto__" }), null);
  assert.equal(apply(8, "transient_set", { name: "__proto__" }), "transients");
  assert.equal(apply(9, "transient_cleared", { name: "__proto__" }), "transients");
  assert.equal(apply(10, "toString", {}), null);
  assert.equal(board.seq, 10);
});

test("a text that is redacted leaves the rows that are of it, at once and for good", () => {
  const state = structuredClone(states.get(events.at(-1).seq));
  const opening = { seq: 1, recorded_at_ms: 0, kind: "approval_added", id: 1, agent: "a", sha_short: "abc" };
  state.approvals = [{ ...opening, diff: "secret", description: "secret", status: "pending" }];
  const closed = state.recent_questions[0];
  const board = new Board(state);
  const [over, untouched] = board.recentApprovals;
  board.redact(1, null);
  assert.equal(JSON.stringify(board.toState()).includes("secret"), false);
  board.redact(1, { ...opening, sha_short: "[redacted]", diff: "[redacted]", description: "[redacted]" });
  assert.deepEqual(board.approvals.get(1), {
    ...opening,
    sha_short: "[redacted]",
    diff: "[redacted]",
    description: "[redacted]",
    status: "pending",
  });
  // Of an item's two events only the one is without its text, also while it is not known what is left of it.
  board.redact(closed.resolved_seq, null);
  assert.equal(board.recentQuestions[0]?.answer, null);
  assert.equal(board.recentQuestions[0]?.question, closed.question);
  board.redact(over.seq, null);
  assert.equal(board.recentApprovals[0]?.description, null);
  assert.equal(board.recentApprovals[0]?.note, over.note);
  board.redact(closed.resolved_seq, {
    seq: closed.resolved_seq,
    recorded_at_ms: 0,
    kind: "question_resolved",
    answer: "[redacted]",
  });
  assert.equal(board.recentQuestions[0]?.answer, "[redacted]");
  assert.equal(board.recentQuestions[0]?.question, closed.question);
  assert.equal(board.recentQuestions[0]?.seq, closed.seq);
  assert.equal(board.recentApprovals[1], untouched);
});
