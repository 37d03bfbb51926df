/** @file How is a question shown, answered and cancelled? */

import { send } from "./api.js";
import { button, Card, element, headed, ms } from "./card.js";
import { untrusted } from "./text.js";
import { until } from "./time.js";

/** @typedef {import("./card.js").Row} Row */
/** @typedef {import("./card.js").Outcome} Outcome */

const OPTIONS_STEP = 20;

/** @type {Map<unknown, [Outcome["tone"], string]>} */
const WORDS = new Map([
  ["answered", ["ok", "Answered"]],
  ["cancelled", ["muted", "Cancelled"]],
  ["expired", ["danger", "Expired unanswered"]],
]);

/**
 * What became of a question.
 * @param {Row} row
 * @returns {Outcome}
 */
export function questionOutcome(row) {
  const [tone, word] = WORDS.get(row.outcome) ?? ["muted", String(row.outcome)];
  const text = row.outcome === "answered" ? row.answer : null;
  return {
    tone,
    word,
    by: row.outcome === "expired" ? null : row.answerer,
    text,
    at_ms: ms(row.answered_at),
  };
}

/**
 * A question in a few words.
 * @param {Row} row
 */
export function questionTitle(row) {
  return headed(row.question).first || "A question without words";
}

/** @param {Row} row */
function optionsOf(row) {
  return Array.isArray(row.options) ? row.options.filter((option) => typeof option === "string") : [];
}

export class QuestionCard extends Card {
  #form = document.createElement("form");
  #words = document.createElement("textarea");
  #cancelling = element("div", "cancelling");

  /** @override @returns {[string, unknown, Node[]]} */
  origin() {
    return ["question", this.row.asker, []];
  }

  /** @override */
  heading() {
    return untrusted(questionTitle(this.row), { max: 400 });
  }

  /** @override */
  content() {
    const { rest } = headed(this.row.question);
    const parts = [];
    if (rest)
      parts.push(
        element("div", "prose", untrusted(rest, { max: 800, lines: 10, multiline: true, links: true })),
      );
    const deadline = ms(this.row.deadline_at);
    if (deadline !== null) {
      const line = element("p", "deadline", "Expires ", until(deadline));
      line.append("; until somebody closes it, an answer wins.");
      parts.push(line);
    }
    return parts;
  }

  /** @override @param {Row} row */
  outcome(row) {
    return questionOutcome(row);
  }

  /** @override */
  actions() {
    const options = optionsOf(this.row);
    const fieldset = element("fieldset", "options");
    const legend = this.row.multi === true ? "Choose any" : options.length > 0 ? "Choose one" : "Answer";
    fieldset.append(element("legend", "", legend));
    this.#addOptions(fieldset, options, 0);
    this.#words.rows = 1;
    this.#words.maxLength = 100_000;
    this.#words.placeholder = options.length > 0 ? "in words, or added to what is chosen" : "in words";
    this.#words.setAttribute("aria-label", `Answer to question ${this.row.id} in words`);
    const answer = element("button", "primary", "Answer");
    answer.type = "submit";
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#answer();
    });
    this.#form.addEventListener("keydown", (event) => this.#key(event));
    this.#drawCancel(false);
    const row = element("div", "actions", answer, element("span", "spring"), this.#cancelling);
    this.#form.replaceChildren(fieldset, this.#words, row);
    return this.#form;
  }

  /** Goes to where the answer is given. */
  focusAnswer() {
    /** @type {HTMLElement | null} */ (this.#form.querySelector("input, textarea"))?.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") this.focus({ preventScroll: true });
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#answer();
    }
  }

  /**
   * @param {HTMLElement} fieldset
   * @param {string[]} options
   * @param {number} from
   */
  #addOptions(fieldset, options, from) {
    for (const [index, option] of options.slice(from, from + OPTIONS_STEP).entries()) {
      const input = document.createElement("input");
      input.type = this.row.multi === true ? "checkbox" : "radio";
      input.name = `option-${this.row.id}`;
      input.value = String(from + index);
      const text = untrusted(option, { max: 300, multiline: true, lines: 4 });
      fieldset.append(element("label", "option", input, text));
    }
    const left = options.length - from - OPTIONS_STEP;
    if (left <= 0) return;
    const more = button("more", `\u2026 ${left.toLocaleString()} more options`);
    more.addEventListener("click", () => {
      more.remove();
      this.#addOptions(fieldset, options, from + OPTIONS_STEP);
    });
    fieldset.append(more);
  }

  #answer() {
    const options = optionsOf(this.row);
    const checked = this.#form.querySelectorAll("input:checked");
    const selected = [...checked].map(
      (input) => options[Number(/** @type {HTMLInputElement} */ (input).value)] ?? "",
    );
    const words = this.#words.value.trim();
    if (selected.length === 0 && words === "") {
      this.complain("Choose an option or write an answer.");
      return;
    }
    const answer = [...selected, ...(words ? [words] : [])].join("\n");
    const { page } = this;
    const answerer = page?.session?.name ? {} : { answerer: "operator" };
    const body = words === "" ? { selected, ...answerer } : { answer, ...answerer };
    this.#close("answer", body, { outcome: "answered", answer });
  }

  /**
   * @param {"answer" | "cancel"} verb
   * @param {Row} body
   * @param {Row} settled
   */
  #close(verb, body, settled) {
    const { page, row } = this;
    if (!page) return;
    const whole = { ...settled, answerer: "operator", answered_at: Date.now() / 1000 };
    this.decide(`api/questions/${row.id}/${verb}`, body, whole, (path, sent, key) =>
      send(page, "POST", path, sent, { key }),
    );
  }

  /** @param {boolean} is_asking whether it is asked if that is meant */
  #drawCancel(is_asking) {
    const had_focus = this.#cancelling.contains(document.activeElement);
    if (!is_asking) {
      const cancel = button("quiet", "Cancel question");
      cancel.addEventListener("click", () => this.#drawCancel(true));
      this.#cancelling.replaceChildren(cancel);
      if (had_focus) cancel.focus({ preventScroll: true });
      return;
    }
    const keep = button("quiet", "Keep it");
    const yes = button("deny", "Cancel it unanswered");
    keep.addEventListener("click", () => this.#drawCancel(false));
    yes.addEventListener("click", () => {
      const by = this.page?.session?.name ? {} : { by: "operator" };
      this.#close("cancel", by, { outcome: "cancelled" });
    });
    this.#cancelling.replaceChildren(yes, keep);
    keep.focus({ preventScroll: true });
  }
}

customElements.define("hive-question", QuestionCard);
