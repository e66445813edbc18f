import { z } from 'zod';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';

/** Absent, null and empty are one. */
export const optional = <Schema extends z.ZodType>(schema: Schema) =>
  z.preprocess((value) => (value === null || value === '' ? undefined : value), schema.optional());

/** A name or a description to set: spaces around it are not of it, and an empty one is none. Absent: it stays. */
export const changedText = z
  .string()
  .max(MAX_NAME_CHARACTERS)
  .transform((text) => text.trim() || null)
  .nullish();

/** Name and description to set, each by either of the names that Cinder knows it by. */
export const changedNames = {
  name: changedText,
  description: changedText,
  display_name: changedText,
  display_description: changedText,
};

type ChangedText = z.output<typeof changedText>;

/** @returns `given` with the names that are ours: `name` goes before `display_name`. */
export function namedOnce<Rest extends object>({
  name,
  description,
  display_name: displayName,
  display_description: displayDescription,
  ...rest
}: Rest & Partial<Record<keyof typeof changedNames, ChangedText>>) {
  return {
    ...rest,
    name: name === undefined ? displayName : name,
    description: description === undefined ? displayDescription : description,
  };
}

/** Source: `boolean` of `cinder.api.validation.parameter_types`. */
export const flag = z
  .union([z.boolean(), z.string().regex(/^(?:1|0|true|false|on|off|yes|no|y|n|t|f)$/i)], 'true or false')
  .transform((value) => /^(?:1|true|on|yes|y|t)$/i.test(String(value)));

export const nonEmptyText = (maxCharacters: number) => z.string().min(1).max(maxCharacters);

export const resourceId = z.uuid('a UUID').transform((id) => id.toLowerCase());

/** Whole GiB, as a number or its digits. */
export const volumeSizeGiB = z
  .union([z.int(), z.string().regex(/^\d{1,10}$/)], 'a whole number')
  .transform(Number)
  .pipe(z.int().min(1).max(2_147_483_647));

export const metadata = z.record(z.string().min(1).max(MAX_NAME_CHARACTERS), z.string().max(MAX_NAME_CHARACTERS));
