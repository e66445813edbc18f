import type { FastifyInstance, FastifyRequest } from 'fastify';
import { changeVolumeType } from '../../client/volume-types';
import type { DefaultTypeChange } from '../../workflows/contract/volume-type';
import { expectAdministrator } from '../administrator';
import type { ApiContext } from '../api-context';
import { badRequest, notFound } from '../errors';
import { defaultTypeSchema, type DefaultTypeBody } from '../schemas/type';
import { visibleType } from '../volume-types';
import { requesterOf } from '../requester';

/** Source: `DEFAULT_TYPE_OVERRIDES` of `cinder.api.microversions`. */
const SINCE = 62;

interface OfProject {
  Params: { target: string };
}

/** `default-types`: which type the volumes of a project have that ask for none. */
export function registerDefaultTypes(app: FastifyInstance, context: ApiContext): void {
  const { cache } = context;
  const path = '/default-types/:target';
  const defaultOf = async (target: string) => {
    const [found] = await (await cache.inventory()).listDefaultTypes({ projectId: target });
    return found;
  };
  const change = async (request: FastifyRequest, volumeTypeId: string, of: DefaultTypeChange): Promise<void> => {
    const { by, requestId } = requesterOf(request);
    await changeVolumeType(cache, { volumeTypeId, ...of, by, requestId });
  };

  app.get('/default-types', async (request) => {
    expectServed(request, 'get_all');
    return { default_types: (await (await cache.inventory()).listDefaultTypes()).map(viewOf) };
  });

  app.get<OfProject>(path, async (request) => {
    expectServed(request, 'get');
    const { target } = request.params;
    const found = await defaultOf(target);
    if (found === undefined) throw notFound(`Default type for project ${target} not found.`);
    return { default_type: viewOf(found) };
  });

  app.put<OfProject & { Body: DefaultTypeBody }>(path, { schema: { body: defaultTypeSchema } }, async (request) => {
    expectServed(request, 'set_or_update');
    const { target } = request.params;
    const { volume_type: called } = request.body.default_type;
    const type = await visibleType(request, context, called);
    if (type === undefined) throw badRequest(`Volume type ${called.slice(0, 64)} could not be found.`);
    await change(request, type.volumeTypeId, { addDefaultOf: [target] });
    return { default_type: viewOf({ projectId: target, volumeTypeId: type.volumeTypeId }) };
  });

  app.delete<OfProject>(path, async (request, reply) => {
    expectServed(request, 'unset');
    const { target } = request.params;
    const found = await defaultOf(target);
    if (found !== undefined) await change(request, found.volumeTypeId, { removeDefaultOf: [target] });
    return reply.code(204).send();
  });
}

/** @throws ApiError 404 before the version that has it, 403 */
function expectServed(request: FastifyRequest, verb: string): void {
  if (request.minor < SINCE) throw notFound('The resource could not be found.');
  expectAdministrator(request, `volume_extension:default_${verb}`);
}

/** Source: `cinder.api.v3.views.default_types`. */
function viewOf({ projectId, volumeTypeId }: { projectId: string; volumeTypeId: string }) {
  return { project_id: projectId, volume_type_id: volumeTypeId };
}
