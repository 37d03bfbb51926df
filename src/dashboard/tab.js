/** @file What does the browser's tab say: how much waits, and whether that is so now? */

import { drawer } from "./draw.js";
import { openCount } from "./open.js";

/** @typedef {import("./page.js").Page} Page */

/** There are icons with the numbers up to this one. */
const ICON_MAX = 99;

/**
 * Keeps title, icon and the counts beside links right, also while nobody looks.
 * @param {Page} page
 * @param {AbortSignal} signal
 */
export function showInTab(page, signal) {
  const icon = /** @type {HTMLLinkElement | null} */ (document.querySelector("link[rel=icon]"));
  let shown = "";
  const draw = () => {
    const count = openCount(page.board);
    const is_live = page.status.state === "live";
    const counted = count > 0 ? `(${count}) hivelog` : "hivelog";
    const title = is_live || !page.board ? counted : `\u26a0 not live \u00b7 ${counted}`;
    if (document.title !== title) document.title = title;
    if (shown === String(count)) return;
    shown = String(count);
    const href = count > 0 ? `icon-${Math.min(count, ICON_MAX)}.svg` : "icon.svg";
    if (icon && icon.getAttribute("href") !== href) icon.setAttribute("href", href);
    for (const element of document.querySelectorAll("[data-count=waiting]")) {
      element.textContent = count > 0 ? String(count) : "";
    }
  };
  const note = drawer(draw, signal, 100);
  page.listen("state", note, signal);
  page.listen("status", note, signal);
  page.listen("event", ({ changed }) => changed && note(), signal);
}
