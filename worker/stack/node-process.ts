import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { z } from 'zod';
import { packageRoot } from '../../client/config/package-root';
import { startPart, type Part, assertGoingOn } from './part';
import { waitFor } from './wait';
import { parseJson } from '../../lib/json';

export interface NodeProcessOptions<T> {
  name: string;
  /** Compiled file below `dist/`. */
  script: string;
  env: NodeJS.ProcessEnv;
  logPath: string;
  pidPath?: string;
  ready: z.ZodType<T>;
  readyDeadlineMs: number;
  stopDeadlineMs?: number;
  signal?: AbortSignal;
}

/** Starts a program of ours by its path and waits for its ready line. Undo: `part.stop`. */
export async function startNodeProcess<T>(options: NodeProcessOptions<T>): Promise<{ part: Part; said: T }> {
  const { script, ready, readyDeadlineMs: deadlineMs, signal } = options;
  const args = ['--enable-source-maps', join(packageRoot(), 'dist', script)];
  const part = await startPart({ ...options, command: process.execPath, args, stopSignals: ['SIGTERM', 'SIGKILL'] });
  try {
    return { part, said: await waitForReadyLine(part, ready, { deadlineMs, signal }) };
  } catch (error) {
    await part.stop();
    throw error;
  }
}

/**
 * Waits for the JSON line with which a process of ours says that it is ready. Its stdout goes to its log, which
 * outlives this process.
 */
export async function waitForReadyLine<T>(
  part: Part,
  schema: z.ZodType<T>,
  { deadlineMs, signal }: { deadlineMs: number; signal?: AbortSignal },
): Promise<T> {
  return await waitFor(() => findLine(part, schema), {
    what: `${part.name} to be ready`,
    deadlineMs,
    unless: () => assertGoingOn(part, signal),
  });
}

async function findLine<T>({ logPath, logStart }: Part, schema: z.ZodType<T>): Promise<T | undefined> {
  const lines = createInterface({ input: createReadStream(logPath, { start: logStart }) });
  for await (const line of lines) {
    const parsed = schema.safeParse(parseJson(line));
    if (parsed.success) return parsed.data;
  }
  return undefined;
}
