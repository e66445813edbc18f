import { readFileSync } from 'node:fs';

/** A process that cannot be mistaken for a later one with the same pid. Its pid may be one of another container. */
export interface ProcessIdentity {
  pid: number;
  /** Boot id and clock ticks since boot, from the kernel; opaque. */
  startTime: string;
}

/** @returns the identity of the running process `pid`, or undefined when there is none (a zombie is none). */
export function findProcess(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // proc(5): the second field, the name, may hold spaces and parentheses; the state follows its last parenthesis.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return { pid, startTime: `${bootId}/${fields[19]}` };
  } catch {
    return undefined;
  }
}

/** @returns whether exactly this process is still running, as far as this container sees. */
export function isProcessRunning(identity: ProcessIdentity): boolean {
  return findProcess(identity.pid)?.startTime === identity.startTime;
}

/** @returns what a file says of a process, or undefined when it is empty or damaged. */
export function parseProcess(text: string): ProcessIdentity | undefined {
  try {
    const { pid, startTime }: { pid?: unknown; startTime?: unknown } = JSON.parse(text);
    return typeof startTime === 'string' && typeof pid === 'number' && Number.isInteger(pid) && pid > 0
      ? { pid, startTime }
      : undefined;
  } catch {
    return undefined;
  }
}
