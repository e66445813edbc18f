import type { FastifyInstance } from 'fastify';
import { attachActions } from '../actions/attach-volume';
import { extend } from '../actions/extend';
import { administratorActions } from '../actions/of-administrators';
import { contentActions } from '../actions/other-contents';
import { uploadToImage } from '../actions/upload-to-image';
import { settingActions } from '../actions/volume-settings';
import type { VolumeAction } from '../actions/volume-action';
import type { ApiContext } from '../api-context';
import { isAdmin } from '../caller';
import { badRequest, forbidden } from '../errors';
import { actionSchema } from '../schemas/action';
import { volumeOfPath } from './volumes';

/** By their names in the body. */
const actions: Readonly<Record<string, VolumeAction>> = {
  ...attachActions,
  'os-extend': extend,
  ...settingActions,
  ...contentActions,
  'os-volume_upload_image': uploadToImage,
  ...administratorActions,
};

/** `POST volumes/{id}/action`: the one key of its body says which. */
export function registerVolumeActions(app: FastifyInstance, context: ApiContext): void {
  app.post<{ Body: Record<string, unknown> }>(
    '/volumes/:volume_id/action',
    { schema: { body: actionSchema } },
    async (request, reply) => {
      const [[name, given] = ['', undefined]] = Object.entries(request.body);
      const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
      if (action === undefined || request.minor < action.since)
        throw badRequest(`There is no such action: ${name.slice(0, 64)}.`);
      if (action.ofAdministrators && !isAdmin(request.caller)) throw forbidden(name);
      const run = action.prepare(given);
      const answer = await run({ request, context, volume: await volumeOfPath(request, context) });
      return reply.code(action.status).send(answer ?? undefined);
    },
  );
}
