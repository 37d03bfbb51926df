/** @file Which events are asked for? The address says it, the server and the live feed obey it. */

import { asked, msOf } from "./address.js";
import { isName, names } from "./kinds/index.js";
import { contains, terms } from "./words.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./client.js").LogEvent} LogEvent */

const SEARCH_CHARS_MAX = 1000;
const VALUES_MAX = 50;
const KIND = /^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*$/u;

/** @param {string} text */
export function isKind(text) {
  return text.length <= 64 && KIND.test(text);
}

/** What is asked for at one moment; it never changes. */
export class Filters {
  /** @param {URLSearchParams} params */
  constructor(params) {
    this.kinds = [...new Set(params.getAll("kind").filter(isKind))].slice(0, VALUES_MAX);
    this.agents = [...new Set(params.getAll("agent").filter(isName))].slice(0, VALUES_MAX);
    this.q = (params.get("q") ?? "").trim().slice(0, SEARCH_CHARS_MAX);
    this.since_ms = msOf(params.get("since"));
    this.until_ms = msOf(params.get("until"));
    if (this.since_ms !== null && this.until_ms !== null && this.until_ms <= this.since_ms)
      this.until_ms = null;
    this.terms = terms(this.q);
  }

  static ofAddress() {
    return new Filters(asked());
  }

  /** Two that ask for the same have the same key. */
  get key() {
    return this.params().toString();
  }

  get isEmpty() {
    return this.key === "";
  }

  /** What the server is asked. */
  params() {
    const params = new URLSearchParams();
    for (const kind of this.kinds) params.append("kind", kind);
    for (const agent of this.agents) params.append("agent", agent);
    // Words are all that is searched for; a query without one would be refused.
    if (this.terms.length > 0) params.append("q", this.q);
    if (this.since_ms !== null) params.append("since", new Date(this.since_ms).toISOString());
    if (this.until_ms !== null) params.append("until", new Date(this.until_ms).toISOString());
    return params;
  }

  /**
   * Whether the event is asked for, by the rules of the server.
   * @param {LogEvent} event
   * @param {Page} page its board knows whom a closed question concerns besides who closed it
   */
  wants(event, page) {
    if (this.kinds.length > 0 && !this.kinds.includes(event.kind)) return false;
    if (this.since_ms !== null && event.recorded_at_ms < this.since_ms) return false;
    if (this.until_ms !== null && event.recorded_at_ms >= this.until_ms) return false;
    if (this.agents.length > 0 && !concerned(event, page).some((name) => this.agents.includes(name)))
      return false;
    return this.terms.length === 0 || contains(event, this.terms);
  }
}

/**
 * @param {LogEvent} event
 * @param {Page} page
 */
function concerned(event, page) {
  const found = names(event);
  if (event.kind !== "question_resolved") return found;
  const asked = page.board?.recentQuestions?.find((/** @type {any} */ row) => row.id === event.id);
  return typeof asked?.asker === "string" ? [...found, asked.asker] : found;
}
