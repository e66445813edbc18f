import { randomUUID } from 'node:crypto';
import {
  countHoldings,
  findBackend,
  listBackends,
  observeSpace,
  registerBackend,
  updateLimits,
} from '../../../db/backends';
import { adoptInstallation, bindNamespace, ensureInstallation, findNamespace } from '../../../db/installation';
import { insertVolume } from '../../../db/creates';
import type { BackendName, InstallationId } from '../../../workflows/contract/ids';
import { changeLimits } from '../../../db/backends';
import { useInventory } from '../../support/database/database';
import { SOURCE, admittance, BACKEND, cacheKey, LIMITS, registerLocal } from '../../support/database/rows';

const { database } = useInventory();

test('a backend is registered with the configured limits, again and again', async () => {
  await registerLocal(database);
  await registerLocal(database, { limits: { maxBytes: 7, idleAgeMs: 60_000, policy: 'gdsf' } });
  expect(await findBackend(database, { name: BACKEND })).toMatchObject({
    name: BACKEND,
    driver: 'file',
    capabilities: { clone: 'instant', clonesPinParent: true },
    cacheEnabled: true,
    maxBytes: 7,
    idleAgeMs: 60_000,
    policy: 'gdsf',
    operatorLimits: [],
    limitsSetBy: null,
  });
  expect(await listBackends(database)).toHaveLength(1);
  expect(await findBackend(database, { name: 'nowhere' as BackendName })).toBeUndefined();
});

test('the configuration leaves alone what an operator has set, and nothing else', async () => {
  await registerLocal(database);
  const limits = { maxBytes: 42, idleAgeMs: null };
  expect(await updateLimits(database, { name: BACKEND, limits, by: 'alice' })).toMatchObject({
    maxBytes: 42,
    limitsSetBy: 'alice',
    limitsSetAt: expect.any(Date),
    operatorLimits: ['idleAgeMs', 'maxBytes'],
  });
  await updateLimits(database, { name: BACKEND, limits: { maxBytes: 43 }, by: 'bob' });
  await registerLocal(database, { limits: { maxBytes: 1, maxCount: 9, idleAgeMs: 5 } });
  expect(await findBackend(database, { name: BACKEND })).toMatchObject({
    maxBytes: 43,
    maxCount: 9,
    idleAgeMs: null,
    limitsSetBy: 'bob',
    operatorLimits: ['idleAgeMs', 'maxBytes'],
  });
  expect(await updateLimits(database, { name: 'nowhere' as BackendName, limits, by: 'alice' })).toBeUndefined();
});

test('two workers that register one backend at once leave one row', async () => {
  const registration = { name: BACKEND, driver: 'file', capabilities: {}, limits: LIMITS };
  await Promise.all(Array.from({ length: 4 }, () => registerBackend(database, registration)));
  expect(await listBackends(database)).toHaveLength(1);
});

test('watermarks are judged where one is set, by the rule of the configuration: equal ones are one mark', async () => {
  await registerLocal(database, { limits: { freeLowWater: 0.2, freeHighWater: 0.2 } });
  const change = (limits: object) => changeLimits(database, { backend: BACKEND, limits, by: 'alice', source: SOURCE });
  expect(await change({ maxCount: 7 })).toEqual({ kind: 'changed' });
  expect(await change({ freeLowWater: 0.2 })).toEqual({ kind: 'changed' });
  expect(await change({ freeLowWater: 0.3 })).toEqual({
    kind: 'low-above-high',
    freeLowWater: 0.3,
    freeHighWater: 0.2,
  });
  // The operator's low mark beside another configuration's high one.
  await registerLocal(database, { limits: { freeHighWater: 0.1 } });
  expect(await change({ maxCount: 8 })).toEqual({ kind: 'changed' });
});

