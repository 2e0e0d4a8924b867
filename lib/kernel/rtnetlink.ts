/** What messages about network interfaces have in common (linux/rtnetlink.h, linux/if_link.h). */
import { setI32 } from './bytes.js';

export const RTM_NEWLINK = 16;
export const IFLA_ADDRESS = 1;
export const IFLA_MTU = 4;
export const IFLA_LINKINFO = 18;
export const IFLA_NUM_TX_QUEUES = 31;
export const IFLA_NUM_RX_QUEUES = 32;
export const IFLA_INFO_KIND = 1;
export const IFINFO_SIZE = 16;

/** struct ifinfomsg about one link, or about none. */
export function ifinfo(ifindex: number): Uint8Array {
  const header = new Uint8Array(IFINFO_SIZE);
  setI32(header, 4, ifindex);
  return header;
}
