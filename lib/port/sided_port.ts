import type { PortEvent, PortHost, PortLink } from './port.js';
import { QueuePort, type QueuePortParts } from './queue_port.js';

/** What a port talks with that has another program at the other end of a socket. */
export interface PortSide {
  readonly link: PortLink & { listen(listener: (event: PortEvent) => void): () => void };
  /** Begins the conversation, once the queues are there. */
  start(): void;
  close(): void;
}

/** A port whose link is a conversation with another program. It owns its side: closed with the port, and where opening fails. */
export class SidedPort<Side extends PortSide> extends QueuePort {
  readonly side: Side;

  /** Throws what the parts and the side's start throw. */
  constructor(host: PortHost, side: Side, parts: QueuePortParts) {
    try {
      super(host, parts);
    } catch (cause) {
      side.close();
      throw cause;
    }
    this.side = side;
    try {
      side.start();
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  get link(): PortLink {
    return this.side.link;
  }

  onEvent(listener: (event: PortEvent) => void): () => void {
    return this.side.link.listen(listener);
  }
}
