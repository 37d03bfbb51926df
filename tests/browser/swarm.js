/** @file What does a busy log hold? Events as a swarm makes them, as many as are wanted. */

/** @typedef {import("./server.js").Server} Server */

const BATCH = 1_000;
const AT_ONCE = 3;
const AGENTS = ["ada", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
const WORDS =
  "the index of this queue was read twice before its cache had grown cold and nobody saw why".split(" ");

/** The n-th event; requests are decided by the event that follows. @param {number} n */
export function event(n) {
  const agent = AGENTS[n % 8];
  const to = AGENTS[(n * 3 + 1) % 8];
  const body = Array.from({ length: 8 + (n % 13) }, (_, i) => WORDS[(n * 7 + i * 5) % WORDS.length]).join(
    " ",
  );
  const id = Math.floor(n / 100) + 1;
  const asked = { id, agent, approval_kind: "apply_commit", sha_short: null, description: body };
  if (n % 100 === 98) return { kind: "approval_added", ...asked, diff: null };
  if (n % 100 === 99) {
    const end = {
      status: n % 3 ? "approved" : "denied",
      resolved_at: 1_763_829_000,
      note: null,
      by: "operator",
    };
    return { kind: "approval_resolved", ...asked, agent: AGENTS[(n - 1) % 8], ...end };
  }
  if (n % 5 === 4) return { kind: "build.finished", agent, step: n, seconds: (n % 97) / 10, words: body };
  const kind = n % 5 < 2 ? "sent" : "delivered";
  return { kind, from: agent, to, body, at: 1_763_829_000, message_id: null };
}

/** @param {number} from @param {number} count */
export const events = (from, count) => Array.from({ length: count }, (_, n) => event(from + n));

/** Appends the events `from` on, in batches of lines. @param {Server} server @param {number} from @param {number} count */
export async function fill(server, from, count) {
  /** @type {Promise<unknown>[]} */
  const under_way = [];
  let n = from;
  while (n < from + count) {
    // Batches overtake each other, so none may part a request from its decision: they end at full hundreds.
    const size = Math.min(BATCH - (n % BATCH), from + count - n);
    under_way.push(
      append(
        server,
        events(n, size)
          .map((one) => JSON.stringify(one))
          .join("\n"),
      ),
    );
    n += size;
    if (under_way.length >= AT_ONCE) await under_way.shift();
  }
  await Promise.all(under_way);
}

/** @param {Server} server @param {string} body */
async function append(server, body) {
  const headers = { "content-type": "application/x-ndjson" };
  const answer = await fetch(`${server.base}api/events`, { method: "POST", headers, body });
  if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
}
