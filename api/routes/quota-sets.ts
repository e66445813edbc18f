import type { FastifyInstance } from 'fastify';
import { setQuotas } from '../../client/quotas';
import { getQuotas } from '../../client/reads';
import { NO_TYPE } from '../../workflows/contract/volume-type';
import { expectAdministrator, expectOwner } from '../administrator';
import type { ApiContext } from '../api-context';
import { badRequest } from '../errors';
import { isTrue, type Query } from '../query';
import { quotaClassSchema, quotaSetSchema, type QuotaClassBody, type QuotaSetBody } from '../schemas/quota-limits';
import {
  fromLimit,
  limitsOf,
  ourQuotaName,
  quotaNamesOf,
  quotaSetOf,
  toLimit,
  type QuotaOfSet,
} from '../views/quota-set';
import { volumeTypeNames } from '../volume-types';

interface OfProject {
  Params: { target: string };
  Querystring: Query;
}

const rule = (name: string) => `volume_extension:quotas:${name}`;

/** `os-quota-sets`: limits of a project; `os-quota-class-sets`: those of projects that nobody has set, in the class `default`; others are kept. */
export function registerQuotaSets(app: FastifyInstance, context: ApiContext): void {
  const { cache } = context;
  const path = '/os-quota-sets/:target';

  app.get<OfProject>(path, async (request) => {
    const { target } = request.params;
    expectOwner(request, rule('show'), target);
    const quotas = await readQuotaSet(context, target, { ofTypes: true });
    return { quota_set: { ...(isTrue(request.query['usage']) ? quotas : limitsOf(quotas)), id: target } };
  });

  app.get<OfProject>(`${path}/detail`, async (request) => {
    const { target } = request.params;
    expectOwner(request, rule('show'), target);
    return { quota_set: { ...(await readQuotaSet(context, target, { ofTypes: true })), id: target } };
  });

  app.get<OfProject>(`${path}/defaults`, async (request) => {
    const { target } = request.params;
    expectOwner(request, rule('show'), target);
    return { quota_set: { ...(await readDefaults(context)), id: target } };
  });

  app.put<OfProject & { Body: QuotaSetBody }>(path, { schema: { body: quotaSetSchema } }, async (request) => {
    expectAdministrator(request, rule('update'));
    const { target: projectId } = request.params;
    const given = request.body.quota_set;
    const quotas = toOurs(given, await volumeTypeNames(context));
    const now = await readQuotaSet(context, projectId, { ofTypes: true });
    for (const [name, limit] of Object.entries(given)) checkLimit(name, limit, now[name]);
    if (Object.keys(quotas).length > 0) await setQuotas(cache, { projectId, quotas, by: request.caller.userId });
    return { quota_set: limitsOf(await readQuotaSet(context, projectId, { ofTypes: true })) };
  });

  app.delete<OfProject>(path, async (request, reply) => {
    expectAdministrator(request, rule('delete'));
    const { target: projectId } = request.params;
    const others = await (await cache.inventory()).readOtherQuotas(projectId);
    const names = [...Object.values(quotaNamesOf), ...Object.keys(others)];
    const quotas = Object.fromEntries(names.map((name) => [name, 'default' as const]));
    await setQuotas(cache, { projectId, quotas, by: request.caller.userId });
    return reply.code(200).send();
  });

  app.get<OfProject>('/os-quota-class-sets/:target', async (request) => {
    expectAdministrator(request, 'volume_extension:quota_classes:get');
    const { target } = request.params;
    return { quota_class_set: { ...(await readClass(context, target)), id: target } };
  });

  app.put<OfProject & { Body: QuotaClassBody }>(
    '/os-quota-class-sets/:target',
    { schema: { body: quotaClassSchema } },
    async (request) => {
      expectAdministrator(request, 'volume_extension:quota_classes:update');
      const { target: quotaClass } = request.params;
      const quotas = toOurs(request.body.quota_class_set, await volumeTypeNames(context));
      if (Object.keys(quotas).length > 0) await setQuotas(cache, { quotaClass, quotas, by: request.caller.userId });
      return { quota_class_set: await readClass(context, quotaClass) };
    },
  );
}

/** @param ofTypes whether those of volume types too. @returns what a project may have and what it has, by Cinder's names. */
export async function readQuotaSet(
  context: ApiContext,
  projectId: string,
  { ofTypes = false }: { ofTypes?: boolean } = {},
): Promise<Record<string, QuotaOfSet>> {
  const inventory = await context.cache.inventory();
  const [quotas, others, names] = await Promise.all([
    getQuotas(context.cache, projectId),
    inventory.readOtherQuotas(projectId),
    ofTypes ? volumeTypeNames(context) : [],
  ]);
  const asked = names.map((name) => (name === NO_TYPE ? null : name));
  const usage = asked.length === 0 ? [] : await inventory.readTypeUsage(projectId, asked);
  return quotaSetOf(quotas, others, new Map(usage.map((used) => [used.volumeType ?? NO_TYPE, used])));
}

/** A project's that nobody has set quotas for: no project has an empty id. */
async function readDefaults(context: ApiContext): Promise<Record<string, number>> {
  return limitsOf(await readQuotaSet(context, '', { ofTypes: true }));
}

/** The limits of a class, and every project's where it sets none. */
async function readClass(context: ApiContext, quotaClass: string): Promise<Record<string, number>> {
  const inventory = await context.cache.inventory();
  const [defaults, own, types] = await Promise.all([
    readDefaults(context),
    inventory.readQuotaClass(quotaClass),
    volumeTypeNames(context),
  ]);
  const said = Object.keys(defaults).flatMap((name) => {
    const ours = ourQuotaName(name, types);
    const limit = ours && own[ours];
    return ours === undefined || limit === undefined ? [] : [[name, toLimit(ours, limit)]];
  });
  return { ...defaults, ...Object.fromEntries(said) };
}

/** @throws ApiError 400 for a name of no quota */
function toOurs(given: Record<string, number>, types: readonly string[]): Record<string, number | null> {
  const unknown = Object.keys(given).filter((name) => ourQuotaName(name, types) === undefined);
  if (unknown.length > 0)
    throw badRequest(`Invalid input received: Bad key(s) in quota set: ${unknown.join(', ').slice(0, 255)}`);
  const named = Object.entries(given).map(([name, limit]) => {
    const ours = ourQuotaName(name, types) ?? name;
    return [ours, fromLimit(ours, limit)];
  });
  return Object.fromEntries(named) as Record<string, number | null>;
}

function checkLimit(name: string, limit: number, { in_use: used }: QuotaOfSet = { limit: -1, in_use: 0, reserved: 0 }) {
  if (limit !== -1 && name !== 'per_volume_gigabytes' && limit < used)
    throw badRequest(
      `Quota ${name} limit must be equal or greater than existing resources. Current usage is ${used} and the requested limit is ${limit}.`,
    );
}
