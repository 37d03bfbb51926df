/** @file How does the page start? */

import "./activity.js";
import "./agents.js";
import "./feed.js";
import "./header.js";
import "./past.js";
import "./session.js";
import "./waiting.js";
import { connect } from "./client.js";
import { listenToKeys } from "./keys.js";
import { Page } from "./page.js";
import { signInByFragment, who } from "./session.js";
import { Board } from "./store.js";
import { showInTab } from "./tab.js";
import { startTicking } from "./time.js";

/** @typedef {HTMLElement & {page: Page}} Part */

const PARTS = "hive-header, hive-session, hive-waiting, hive-agents, hive-activity, hive-feed, hive-past";

/**
 * @param {Page} page
 * @param {AbortSignal} signal
 */
function follow(page, signal) {
  const client = connect({
    url: page.base,
    after: undefined,
    kinds: undefined,
    onState: (state, reason) => page.setState(new Board(state), state, reason),
    onEvent: (event, line) => page.take(event, line),
    onStatus: (status) => page.setStatus(status),
    signal,
  });
  page.onreload = () => client.reload();
}

async function start() {
  const { signal } = new AbortController();
  const page = new Page(new URL("./", import.meta.url));
  const signing = signInByFragment(page, signal);
  showInTab(page, signal);
  startTicking(signal);
  for (const part of document.querySelectorAll(PARTS)) /** @type {Part} */ (part).page = page;
  listenToKeys(signal);
  // With a code the stream waits for the cookie; without one it need not wait for anything.
  await signing;
  follow(page, signal);
  await who(page, signal);
}

start();
