/** @file When does the browser tell that something new waits? */

import { approvalTitle } from "./approval.js";
import { button } from "./card.js";
import { isOpen, keyOf, openRows } from "./open.js";
import { questionTitle } from "./question.js";
import { plain } from "./text.js";
import { Waiting } from "./waiting.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./open.js").Open} Open */

const NAME = "hivelog_notify";
/** What comes within this time is told together. */
const GATHER_MS = 1000;
/** More than this at once are told as a number. */
const SINGLE_MAX = 3;
/** Notices that are kept to be closed when theirs is decided. */
const KEPT_MAX = 50;

/** Tells of what is new while nobody looks, after one click of consent. */
export class Notifier {
  button = button("quiet notify");
  #page;
  /** The highest seq that needs not be told. */
  #told = -1;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Map<string, {notice: Notification, open: Open | null}>} */
  #notices = new Map();

  /**
   * @param {Page} page
   * @param {AbortSignal} signal
   */
  constructor(page, signal) {
    this.#page = page;
    this.button.addEventListener("click", () => this.#toggle());
    this.#label();
    page.listen("state", ({ state }) => this.#begin(state.seq), signal);
    page.listen(
      "event",
      ({ changed }) => (changed === "approvals" || changed === "questions") && this.#note(),
      signal,
    );
    page.listen("redacted", ({ seq }) => this.#redacted(seq), signal);
    signal.addEventListener("abort", () => clearTimeout(this.#timer));
  }

  get #isWanted() {
    try {
      return Notification.permission === "granted" && localStorage.getItem(NAME) === "on";
    } catch {
      return false;
    }
  }

  #label() {
    // Browsers have none on plain http from another host.
    this.button.hidden = !("Notification" in globalThis) || !isSecureContext;
    if (this.button.hidden) return;
    const is_denied = Notification.permission === "denied";
    this.button.disabled = is_denied;
    this.button.textContent = is_denied
      ? "Notifications blocked"
      : this.#isWanted
        ? "Notifying"
        : "Notify me";
    this.button.setAttribute("aria-pressed", String(this.#isWanted));
    this.button.title = is_denied
      ? "The browser was told not to let this page notify"
      : "Notifications when something new waits and this page is not looked at";
  }

  async #toggle() {
    const is_on = this.#isWanted;
    if (!is_on && Notification.permission === "default") await Notification.requestPermission();
    try {
      localStorage.setItem(NAME, is_on ? "off" : "on");
    } catch {
      // Without storage it is not remembered, and stays off.
    }
    this.#label();
  }

  /**
   * What waited when the page came is on the page; in another log seqs may be lower.
   * @param {number} seq
   */
  #begin(seq) {
    this.#told = this.#told < 0 ? seq : Math.min(this.#told, seq);
    this.#note();
  }

  /** @param {number} seq */
  #redacted(seq) {
    for (const [tag, { notice, open }] of this.#notices) {
      if (open?.row.seq !== seq) continue;
      notice.close();
      this.#notices.delete(tag);
    }
  }

  #note() {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#tell();
    }, GATHER_MS);
  }

  #tell() {
    const { board, status } = this.#page;
    if (!board) return;
    for (const [tag, { notice, open }] of this.#notices) {
      if (open && isOpen(board, open.what, open.row)) continue;
      if (!open && board.approvals.size + board.questions.size > 0) continue;
      notice.close();
      this.#notices.delete(tag);
    }
    const from = this.#told;
    this.#told = Math.max(from, board.seq);
    const is_due = status.leads && this.#isWanted && (document.hidden || !document.hasFocus());
    if (!is_due) return;
    const fresh = [...openRows(board)].filter(({ row }) => Number(row.seq) > from);
    if (fresh.length > SINGLE_MAX) this.#show(`${fresh.length} new things wait for you`, "", null);
    else for (const open of fresh) this.#showOne(open);
  }

  /** @param {Open} open */
  #showOne(open) {
    const { what, row } = open;
    const who = plain(what === "approval" ? row.agent : row.asker, 64);
    const title = what === "approval" ? `${who} wants approval` : `${who} asks`;
    this.#show(title, plain(what === "approval" ? approvalTitle(row) : questionTitle(row), 140), open);
  }

  /**
   * @param {string} title
   * @param {string} body
   * @param {Open | null} open
   */
  #show(title, body, open) {
    const key = open ? keyOf(open.what, open.row.id) : "many";
    const tag = `hivelog-${this.#page.board?.log_id}-${key}`;
    try {
      const notice = new Notification(title, { body, tag, icon: new URL("icon.svg", this.#page.base).href });
      notice.addEventListener("click", () => {
        focus();
        const waiting = document.querySelector("hive-waiting");
        if (waiting instanceof Waiting) waiting.select(key);
        notice.close();
      });
      this.#notices.set(tag, { notice, open });
    } catch {
      // Some systems allow notifications only from a service worker, which this page has not.
      this.button.hidden = true;
    }
    for (const old of this.#notices.keys()) {
      if (this.#notices.size <= KEPT_MAX) break;
      this.#notices.delete(old);
    }
  }
}
