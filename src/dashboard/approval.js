/** @file How is a request for approval shown and decided? */

import { send } from "./api.js";
import { button, Card, element, headed, ms } from "./card.js";
import "./patch.js";
import { name, untrusted } from "./text.js";

/** @typedef {import("./card.js").Row} Row */
/** @typedef {import("./card.js").Outcome} Outcome */
/** @typedef {import("./patch.js").Patch} Patch */

/** How long the button shows that its key was pressed. */
const PRESSED_MS = 180;

/** @type {Map<unknown, [Outcome["tone"], string]>} */
const WORDS = new Map([
  ["approved", ["ok", "Approved"]],
  ["denied", ["danger", "Denied"]],
  ["failed", ["danger", "Failed to go through"]],
]);

/**
 * What became of a request.
 * @param {Row} row
 * @returns {Outcome}
 */
export function approvalOutcome(row) {
  const [tone, word] = WORDS.get(row.status) ?? ["muted", String(row.status)];
  return { tone, word, by: row.by, text: row.note, at_ms: ms(row.resolved_at) };
}

/**
 * A request in a few words.
 * @param {Row} row
 */
export function approvalTitle(row) {
  return headed(row.description).first || `${row.approval_kind} without a description`;
}

export class ApprovalCard extends Card {
  #note = document.createElement("input");
  #approve = button("approve", "Approve");
  #deny = button("deny", "Deny");
  #hint = element("span", "note-hint");

  /** @override @returns {[string, unknown, Node[]]} */
  origin() {
    const { sha_short } = this.row;
    const sha =
      typeof sha_short === "string" ? [element("code", "sha", untrusted(sha_short, { max: 40 }))] : [];
    return ["approval", this.row.agent, [" ", name(this.row.approval_kind), " ", ...sha].map(node)];
  }

  /** @override */
  heading() {
    return untrusted(approvalTitle(this.row), { max: 200 });
  }

  /** @override */
  content() {
    const { diff, description } = this.row;
    const { rest } = headed(description);
    const parts = [];
    if (rest)
      parts.push(
        element("div", "prose", untrusted(rest, { max: 800, lines: 10, multiline: true, links: true })),
      );
    if (typeof diff === "string" && diff !== "") {
      const patch = /** @type {Patch} */ (document.createElement("hive-diff"));
      patch.text = diff;
      parts.push(patch);
    }
    return parts;
  }

  /** @override @param {Row} row */
  outcome(row) {
    return approvalOutcome(row);
  }

  /** @override */
  actions() {
    const id = String(this.row.id);
    this.#note.placeholder = "note (optional)";
    this.#note.maxLength = 10_000;
    this.#note.autocomplete = "off";
    this.#note.setAttribute("aria-label", `Note to the decision of approval ${id}`);
    this.#hint.setAttribute("role", "status");
    this.#approve.setAttribute("aria-label", `Approve ${id}`);
    this.#deny.setAttribute("aria-label", `Deny ${id}`);
    this.#approve.dataset.key = "a";
    this.#deny.dataset.key = "d";
    this.#approve.addEventListener("click", () => this.#resolve("approved"));
    this.#deny.addEventListener("click", () => this.#resolve("denied"));
    this.#note.addEventListener("keydown", (event) => this.#noteKey(event));
    this.#note.addEventListener("blur", () => this.#arm(false));
    return element(
      "div",
      "actions",
      this.#approve,
      element("div", "note", this.#note, this.#hint),
      this.#deny,
    );
  }

  /** Approves at once, and shows on the button that it was pressed. */
  approveByKey() {
    if (!this.#approve.isConnected) return;
    this.#approve.classList.add("pressed");
    setTimeout(() => this.#approve.classList.remove("pressed"), PRESSED_MS);
    this.#resolve("approved");
  }

  /** Asks for the reason; Enter denies. */
  denyByKey() {
    if (!this.#note.isConnected) return;
    this.#note.focus();
    this.#arm(true);
  }

  toggleDiff() {
    /** @type {Patch | null} */ (this.querySelector("hive-diff"))?.toggle();
  }

  /** @param {boolean} is_armed whether Enter in the note denies */
  #arm(is_armed) {
    this.classList.toggle("denying", is_armed);
    this.#hint.textContent = is_armed ? "Enter denies, Esc goes back" : "";
  }

  /** @param {KeyboardEvent} event */
  #noteKey(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.preventDefault();
      this.focus({ preventScroll: true });
    }
    if (event.key === "Enter" && this.classList.contains("denying")) {
      event.preventDefault();
      this.#resolve("denied");
    }
  }

  /** @param {"approved" | "denied"} status */
  #resolve(status) {
    const { page, row } = this;
    if (!page) return;
    const note = this.#note.value.trim() || null;
    const by = page.session?.name ?? "operator";
    const body = { status, note, ...(page.session?.name ? {} : { by: "operator" }) };
    const settled = { status, note, by, resolved_at: Date.now() / 1000 };
    this.decide(`api/approvals/${row.id}/resolve`, body, settled, (path, sent, key) =>
      send(page, "POST", path, sent, { key }),
    );
  }
}

/** @param {Node | string} value */
function node(value) {
  return typeof value === "string" ? document.createTextNode(value) : value;
}

customElements.define("hive-approval", ApprovalCard);
