/**
 * What the AF_XDP rows' rates are made of, so that a ratio can be read: nanoseconds of CPU time for a frame of 60 bytes
 * on Linux 6.18 (an AMD EPYC at 2.5 GHz in a virtual machine, with the kernel's own mitigations), from `perf record -e
 * cpu-clock -g` of the thread that does the work, each sample counted at the innermost of these that it is in (with interrupts off,
 * where they come on again).
 *
 * Sending, in copy mode, all of it inside sendto(2) on the sender's CPU (net/xdp/xsk.c, net/core/dev.c, drivers/net/veth.c):
 *
 * |                                                          | ours | C on the rings |
 * |----------------------------------------------------------|------|----------------|
 * | the program: descriptors, completions, buffers            |   21 |              5 |
 * | entering and leaving the kernel, a burst at a time        |    8 |              6 |
 * | TX and completion ring, locks (__xsk_generic_xmit)        |   82 |             78 |
 * | an sk_buff (sock_alloc_send_pskb)                         |  101 |            104 |
 * | the frame into it (skb_store_bits)                        |   14 |             15 |
 * | offloads checked (validate_xmit_skb), transmit, BH        |   82 |             87 |
 * | veth_xmit: into the other namespace                       |   96 |             94 |
 * | into the other end's backlog (netif_rx)                   |   72 |             73 |
 * | a softirq for each frame (net_rx_action, process_backlog) |  223 |            205 |
 * | the other end's stack (ip_rcv)                            |   81 |             79 |
 * | it drops the frame: sk_buff freed, completion written     |  162 |            168 |
 * |                                                          |  942 |            914 |
 *
 * testpmd's shares are the same within three hundredths, its own 2.2 %. So a sender that took no time itself would be 1.02
 * times as fast as testpmd, and 10 times dgram's rate would be 300 ns a frame, less than the kernel needs up to the
 * wire. What would have to change is the kernel's or the other end's. The sender can only ask for more packets in a
 * call (XDP_MAX_TX_SKB_BUDGET, which the port does): of the 8 ns. The other end's share of it, 538 ns, could be another
 * CPU's (rps_cpus of that end): tried, all get slower, as each sk_buff is then freed far from where it was made (C 1.20
 * to 0.89 Mpps, testpmd 1.14 to 0.87, ours 1.17 to 0.82, dgram 0.33 to 0.20).
 *
 * Receiving: the flood's CPU makes the frames, and runs the veth's NAPI in its own softirq. The receiver's CPU has
 * nothing but our polls, nine tenths of whose time find nothing.
 *
 * |                                                          | ns  |
 * |----------------------------------------------------------|-----|
 * | frames made (xdp_test_run_batch)                          |  34 |
 * | XDP_TX to the other end, its ring (veth_xdp_xmit)         |  38 |
 * | softirq                                                   |   6 |
 * | taken from that ring, made an xdp_buff (veth_xdp_rcv)     |  56 |
 * | the port's XDP program                                    |   9 |
 * | redirect to the socket, RX ring, page back                |  58 |
 * | a buffer from the fill ring (xp_alloc)                    |   7 |
 * | the copy                                                  |   6 |
 * |                                                          | 214 |
 *
 * So 4.7 million a second, whoever polls (C that only moves descriptors 4.4 to 4.8; rings of 256 to 2048, polls at
 * longer intervals and a fill ring whose entries never change make no difference; testpmd 4.1, and 4.35 where
 * busy_budget=0 spares it the recvfrom(2) that it makes for each vain poll). The NAPI's half on the receiver's
 * CPU instead was tried, and loses: run by busy polling (io_uring's, told the NAPI's number: the socket of a veth in
 * copy mode is never told it, see lib/port/drivers/af_xdp/socket.ts) 1.2 to 2.8 million, as a thread of its own there
 * (/sys/class/net/veth0/threaded), which a receiver that never sleeps must share the CPU with, 0.2; beside the sender 3.3. Pages and frames then go from CPU to CPU and back, which
 * costs more than the whole NAPI does where they are in the cache.
 */

/** For rows whose rate is the kernel's. */
export const SEND_LIMIT = 'nearly all of it is the kernel\'s, and the same for every sender: of some 940 ns a frame 8 enter and leave the kernel, 375 make and send an sk_buff, 538 are the other end\'s softirq, stack and drop (bench/peers/limits.ts)';
export const RECEIVE_LIMIT = 'the sender\'s CPU does all of the kernel\'s work, some 214 ns a frame: 72 to make and send it, 142 for the receiving end\'s NAPI, of which 9 are the port\'s XDP program (bench/peers/limits.ts)';
