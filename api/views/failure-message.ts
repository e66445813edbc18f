import type { FastifyRequest } from 'fastify';
import type { Message } from '../../client/records';
import { failures } from '../../workflows/contract/failures';
import { failedKinds, type FailedKind } from '../../workflows/contract/message';
import type { ApiContext } from '../api-context';
import { linksOf } from '../links';
import { timeOf } from './time';

/* Cinder's words for what has failed. Source: `cinder.message.message_field`. */

type Words = readonly [id: string, text: string];

const allocate: Words = ['001', 'schedule allocate volume'];
const uploadVolume: Words = ['003', 'copy volume to image'];
const fromImage: Words = ['005', 'copy image to volume'];
const extendVolume: Words = ['007', 'extend volume'];
const create: Words = ['008', 'create volume from backend storage'];
const takeSnapshot: Words = ['009', 'create snapshot'];
const reimage: Words = ['016', 'reimage volume'];
/** Cinder has none for it. */
const deleteVolume: Words = ['017', 'delete volume'];

const unknown: Words = ['001', 'An unknown error occurred.'];
const noBackend: Words = ['003', 'Could not find any available weighted backend.'];
const untold: Words = ['009', 'Compute service failed to extend volume.'];
const overQuota: Words = ['006', 'Not enough quota resource for operation.'];

/** Of each kind: its action, and the detail of a failure that has no words of its own. */
const wordsOf: Record<FailedKind, { action: Words; detail: Words }> = {
  'volume.create-failed': { action: create, detail: ['012', 'Driver failed to create the volume.'] },
  'volume.delete-refused': { action: deleteVolume, detail: ['027', 'Volume status is invalid.'] },
  'volume.extend-failed': { action: extendVolume, detail: ['010', 'Volume Driver failed to extend volume.'] },
  'volume.reimage-failed': { action: reimage, detail: ['028', 'Compute service failed to reimage volume.'] },
  'volume.upload-failed': {
    action: uploadVolume,
    detail: ['004', 'Failed to upload volume to image at backend.'],
  },
  'snapshot.create-failed': { action: takeSnapshot, detail: ['013', 'Snapshot failed to create.'] },
};

type Cause = Pick<Message, 'kind' | 'error' | 'ofImage'>;

function told({ kind, error, ofImage }: Cause): { action: Words; detail: Words } {
  const { action, detail } = wordsOf[kind];
  const isCreate = kind === 'volume.create-failed';
  if (error === 'NoBackendFits' || error === 'NoSpace')
    return { action: isCreate ? allocate : action, detail: noBackend };
  if (error === 'QuotaExceeded') return { action, detail: overQuota };
  if (error === 'ComputeServiceUnavailable' && kind === 'volume.extend-failed') return { action, detail: untold };
  return { action: isCreate && ofImage ? fromImage : action, detail: error === 'Internal' ? unknown : detail };
}

const resourceOf = (kind: FailedKind) => (kind.startsWith('snapshot.') ? 'VOLUME_SNAPSHOT' : 'VOLUME');

function eventIdOf(cause: Cause): string {
  const { action, detail } = told(cause);
  return `VOLUME_${resourceOf(cause.kind)}_${action[0]}_${detail[0]}`;
}

/** Every failure that has a message. */
const causes: readonly Cause[] = failedKinds.flatMap((kind) =>
  ['', 'Cancelled', ...Object.keys(failures)].flatMap((error) =>
    [true, false].map((ofImage) => ({ kind, error, ofImage })),
  ),
);

/** @returns those of which messages have this id of an event, or this type of resource. */
export function causesOf({ eventId, resourceType }: { eventId?: string; resourceType?: string }): readonly Cause[] {
  return causes.filter(
    (cause) =>
      (eventId === undefined || eventIdOf(cause) === eventId) &&
      (resourceType === undefined || resourceOf(cause.kind) === resourceType),
  );
}

/** Of every message: nothing is told but failures. */
export const LEVEL = 'ERROR';

/** Source: `cinder.api.v3.views.messages`. */
export function messageView(request: FastifyRequest, context: ApiContext, message: Message) {
  const { messageId, at, kind, object, requestId } = message;
  const { action, detail } = told(message);
  const { retention } = context.cache.settings.loaded.config;
  const keptMs = kind === 'volume.create-failed' ? retention.decisions : retention.events;
  return {
    id: messageId,
    event_id: eventIdOf(message),
    user_message: `${action[1]}:${detail[1]}`,
    message_level: LEVEL,
    created_at: timeOf(at),
    guaranteed_until: timeOf(new Date(Date.parse(at) + keptMs).toISOString()),
    request_id: requestId,
    links: linksOf(request, context, `messages/${messageId}`),
    resource_type: resourceOf(kind),
    resource_uuid: object,
  };
}
