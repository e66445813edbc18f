import { z } from 'zod';

const limit = z
  .union([
    z.int(),
    z
      .string()
      .regex(/^-?\d{1,10}$/)
      .transform(Number),
  ])
  .pipe(z.int().min(-1).max(2_147_483_647));

/** Names are looked at where the volume types are known. Source: `cinder.api.schemas.quotas`. */
const limits = z
  .record(z.string(), z.unknown())
  .transform(({ tenant_id: _tenant, id: _id, ...quotas }) => quotas)
  .pipe(z.record(z.string(), limit));

export const quotaSetSchema = z.object({
  quota_set: limits.refine((quotas) => Object.keys(quotas).length > 0, 'one quota at least'),
});
export const quotaClassSchema = z.object({
  quota_class_set: limits.refine((quotas) => Object.keys(quotas).length > 0, 'one quota at least'),
});
export type QuotaClassBody = z.output<typeof quotaClassSchema>;
export type QuotaSetBody = z.output<typeof quotaSetSchema>;
