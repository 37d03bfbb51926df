/** @file What is open now, and what was closed last: the board, folded from events exactly as the server folds it. */

/** @typedef {import("./client.js").LogEvent} LogEvent */
/** @typedef {import("./client.js").State} State */
/** @typedef {"approvals"|"questions"|"transients"|null} Changed */
/** @typedef {LogEvent} Row an opening event as on the wire, and what has become of it */

const RECENT = 50;

/** Rows of one kind: those open by id, the oldest first, and those closed last, the newest first. */
class Items {
  /** @type {Map<unknown, Row>} */
  open = new Map();
  /** @type {Row[]} */
  recent;

  /** @param {Row[]} open @param {Row[]} recent */
  constructor(open, recent) {
    for (const row of open) this.open.set(row.id, row);
    this.recent = recent.slice(0, RECENT);
  }

  /** @param {Row} row */
  add(row) {
    // An id is given once; a second one would be no event of a sound log.
    if (this.open.has(row.id)) return false;
    this.open.set(row.id, row);
    return true;
  }

  /** @param {(row: Row) => Row} change */
  change(change) {
    for (const [id, row] of this.open) this.open.set(id, change(row));
    this.recent = this.recent.map(change);
  }

  /** @param {unknown} id @param {Record<string, unknown>} end */
  close(id, end) {
    const row = this.open.get(id);
    if (!row) return false;
    this.open.delete(id);
    this.recent.unshift({ ...row, ...end });
    this.recent.length = Math.min(this.recent.length, RECENT);
    return true;
  }
}

/** The board at one seq. An event costs the same however much is open. */
export class Board {
  #approvals;
  #questions;
  /** By name, in the order in which they were set. @type {Map<unknown, Row>} */
  transients = new Map();

  /** @param {State} state a snapshot of the server's */
  constructor(state) {
    this.log_id = state.log_id;
    this.seq = state.seq;
    this.floor = state.floor;
    this.#approvals = new Items(state.approvals, state.recent_approvals);
    this.#questions = new Items(state.questions, state.recent_questions);
    for (const row of state.transients) this.transients.set(row.name, row);
  }

  /** Those open by id, the oldest first. */
  get approvals() {
    return this.#approvals.open;
  }

  get questions() {
    return this.#questions.open;
  }

  /** Those closed last, the newest first. */
  get recentApprovals() {
    return this.#approvals.recent;
  }

  get recentQuestions() {
    return this.#questions.recent;
  }

  /**
   * Takes the next event. One that was taken already, or is about something unknown, changes nothing.
   * @param {LogEvent} event
   * @returns {Changed} what changed
   */
  apply(event) {
    if (event.seq <= this.seq) return null;
    this.seq = event.seq;
    switch (event.kind) {
      case "approval_added":
        return this.#approvals.add({ ...event, ...PENDING }) ? "approvals" : null;
      case "approval_resolved":
        return this.#approvals.close(event.id, decided(event)) ? "approvals" : null;
      case "question_added":
        return this.#questions.add({ ...event, ...UNANSWERED }) ? "questions" : null;
      case "question_resolved":
        return this.#questions.close(event.id, answered(event)) ? "questions" : null;
      case "transient_set":
        // Deleted first, since one that is set anew goes to the end.
        this.transients.delete(event.name);
        this.transients.set(event.name, event);
        return "transients";
      case "transient_cleared":
        return this.transients.delete(event.name) ? "transients" : null;
      default:
        return null;
    }
  }

  /**
   * Takes the text of an event out of the rows that are of it.
   * @param {number} seq
   * @param {LogEvent | null} event what is left of it, if that is known
   */
  redact(seq, event) {
    /** @param {(event: LogEvent) => object} ending @param {object} asked @param {object} told */
    const change = (ending, asked, told) => (/** @type {Row} */ row) => {
      if (row.seq === seq) return { ...row, ...(event ?? asked) };
      return row.resolved_seq === seq ? { ...row, ...(event ? ending(event) : told) } : row;
    };
    const request = { description: null, diff: null, sha_short: null };
    this.#approvals.change(change(decided, request, { note: null }));
    this.#questions.change(change(answered, { question: "", options: [] }, { answer: null, selected: null }));
  }

  /** @returns {State} as `GET api/state` would give it */
  toState() {
    return {
      log_id: this.log_id,
      seq: this.seq,
      floor: this.floor,
      approvals: [...this.approvals.values()],
      questions: [...this.questions.values()],
      transients: [...this.transients.values()],
      recent_approvals: [...this.recentApprovals],
      recent_questions: [...this.recentQuestions],
    };
  }
}

const PENDING = { status: "pending", resolved_seq: null, resolved_at: null, note: null, by: null };

const UNANSWERED = {
  outcome: "open",
  resolved_seq: null,
  answer: null,
  answerer: null,
  answered_at: null,
  cancelled: false,
  selected: null,
};

/**
 * What a row says of its opening event, whatever became of it: two that say the same are the same text.
 * @param {Record<string, unknown>} row
 */
export function opening(row) {
  return JSON.stringify({ ...row, ...PENDING, ...UNANSWERED });
}

/** @param {LogEvent} event */
function decided(event) {
  const { status = null, resolved_at = null, note = null, by = null } = event;
  return { status, resolved_seq: event.seq, resolved_at, note, by };
}

/** @param {LogEvent} event */
function answered(event) {
  const { outcome = null, answer = null, answerer = null, answered_at = null } = event;
  const { cancelled = null, selected = null } = event;
  return { outcome, resolved_seq: event.seq, answer, answerer, answered_at, cancelled, selected };
}
