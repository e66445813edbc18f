import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { VolumeTypeEncryption } from '../../workflows/contract/volume-type';
import { expectAdministrator } from '../administrator';
import type { ApiContext } from '../api-context';
import { badRequest, notFound } from '../errors';
import {
  createEncryptionSchema,
  extraSpecSchema,
  extraSpecsSchema,
  updateEncryptionSchema,
  type CreateEncryptionBody,
  type ExtraSpecsBody,
  type UpdateEncryptionBody,
} from '../schemas/type';
import { applyTypeChange, specsFor, typeCalled } from './types';

interface OfType {
  Params: { type_id: string };
}
interface OfKey {
  Params: { type_id: string; key: string };
}

/** `types/{id}/extra_specs`: requirements on the backend of a type's volumes. */
export function registerExtraSpecs(app: FastifyInstance, context: ApiContext): void {
  const path = '/types/:type_id/extra_specs';
  const itemPath = `${path}/:key`;
  const rule = (verb: string) => `volume_extension:types_extra_specs:${verb}`;

  app.get<OfType>(path, async (request) => ({
    extra_specs: specsFor(request, await typeCalled(request, context, request.params.type_id)),
  }));

  app.get<OfKey>(itemPath, async (request) => {
    const { type_id: typeId, key } = request.params;
    const specs = specsFor(request, await typeCalled(request, context, typeId));
    if (!Object.hasOwn(specs, key)) throw specNotFound(request.params);
    return { [key]: specs[key] };
  });

  app.post<OfType & { Body: ExtraSpecsBody }>(path, { schema: { body: extraSpecsSchema } }, async (request) => {
    expectAdministrator(request, rule('create'));
    const type = await typeCalled(request, context, request.params.type_id);
    await applyTypeChange(request, context, { type, change: { extraSpecs: request.body.extra_specs } });
    return request.body;
  });

  app.put<OfKey & { Body: Record<string, string> }>(
    itemPath,
    { schema: { body: extraSpecSchema } },
    async (request) => {
      expectAdministrator(request, rule('update'));
      if (!Object.hasOwn(request.body, request.params.key)) throw badRequest('Request body and URI mismatch');
      const type = await typeCalled(request, context, request.params.type_id);
      await applyTypeChange(request, context, { type, change: { extraSpecs: request.body } });
      return request.body;
    },
  );

  app.delete<OfKey>(itemPath, async (request, reply) => {
    expectAdministrator(request, rule('delete'));
    const { type_id: typeId, key } = request.params;
    const type = await typeCalled(request, context, typeId);
    if (!Object.hasOwn(type.extraSpecs, key)) throw specNotFound(request.params);
    await applyTypeChange(request, context, { type, change: { unsetExtraSpecs: [key] } });
    return reply.code(202).send();
  });
}

function specNotFound({ type_id: typeId, key }: OfKey['Params']) {
  return notFound(`Volume Type ${typeId} has no extra specs with key ${key.slice(0, 64)}.`);
}

/** `types/{id}/encryption`: kept as it is set. No volume is encrypted by it: a create of such a type is refused. */
export function registerTypeEncryption(app: FastifyInstance, context: ApiContext): void {
  const path = '/types/:type_id/encryption';
  const rule = (verb: string) => `volume_extension:volume_type_encryption:${verb}`;

  app.get<OfType>(path, async (request) => {
    expectAdministrator(request, rule('get'));
    const { volumeTypeId, encryption } = await typeCalled(request, context, request.params.type_id);
    return encryption === null ? {} : { volume_type_id: volumeTypeId, deleted: false, ...encryptionView(encryption) };
  });

  app.get<OfKey>(`${path}/:key`, async (request) => {
    expectAdministrator(request, rule('get'));
    const { type_id: typeId, key } = request.params;
    const { encryption } = await typeCalled(request, context, typeId);
    const view: Record<string, unknown> = encryption === null ? {} : encryptionView(encryption);
    if (!Object.hasOwn(view, key)) throw notFound(`Volume type encryption for type ${typeId} does not exist.`);
    return { [key]: view[key] };
  });

  app.post<OfType & { Body: CreateEncryptionBody }>(
    path,
    { schema: { body: createEncryptionSchema } },
    async (request) => {
      expectAdministrator(request, rule('create'));
      const type = await typeCalled(request, context, request.params.type_id);
      if (type.encryption !== null)
        throw badRequest(`Volume type encryption for type ${type.volumeTypeId} already exists.`);
      const {
        provider,
        control_location: controlLocation,
        cipher = null,
        key_size: keySize = null,
      } = request.body.encryption;
      const encryption = { encryptionId: randomUUID(), provider, controlLocation, cipher, keySize };
      await applyTypeChange(request, context, { type, change: { encryption } });
      return { encryption: { volume_type_id: type.volumeTypeId, ...encryptionView(encryption) } };
    },
  );

  app.put<OfKey & { Body: UpdateEncryptionBody }>(
    `${path}/:key`,
    { schema: { body: updateEncryptionSchema } },
    async (request) => {
      expectAdministrator(request, rule('update'));
      const type = await typeCalled(request, context, request.params.type_id);
      const { encryption: former } = type;
      if (former === null) throw notFound(`Volume type encryption for type ${request.params.type_id} does not exist.`);
      const given = request.body.encryption;
      const encryption = {
        encryptionId: former.encryptionId,
        provider: given.provider ?? former.provider,
        controlLocation: given.control_location ?? former.controlLocation,
        cipher: given.cipher === undefined ? former.cipher : given.cipher,
        keySize: given.key_size === undefined ? former.keySize : given.key_size,
      };
      await applyTypeChange(request, context, { type, change: { encryption } });
      return request.body;
    },
  );

  app.delete<OfKey>(`${path}/:key`, async (request, reply) => {
    expectAdministrator(request, rule('delete'));
    const type = await typeCalled(request, context, request.params.type_id);
    if (type.encryption === null)
      throw notFound(`Volume type encryption for type ${request.params.type_id} does not exist.`);
    await applyTypeChange(request, context, { type, change: { encryption: null } });
    return reply.code(202).send();
  });
}

function encryptionView({ encryptionId, provider, controlLocation, cipher, keySize }: VolumeTypeEncryption) {
  return { encryption_id: encryptionId, provider, control_location: controlLocation, cipher, key_size: keySize };
}
