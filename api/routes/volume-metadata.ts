import type { FastifyInstance } from 'fastify';
import { getVolume } from '../../client/reads';
import { changeVolume } from '../../client/volumes';
import type { ApiContext } from '../api-context';
import { requesterOf } from '../requester';
import { registerMetadata } from './resource-metadata';
import { volumeOfPath } from './volumes';

/** `volumes/{id}/metadata`. */
export function registerVolumeMetadata(app: FastifyInstance, context: ApiContext): void {
  registerMetadata(app, '/volumes/:volume_id', {
    read: async (request) => (await volumeOfPath(request, context)).metadata,
    change: async (request, changeOf) => {
      const { volumeId, metadata } = await volumeOfPath(request, context);
      await changeVolume(context.cache, volumeId, { ...changeOf(metadata), ...requesterOf(request) });
      return (await getVolume(context.cache, volumeId)).metadata;
    },
  });
}
