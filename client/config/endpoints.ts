import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { isProcessRunning } from '../../lib/process-identity';
import { writeFileAtomically } from '../../lib/files';
import { parseJson } from '../../lib/json';

export const endpointsSchema = z.object({
  dataDirectory: z.string(),
  supervisor: z.object({ pid: z.int(), startTime: z.string() }),
  temporal: z.object({
    address: z.string(),
    namespace: z.string(),
    uiUrl: z.string().optional(),
    metricsUrl: z.string().optional(),
    embedded: z.boolean(),
    taskQueuePrefix: z.string(),
  }),
  /** `url` holds a password: it is for this file (0600) and the environment, never for a log. */
  database: z.object({ url: z.string(), embedded: z.boolean() }),
  images: z.object({ endpoint: z.string(), embedded: z.boolean() }),
  worker: z.object({ pid: z.int(), metricsUrl: z.string().optional() }).optional(),
  /** The block-storage API. */
  api: z.object({ url: z.string(), metricsUrl: z.string().optional() }).optional(),
});

/** Where everything of a running stack really listens. */
export type Endpoints = z.output<typeof endpointsSchema>;

/** @returns what the stack of this data directory wrote, or undefined when none is running. */
export function findEndpoints(dataDirectory: string): Endpoints | undefined {
  const text = readIfPresent(endpointsPath(dataDirectory));
  const parsed = endpointsSchema.safeParse(parseJson(text));
  return parsed.success && isProcessRunning(parsed.data.supervisor) ? parsed.data : undefined;
}

/** Replaces the file as a whole: a reader sees the old or the new one. Mode 0600. Undo: `removeEndpoints`. */
export function writeEndpoints(endpoints: Endpoints): void {
  mkdirSync(endpoints.dataDirectory, { recursive: true, mode: 0o700 });
  writeFileAtomically(endpointsPath(endpoints.dataDirectory), `${JSON.stringify(endpoints, null, 2)}\n`);
}

export function removeEndpoints(dataDirectory: string): void {
  rmSync(endpointsPath(dataDirectory), { force: true });
}

export function endpointsPath(dataDirectory: string): string {
  return join(dataDirectory, 'endpoints.json');
}

function readIfPresent(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
