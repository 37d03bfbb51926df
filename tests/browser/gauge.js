/** @file How long does a page take? It is measured where it happens, in the page, by one clock with these tests. */

/** @typedef {import("@playwright/test").Page} Tab */
/**
 * @typedef {object} Gauge times in ms since 1970
 * @property {Record<number, number>} arrived when the frame of this seq was read from the network
 * @property {Record<number, number>} painted when its row was on the screen
 * @property {Record<number, number>} counted when it was on the screen that so many are new
 * @property {number[]} inputs from a key or a click, as the browser took it, to the next paint
 * @property {number[]} deltas from frame to frame
 * @property {number[]} long frames that took longer than 50 ms, as the browser says
 * @property {number | null} live_ms from the start of the navigation to the paint of live data
 * @property {boolean} is_running whether frames are measured
 */

/** Runs in the page, before its own scripts. */
function install() {
  const now = () => performance.timeOrigin + performance.now();
  /** @type {Gauge} */
  const gauge = {
    arrived: {},
    painted: {},
    counted: {},
    inputs: [],
    deltas: [],
    long: [],
    live_ms: null,
    is_running: false,
  };
  Object.assign(globalThis, { gauge });

  /** Behind the frame's work and its paint. @param {() => void} then */
  const behind = (then) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = then;
    port2.postMessage(null);
  };
  /** @param {() => void} then */
  const painted = (then) => requestAnimationFrame(() => behind(then));

  const { decode } = TextDecoder.prototype;
  TextDecoder.prototype.decode = function (...args) {
    const text = decode.apply(this, args);
    const at = now();
    for (const [, seq] of text.matchAll(/^data: \{"seq":(\d+),/gm)) gauge.arrived[Number(seq)] ??= at;
    return text;
  };

  /** @param {MutationRecord[]} records */
  const changed = (records) => {
    for (const { addedNodes, target } of records) {
      for (const node of addedNodes) {
        const seq = node instanceof HTMLElement && node.matches("li.row") ? Number(node.dataset.seq) : 0;
        if (seq > 0 && !(seq in gauge.painted)) painted(() => (gauge.painted[seq] ??= now()));
      }
      if (target instanceof HTMLElement && target.matches(".news")) {
        const count = Number(/[\d,]+/.exec(target.textContent ?? "")?.[0].replaceAll(",", ""));
        if (count > 0) painted(() => (gauge.counted[count] ??= now()));
      }
    }
    if (gauge.live_ms === null && document.querySelector(".state[data-state=live]")) {
      const row = document.querySelector("hive-feed li.row");
      if (row && document.querySelector("hive-waiting .summary")) {
        gauge.live_ms = -1;
        painted(() => (gauge.live_ms = performance.now()));
      }
    }
  };
  new MutationObserver(changed).observe(document, {
    childList: true,
    subtree: true,
    attributes: true,
    attributeFilter: ["data-state"],
  });

  for (const type of ["keydown", "pointerdown"]) {
    addEventListener(
      type,
      ({ timeStamp }) => painted(() => gauge.inputs.push(performance.now() - timeStamp)),
      { capture: true },
    );
  }

  let last = 0;
  /** @param {number} at when the screen began this frame */
  const frame = (at) => {
    requestAnimationFrame(frame);
    if (gauge.is_running && last > 0) gauge.deltas.push(at - last);
    last = gauge.is_running ? at : 0;
  };
  requestAnimationFrame(frame);
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) if (gauge.is_running) gauge.long.push(duration);
  }).observe({ type: "long-animation-frame" });
}

/** Measures in each page that this tab opens from now on. @param {Tab} tab */
export const measure = (tab) => tab.addInitScript(install);

/** @param {Tab} tab @returns {Promise<Gauge>} */
export const read = (tab) => tab.evaluate(() => /** @type {any} */ (globalThis).gauge);

/** @param {Tab} tab @param {boolean} is_running */
export const run = (tab, is_running) =>
  tab.evaluate((is_running) => {
    /** @type {any} */ (globalThis).gauge.is_running = is_running;
  }, is_running);

/**
 * What each frame takes of the main thread while something is done: drawing, layout and paint, in ms of its own
 * time, in which nothing counts that others do on the machine.
 * @param {Tab} tab @param {() => Promise<void>} act
 */
export async function framesOf(tab, act) {
  const browser = /** @type {import("@playwright/test").Browser} */ (tab.context().browser());
  const categories = ["devtools.timeline", "disabled-by-default-devtools.timeline"];
  await browser.startTracing(tab, { categories });
  await act();
  /** @type {{traceEvents: {name: string, pid: number, tid: number, ts: number, dur: number, tdur?: number}[]}} */
  const { traceEvents } = JSON.parse(String(await browser.stopTracing()));
  const begins = traceEvents
    .filter(({ name }) => name === "FireAnimationFrame")
    .sort((one, other) => one.ts - other.ts);
  const [first] = begins;
  const tasks = traceEvents
    .filter(({ name, pid, tid }) => name === "RunTask" && pid === first?.pid && tid === first.tid)
    .sort((one, other) => one.ts - other.ts);
  let at = 0;
  /** @type {number[]} */
  const found = [];
  for (const { ts, dur, tdur } of tasks) {
    while (Number(begins[at]?.ts) < ts) at += 1;
    if (tdur !== undefined && Number(begins[at]?.ts) <= ts + dur) found.push(tdur / 1000);
  }
  return found;
}

/** @param {number[]} values @param {number} part */
export function quantile(values, part) {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** Says what was measured, and returns the 95th percentile. @param {string} what @param {number[]} values */
export function report(what, values) {
  const p95 = quantile(values, 0.95);
  const said = [quantile(values, 0.5), p95, Math.max(...values)].map((ms) => ms.toFixed(1));
  console.log(`${what}: median ${said[0]} ms, p95 ${said[1]} ms, most ${said[2]} ms (${values.length})`);
  return p95;
}

/** What the page holds when all is thrown away that can be, in bytes. @param {Tab} tab */
export async function heap(tab) {
  const devtools = await tab.context().newCDPSession(tab);
  for (let n = 0; n < 3; n++) await devtools.send("HeapProfiler.collectGarbage");
  // The text of events stands outside of the heap of objects.
  const { usedSize, backingStorageSize } = await devtools.send("Runtime.getHeapUsage");
  await devtools.detach();
  return usedSize + backingStorageSize;
}
