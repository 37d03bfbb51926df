/** @file What stands between a browser and a server that lives under a path, at a port of another's? */

import { once } from "node:events";
import { createServer, request } from "node:http";
import { pipeline } from "node:stream";

/** A proxy that takes a path off, and leaves everything else as the browser sent it, the Host of its own port too. */
export class Door {
  /** What was asked outside the path. @type {string[]} */
  strays = [];
  #server;

  /** @param {number} port the server's @param {string} prefix */
  constructor(port, prefix) {
    this.prefix = prefix;
    this.port = 0;
    this.#server = createServer((asked, answer) => {
      if (!asked.url?.startsWith(`${prefix}/`)) {
        this.strays.push(`${asked.url}`);
        answer.writeHead(404).end();
        return;
      }
      const path = asked.url.slice(prefix.length);
      const { method, headers } = asked;
      const onward = request({ port, host: "127.0.0.1", path, method, headers }, (back) => {
        answer.writeHead(back.statusCode ?? 502, back.headers);
        // A server that is killed ends what it was saying, here as well.
        pipeline(back, answer, () => {});
      });
      onward.on("error", () => answer.destroy());
      answer.on("close", () => onward.destroy());
      asked.pipe(onward);
    });
  }

  /** @param {number} port the server's @param {string} prefix */
  static async begin(port, prefix) {
    const door = new Door(port, prefix);
    door.#server.listen(0, "127.0.0.1");
    await once(door.#server, "listening");
    const address = door.#server.address();
    if (typeof address !== "object" || !address) throw new Error("no port");
    door.port = address.port;
    return door;
  }

  get base() {
    return `http://127.0.0.1:${this.port}${this.prefix}/`;
  }

  end() {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
