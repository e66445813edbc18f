import type { FastifyInstance, FastifyRequest } from 'fastify';
import { setQuotas } from '../../client/quotas';
import { getQuotas } from '../../client/reads';
import { GiB } from '../../workflows/contract/bytes';
import type { SetQuotasInput } from '../../workflows/contract/quotas';
import { expectAdministrator, expectOwner } from '../administrator';
import type { ApiContext } from '../api-context';
import { badRequest } from '../errors';
import { isTrue, type Query } from '../query';
import { quotaSetSchema, type QuotaSetBody } from '../schemas/quota-limits';
import { limitsOf, quotaNamesOf, quotaSetOf, type CinderQuota, type QuotaOfSet } from '../views/quota-set';
import { volumeTypeNames } from '../volume-types';

interface OfProject {
  Params: { target: string };
  Querystring: Query;
}

const rule = (name: string) => `volume_extension:quotas:${name}`;

/** `os-quota-sets`: what a project may have, and `os-quota-class-sets`: what one may that nobody has set. */
export function registerQuotaSets(app: FastifyInstance, context: ApiContext): void {
  const { cache } = context;
  const path = '/os-quota-sets/:target';

  app.get<OfProject>(path, async (request) => {
    const { target } = request.params;
    expectOwner(request, rule('show'), target);
    const quotas = await readQuotaSet(context, target);
    return { quota_set: { ...(isTrue(request.query['usage']) ? quotas : limitsOf(quotas)), id: target } };
  });

  app.get<OfProject>(`${path}/detail`, async (request) => {
    const { target } = request.params;
    expectOwner(request, rule('show'), target);
    return { quota_set: { ...(await readQuotaSet(context, target)), id: target } };
  });

  app.get<OfProject>(`${path}/defaults`, async (request) => {
    const { target } = request.params;
    expectOwner(request, rule('show'), target);
    return { quota_set: { ...(await readDefaults(context)), id: target } };
  });

  app.put<OfProject & { Body: QuotaSetBody }>(path, { schema: { body: quotaSetSchema } }, async (request) => {
    expectAdministrator(request, rule('update'));
    const { target } = request.params;
    const quotas = await readQuotaSet(context, target);
    const given = request.body.quota_set;
    checkKnown(Object.keys(given), quotas);
    for (const [name, limit] of Object.entries(given)) checkLimit(name, limit, quotas[name]);
    await setLimits(request, Object.fromEntries(Object.entries(given).map(([name, limit]) => toOurs(name, limit))));
    return { quota_set: limitsOf(await readQuotaSet(context, target)) };
  });

  app.delete<OfProject>(path, async (request, reply) => {
    expectAdministrator(request, rule('delete'));
    await setLimits(request, Object.fromEntries(Object.values(quotaNamesOf).map((name) => [name, 'default'])));
    return reply.code(200).send();
  });

  app.get<OfProject>('/os-quota-class-sets/:target', async (request) => {
    expectAdministrator(request, 'volume_extension:quota_classes:get');
    return { quota_class_set: { ...(await readDefaults(context)), id: request.params.target } };
  });

  app.put<OfProject>('/os-quota-class-sets/:target', async (request) => {
    expectAdministrator(request, 'volume_extension:quota_classes:update');
    throw badRequest(
      'Invalid input received: the defaults of projects are the configuration’s, and no request changes them.',
    );
  });

  const setLimits = async (request: FastifyRequest<OfProject>, quotas: SetQuotasInput['quotas']) => {
    if (Object.keys(quotas).length === 0) return;
    await setQuotas(cache, { projectId: request.params.target, quotas, by: request.caller.userId });
  };
}

/** @returns what a project may have and what it has, by Cinder's names. */
export async function readQuotaSet(context: ApiContext, projectId: string): Promise<Record<string, QuotaOfSet>> {
  const inventory = await context.cache.inventory();
  const [quotas, kept] = await Promise.all([getQuotas(context.cache, projectId), inventory.readKeptQuotas(projectId)]);
  return quotaSetOf(quotas, kept, await volumeTypeNames(context));
}

/** A project's that nobody has set quotas for: no project has an empty id. */
async function readDefaults(context: ApiContext): Promise<Record<string, number>> {
  return limitsOf(await readQuotaSet(context, ''));
}

function checkKnown(given: readonly string[], known: object): void {
  const unknown = given.filter((name) => !Object.hasOwn(known, name));
  if (unknown.length > 0)
    throw badRequest(`Invalid input received: Bad key(s) in quota set: ${unknown.join(', ').slice(0, 255)}`);
}

function checkLimit(name: string, limit: number, { in_use: used }: QuotaOfSet = { limit: -1, in_use: 0, reserved: 0 }) {
  if (limit === -1) return;
  if (!(name in quotaNamesOf))
    throw badRequest(`Invalid input received: ${name}: a volume type has no limits of its own, -1 is allowed.`);
  if (name !== 'per_volume_gigabytes' && limit < used)
    throw badRequest(
      `Quota ${name} limit must be equal or greater than existing resources. Current usage is ${used} and the requested limit is ${limit}.`,
    );
}

function toOurs(name: string, limit: number): [string, number | null] {
  const ours = quotaNamesOf[name as CinderQuota];
  if (limit === -1) return [ours, null];
  return [ours, ours.endsWith('ytes') ? limit * GiB : limit];
}
