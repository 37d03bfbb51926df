/** @file Who is signed in, and how does one sign in? */

import { get, keepSecret, Problem, secret, secretName, send } from "./api.js";
import { element } from "./card.js";

/** @typedef {import("./page.js").Page} Page */

const WHO_PAUSE_MS = 1000;
const FRAGMENT = /^#login=(.+)$/;
const OUT = "You are signed out";
const MUTE = "This credential may not read the log";
const LOST = "This browser can only read";
const LOOKS = "You can look at everything; deciding and answering needs the role operator.";
const LOST_WHY = "It lacks the second secret of its session: sign in again to decide or to sign out. ";

/** Takes the code of a login link out of the address before anybody sees it there. */
function takeCode() {
  const code = FRAGMENT.exec(location.hash)?.[1] ?? null;
  if (code === null) return null;
  history.replaceState(history.state, "", location.pathname + location.search);
  try {
    return decodeURIComponent(code);
  } catch {
    return code;
  }
}

/**
 * @param {Page} page
 * @param {{code: string} | {token: string}} shown
 */
async function signIn(page, shown) {
  const { name, roles, session } = await send(page, "POST", "session", shown);
  keepSecret(page, session);
  page.session = { name, roles };
}

/**
 * Signs in with the code of a login link, now and whenever one is put into the address.
 * @param {Page} page
 * @param {AbortSignal} signal
 */
export async function signInByFragment(page, signal) {
  const take = async () => {
    const code = takeCode();
    if (code === null) return false;
    try {
      await signIn(page, { code });
      return true;
    } catch (error) {
      const is_used = error instanceof Problem && error.status === 401;
      const why = is_used ? "This link was used already, or its ten minutes are over." : String(error);
      page.dispatchEvent(new CustomEvent("signin-failed", { detail: why }));
      return false;
    }
  };
  addEventListener("hashchange", async () => (await take()) && page.reload(), { signal });
  await take();
}

/**
 * Asks who is signed in, until that is known.
 * @param {Page} page
 * @param {AbortSignal} signal
 */
async function ask(page, signal) {
  while (!signal.aborted) {
    const { session } = page;
    try {
      const { name, roles } = await get(page, "session", undefined, { signal });
      // Somebody signed in meanwhile: who it was before is of no use.
      if (page.session !== session) continue;
      page.session = { name, roles };
      return;
    } catch (error) {
      // Nobody, which the call has noted; or the server is away.
      if (error instanceof Problem && error.status === 401) return;
      await new Promise((resolve) => setTimeout(resolve, WHO_PAUSE_MS));
    }
  }
}

/**
 * Keeps right who is signed in: the cookie is that of all tabs, and any of them may sign in and out.
 * @param {Page} page
 * @param {AbortSignal} signal
 */
export async function who(page, signal) {
  let was_out = false;
  const onStatus = (/** @type {import("./page.js").Status} */ { state }) => {
    const is_out = state === "signed_out";
    // A stream that is shut does not say whether nobody is signed in, or somebody who may not read.
    if (is_out !== was_out) void ask(page, signal);
    was_out = is_out;
  };
  page.listen("status", onStatus, signal);
  const onStorage = (/** @type {StorageEvent} */ { key }) => {
    if (key !== null && key !== secretName(page)) return;
    // As in the tab that signed out.
    if (secret(page) === null) return location.reload();
    void ask(page, signal);
    // Where tabs do not hear of each other.
    if (was_out) page.reload();
  };
  addEventListener("storage", onStorage, { signal });
  if (!page.asked) await ask(page, signal);
}

/**
 * Ends the session, here and on the server.
 * @param {Page} page
 */
export async function signOut(page) {
  await send(page, "DELETE", "session", undefined).catch((error) => {
    // Whose session is over already is to see nothing of the log either.
    if (error.status !== 401) throw error;
  });
  keepSecret(page, null);
  // Nothing of the log stays, neither in sight nor in memory.
  location.reload();
}

/** Says that nobody is signed in and takes a token, or says what the one who is may not do. */
class SessionPanel extends HTMLElement {
  #ended = new AbortController();
  /** @type {string | null} */
  #failure = null;
  /** Where the form was not drawn before, so that what was typed stays. */
  #drawn = "";

  /** @param {Page} page */
  set page(page) {
    const { signal } = this.#ended;
    const draw = () => this.#draw(page);
    page.listen("session", draw, signal);
    page.listen("status", draw, signal);
    page.listen(
      "signin-failed",
      (why) => {
        this.#failure = why;
        this.#drawn = "";
        draw();
      },
      signal,
    );
    draw();
  }

  disconnectedCallback() {
    this.#ended.abort();
  }

  /** @param {Page} page */
  #draw(page) {
    const what = this.#what(page);
    if (what === this.#drawn) return;
    this.#drawn = what;
    this.replaceChildren();
    if (what === LOOKS) this.append(element("p", "session-note", what));
    else if (what !== "") this.append(this.#signIn(page, what));
  }

  /** @param {Page} page */
  #what(page) {
    const { session } = page;
    const is_shut = page.status.state === "signed_out";
    if (session === null) return page.asked || is_shut ? OUT : "";
    // The stream is shut to that one too, who is signed in all the same.
    if (!page.can("read", "operator", "admin")) return MUTE;
    if (is_shut) return OUT;
    // Not even signing out can be done without the second secret.
    if (session.name !== null && [null, page.refused].includes(secret(page))) return LOST;
    return page.can("operator") ? "" : LOOKS;
  }

  /**
   * @param {Page} page
   * @param {string} title
   */
  #signIn(page, title) {
    const command = element("code", "", "hivelog login");
    const rest = " prints on the server\u2019s machine, or paste a token.";
    const why = title === LOST ? LOST_WHY : "";
    const how = element("p", "", why, "Open the link that ", command, rest);
    return element("section", "signin", element("h2", "", title), how, this.#form(page));
  }

  /** @param {Page} page */
  #form(page) {
    const field = element("input", "");
    const button = element("button", "primary", "Sign in");
    const failure = element("p", "problem", this.#failure ?? "");
    const form = element("form", "", element("label", "", "Token", field), button, failure);
    failure.setAttribute("role", "alert");
    field.type = "password";
    field.autocomplete = "off";
    field.spellcheck = false;
    field.required = true;
    field.maxLength = 256;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        await signIn(page, { token: field.value.trim() });
        this.#failure = null;
        page.reload();
      } catch (error) {
        const is_wrong = error instanceof Problem && error.status === 401;
        failure.textContent = is_wrong ? "This token does not hold." : String(error);
      } finally {
        field.value = "";
        button.disabled = false;
      }
    });
    return form;
  }
}

customElements.define("hive-session", SessionPanel);
