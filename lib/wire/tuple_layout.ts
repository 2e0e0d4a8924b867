/**
 * A packet's 5-tuple, as `tuples` writes it for each packet of a burst: 40 bytes, a key for a hash table as it stands.
 * Plain number constants: TypeScript and AssemblyScript both read this file.
 *
 * All fragments of a datagram have one tuple, without ports, since only the first has them. In a tunnel it is the outer
 * packet's. What is no IP has 40 zeros.
 */
export const TUPLE_BYTES = 40;
/** 16 bytes in network order; of an IPv4 address the first four, the rest is 0. */
export const TUPLE_SOURCE = 0;
export const TUPLE_DESTINATION = 16;
/** Two bytes each, in network order; 0 where there are none: TCP, UDP, UDP-Lite, DCCP and SCTP have them. */
export const TUPLE_SOURCE_PORT = 32;
export const TUPLE_DESTINATION_PORT = 34;
/** u8: PROTOCOL_*; behind IPv6's extension headers. PROTOCOL_NONE where they could not be followed. */
export const TUPLE_PROTOCOL = 36;
/** u8: 4, 6, or 0 for no IP. */
export const TUPLE_FAMILY = 37;
/** u8: TUPLE_FRAGMENT or 0. */
export const TUPLE_FLAGS = 38;
export const TUPLE_FRAGMENT = 1;
