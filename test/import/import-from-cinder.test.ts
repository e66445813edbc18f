import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { createVolume, deleteVolume, importFromCinder, listVolumes, revertImport } from '../../client';
import type { CinderImportReport } from '../../client';
import { GiB, MiB } from '../../workflows/contract/bytes';
import type { BackendName } from '../../workflows/contract/ids';
import { CephCluster } from '../support/ceph/cluster';
import { createTestDatabase } from '../support/database/postgres';
import { startRealGlance } from '../support/glance/real-glance';
import { makeSampleImage, uploadSample } from '../support/images/sample-image';
import { readGuest } from '../support/images/qemu';
import { createUndos } from '../support/machine/undos';
import { startRealCinder, type RealCinder } from '../support/openstack/cinder';
import { startStack, type Stack } from '../support/stack/stack';

const START_TIMEOUT_MS = 900_000;
const PROJECT = '11111111111111111111111111111111';
/** Ours names the socket's directory as a host, percent-encoded. */
const asSqlAlchemy = (url: string): string =>
  url.replace(/^postgres:(\/\/.*@)([^/]+)(\/.*)$/, 'postgresql+psycopg2:$1$3?host=$2');
const resource = z.record(z.string(), z.looseObject({ id: z.string(), status: z.string().optional() }));

