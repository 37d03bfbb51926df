/** @file As much of a browser as the parts of the page need to say something in. */

/** An element: what is in it, and what is said of it. */
class Element extends EventTarget {
  /** @type {(Element | string)[]} */
  nodes = [];
  /** @type {Element | null} */
  parent = null;
  /** @type {Record<string, string>} */
  dataset = {};
  classList = { add() {}, remove() {}, toggle() {} };
  className = "";
  hidden = false;
  title = "";
  value = "";

  constructor(tag = "") {
    super();
    this.tag = tag;
  }

  /** @returns {string} */
  get textContent() {
    return this.nodes.map((node) => (typeof node === "string" ? node : node.textContent)).join("");
  }

  set textContent(text) {
    this.replaceChildren(text);
  }

  get #elements() {
    return this.nodes.filter((node) => node instanceof Element);
  }

  get firstElementChild() {
    return this.#elements[0] ?? null;
  }

  get nextElementSibling() {
    const around = this.parent ? this.parent.#elements : [];
    return around[around.indexOf(this) + 1] ?? null;
  }

  /** @param {...(Element | string)} nodes */
  append(...nodes) {
    for (const node of nodes) this.insertBefore(node, null);
  }

  /** @param {Element | string} node */
  appendChild(node) {
    this.append(node);
  }

  /** @param {Element | string} node @param {Element | null} before */
  insertBefore(node, before) {
    if (node instanceof Element) {
      node.remove();
      node.parent = this;
    }
    this.nodes.splice(before ? this.nodes.indexOf(before) : this.nodes.length, 0, node);
  }

  /** @param {...(Element | string)} nodes */
  replaceChildren(...nodes) {
    for (const child of this.#elements) child.parent = null;
    this.nodes = [];
    this.append(...nodes);
  }

  remove() {
    const { parent } = this;
    if (parent) parent.nodes = parent.nodes.filter((node) => node !== this);
    this.parent = null;
  }

  matches() {
    return false;
  }

  setAttribute() {}

  removeAttribute() {}

  /** @param {string} tag @returns {Element[]} */
  all(tag) {
    return this.#elements.flatMap((child) => [...(child.tag === tag ? [child] : []), ...child.all(tag)]);
  }
}

/** The classes of the parts, by their names. @type {Map<string, new () => any>} */
export const parts = new Map();
export const body = new Element("body");
export const root = new Element("html");
/** What the page keeps in the browser. @type {Map<string, string>} */
export const kept = new Map();
export const location = {
  hash: "",
  pathname: "/",
  search: "",
  reloads: 0,
  reload() {
    this.reloads += 1;
  },
};
export const window = new EventTarget();

Object.assign(globalThis, {
  HTMLElement: Element,
  customElements: { define: parts.set.bind(parts) },
  document: {
    documentElement: root,
    createElement: (/** @type {string} */ tag) => new Element(tag),
    createTextNode: (/** @type {string} */ text) => text,
    // It is of now whenever it is gone through.
    getElementsByTagName: (/** @type {string} */ tag) => ({
      [Symbol.iterator]: () => body.all(tag).values(),
    }),
    addEventListener() {},
  },
  localStorage: {
    getItem: (/** @type {string} */ name) => kept.get(name) ?? null,
    setItem: kept.set.bind(kept),
    removeItem: kept.delete.bind(kept),
  },
  location,
  history: {
    state: null,
    replaceState() {
      location.hash = "";
    },
  },
  matchMedia: () => ({}),
  requestAnimationFrame: setTimeout,
  cancelAnimationFrame: clearTimeout,
  addEventListener: window.addEventListener.bind(window),
});
