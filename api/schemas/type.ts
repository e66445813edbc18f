import { z } from 'zod';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import { changedText, flag, nonEmptyText } from './common-fields';

const typeName = z.string().max(MAX_NAME_CHARACTERS).trim().min(1);
const extraSpecs = z.record(
  z.string().regex(/^[A-Za-z0-9:_. -]{1,255}$/, 'letters, digits, spaces, and any of ":-_."'),
  z.string().max(MAX_NAME_CHARACTERS),
);

/** Source: `cinder.api.schemas.volume_types`. */
export const createTypeSchema = z.object({
  volume_type: z.object({
    name: typeName,
    description: changedText,
    extra_specs: extraSpecs.nullish(),
    'os-volume-type-access:is_public': flag.nullish(),
  }),
});
export type CreateTypeBody = z.output<typeof createTypeSchema>;

export const updateTypeSchema = z.object({
  volume_type: z
    .strictObject({ name: typeName.nullish(), description: changedText, is_public: flag.nullish() })
    .refine(
      (type) => Object.values(type).some((value) => value !== null && value !== undefined),
      'name, description, is_public or a combination of them',
    ),
});
export type UpdateTypeBody = z.output<typeof updateTypeSchema>;

export const extraSpecsSchema = z.strictObject({ extra_specs: extraSpecs });
export type ExtraSpecsBody = z.output<typeof extraSpecsSchema>;
export const extraSpecSchema = extraSpecs.refine((spec) => Object.keys(spec).length === 1, 'one extra spec');

/** Source: `cinder.api.schemas.default_types`. */
export const defaultTypeSchema = z.object({
  default_type: z.strictObject({ volume_type: nonEmptyText(MAX_NAME_CHARACTERS) }),
});
export type DefaultTypeBody = z.output<typeof defaultTypeSchema>;

export const typeActionSchema = z.union([
  z.strictObject({ addProjectAccess: z.strictObject({ project: nonEmptyText(MAX_NAME_CHARACTERS) }) }),
  z.strictObject({ removeProjectAccess: z.strictObject({ project: nonEmptyText(MAX_NAME_CHARACTERS) }) }),
]);
export type TypeActionBody = z.output<typeof typeActionSchema>;

const keySize = z.union([z.int(), z.string().regex(/^\d+$/)], 'a whole number').transform(Number);
/** Source: `cinder.api.schemas.volume_type_encryption`. */
const encryption = z.object({
  // Clients in Go send an empty one where they change other fields.
  provider: z.string().max(MAX_NAME_CHARACTERS),
  control_location: z.enum(['front-end', 'back-end']),
  cipher: z.string().max(MAX_NAME_CHARACTERS).nullish(),
  key_size: keySize.nullish(),
});
export const createEncryptionSchema = z.strictObject({ encryption });
export const updateEncryptionSchema = z.strictObject({ encryption: encryption.partial() });
export type CreateEncryptionBody = z.output<typeof createEncryptionSchema>;
export type UpdateEncryptionBody = z.output<typeof updateEncryptionSchema>;
