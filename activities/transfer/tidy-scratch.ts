import { forgetMissingScratch, listScratch } from '../../db/scratch-files';
import type { Database } from '../../db/client';
import type { Scratch } from '../image/scratch';

/**
 * Makes rows and files of a host's scratch agree, before its worker does anything: files that no row names are removed, rows without a file are
 * forgotten, so that their bytes are free again. A flight that still wants such a file reserves it again. Idempotent.
 */
export async function tidyScratch(database: Database, scratch: Scratch): Promise<void> {
  const { hostId } = scratch;
  const known = new Set((await listScratch(database, { hostId })).map(({ contentHash }) => contentHash));
  const found = await scratch.list();
  for (const { contentHash } of found) if (!known.has(contentHash)) await scratch.remove(contentHash);
  await forgetMissingScratch(database, { hostId, present: found.map(({ contentHash }) => contentHash) });
}
