/**
 * The mailbox between an 82576's physical function and a virtual one (7.10): 16 words that both see, and a register on
 * each side. Who wants to write or read takes the buffer first (VFU, PFU), so that they do not write at once. What the
 * words mean the hardware does not know: it is what Intel's drivers have agreed on (drivers/net/ethernet/intel/igb/e1000_mbx.h).
 */
export const MAILBOX_WORDS = 16;
/** Bytes from one function's words to the next one's, as the physical function sees them. */
export const MAILBOX_STRIDE = 64;

// V2PMAILBOX, the virtual function's side
export const V2P_REQ = 1 << 0; // a message is there
export const V2P_ACK = 1 << 1; // the physical function's was taken
export const V2P_VFU = 1 << 2; // the buffer is the virtual function's
export const V2P_PFSTS = 1 << 4; // the physical function has written a message
export const V2P_PFACK = 1 << 5; // it has taken ours
export const V2P_RSTI = 1 << 6; // it is being reset
export const V2P_RSTD = 1 << 7; // it has been
/** Reading the register clears these. */
export const V2P_READ_TO_CLEAR = V2P_PFSTS | V2P_PFACK | V2P_RSTD;

// P2VMAILBOX, the physical function's side
export const P2V_STS = 1 << 0; // a message is there
export const P2V_ACK = 1 << 1; // the virtual function's was taken
export const P2V_PFU = 1 << 3; // the buffer is the physical function's
export const P2V_RVFU = 1 << 4; // take it away from a virtual function that has died

// MBVFICR: which function wrote, and which took an answer
export const MBVFICR_REQUESTS = 0xff;
export const MBVFICR_ACKS = 0xff0000;

// First word of a message: what it is in the lower half; answers carry the question's.
export const MESSAGE_ACK = 0x80000000;
export const MESSAGE_NACK = 0x40000000;
/** The virtual function has been told its address and may ask for more. */
export const MESSAGE_CTS = 0x20000000;
export const MESSAGE_KIND = 0xffff;
export const MESSAGE_INFO_SHIFT = 16;

export const VF_RESET = 1; // the answer has its MAC address in the second and third word
export const VF_SET_MAC = 2; // MAC address in the second and third word
export const VF_SET_MULTICAST = 3; // info: how many; 16 bits for each: which bit of the table
export const VF_SET_VLAN = 4; // info: 1 to add; second word: which
export const VF_SET_LPE = 5; // second word: bytes of the longest frame, with FCS
export const VF_SET_PROMISC = 6; // info: 1 unicast, 2 multicast
export const PF_CONTROL = 0x100; // look again: link, or a reset
/** Hashes that fit. */
export const MULTICAST_MOST = 30;
