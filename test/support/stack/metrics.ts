import { setTimeout as delay } from 'node:timers/promises';

/** @returns the sum of all samples of a Prometheus counter, of those whose labels contain `label` where it is given. */
export async function readCounter(url: string, name: string, label = ''): Promise<number> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const samples = (await response.text())
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return samples
    .filter((line) => line.includes(label))
    .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** The server counts an action some moments after it answered. */
const SETTLED_AFTER_MS = 1500;

/** @returns the actions of the default namespace once their count no longer moves. The server's own workflows count under another. */
export async function readActions(url: string): Promise<number> {
  const read = (): Promise<number> => readCounter(url, 'action', 'namespace="default"');
  for (let last = await read(); ;) {
    await delay(SETTLED_AFTER_MS);
    const now = await read();
    if (now === last) return now;
    last = now;
  }
}

/** @returns the peak resident memory of a process so far, in bytes. Source: proc_pid_status(5), VmHWM. */
export function parsePeakRssBytes(status: string): number {
  const match = /^VmHWM:\s+(\d+) kB$/m.exec(status);
  if (!match) throw new Error('no VmHWM in the status');
  return Number(match[1]) * 1024;
}
