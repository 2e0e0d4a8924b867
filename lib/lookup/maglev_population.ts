/** How a Maglev table is filled (NSDI 2016, section 3.4, "Consistent Hashing"). The same backends give the same table on every machine. */

export interface Backend {
  /** What its place in the table comes from: must be the same wherever the same table is wanted. */
  readonly name: string;
  /** What a lookup says: any number below 2^32 - 1, such as an index of the program's own. */
  readonly value: number;
  /** Its share, against the other backends': a whole number from 0 (drained) to 65535. Default 1. */
  readonly weight?: number;
}

/** Who turns when: each backend prefers the places offset, offset + skip, offset + 2 skip and so on, modulo the size. */
interface Turn { readonly index: number; readonly offset: number; readonly skip: number; readonly weight: number; next: number; credit: number }

/**
 * Which backend each place is given to, by its index in the list; all -1 without backends. In turn, each one takes the next
 * place of its own order that is still free. One of less weight than the heaviest takes its turn only when enough of its
 * weight has come together. By name, so that the order in the list does not matter.
 */
export function populate(backends: readonly Backend[], size: number): Int32Array {
  const table = new Int32Array(size).fill(-1);
  const turns = backends.map((backend, index) => turnOf(backend, index, size)).filter(({ weight }) => weight > 0)
    .sort((a, b) => (backends[a.index].name < backends[b.index].name ? -1 : 1));
  const heaviest = Math.max(...turns.map(({ weight }) => weight));
  for (let filled = 0; turns.length > 0;) {
    for (const turn of turns) {
      turn.credit += turn.weight;
      if (turn.credit < heaviest) continue;
      turn.credit -= heaviest;
      table[nextFree(table, turn, size)] = turn.index;
      if (++filled === size) return table;
    }
  }
  return table;
}

/** As the size is a prime, its order comes to every place once. */
function nextFree(table: Int32Array, turn: Turn, size: number): number {
  for (;;) {
    const place = (turn.offset + turn.next++ * turn.skip) % size;
    if (table[place] < 0) return place;
  }
}

function turnOf({ name, weight = 1 }: Backend, index: number, size: number): Turn {
  return { index, weight, offset: hashText(name, 0x811c9dc5) % size, skip: hashText(name, 0x01000193) % (size - 1) + 1, next: 0, credit: 0 };
}

/** FNV-1a of the UTF-8, from a start of one's own, then MurmurHash3's last step, so that names that hardly differ are far apart. */
function hashText(text: string, start: number): number {
  let hash = start;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
