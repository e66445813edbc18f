import { join } from 'node:path';
import type { z } from 'zod';
import { packageRoot } from '../../client/config/package-root';
import { startPart, type Part } from './part';
import { waitForReadyLine } from './ready-line';

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
