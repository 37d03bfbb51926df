/** @file How a test gets a real server: on a file of its own, at a port that it keeps when it is killed and started again. */

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const BUILT = fileURLToPath(new URL("../../target/debug/hivelog", import.meta.url));
export const BINARY = process.env.HIVELOG_BIN || BUILT;

/** What the one who runs the tests has set for a log of their own is not for these. */
const OURS = Object.entries(process.env).filter(([name]) => !name.startsWith("HIVELOG_"));
const ENV = { ...Object.fromEntries(OURS), HIVELOG_LOG: "warn" };

/** @returns {Promise<number>} */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (typeof address !== "object" || !address) throw new Error("no port");
  return address.port;
}

/** A server of one log. */
export class Server {
  #folder;
  #auth;
  #copies = 0;
  /** @type {import("node:child_process").ChildProcess|null} */
  #child = null;

  /** @param {{auth: boolean, port: number}} options */
  constructor({ auth, port }) {
    this.#folder = mkdtempSync(join(tmpdir(), "hivelog-browser-"));
    this.#auth = auth;
    this.port = port;
    this.base = `http://127.0.0.1:${port}/`;
    this.db = join(this.#folder, "log.db");
  }

  /** @param {{auth?: boolean}} [options] */
  static async begin({ auth = false } = {}) {
    const server = new Server({ auth, port: await freePort() });
    await server.start();
    return server;
  }

  async start() {
    const listen = `127.0.0.1:${this.port}`;
    const args = ["serve", "--db", this.db, "--listen", listen, ...(this.#auth ? [] : ["--no-auth"])];
    const child = spawn(BINARY, args, { stdio: ["ignore", "pipe", "pipe"], env: ENV });
    this.#child = child;
    let errors = "";
    child.stderr.on("data", (text) => {
      errors = (errors + text).slice(-4_000);
    });
    const ready = once(child.stdout, "data");
    const ended = once(child, "exit").then(() => {
      throw new Error(`the server did not start: ${errors}`);
    });
    await Promise.race([ready, ended]);
    ended.catch(() => {});
  }

  /** @param {NodeJS.Signals} [signal] */
  async stop(signal = "SIGKILL") {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
  }

  async end() {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Runs another verb of the command line. @param {...string} args */
  run(...args) {
    const { status, stdout, stderr } = spawnSync(BINARY, args, {
      env: ENV,
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    if (status !== 0) throw new Error(`${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  /** A link that signs a browser in once. */
  login() {
    return this.run("login", "--db", this.db).trim();
  }

  /** @param {string} name @param {...string} roles */
  token(name, ...roles) {
    const each = roles.flatMap((role) => ["--role", role]);
    return this.run("token", "add", "--db", this.db, "--name", name, ...each).trim();
  }

  /** Puts an import of an export in the place of the log, which is another log then, as after a restore. */
  replaceByExport() {
    const file = join(this.#folder, "export.ndjson");
    writeFileSync(file, this.run("export", "--db", this.db));
    this.db = join(this.#folder, `copy-${++this.#copies}.db`);
    this.run("import", "--db", this.db, file);
  }

  /** @param {string} path @param {{method?: string, body?: unknown, token?: string, accept?: string}} [options] */
  async call(path, { method, body, token, accept } = {}) {
    /** @type {Record<string, string>} */
    const headers = { accept: accept ?? "application/json" };
    if (token) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    const text = body === undefined ? undefined : JSON.stringify(body);
    const how = method ?? (body === undefined ? "GET" : "POST");
    const response = await fetch(new URL(path, this.base), { method: how, headers, body: text });
    const answer = await response.text();
    if (!response.ok) throw new Error(`${how} ${path}: ${response.status} ${answer}`);
    return answer;
  }

  /** @param {Record<string, unknown>|Record<string, unknown>[]} events @param {string} [token] */
  async append(events, token) {
    return JSON.parse(await this.call("api/events", { body: events, token }));
  }

  /** How many streams are open, as the server counts them. @param {string} [token] */
  async streams(token) {
    const text = await this.call("metrics", { token, accept: "text/plain" });
    return Number(/^hivelog_followers (\d+)/m.exec(text)?.[1]);
  }
}
