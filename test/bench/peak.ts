import { readFileSync, writeFileSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parsePeakRssBytes } from '../support/stack/metrics';
import type { Stack } from '../support/stack/stack';

const LOOK_EVERY_MS = 20;
const BLOCK_BYTES = 512;

export interface Peaks {
  workerRssBytes: number;
  scratchBytes: number;
}

/** Runs `work` and says the most that a worker's memory and its scratch took meanwhile. */
export async function withPeaks(stack: Stack, work: () => Promise<void>): Promise<Peaks> {
  const pids = pidsOf(stack);
  // Linux forgets the peak so far. Source: proc(5), clear_refs.
  for (const pid of pids) writeFileSync(`/proc/${pid}/clear_refs`, '5');
  const controller = new AbortController();
  const scratch = watchScratch(join(stack.scratchDirectory, 'images'), controller.signal);
  try {
    await work();
  } finally {
    controller.abort();
  }
  return { workerRssBytes: workerPeakRssBytes(stack), scratchBytes: await scratch };
}

/** Since the last `withPeaks` began, or since their start. */
export function workerPeakRssBytes(stack: Stack): number {
  return Math.max(...pidsOf(stack).map((pid) => parsePeakRssBytes(readFileSync(`/proc/${pid}/status`, 'utf8'))));
}

function pidsOf({ workers }: Stack): number[] {
  return workers.flatMap(({ process: { pid, exitCode, signalCode } }) =>
    pid !== undefined && exitCode === null && signalCode === null ? [pid] : [],
  );
}

async function watchScratch(directory: string, signal: AbortSignal): Promise<number> {
  let peak = 0;
  while (!signal.aborted) {
    peak = Math.max(peak, await usedBytes(directory));
    await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
  return peak;
}

/** @returns what the files of `directory` take on the disk. */
export async function usedBytes(directory: string): Promise<number> {
  const names = await readdir(directory).catch(() => []);
  const sizes = await Promise.all(
    names.map(async (name) => (await stat(join(directory, name)).catch(() => undefined))?.blocks ?? 0),
  );
  return sizes.reduce((total, blocks) => total + blocks * BLOCK_BYTES, 0);
}
