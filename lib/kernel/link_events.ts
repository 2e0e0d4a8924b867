/** rtnetlink's announcements of links (RTNLGRP_LINK): a hint that it is time to look, for whoever would otherwise look again and again. */
import { binding } from '../binding.js';
import { setU16, setU32 } from './bytes.js';
import { AF_NETLINK, MSG_DONTWAIT, NETLINK_ROUTE, SOCK_RAW } from './constants.js';
import { check, ENOBUFS } from './errno.js';

const RTMGRP_LINK = 1;

/** Of the network namespace that the calling thread is in when it makes one. Needs no rights. */
export class LinkEvents {
  readonly #fd: number;

  constructor() {
    this.#fd = check(binding().socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), 'socket');
    const address = new Uint8Array(12); // struct sockaddr_nl
    setU16(address, 0, AF_NETLINK);
    setU32(address, 8, RTMGRP_LINK);
    const bound = binding().bind(this.#fd, address);
    if (bound < 0) this.close();
    check(bound, 'bind');
  }

  /** Was anything announced since the last call? Never waits. */
  any(): boolean {
    let said = false;
    for (;;) {
      // A datagram is taken whole, however little of it is read.
      const result = binding().recv(this.#fd, null, MSG_DONTWAIT);
      if (result < 0 && result !== -ENOBUFS) return said;
      said = true;
    }
  }

  close(): void {
    binding().close(this.#fd);
  }
}
