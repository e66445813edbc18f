import { cancellationSignal } from '@temporalio/activity';
import { listLeastScrubbed, listUndigested, noteScrubbed, recordDigest } from '../../db/entries/entries';
import { quarantineEntry } from '../../db/entries/retirement';
import type { EntryRow } from '../../db/schema';
import { formatBytes } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName } from '../../workflows/contract/ids';
import type { ReconcileStep } from '../../workflows/contract/reconcile';
import type { ParentDigest, VolumeBackend } from '../backends/backend';
import type { BackendDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { createFindings, type Findings } from './reconcile-run';

/** No further parent is begun after so long: the rest is for the next run. */
const BEGIN_WITHIN_MS = 10 * 60_000;
const PARENTS_A_RUN = 1000;

export interface DigestRequest {
  dryRun: boolean;
  /** Also reads again what has its digest, what was read longest ago first. */
  scrub: boolean;
}

interface Reading {
  findings: Findings;
  backend: VolumeBackend;
  /** Unix time, in milliseconds, after which no further parent is begun. */
  untilMs: number;
}

/**
 * Gives every ready entry the digest of its parent's guest-visible bytes and, when asked, compares those that have one:
 * a mismatch is proof, and the entry is quarantined. Paced by `schedules.scrubRate`. Goes on from parent to parent, so
 * a repeated try loses one at most.
 */
export function createDigestParents(deps: BackendDependencies, name: BackendName) {
  return async function digestParents({ dryRun, scrub }: DigestRequest): Promise<ReconcileStep> {
    const backend = backendHeld(deps, name);
    const findings = await createFindings(deps, { backend: name, dryRun });
    if (dryRun || backend.digestParent === undefined) return findings.step();
    const reading = { findings, backend, untilMs: Date.now() + BEGIN_WITHIN_MS };
    const digested = await digestNew(deps, reading);
    const scrubbed = scrub ? await scrubOld(deps, reading) : 0;
    return { ...findings.step(), digested, scrubbed };
  };
}

async function digestNew(deps: BackendDependencies, reading: Reading): Promise<number> {
  const entries = await listUndigested(deps.database, { backend: reading.backend.name, limit: PARENTS_A_RUN });
  let digested = 0;
  for (const entry of entries) {
    if (Date.now() > reading.untilMs) break;
    if (!(await makeIndependent(deps, entry, reading))) continue;
    const found = await read(deps, entry, reading);
    if (found === undefined) continue;
    await recordDigest(deps.database, { entryId: entry.id, ...found });
    digested += 1;
  }
  return digested;
}

/**
 * Gives a parent that was cloned from the image service's store bytes of its own before it gets its digest: until then the image
 * cannot be deleted there.
 * @returns false where there is no room for them; a later run tries again.
 */
async function makeIndependent(
  deps: BackendDependencies,
  { imageVolume }: EntryRow,
  { findings, backend }: Reading,
): Promise<boolean> {
  try {
    await backend.ensureParentIndependent?.(imageVolume, {
      bytesPerSecond: deps.config.schedules.scrubRate,
      signal: cancellationSignal(),
      onProgress: (fraction) =>
        findings.at(`giving image-volume ${imageVolume} bytes of its own: ${Math.round(100 * fraction)} %`),
    });
    return true;
  } catch (error) {
    if (error instanceof Failure && error.isFinal) return false;
    throw error;
  }
}

async function scrubOld(deps: BackendDependencies, reading: Reading): Promise<number> {
  const entries = await listLeastScrubbed(deps.database, { backend: reading.backend.name, limit: PARENTS_A_RUN });
  let scrubbed = 0;
  for (const entry of entries) {
    if (Date.now() > reading.untilMs) break;
    const found = await read(deps, entry, reading);
    if (found === undefined) continue;
    if (found.digest === entry.digest) await noteScrubbed(deps.database, { entryId: entry.id });
    else await quarantine(deps, { entry, found }, reading.findings);
    scrubbed += 1;
  }
  return scrubbed;
}

/** @returns undefined where there is nothing sealed to read: `reconcileObjects` says why. */
async function read(
  deps: BackendDependencies,
  entry: EntryRow,
  { findings, backend }: Reading,
): Promise<ParentDigest | undefined> {
  findings.compared();
  const onProgress = (done: number, total: number): void =>
    findings.at(`reading image-volume ${entry.imageVolume}: ${formatBytes(done)} of ${formatBytes(total)}`);
  try {
    return await backend.digestParent?.(entry.imageVolume, {
      bytesPerSecond: deps.config.schedules.scrubRate,
      signal: cancellationSignal(),
      onProgress,
    });
  } catch (error) {
    if (error instanceof Failure && error.type === 'ParentUnusable') return undefined;
    throw error;
  }
}

async function quarantine(
  deps: BackendDependencies,
  { entry, found }: { entry: EntryRow; found: ParentDigest },
  findings: Findings,
): Promise<void> {
  const { id: entryId, backend, imageVolume, realBytes } = entry;
  const sentence = `its bytes hash to ${found.digest}, they were sealed as ${entry.digest}`;
  await findings.repair({
    finding: { kind: 'digest-mismatch', object: imageVolume, found: sentence, bytes: realBytes },
    repair: async () => {
      const outcome = await quarantineEntry(deps.database, { entryId, found: sentence });
      if (outcome.kind !== 'quarantined') return 'unfounded';
      deps.metrics.quarantined({ backend });
      return 'repaired';
    },
  });
}
