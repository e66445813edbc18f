import { z } from 'zod';
import { areWatermarksInOrder, type Watermarks } from '../../workflows/contract/cache-limits';
import { backendNamePattern } from '../../workflows/contract/ids';
import { describeValue, type ConfigIssue } from './config-error';
import { percentage } from './units';

/**
 * As much of the file as the rules between values need; what is wrong by itself is left out here and reported by the
 * schema.
 */
const skeletonSchema = z.object({
  defaultBackend: z.string().optional().catch(undefined),
  images: z.object({ service: z.string().optional() }).optional().catch(undefined),
  identity: z.unknown().optional(),
  internalTenant: z.record(z.string(), z.unknown()).prefault({}).catch({}),
  backends: z
    .record(
      z.string(),
      z
        .object({
          cache: z
            .object({ freeLowWater: percentage.default(0.1).catch(0), freeHighWater: percentage.default(0.2).catch(1) })
            .prefault({})
            .catch({ freeLowWater: 0, freeHighWater: 1 }),
        })
        .catch({ cache: { freeLowWater: 0, freeHighWater: 1 } }),
    )
    .prefault({ local: {} })
    .catch({}),
});

/** Checks the rules between values, and between names and values, of a configuration that may have other faults too. */
export function crossCheck(values: unknown): ConfigIssue[] {
  const parsed = skeletonSchema.safeParse(values);
  if (!parsed.success) return [];
  const { defaultBackend, backends, images, identity, internalTenant } = parsed.data;
  return [
    ...(images?.service === 'catalogue' && identity === undefined ? [catalogueOfNobody] : []),
    ...(identity === undefined ? namesForNobody(internalTenant) : []),
    ...checkDefaultBackend(defaultBackend, backends),
    ...Object.entries(backends).flatMap(([name, { cache }]) => checkBackend(name, cache)),
  ];
}

const catalogueOfNobody: ConfigIssue = {
  path: 'images.service',
  received: '"catalogue"',
  allowed: 'embedded, unless `identity` says whose catalogue',
};

function namesForNobody(internalTenant: Record<string, unknown>): ConfigIssue[] {
  const names = Object.entries(internalTenant).filter(([key]) => ['projectName', 'userName'].includes(key));
  return names.map(([key, value]) => ({
    path: `internalTenant.${key}`,
    received: describeValue(value),
    allowed: 'an id, unless `identity` says whose names they are',
  }));
}

function checkDefaultBackend(defaultBackend: string | undefined, backends: Record<string, unknown>): ConfigIssue[] {
  if (defaultBackend === undefined || Object.hasOwn(backends, defaultBackend)) return [];
  return [
    {
      path: 'defaultBackend',
      received: describeValue(defaultBackend),
      allowed: `one of the backends ${Object.keys(backends).join(', ')}`,
    },
  ];
}

function checkBackend(name: string, { freeLowWater, freeHighWater }: Watermarks): ConfigIssue[] {
  const issues: ConfigIssue[] = [];
  if (!backendNamePattern.test(name)) {
    const allowed = 'a name of lower-case letters, digits and hyphens, 40 at most';
    issues.push({ path: `backends.${name}`, received: `the name ${JSON.stringify(name)}`, allowed });
  }
  if (!areWatermarksInOrder({ freeLowWater, freeHighWater })) {
    const allowed = `at most freeHighWater, ${formatPercentage(freeHighWater)}`;
    issues.push({ path: `backends.${name}.cache.freeLowWater`, received: formatPercentage(freeLowWater), allowed });
  }
  return issues;
}

function formatPercentage(fraction: number): string {
  return `${Math.round(fraction * 10_000) / 100}%`;
}