test('a backend keeps the place that it has, and of two places that are claimed at once one holds', async () => {
  const registration = { name: BACKEND, driver: 'file', capabilities: {}, limits: LIMITS };
  const register = async (id: string, before?: string) =>
    await registerBackend(database, { ...registration, place: { id, before } });
  const claims = await Promise.allSettled([register('a'), register('b')]);
  expect(claims.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  const held = (await findBackend(database, { name: BACKEND }))?.placeId ?? '';
  expect(await register(held)).toMatchObject({ placeId: held });
  expect(await registerBackend(database, registration)).toMatchObject({ placeId: held });
  await expect(register('c', 'another')).rejects.toThrow(/^backends\.local: .* c\b/);
  expect(await register('c', held)).toMatchObject({ placeId: 'c' });
});

test('what must lie on a backend is whatever may have bytes there', async () => {
  await registerLocal(database);
  expect(await countHoldings(database, { name: BACKEND })).toEqual({ volumes: 0, imageVolumes: 0 });
  await insertVolume(database, admittance(cacheKey('a')));
  expect(await countHoldings(database, { name: BACKEND })).toEqual({ volumes: 1, imageVolumes: 0 });
  expect(await countHoldings(database, { name: 'nowhere' as BackendName })).toEqual({ volumes: 0, imageVolumes: 0 });
});

test('what the backend really has is noted, sizes beyond 32 bits too', async () => {
  await registerLocal(database);
  await observeSpace(database, { name: BACKEND, totalBytes: 9_007_199_254_740_991, freeBytes: 5_000_000_000_000 });
  expect(await findBackend(database, { name: BACKEND })).toMatchObject({
    totalBytes: 9_007_199_254_740_991,
    freeBytes: 5_000_000_000_000,
    spaceSeenAt: expect.any(Date),
  });
});

describe('an inventory and its namespace', () => {
  const bind = (name: string, id?: string, moved?: string) => bindNamespace(database, { name, id, moved });

  test('belong together from the first worker on, whatever the namespace is called', async () => {
    await bind('ours', 'id-1');
    await bind('ours', 'id-1');
    await bind('renamed', 'id-1');
    expect(await findNamespace(database)).toEqual({ name: 'renamed', id: 'id-1' });
    // An account that may not ask for the id.
    await bind('renamed');
    expect(await findNamespace(database)).toEqual({ name: 'renamed', id: 'id-1' });
  });

  test.each<[string, [string, string?]]>([
    ['another name', ['theirs', 'id-2']],
    ['the same name on another server', ['ours', 'id-2']],
    ['another name whose id is not known', ['theirs']],
  ])('refuse %s, and say how it is moved', async (_, [name, id]) => {
    await bind('ours', 'id-1');
    await expect(bind(name, id)).rejects.toThrow(
      /^temporal\.namespace: got .* ours \(id-1\).*IVC_MOVED_NAMESPACE=id-1/,
    );
    await expect(bind(name, id, 'id-3')).rejects.toThrow('IVC_MOVED_NAMESPACE');
    await bind(name, id, 'id-1');
    expect(await findNamespace(database)).toEqual({ name, id });
    await expect(bind('ours', 'id-1')).rejects.toThrow('temporal.namespace: got ours (id-1)');
  });

  test('learn the id as soon as somebody may ask for it', async () => {
    await bind('ours');
    await expect(bind('theirs')).rejects.toThrow('IVC_MOVED_NAMESPACE=ours');
    await bind('ours', 'id-1');
    await expect(bind('ours', 'id-2')).rejects.toThrow('IVC_MOVED_NAMESPACE=id-1');
  });
});

test('an installation has one id, whoever asks first', async () => {
  const ids = await Promise.all(Array.from({ length: 4 }, () => ensureInstallation(database)));
  expect(new Set(ids).size).toBe(1);
  expect(await ensureInstallation(database)).toBe(ids[0]);
});

test('an inventory that holds nothing becomes that of another installation, and one that holds a volume never does', async () => {
  const [first, second] = [randomUUID(), randomUUID()] as InstallationId[];
  await registerBackend(database, {
    name: BACKEND,
    driver: 'file',
    capabilities: {},
    limits: LIMITS,
    place: { id: 'a', before: undefined },
  });
  for (const id of [first, first, second]) {
    await adoptInstallation(database, id as InstallationId);
    expect(await ensureInstallation(database)).toBe(id);
  }
  expect(await findBackend(database, { name: BACKEND })).toMatchObject({ placeId: null });
  await insertVolume(database, admittance(cacheKey('a')));
  await adoptInstallation(database, second as InstallationId);
  await expect(adoptInstallation(database, first as InstallationId)).rejects.toThrow(
    new RegExp(`^IVC_INSTALLATION: got ${first}.* ${second}`),
  );
});
