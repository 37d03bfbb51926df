/** @file What is open on the board, in one list? */

/** @typedef {import("./store.js").Board} Board */
/** @typedef {import("./card.js").Row} Row */
/** @typedef {"approval" | "question"} What */
/** @typedef {{key: string, what: What, row: Row}} Open */

/**
 * @param {What} what
 * @param {unknown} id
 */
export function keyOf(what, id) {
  return `${what}-${id}`;
}

/** @param {Board | null} board */
export function openCount(board) {
  return board ? board.approvals.size + board.questions.size : 0;
}

/**
 * Whether this row is open still.
 * @param {Board} board
 * @param {What} what
 * @param {Row} row
 */
export function isOpen(board, what, row) {
  return (what === "approval" ? board.approvals : board.questions).get(row.id)?.seq === row.seq;
}

/**
 * All that waits for the operator, oldest first.
 * @param {Board} board
 * @returns {Generator<Open, void>}
 */
export function* openRows(board) {
  const approvals = board.approvals.values();
  const questions = board.questions.values();
  let approval = approvals.next();
  let question = questions.next();
  while (!approval.done || !question.done) {
    const is_approval = question.done || (!approval.done && approval.value.seq < question.value.seq);
    const what = is_approval ? "approval" : "question";
    const row = /** @type {Row} */ ((is_approval ? approval : question).value);
    yield { key: keyOf(what, row.id), what, row };
    if (is_approval) approval = approvals.next();
    else question = questions.next();
  }
}

/**
 * What was closed last, newest first.
 * @param {Board} board
 * @returns {Open[]}
 */
export function closedRows(board) {
  /** @param {What} what @param {Row[]} rows */
  const of = (what, rows) => rows.map((row) => ({ key: keyOf(what, row.id), what, row }));
  const closed = [...of("approval", board.recentApprovals), ...of("question", board.recentQuestions)];
  return closed.sort((one, other) => Number(other.row.resolved_seq) - Number(one.row.resolved_seq));
}
