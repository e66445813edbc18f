import { z } from 'zod';
import { joinAddress } from '../../lib/listen-address';
import { choosePort, startOnFreePorts, type OnPortMoved } from '../ports';
import { startNodeProcess } from './node-process';
import type { Part } from './part';

export interface ApiProcessOptions {
  /** How it finds the parts: `TEMPORAL_ADDRESS`, `DATABASE_URL`, …; secrets go this way, never by argument. */
  env: NodeJS.ProcessEnv;
  /** Where it is to listen; port 0 is any free one. */
  address: { host: string; port: number };
  /** Grace of requests under way. */
  shutdownGraceMs: number;
  logPath: string;
  pidPath?: string;
  onMoved?: OnPortMoved;
  signal?: AbortSignal;
}

const READY_DEADLINE_MS = 60_000;
/** Beyond the grace that requests have: closing connections. */
const STOP_MARGIN_MS = 10_000;
const readySchema = z.object({ ready: z.literal(true), url: z.url(), metricsUrl: z.string().optional() });

/** Starts the block-storage API and returns when it listens. Undo: `part.stop`. */
export async function startApiProcess({
  env,
  address: { host, port: wanted },
  shutdownGraceMs,
  onMoved,
  ...options
}: ApiProcessOptions): Promise<{ part: Part; endpoint: string; metricsUrl?: string }> {
  const { part, said } = await startOnFreePorts(
    async () => ({ port: await choosePort(wanted, { what: 'block-storage API', host, onMoved }) }),
    async ({ port }) =>
      await startNodeProcess({
        ...options,
        name: 'api',
        script: 'worker/api/main.js',
        env: { ...env, IVC_API_LISTEN: joinAddress({ host, port }) },
        ready: readySchema,
        readyDeadlineMs: READY_DEADLINE_MS,
        stopDeadlineMs: shutdownGraceMs + STOP_MARGIN_MS,
      }),
  );
  return { part, endpoint: said.url, metricsUrl: said.metricsUrl };
}
