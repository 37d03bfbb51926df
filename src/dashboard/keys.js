/** @file Which keys does the page know? */

import { ApprovalCard } from "./approval.js";
import { button, element } from "./card.js";
import { QuestionCard } from "./question.js";
import { Waiting } from "./waiting.js";

const FIELDS = "input, textarea, select, [contenteditable]";
/** How long `g` waits for the next key. */
const PREFIX_MS = 1500;

/** @type {[string, string][]} */
const LEGEND = [
  ["j, k", "the next card that waits, the one before"],
  ["a", "approve the selected request, at once; answer the selected question"],
  ["d", "deny the selected request: opens the note, Enter denies, Esc goes back"],
  ["o", "open or close the diff of the selected request"],
  ["Ctrl+Enter", "send the answer that you are typing"],
  ["/", "search the events"],
  ["g w, g a, g e", "go to what waits, to the agents, to the events"],
  ["Esc", "leave a field"],
  ["?", "this list"],
];

/** @type {Map<string, string>} */
const SECTIONS = new Map([
  ["w", "waiting"],
  ["a", "agents"],
  ["e", "events"],
]);

function waiting() {
  const found = document.querySelector("hive-waiting");
  return found instanceof Waiting ? found : null;
}

/** @param {string} id */
function goTo(id) {
  const section = document.getElementById(id);
  section?.focus({ preventScroll: true });
  section?.scrollIntoView({ block: "start" });
}

function legend() {
  const dialog = element("dialog", "legend");
  const title = element("h2", "", "Keys");
  title.id = "legend-title";
  dialog.setAttribute("aria-labelledby", title.id);
  const list = document.createElement("dl");
  for (const [keys, what] of LEGEND) {
    const dt = document.createElement("dt");
    for (const key of keys.split(", ")) dt.append(element("kbd", "", key), " ");
    list.append(dt, element("dd", "", what));
  }
  const close = button("quiet", "Close");
  close.addEventListener("click", () => dialog.close());
  dialog.append(title, list, close);
  return dialog;
}

/** @param {(card: ApprovalCard) => void} act */
const onApproval = (act) => () => {
  const card = waiting()?.selected;
  if (card instanceof ApprovalCard) act(card);
  return card;
};

/** @type {Record<string, () => unknown>} */
const ACTIONS = {
  j: () => waiting()?.move(1),
  k: () => waiting()?.move(-1),
  a: () => {
    const card = onApproval((one) => one.approveByKey())();
    if (card instanceof QuestionCard) card.focusAnswer();
  },
  d: onApproval((card) => card.denyByKey()),
  o: onApproval((card) => card.toggleDiff()),
  "/": () => document.getElementById("search")?.focus(),
};

/**
 * @param {AbortSignal} signal
 */
export function listenToKeys(signal) {
  const dialog = legend();
  document.body.append(dialog);
  let prefixed_at = Number.NEGATIVE_INFINITY;
  const open = () => {
    if (!dialog.open) dialog.showModal();
  };
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.repeat && event.key !== "j" && event.key !== "k") return;
    // The detail beside the rows is open too, and takes no keys away.
    if (
      document.querySelector("dialog:modal") ||
      (event.target instanceof Element && event.target.closest(FIELDS))
    )
      return;
    const is_prefixed = performance.now() - prefixed_at < PREFIX_MS;
    prefixed_at = Number.NEGATIVE_INFINITY;
    const section = is_prefixed ? SECTIONS.get(event.key) : undefined;
    if (section) goTo(section);
    else if (event.key === "g") prefixed_at = performance.now();
    else if (event.key === "?") open();
    else if (Object.hasOwn(ACTIONS, event.key) && !is_prefixed) ACTIONS[event.key]?.();
    else return;
    event.preventDefault();
  };
  document.addEventListener("keydown", onKey, { signal });
  const keys = button("quiet keys-button", "Keys", element("kbd", "", "?"));
  keys.addEventListener("click", open);
  document.querySelector("hive-header .who")?.before(keys);
  // Links to sections move the focus without leaving a fragment in the address.
  const onClick = (/** @type {MouseEvent} */ event) => {
    const link = event.target instanceof Element ? event.target.closest("a.skip, nav.sections a") : null;
    const id = link?.getAttribute("href")?.slice(1);
    if (!id) return;
    event.preventDefault();
    goTo(id);
  };
  document.addEventListener("click", onClick, { signal });
}