/** A real Cinder has made all of it before. Each has a Ceph of its own: a pool is one installation's. */
describe.each(['MariaDB', 'PostgreSQL'])('an import from a real Cinder with %s', (databaseServer) => {
  let ceph: CephCluster;
  const { after, run } = createUndos();
  let cinder: RealCinder;
  let running: Stack;
  const made: Record<string, string> = {};
  let imageId = '';
  const hashes = new Map<string, unknown>();

  const call = async (method: string, path: string, body?: object) => {
    const answer = await fetch(`${cinder.endpoint}/v3/${PROJECT}/${path}`, {
      method,
      headers: {
        'x-auth-token': `admin:${PROJECT}`,
        'content-type': 'application/json',
        'openstack-api-version': 'volume 3.60',
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text === '' ? undefined : Object.values(resource.parse(JSON.parse(text)))[0];
  };
  const make = async (name: string, kind: 'volume' | 'snapshot', body: object): Promise<string> => {
    const found = await call('POST', `${kind}s`, { [kind]: { name, ...body } });
    const id = found?.id ?? '';
    for (let status = found?.status; status !== 'available'; status = (await call('GET', `${kind}s/${id}`))?.status) {
      if (status === 'error') throw new Error(`${kind} ${name} is in error`);
      await delay(300);
    }
    made[name] = id;
    return id;
  };
  const hashAll = async () => {
    const found = new Map<string, unknown>();
    for (const [name, id] of Object.entries(made))
      if (name !== 'snapshot')
        found.set(
          name,
          await readGuest({ filename: `rbd:volumes/volume-${id}:id=cinder:conf=${ceph.confPath}`, format: 'raw' }),
        );
    return found;
  };
  const actionsOf = ({ findings }: Pick<CinderImportReport, 'findings'>) => {
    const names = new Map(Object.entries(made).map(([name, id]) => [id, name]));
    return Object.fromEntries(
      findings.flatMap(({ kind, object, action }) => {
        const name = names.get(object) ?? (kind === 'cached-image' || kind === 'type' ? kind : undefined);
        return name === undefined ? [] : [[name, action]];
      }),
    );
  };

  beforeAll(async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ivc-import-'));
    after(() => rm(directory, { recursive: true, force: true }));
    ceph = await CephCluster.start({ directory: join(directory, 'ceph') });
    after(() => ceph.stop());
    const glance = await startRealGlance();
    after(() => glance.stop());
    const database = databaseServer === 'PostgreSQL' ? await createTestDatabase() : undefined;
    after(async () => await database?.drop());
    cinder = await startRealCinder({
      directory: join(directory, 'cinder'),
      ceph,
      glanceEndpoint: glance.endpoint,
      ...(database && { databaseUrl: asSqlAlchemy(database.url) }),
    });
    after(() => cinder.stop());
    const backend = 'ceph' as BackendName;
    const backends = { ceph: { driver: 'rbd', pool: 'volumes', conf: ceph.confPath, user: 'cinder' } };
    const schedules = { refresh: 'off', reconcile: 'off', evict: 'off' };
    running = await startStack({ backend, imagesEndpoint: glance.endpoint, config: { backends, schedules } });
    after(() => running.stop());
    const sample = await makeSampleImage({ directory, name: 'cached', diskFormat: 'qcow2', virtualBytes: 32 * MiB });
    imageId = (await uploadSample(running.images, sample)).id;
    await make('of image', 'volume', { size: 1, imageRef: imageId });
    await make('of cached image', 'volume', { size: 2, imageRef: imageId });
    await make('blank', 'volume', { size: 1, metadata: { a: 'b' } });
    await make('snapshot', 'snapshot', { volume_id: made['of image'] });
    await make('of snapshot', 'volume', { size: 1, snapshot_id: made['snapshot'] });
    await make('of volume', 'volume', { size: 1, source_volid: made['of image'] });
    await make('in error', 'volume', { size: 1 });
    await call('POST', `volumes/${made['in error']}/action`, { 'os-reset_status': { status: 'error' } });
    for (const [name, hash] of await hashAll()) hashes.set(name, hash);
  }, START_TIMEOUT_MS);
  afterAll(run);

  const taken = (action: string) => ({
    'of image': action,
    'of cached image': action,
    blank: action,
    snapshot: action,
    'of snapshot': action,
    'of volume': action,
    'in error': 'refused',
    'cached-image': action,
    type: 'present',
  });

  it(
    'is planned while Cinder runs, done when it does not, given back, and done again; no byte moves',
    async () => {
      const { cache } = running;
      const database = cinder.databaseUrl;
      expect(actionsOf(await importFromCinder(cache, { database, dryRun: true }))).toEqual(taken('would-take'));
      await expect(importFromCinder(cache, { database })).rejects.toMatchObject({ type: 'CinderRunning' });
      expect(await listVolumes(cache, { limit: 10 })).toEqual([]);
      await cinder.stopServices();
      await delay(31_000);

      expect(actionsOf(await importFromCinder(cache, { database }))).toEqual(taken('taken'));
      expect(actionsOf(await importFromCinder(cache, { database }))).toEqual(taken('present'));
      const { 'cached-image': _, ...volumes } = taken('given-back');
      const { result } = await revertImport<{ wait?: true }>(cache, {}, {});
      expect(result.findings.every(({ action }) => action === 'given-back')).toBe(true);
      expect(result.findings.filter(({ kind }) => kind === 'volume')).toHaveLength(Object.keys(volumes).length - 2);
      expect(await hashAll()).toEqual(hashes);
      expect(actionsOf(await importFromCinder(cache, { database }))).toEqual(taken('taken'));
      expect(await hashAll()).toEqual(hashes);

      const hit = await createVolume(cache, { imageId, projectId: PROJECT, sizeBytes: GiB }, {});
      expect(hit).toMatchObject({ outcome: 'hit', bytesDownloaded: 0 });
      const deleted = made['of image'] ?? '';
      await expect(deleteVolume(cache, deleted)).rejects.toMatchObject({ type: 'VolumeHasSnapshots' });
      await deleteVolume(cache, deleted, { cascade: true });
      delete made['of image'];
      expect((await hashAll()).get('of volume')).toEqual(hashes.get('of volume'));
      const again = await revertImport<{ wait?: true }>(cache, { dryRun: true }, {});
      expect(again.result.findings.find(({ object }) => object === deleted)).toMatchObject({
        action: 'refused',
        reason: 'it was deleted since',
      });
    },
    START_TIMEOUT_MS,
  );
});
