/** Who holds which network namespaces, as /proc tells: by a thread in one, or a descriptor of one. */
import { readdirSync, readlinkSync } from 'node:fs';

/** Inodes ("net:[4026532000]") that a process holds. Empty for one that is gone, or that we may not look into. */
export function namespacesOf(pid: number | string): Set<string> {
  const found = new Set<string>();
  const list = (folder: string): string[] => { try { return readdirSync(folder); } catch { return []; } };
  const note = (path: string): void => {
    try {
      const target = readlinkSync(path);
      if (target.startsWith('net:[')) found.add(target);
    } catch { /* the process went */ }
  };
  for (const fd of list(`/proc/${pid}/fd`)) note(`/proc/${pid}/fd/${fd}`);
  for (const tid of list(`/proc/${pid}/task`)) note(`/proc/${pid}/task/${tid}/ns/net`);
  return found;
}

/** The processes that hold any of them. An inode's number may be another namespace's later: who held it before is what counts. */
export function holdersOf(namespaces: readonly string[]): string[] {
  return pids().filter((pid) => {
    const own = namespacesOf(pid);
    return namespaces.some((one) => own.has(one));
  });
}

function pids(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
}
