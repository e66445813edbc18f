import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomically } from '../../lib/files';
import { parseJson } from '../../lib/json';

const lastEndingSchema = z.object({
  /** ISO 8601, UTC. */
  at: z.string(),
  part: z.string(),
  /** `exit code 1`, `SIGKILL`. */
  ending: z.string(),
  logPath: z.string(),
});

/** Why a stack stopped by itself: which of its parts ended. */
export type LastEnding = z.output<typeof lastEndingSchema>;

/** @returns what the stack of this data directory has stopped for, unless somebody stopped it or it was started again. */
export function findLastEnding(dataDirectory: string): LastEnding | undefined {
  try {
    return lastEndingSchema.safeParse(parseJson(readFileSync(pathOf(dataDirectory), 'utf8'))).data;
  } catch {
    return undefined;
  }
}

/** Mode 0600. Undo: `removeLastEnding`. */
export function writeLastEnding(dataDirectory: string, ending: LastEnding): void {
  writeFileAtomically(pathOf(dataDirectory), `${JSON.stringify(ending, null, 2)}\n`);
}

export function removeLastEnding(dataDirectory: string): void {
  rmSync(pathOf(dataDirectory), { force: true });
}

function pathOf(dataDirectory: string): string {
  return join(dataDirectory, 'ended.json');
}
