/** @file When does a part of the page draw what it noted? */

/**
 * Draws once for all that was noted: in the next frame, or soon where there are no frames because nobody looks.
 * @param {() => void} draw
 * @param {AbortSignal} signal
 * @param {number} [pause_ms] at least this long between two drawings
 * @returns {() => void} notes that there is something to draw
 */
export function drawer(draw, signal, pause_ms = 0) {
  let is_waiting = false;
  let last = 0;
  let frame = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const now = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    is_waiting = false;
    last = performance.now();
    if (!signal.aborted) draw();
  };
  signal.addEventListener("abort", () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
  });
  return () => {
    if (is_waiting || signal.aborted) return;
    is_waiting = true;
    const pause = pause_ms - (performance.now() - last);
    if (pause > 0) {
      timer = setTimeout(now, pause);
      return;
    }
    frame = requestAnimationFrame(now);
    timer = setTimeout(now, 250);
  };
}
