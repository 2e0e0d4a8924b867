/** The drivers' part of a queue's state for the null and ring ports. Read by the TypeScript and AssemblyScript compilers. */

/** null, u32: bytes of each frame that it makes (without FCS). At QUEUE_DRIVER. */
export const NULL_FRAME = 192;
/** null, u32: offset of that frame's bytes, on the rx side; 0: a frame has those that its buffer had. */
export const NULL_CONTENTS = 196;
/** ring, u32: offset of the ring. At QUEUE_DRIVER. */
export const RING_PORT_RING = 192;
/** ring, u32: 1 to count bytes too. */
export const RING_PORT_BYTES = 196;
/** ring, on the rx side: a vector of RING_PORT_SCRATCH_COUNT handles. */
export const RING_PORT_SCRATCH = 256;
export const RING_PORT_SCRATCH_COUNT = 128;
