import { randomUUID } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { changeVolumeType } from '../../client/volume-types';
import type { VolumeTypeChange } from '../../workflows/contract/volume-type';
import { expectAdministrator } from '../administrator';
import type { ApiContext } from '../api-context';
import { isAdmin } from '../caller';
import { ApiError, badRequest, notFound } from '../errors';
import { pageOf } from '../paging';
import { isTrue, type Query } from '../query';
import {
  createTypeSchema,
  typeActionSchema,
  updateTypeSchema,
  type CreateTypeBody,
  type TypeActionBody,
  type UpdateTypeBody,
} from '../schemas/type';
import { defaultTypeName, defaultTypeOf, listVisibleTypes, visibleType, type ListedType } from '../volume-types';
import { requesterOf } from '../requester';

interface OfType {
  Params: { type_id: string };
}

/** `types`: volume types, which a create may name in place of a backend. */
export function registerTypes(app: FastifyInstance, context: ApiContext): void {
  const shown = async (request: FastifyRequest, called: string) => ({
    volume_type: typeView(request, await typeCalled(request, context, called)),
  });

  app.get<{ Querystring: Query }>('/types', async (request) => {
    const page = pageOf(request.query);
    const types = (await listVisibleTypes(request, context)).filter(({ isPublic }) => isListed(request, isPublic));
    const from = page.marker === undefined ? 0 : types.findIndex((type) => type.volumeTypeId === page.marker) + 1;
    const listed = types.slice(from + page.offset).slice(0, page.limit);
    return { volume_types: listed.map((type) => typeView(request, type)) };
  });

  app.get('/types/default', async (request) => {
    const own = await defaultTypeOf(context, request.caller.projectId);
    return await shown(request, own?.name ?? defaultTypeName(context));
  });
  app.get<OfType>('/types/:type_id', async (request) => await shown(request, request.params.type_id));

  app.post<{ Body: CreateTypeBody }>('/types', { schema: { body: createTypeSchema } }, async (request) => {
    expectAdministrator(request, 'volume_extension:type_create');
    const { name, description, extra_specs: extraSpecs, ...given } = request.body.volume_type;
    await expectFreeName(request, context, name);
    const volumeTypeId = randomUUID();
    await changeVolumeType(context.cache, {
      volumeTypeId,
      verb: 'create',
      name,
      description,
      isPublic: given['os-volume-type-access:is_public'] ?? true,
      extraSpecs: extraSpecs ?? {},
      ...operatorOf(request),
    });
    return await shown(request, volumeTypeId);
  });

  app.put<OfType & { Body: UpdateTypeBody }>(
    '/types/:type_id',
    { schema: { body: updateTypeSchema } },
    async (request) => {
      expectAdministrator(request, 'volume_extension:type_update');
      const { name, description, is_public: isPublic } = request.body.volume_type;
      const type = await typeCalled(request, context, request.params.type_id);
      if (name && name !== type.name) await expectFreeName(request, context, name);
      const change = { name: name ?? undefined, description, isPublic: isPublic ?? undefined };
      await applyTypeChange(request, context, { type, change });
      // An update alone does not say it twice.
      const { volume_type: changed } = await shown(request, type.volumeTypeId);
      const { 'os-volume-type-access:is_public': _isPublic, ...updated } = changed;
      return { volume_type: updated };
    },
  );

  app.delete<OfType>('/types/:type_id', async (request, reply) => {
    expectAdministrator(request, 'volume_extension:type_delete');
    const type = await typeCalled(request, context, request.params.type_id);
    await applyTypeChange(request, context, { type, change: { verb: 'delete' } });
    return reply.code(202).send();
  });

  app.get<OfType>('/types/:type_id/os-volume-type-access', async (request) => {
    expectAdministrator(request, 'volume_extension:volume_type_access:get_all_for_type');
    const { volumeTypeId, isPublic, projects } = await typeCalled(request, context, request.params.type_id);
    if (isPublic) throw notFound('Access list not available for public volume types.');
    return {
      volume_type_access: projects.map((projectId) => ({ volume_type_id: volumeTypeId, project_id: projectId })),
    };
  });

  app.post<OfType & { Body: TypeActionBody }>(
    '/types/:type_id/action',
    { schema: { body: typeActionSchema } },
    async (request, reply) => {
      expectAdministrator(request, 'volume_extension:volume_type_access:addProjectAccess');
      const type = await typeCalled(request, context, request.params.type_id);
      expectChangeable(type);
      const { volumeTypeId, projects, isPublic } = type;
      if (isPublic) throw badRequest(publicTypeAccess);
      if ('addProjectAccess' in request.body) {
        const { project } = request.body.addProjectAccess;
        if (projects.some((projectId) => projectId === project))
          throw new ApiError(409, `Volume type access for ${volumeTypeId} / ${project} combination already exists.`);
        await applyTypeChange(request, context, { type, change: { addProjects: [project] } });
      } else {
        const { project } = request.body.removeProjectAccess;
        if (!projects.some((projectId) => projectId === project))
          throw notFound(`Volume type access not found for ${volumeTypeId} / ${project} combination.`);
        await applyTypeChange(request, context, { type, change: { removeProjects: [project] } });
      }
      return reply.code(202).send();
    },
  );
}

