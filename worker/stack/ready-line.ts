import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { z } from 'zod';
import type { Part } from './part';
import { waitFor } from './wait';

export interface ReadyLineOptions {
  deadlineMs: number;
  signal?: AbortSignal;
}

/** Waits for the JSON line with which a process of ours says that it is ready. Its stdout goes to its log, which outlives this process. */
export async function waitForReadyLine<T>(
  part: Part,
  schema: z.ZodType<T>,
  { deadlineMs, signal }: ReadyLineOptions,
): Promise<T> {
  return await waitFor(() => findLine(part, schema), {
    what: `${part.name} to be ready`,
    deadlineMs,
    unless: () => {
      signal?.throwIfAborted();
      part.assertRunning();
    },
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

function parseJson(line: string): unknown {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
