import { z } from 'zod';
import {
  changeDefaultType,
  deleteVolumeType,
  insertVolumeType,
  findVolumeType,
  updateVolumeType,
} from '../../db/volume-types';
import { Failure } from '../../workflows/contract/failures';
import type { ProjectId } from '../../workflows/contract/ids';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import type { ChangeVolumeTypeInput, ChangeVolumeTypeResult } from '../../workflows/contract/volume-type';
import { quote } from '../../workflows/contract/words';
import type { ControlDependencies } from '../dependencies';
import {
  boundedText,
  callerSchema,
  parseRequest,
  projectId,
  storableText,
  uuid,
  volumeDescription,
  volumeName,
} from '../kit/request';
import { workflowExecution } from '../kit/runs';

const MAX_SPECS = 256;
const specKey = boundedText(MAX_NAME_CHARACTERS);
const specs = z
  .record(specKey, storableText(MAX_NAME_CHARACTERS))
  .refine((given) => Object.keys(given).length <= MAX_SPECS, `at most ${MAX_SPECS} entries`);

const typeSchema = z.strictObject({
  volumeTypeId: uuid,
  verb: z.enum(['create', 'delete'], 'create, delete').optional(),
  name: volumeName.optional(),
  description: volumeDescription.nullable().optional(),
  isPublic: z.boolean('true or false').optional(),
  extraSpecs: specs.optional(),
  unsetExtraSpecs: z.array(specKey).max(MAX_SPECS).optional(),
  addProjects: z.array(projectId).max(MAX_SPECS).optional(),
  removeProjects: z.array(projectId).max(MAX_SPECS).optional(),
  encryption: z
    .strictObject({
      encryptionId: uuid,
      provider: storableText(MAX_NAME_CHARACTERS),
      controlLocation: z.enum(['front-end', 'back-end'], 'front-end, back-end'),
      cipher: storableText(MAX_NAME_CHARACTERS).nullable(),
      keySize: z.int().min(0).nullable(),
    })
    .nullable()
    .optional(),
  addDefaultOf: z.array(projectId).max(MAX_SPECS).optional(),
  removeDefaultOf: z.array(projectId).max(MAX_SPECS).optional(),
  ...callerSchema,
});

/** Makes, changes or removes a volume type. Idempotent. @throws InvalidRequest, VolumeTypeNotFound (final). */
export function createChangeVolumeType({ config, database }: ControlDependencies) {
  return async function changeVolumeType(input: unknown): Promise<ChangeVolumeTypeResult> {
    const { by, requestId, volumeTypeId: id, verb, ...change } = parseRequest(typeSchema, input);
    const source = { by, requestId, ...workflowExecution() };
    const { name } = change;
    if (name !== undefined && Object.hasOwn(config.volumeTypes, name)) throw refuseName(name);
    const outcome = await run({ id, verb, change, source });
    switch (outcome.kind) {
      case 'absent':
        throw new Failure('VolumeTypeNotFound', { volumeType: id });
      case 'name-taken':
        throw refuseName(name ?? '');
      case 'in-use':
        throw new Failure('InvalidRequest', {
          field: 'volumeTypeId',
          value: id,
          allowed: 'a type that no volume has, and that is no project’s default',
        });
      case 'done':
        return { volumeTypeId: id, name: outcome.type.name, outcome: outcomeOf(verb) };
    }
  };

  async function run({ id, verb, change, source }: Asked) {
    if (verb === 'delete') return await deleteVolumeType(database, { id, source });
    const { addDefaultOf: add = [], removeDefaultOf: remove = [], ...ofType } = change;
    if (add.length > 0 || remove.length > 0) {
      const [other] = [...(verb === undefined ? [] : ['verb']), ...Object.keys(ofType)];
      if (other !== undefined)
        throw new Failure('InvalidRequest', {
          field: other,
          value: 'a change',
          allowed: 'nothing beside its projects',
        });
      await changeDefaultType(database, { id, add: add as ProjectId[], remove: remove as ProjectId[], source });
      return { kind: 'done', type: { name: (await findVolumeType(database, id))?.name ?? id } } as const;
    }
    if (verb === undefined) return await updateVolumeType(database, { id, change: ofType, source });
    const { name, ...rest } = ofType;
    if (name === undefined) throw new Failure('InvalidRequest', { field: 'name', value: 'nothing', allowed: 'a name' });
    return await insertVolumeType(database, { id, name, change: rest, source });
  }
}

interface Asked {
  id: string;
  verb: ChangeVolumeTypeInput['verb'];
  change: Omit<z.output<typeof typeSchema>, 'volumeTypeId' | 'verb' | 'by' | 'requestId'>;
  source: Parameters<typeof deleteVolumeType>[1]['source'];
}

function refuseName(name: string): Failure {
  return new Failure('InvalidRequest', { field: 'name', value: quote(name), allowed: 'a name that no other type has' });
}

function outcomeOf(verb: ChangeVolumeTypeInput['verb']): ChangeVolumeTypeResult['outcome'] {
  if (verb === undefined) return 'changed';
  return verb === 'create' ? 'created' : 'deleted';
}