/** @returns the type of the path. @throws ApiError 404 */
export async function typeCalled(request: FastifyRequest, context: ApiContext, called: string): Promise<ListedType> {
  const type = await visibleType(request, context, called);
  if (type === undefined) throw notFound(`Volume type ${called.slice(0, 64)} could not be found.`);
  return type;
}

/** Changes a type. @throws ApiError 400 for one of the configuration */
export async function applyTypeChange(
  request: FastifyRequest,
  { cache }: ApiContext,
  { type, change }: { type: ListedType; change: VolumeTypeChange & { verb?: 'delete' } },
): Promise<void> {
  expectChangeable(type);
  await changeVolumeType(cache, { volumeTypeId: type.volumeTypeId, ...change, ...operatorOf(request) });
}

function expectChangeable({ isConfigured, name }: ListedType): void {
  if (isConfigured) throw badRequest(`Invalid volume type: ${name} is the configuration’s, and is changed there.`);
}

function operatorOf(request: FastifyRequest) {
  const { by, requestId } = requesterOf(request);
  return { by, requestId };
}

async function expectFreeName(request: FastifyRequest, context: ApiContext, name: string): Promise<void> {
  const types = await listVisibleTypes(request, context);
  if (types.some((type) => type.name === name)) throw new ApiError(409, `Volume Type ${name} already exists.`);
}

/** Source: `cinder.volume.volume_types.add_volume_type_access`. */
const publicTypeAccess = 'Invalid volume type: Type access modification is not applicable to public volume type.';

/** Extra specs that are no secret of the operator's. Source: `USER_VISIBLE_EXTRA_SPECS` of Cinder. */
const VISIBLE_SPECS = new Set(['RESKEY:availability_zones', 'multiattach', 'replication_enabled']);

/** @returns the extra specs of a type that a caller may see. */
export function specsFor({ caller }: FastifyRequest, { extraSpecs }: ListedType): Record<string, string> {
  if (isAdmin(caller)) return extraSpecs;
  return Object.fromEntries(Object.entries(extraSpecs).filter(([key]) => VISIBLE_SPECS.has(key)));
}

/** Source: `cinder.api.v3.views.types`. */
function typeView(request: FastifyRequest, type: ListedType) {
  return {
    id: type.volumeTypeId,
    name: type.name,
    is_public: type.isPublic,
    description: type.description,
    'os-volume-type-access:is_public': type.isPublic,
    extra_specs: specsFor(request, type),
  };
}

/** Administrators choose with `is_public`; others see the public ones and their own. */
function isListed({ caller, query }: FastifyRequest, isPublic: boolean): boolean {
  const wanted = (query as Query)['is_public']?.trim().toLowerCase();
  if (!isAdmin(caller) || wanted === 'none') return true;
  return isPublic === (wanted === undefined || isTrue(wanted));
}
