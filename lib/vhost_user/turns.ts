/**
 * Sockets of this thread that are served in turns, beside its bursts and timers. Whoever waits for a peer gives the
 * others theirs meanwhile: the peer may be one of them.
 */
const turns = new Set<() => void>();

/** Registers a turn. Call what is returned to take it out. */
export function takeTurns(turn: () => void): () => void {
  turns.add(turn);
  return () => { turns.delete(turn); };
}

export function giveTurns(except: () => void): void {
  for (const turn of turns) if (turn !== except) turn();
}
