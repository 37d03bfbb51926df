/** @file How a test cuts a line without a word: a TCP proxy that stops forwarding and keeps its connections open. */

import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Everything between a browser and a server. */
export class Line {
  /** @type {Set<import("node:net").Socket>} */
  #sockets = new Set();
  #server;

  /** @param {number} port the server's */
  constructor(port) {
    this.#server = createServer((client) => {
      const server = connect(port, "127.0.0.1");
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => this.#sockets.delete(socket));
      }
      client.pipe(server).pipe(client);
      client.on("close", () => server.destroy());
    });
  }

  /** @param {number} port */
  static async begin(port) {
    const line = new Line(port);
    line.#server.listen(0, "127.0.0.1");
    await once(line.#server, "listening");
    return line;
  }

  get base() {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}/`;
  }

  /** From now on nothing passes on the connections that are open; nobody is told. */
  hush() {
    for (const socket of this.#sockets) {
      socket.unpipe();
      socket.removeAllListeners("data");
      socket.pause();
    }
  }

  end() {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
