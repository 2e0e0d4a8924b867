/** The report's explanations, for a reader who has never measured packets. Nothing here comes from a result. */
const PATHS: Readonly<Record<string, string>> = {
  'af_xdp': 'AF_XDP: rings in memory that program and kernel share, past the network stack; a system call per burst at most. What this project is about.',
  'af_packet ring': 'A packet socket with rings in shared memory (TPACKET_V3). What comes in is handed over by the block, when one is full or after a millisecond, so a lone packet waits.',
  'raw socket': 'A packet socket with one system call for each packet.',
  'dgram': 'UDP by Node.js’ own <code>dgram</code> module: the usual way, and the measure for the others.',
  'memory ring': 'Two threads of one program hand packets over in a ring in their common memory; no kernel.',
  'memory null': 'An endless source and a bottomless sink: this library’s own work for a packet, and nothing else.',
};

/** HTML of one line about a path; empty for one that nobody knows. */
export function pathExplained(path: string): string {
  return Object.hasOwn(PATHS, path) ? PATHS[path] : '';
}

/** For a reader who has never measured packets. */
export const HOW_TO_READ = `
<dl>
<dt><b>Burst</b></dt><dd>How many packets a program hands over in one call. A call has a price that does not depend on how many packets it carries
(entering the kernel, touching shared indices, ringing a doorbell). With 32 packets in a call each of them pays a 32nd of it. So the rate rises
with the burst, and flattens once the price of the packet itself is all that is left. For dgram a burst is the sends of one turn of the event loop:
each is still a system call of its own. Very large bursts can be slower again: the buffers of 512 packets no longer fit in the nearer caches of a CPU.</dd>
<dt><b>Why packets per second, and not bits</b></dt><dd>The work is per packet, hardly per byte: a header has to be looked at, whether 18 or 1472 bytes follow it.
Small frames are therefore the hard case. Frame sizes count the 4 bytes of check sequence (RFC 2544): 64 means 60 bytes in the buffer.
<i>Frame bits</i> count the frame with it; <i>layer 1</i> counts 20 bytes more per frame for preamble and gap, which is what a link's speed is named by.
On a 10 Gbit/s link 14.88 million 64-byte frames fit in a second.</dd>
<dt><b>need-wakeup</b></dt><dd>AF_XDP shares rings with the kernel, so packets change hands without a system call, but somebody has to tell the kernel to look.
With need-wakeup the kernel sets a flag in the ring when it wants to be called, and the program calls only then. The chart of system calls per packet shows how often that was.</dd>
<dt><b>CPU time</b></dt><dd>Of the thread that sends, or receives, per packet: <i>user</i> is the program itself, <i>system</i> what the kernel did on its behalf.
Work that the kernel does in a software interrupt on another core is not in it. A receiver that polls keeps its core busy even while nothing comes, so its time per packet
is the core's whole time divided by the packets. The sum is exact; the split is by samples, since the kernel looks only at its clock tick which of the two it interrupts:
a few percent of error are in it. <i>Own share</i> is user over both, for all rounds together.</dd>
<dt><b>Round trip, p50, p99, p99.9</b></dt><dd>From handing a burst over until each of its packets is back from the other side, which returns it at once. Half of the packets were faster than p50; one in a hundred
was slower than p99, one in a thousand slower than p99.9 (HDR histogram of three digits). It depends on the load: it was measured at the load stated, below what the path can carry.
A larger burst waits longer for its last packet. A burst that the sender was late with counts from when it was sent.</dd>
<dt><b>Median and range</b></dt><dd>Each cell was measured in several rounds. The line is the median; the band runs from the least to the greatest round.
It is shown for the path that is pointed at, in a chart or in the legend. Where two bands overlap, the rounds do not tell the two paths apart.</dd>
<dt><b>Loss</b></dt><dd>What was sent and did not arrive, and the counter that names the place. A fast sender before a slow receiver loses packets; that is no fault of the link.</dd>
<dt><b>In memory</b></dt><dd>The memory ports are not a network: they show what is left when the kernel is out of the way, and so how much of the other paths' cost is the kernel's.</dd>
</dl>`;

export const SCALING_EXPLAINED = `<p>One AF_XDP port with several queues, each polled by one lcore (a pinned thread); the groups are queues × lcores.
The sender is one thread, which sends to all queues in turn, so more queues or lcores than it can fill show no more packets. What an lcore does when there is nothing to receive is its policy:
<i>busy</i> asks again at once, <i>interrupt</i> sleeps in the kernel until a packet wakes it, <i>adaptive</i> asks again for as long as the next packet is likely to come sooner than a sleep would cost.</p>`;
