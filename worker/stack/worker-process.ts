import { z } from 'zod';
import { startNodeProcess } from './node-process';
import type { Part } from './part';

export interface WorkerProcessOptions {
  /** How the worker finds the parts: `TEMPORAL_ADDRESS`, `DATABASE_URL`, …; secrets go this way, never by argument. */
  env: NodeJS.ProcessEnv;
  /** Grace of running work. */
  shutdownGraceMs: number;
  logPath: string;
  pidPath?: string;
  signal?: AbortSignal;
}

export interface WorkerProcess {
  part: Part;
  metricsUrl?: string;
}

const READY_DEADLINE_MS = 60_000;
/** Beyond the grace that running work has: closing connections, a bounded force at the end. */
const STOP_MARGIN_MS = 20_000;
const readySchema = z.object({ ready: z.literal(true), metricsUrl: z.string().optional() });

/** Starts a worker with all roles and returns when it polls. Undo: `part.stop`. */
export async function startWorkerProcess(options: WorkerProcessOptions): Promise<WorkerProcess> {
  const { env, shutdownGraceMs, logPath, pidPath, signal } = options;
  const { part, said } = await startNodeProcess({
    name: 'worker',
    script: 'worker/main.js',
    env,
    logPath,
    pidPath,
    ready: readySchema,
    readyDeadlineMs: READY_DEADLINE_MS,
    stopDeadlineMs: shutdownGraceMs + STOP_MARGIN_MS,
    signal,
  });
  return { part, metricsUrl: said.metricsUrl };
}
