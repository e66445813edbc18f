import { z } from 'zod';
import { areWatermarksInOrder, type Watermarks } from '../../workflows/contract/cache-limits';
import { backendNamePattern } from '../../workflows/contract/ids';
import { ANY_BACKEND } from '../../workflows/contract/volume';
import { describeValue, type ConfigIssue } from './config-error';
import { percentage } from './units';

/**
 * As much of the file as the rules between values need; values that are wrong by themselves are left out here and
 * reported by the schema.
 */
const skeletonSchema = z.object({
  defaultBackend: z.string().optional().catch(undefined),
  defaultVolumeType: z.string().optional().catch(undefined),
  volumeTypes: z
    .record(
      z.string(),
      z
        .object({ backends: z.array(z.string()).optional().catch(undefined), projects: z.unknown() })
        .partial()
        .catch({}),
    )
    .prefault({})
    .catch({}),
  images: z.object({ service: z.string().optional() }).optional().catch(undefined),
  identity: z.unknown().optional(),
  policy: z
    .object({
      signatures: z.object({ require: z.unknown(), certificates: z.unknown() }).partial().optional().catch(undefined),
    })
    .optional()
    .catch(undefined),
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
  const { defaultBackend, backends, images, identity, internalTenant, policy } = parsed.data;
  const { volumeTypes, defaultVolumeType } = parsed.data;
  return [
    ...(images?.service === 'catalogue' && identity === undefined ? [catalogueOfNobody] : []),
    ...(identity === undefined ? namesForNobody(internalTenant) : []),
    ...checkSignatures(policy?.signatures ?? {}),
    ...checkDefaultBackend(defaultBackend, backends),
    ...checkVolumeTypes(volumeTypes, backends),
    ...checkDefaultVolumeType(defaultVolumeType, volumeTypes),
    ...Object.entries(backends).flatMap(([name, { cache }]) => checkBackend(name, cache)),
  ];
}

function checkSignatures({ require, certificates }: { require?: unknown; certificates?: unknown }): ConfigIssue[] {
  const isAsked = require === 'when-present' || require === 'always';
  if (!isAsked || certificates !== undefined) return [];
  const allowed = 'off, unless `policy.signatures.certificates` says whose are trusted';
  return [{ path: 'policy.signatures.require', received: describeValue(require), allowed }];
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

type VolumeTypes = Record<string, { backends?: string[]; projects?: unknown }>;

function checkVolumeTypes(volumeTypes: VolumeTypes, known: Record<string, unknown>): ConfigIssue[] {
  return Object.entries(volumeTypes).flatMap(([name, { backends = [] }]) =>
    backends.flatMap((backend, index) =>
      Object.hasOwn(known, backend)
        ? []
        : [
            {
              path: `volumeTypes.${name}.backends.${index}`,
              received: describeValue(backend),
              allowed: `one of the backends ${Object.keys(known).join(', ')}`,
            },
          ],
    ),
  );
}

/** A create that names none must be able to use it. */
function checkDefaultVolumeType(name: string | undefined, volumeTypes: VolumeTypes): ConfigIssue[] {
  if (name === undefined) return [];
  const isPublic = (type: string) => volumeTypes[type]?.projects === undefined;
  if (Object.hasOwn(volumeTypes, name) && isPublic(name)) return [];
  const allowed = `one of the volume types without projects: ${Object.keys(volumeTypes).filter(isPublic).join(', ') || 'there is none'}`;
  return [{ path: 'defaultVolumeType', received: describeValue(name), allowed }];
}

function checkBackend(name: string, { freeLowWater, freeHighWater }: Watermarks): ConfigIssue[] {
  const issues: ConfigIssue[] = [];
  if (!backendNamePattern.test(name) || name === ANY_BACKEND) {
    const allowed = `a name of lower-case letters, digits and hyphens, 40 at most, and not ${ANY_BACKEND}`;
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
