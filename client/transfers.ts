import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { Caller } from '../workflows/contract/event-kinds';
import type { TransferId } from '../workflows/contract/ids';
import { workflowTypes } from '../workflows/contract/names';
import type { CreateTransferInput, TransferResult } from '../workflows/contract/transfer';
import type { ImageVolumeCache } from './connection';
import type { OfProject } from './inventory';
import { checkUuid } from './object-ids';
import { checkProjectId } from './project-id';
import { runWorkflow, type RunRequest } from './run-workflow';

/** Source: `volume_transfer_key_length` of Cinder, in hexadecimal digits; longer, since it is all that guards a volume. */
const KEY_BYTES = 16;

const hashOf = (key: string): string => createHash('sha256').update(key).digest('hex');

/**
 * Offers an available volume, with its snapshots, to the project that has the key. The key is told this once: only its hash is kept.
 * @throws ImageVolumeCacheError `VolumeNotFound`, `VolumeNotReady`, `InvalidRequest`. Undo: `deleteTransfer`.
 */
export async function createTransfer(
  cache: ImageVolumeCache,
  input: Omit<CreateTransferInput, 'transferId' | 'keyHash'>,
): Promise<TransferResult & { key: string }> {
  checkUuid('volumeId', input.volumeId);
  const transferId = randomUUID() as TransferId;
  const key = randomBytes(KEY_BYTES).toString('hex');
  const result = await run(cache, {
    type: workflowTypes.createTransfer,
    workflowId: cache.queues.ids.createTransfer(transferId),
    input: { ...input, transferId, keyHash: hashOf(key) },
    summary: `offer volume ${input.volumeId}`,
  });
  return { ...result, key };
}

/**
 * Takes over a volume that was offered, with its snapshots, into a project, whose quotas count it from here on.
 * @throws ImageVolumeCacheError `TransferNotFound`, for a wrong key too, `QuotaExceeded`, `VolumeNotReady`
 */
export async function acceptTransfer(
  cache: ImageVolumeCache,
  transferId: string,
  { key, ...input }: { key: string; projectId: string } & Caller,
): Promise<TransferResult> {
  const id = checkUuid('transferId', transferId) as TransferId;
  return await run(cache, {
    type: workflowTypes.acceptTransfer,
    workflowId: cache.queues.ids.acceptTransfer(id, randomUUID()),
    input: { ...input, transferId: id, keyHash: hashOf(key) },
    summary: `accept transfer ${id}`,
  });
}

/** Ends an offer; its volume is available again. @throws ImageVolumeCacheError `TransferNotFound` */
export async function deleteTransfer(
  cache: ImageVolumeCache,
  transferId: string,
  { projectId, by, requestId }: OfProject & Caller = {},
): Promise<TransferResult> {
  const id = checkUuid('transferId', transferId) as TransferId;
  if (projectId !== undefined) checkProjectId(projectId);
  return await run(cache, {
    type: workflowTypes.deleteTransfer,
    workflowId: cache.queues.ids.deleteTransfer(id, projectId),
    input: { transferId: id, projectId, by, requestId },
    summary: `end transfer ${id}`,
  });
}

async function run(cache: ImageVolumeCache, request: Omit<RunRequest<unknown>, 'conflict'>): Promise<TransferResult> {
  const { result } = await runWorkflow<TransferResult, { wait: true }>(
    cache,
    { ...request, conflict: 'USE_EXISTING' },
    { options: { wait: true } },
  );
  return result;
}
