import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { KnownPlace, VolumeMarker } from '../../activities/backends/backend';
import { createRbdBackend } from '../../activities/backends/rbd/backend';
import type { RbdPool } from '../../activities/backends/rbd/cluster';
import { openLibraryCluster, type LibraryCluster } from '../../activities/backends/rbd/library';
import { openToolCluster } from '../../activities/backends/rbd/tool';
import { isDeadline } from '../../activities/command';
import { convertToRaw } from '../../activities/image/qemu-img';
import { createToolGuard, defaultToolSettings } from '../../activities/image/tool-guard';
import { whileThereIsSpace } from '../../activities/transfer/space-watch';
import { waitFor } from '../../worker/stack/wait';
import { MiB } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, InstallationId } from '../../workflows/contract/ids';
import { kinds, objects, removePartials, sealSample, type BackendPlace } from '../conformance/backend-contract';
import { brand } from '../support/brand';
import { CephCluster } from '../support/ceph/cluster';
import { isSameGuest, type QemuDisk } from '../support/images/qemu';
import { imageMarker, volumeMarker } from '../support/markers';

jest.setTimeout(180_000);

const OPERATION_TIMEOUT_MS = 5000;
/** Images that a killed client held are free after so long, in place of Ceph's half a minute. */
const WATCH_TIMEOUT_S = 8;
const PATIENCE_MS = 60_000;
const HERD = 16;
/** Well above what a population takes, and what the tool takes to notice that nobody answers. */
const TOOL_TIMEOUT_MS = 60_000;
const POPULATION_BYTES = 192 * MiB;
const names = { volume: 'volume-{id}', image: 'image-{key}' };
const name = brand<BackendName>('ceph');
const unavailable = { type: 'BackendUnavailable' };

interface FaultyPlace extends BackendPlace {
  pool: RbdPool;
  cluster: LibraryCluster;
  disk(image: string): QemuDisk;
}

describe('a pool of Ceph RBD', () => {
  const ceph = CephCluster.ofThisRun();
  const opened: { close(): Promise<void> }[] = [];
  let directory = '';

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-rbd-faults-'));
    await ceph.ceph(['config', 'set', 'osd', 'osd_client_watch_timeout', String(WATCH_TIMEOUT_S)]);
  });
  afterEach(async () => {
    for (const cluster of opened.splice(0)) await cluster.close();
  });
  afterAll(async () => {
    await ceph.ceph(['config', 'rm', 'osd', 'osd_client_watch_timeout']);
    await rm(directory, { recursive: true, force: true });
  });

  const openCluster = (pool: RbdPool): LibraryCluster => {
    const cluster = openLibraryCluster(pool);
    opened.push(cluster);
    return cluster;
  };
  const inNamespace = async (more: Partial<RbdPool> = {}): Promise<RbdPool> => ({
    pool: 'volumes',
    namespace: await ceph.createNamespace(),
    conf: ceph.confPath,
    user: 'cinder',
    operationTimeoutMs: OPERATION_TIMEOUT_MS,
    ...more,
  });
  const open = async (
    pool: RbdPool,
    {
      installation = brand<InstallationId>(randomUUID()),
      known,
    }: { installation?: InstallationId; known?: KnownPlace } = {},
  ): Promise<FaultyPlace> => {
    const cluster = openCluster(pool);
    const openBackend = async (owner: InstallationId) =>
      await createRbdBackend({ name, installation: owner, pool, cluster, names, known });
    const disk = (image: string): QemuDisk => {
      const path = [pool.pool, pool.namespace, image].filter(Boolean).join('/');
      return { filename: `rbd:${path}:id=${pool.user}:conf=${pool.conf}`, format: 'raw' };
    };
    return {
      pool,
      cluster,
      backend: await openBackend(installation),
      reopen: async (owner = installation) => await openBackend(owner),
      installation,
      disk,
      diskOf: (connection) => disk(connection.driver === 'rbd' ? connection.image : ''),
      parentDiskOf: (parent) => disk(`image-${parent}`),
      remove: async () => await cluster.close(),
    };
  };
  /** A place with the sealed image-volume `img`. @returns also the file that it was made from. */
  const openSealed = async (pool: RbdPool): Promise<FaultyPlace & { source: QemuDisk }> => {
    const place = await open(pool);
    const source = await sealSample(place, await mkdtemp(join(directory, 'sample-')), 'img');
    return { ...place, source };
  };
  const expectWhole = async (place: FaultyPlace & { source: QemuDisk }, markers: VolumeMarker[]): Promise<void> => {
    await removePartials(place.backend);
    expect(await kinds(place.backend)).toEqual(['image-volume', ...markers.map(() => 'volume')]);
    for (const { volumeId } of markers)
      expect(await isSameGuest(place.disk(`volume-${volumeId}`), place.source)).toBe(true);
    expect(await place.cluster.countOpenImages()).toBe(0);
  };
  const herdOf = (place: FaultyPlace): VolumeMarker[] => Array.from({ length: HERD }, () => volumeMarker(place));
  const makeImage = async (): Promise<string> => {
    const path = join(directory, randomUUID());
    // Data all over: each of its objects is written.
    await promisify(execFile)('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', `count=${POPULATION_BYTES / MiB}`]);
    return path;
  };
  const population = { kind: 'image-volume', name: 'big', virtualBytes: POPULATION_BYTES } as const;
  const populate = async ({ backend }: FaultyPlace, path: string, attempt: string) => {
    const target = await backend.ensureWriteTarget({ ...population, attempt });
    const guard = { ...(await createToolGuard(defaultToolSettings)), timeoutMs: TOOL_TIMEOUT_MS };
    await convertToRaw({ source: { path, format: 'raw' }, target, backend: backend.name, guard });
    return target;
  };

  describe('whose OSD is stopped', () => {
    afterEach(async () => {
      await ceph.startOsd().catch((error: unknown) => {
        if (!/running already/.test(String(error))) throw error;
      });
    });

    it('makes the clones that waited for it', async () => {
      const place = await openSealed(await inNamespace({ operationTimeoutMs: 20_000 }));
      const markers = herdOf(place);
      const cloning = Promise.all(markers.map(async (marker) => await place.backend.ensureClone('img', marker)));
      await untilSome(place.cluster);
      await ceph.stopOsd('SIGKILL');
      await ceph.startOsd();
      expect(await cloning).toHaveLength(HERD);
      await expectWhole(place, markers);
    });

    it('makes them at the next try where it was away for longer than they wait', async () => {
      const place = await openSealed(await inNamespace({ operationTimeoutMs: 1000 }));
      const markers = herdOf(place);
      const cloning = Promise.allSettled(markers.map(async (marker) => await place.backend.ensureClone('img', marker)));
      await untilSome(place.cluster);
      await ceph.stopOsd('SIGKILL');
      const failed = (await cloning).filter((outcome) => outcome.status === 'rejected');
      expect(failed).not.toEqual([]);
      for (const { reason } of failed) expect(reason).toMatchObject(unavailable);
      await ceph.startOsd();
      await Promise.all(
        markers.map(async (marker) => await withRetries(() => place.backend.ensureClone('img', marker))),
      );
      await expectWhole(place, markers);
    });

    it('answers through a new connection where the old one stays silent', async () => {
      const { backend } = await openSealed(await inNamespace({ operationTimeoutMs: 2000 }));
      const write = async (): Promise<unknown> => await backend.ensureWriteTarget({ ...population, attempt: 'a1' });
      await write();
      const failures: unknown[] = [];
      const writing = (async () => {
        while (failures.length < 4) await write().catch((error: unknown) => failures.push(error));
      })();
      await ceph.stopOsd('SIGKILL');
      await writing;
      for (const failure of failures) expect(failure).toMatchObject(unavailable);
      await ceph.startOsd();
      await withRetries(write);
    });

    it('gets the population that waited for it', async () => {
      const place = await openSealed(await inNamespace({ operationTimeoutMs: 20_000 }));
      const image = await makeImage();
      const populated = populate(place, image, 'a1');
      await untilWritten(place, 'image-big.a1.partial');
      await ceph.stopOsd('SIGKILL');
      await ceph.startOsd();
      await place.backend.sealImageVolume(await populated, {
        ...imageMarker(place, 'big'),
        virtualBytes: POPULATION_BYTES,
      });
      expect(await isSameGuest(place.disk('image-big'), { filename: image, format: 'raw' })).toBe(true);
      expect(await place.cluster.countOpenImages()).toBe(0);
    });

    it('ends the population that it keeps waiting for too long, and takes the next one', async () => {
      const place = await openSealed(await inNamespace({ operationTimeoutMs: 2000 }));
      const image = await makeImage();
      const populated = populate(place, image, 'a1');
      await untilWritten(place, 'image-big.a1.partial');
      await ceph.stopOsd('SIGKILL');
      const error: unknown = await populated.catch((reason: unknown) => reason);
      expect(error).toMatchObject({ type: 'ToolFailed' });
      // librbd may also wait for ever for the end of its own threads: then the tool is killed.
      const said = isDeadline(error) ? 'killed' : JSON.stringify((error as Failure).details);
      expect(said).toMatch(/killed|timed out/);
      await expect(place.backend.ensureAttemptAbsent({ ...population, attempt: 'a1' })).rejects.toMatchObject(
        unavailable,
      );
      await ceph.startOsd();
      const target = await withRetries(() => populate(place, image, 'a2'));
      await withRetries(() =>
        place.backend.sealImageVolume(target, { ...imageMarker(place, 'big'), virtualBytes: POPULATION_BYTES }),
      );
      expect(await isSameGuest(place.disk('image-big'), { filename: image, format: 'raw' })).toBe(true);
      await removePartials(place.backend);
      expect(await kinds(place.backend)).toEqual(['image-volume', 'image-volume']);
    });
  });

  it('goes on cloning while its monitor is started again', async () => {
    const place = await openSealed(await inNamespace());
    const markers = herdOf(place);
    const cloning = Promise.all(
      markers.map(async (marker) => await withRetries(() => place.backend.ensureClone('img', marker))),
    );
    await ceph.restartMon();
    await cloning;
    expect((await place.backend.space()).freeBytes).toBeGreaterThan(0);
    await expectWhole(place, markers);
  });

  describe('whose quota is reached', () => {
    it('refuses what takes space, gives space back, and takes more when the quota is raised', async () => {
      const { pool, user } = await ceph.createPool();
      const place = await openSealed(await inNamespace({ pool, namespace: undefined, user }));
      const { backend } = place;
      const image = await makeImage();
      const deleted = volumeMarker(place);
      await backend.ensureClone('img', deleted);
      await ceph.setQuota(pool, 16 * MiB);
      await backend.ensureWriteTarget({ ...population, attempt: 'streamed' });
      const target = await populate(place, image, 'a1');
      await waitFor(async () => ((await ceph.isFull(pool)) && (await backend.space()).freeBytes === 0) || undefined, {
        what: 'the quota to be reached',
        deadlineMs: PATIENCE_MS,
      });
      const full = { type: 'NoSpace', details: { backend: name, neededBytes: POPULATION_BYTES, freeBytes: 0 } };
      // Ceph lets qemu-img wait; it is ended as soon as there is no space.
      const convert = (signal: AbortSignal) =>
        convertToRaw({ source: { path: image, format: 'raw' }, target, backend: name, signal });
      const converting = { backend, neededBytes: POPULATION_BYTES, signal: new AbortController().signal };
      await expect(whileThereIsSpace(converting, convert)).rejects.toMatchObject(full);
      // So is what had come to its deadline before that was seen.
      const timedOut = async (): Promise<void> => await convert(converting.signal);
      await expect(whileThereIsSpace(converting, timedOut)).rejects.toMatchObject(full);
      await expect(backend.ensureWriteTarget({ ...population, attempt: 'a2' })).rejects.toMatchObject(full);
      const marker = { ...imageMarker(place, 'big'), virtualBytes: POPULATION_BYTES };
      await expect(backend.sealImageVolume(target, marker)).rejects.toMatchObject(full);
      const writer = await backend.openWriter?.({ ...population, attempt: 'streamed' });
      const written = async (): Promise<void> => {
        for (let at = 0; at < POPULATION_BYTES; at += 4 * MiB) await writer?.write(Buffer.alloc(4 * MiB, 1), at);
      };
      await expect(written()).rejects.toMatchObject({ type: 'NoSpace', details: { backend: name, freeBytes: 0 } });
      await writer?.close();
      const refused = volumeMarker(place);
      await expect(backend.ensureClone('img', refused)).rejects.toMatchObject({
        type: 'NoSpace',
        details: { backend: name, neededBytes: refused.sizeBytes, freeBytes: 0 },
      });
      expect(await kinds(backend)).toEqual(['image-volume', 'partial', 'partial', 'volume']);

      await backend.ensureVolumeAbsent(deleted.volumeId);
      await backend.ensureAttemptAbsent({ ...population, attempt: 'a1' });
      await removePartials(backend);
      expect(await kinds(backend)).toEqual(['image-volume']);

      await ceph.setQuota(pool, 0);
      await withRetries(() => backend.ensureClone('img', refused));
      await expectWhole(place, [refused]);
    });
  });

  it('connects anew when Ceph has shut its client out', async () => {
    const place = await openSealed(await inNamespace());
    const attempt = { kind: 'volume', name: randomUUID(), attempt: 'a1' } as const;
    await place.backend.ensureWriteTarget({ ...attempt, virtualBytes: MiB });
    const image = `volume-${attempt.name}.a1.partial`;
    const writer = await place.cluster.openWriter?.(image);
    const [watcher] = await place.cluster.listWatchers(image);
    expect(watcher?.own).toBe(true);
    await ceph.blocklist(watcher?.address ?? '');
    // The OSD learns of it in a moment.
    const refused = async (): Promise<unknown> =>
      await writer?.write(Buffer.alloc(4096, 1), 0).then(
        () => undefined,
        (error: unknown) => error,
      );
    const what = 'the client to be shut out';
    expect(String(await waitFor(refused, { what, deadlineMs: PATIENCE_MS }))).toMatch(/EBLOCKLISTED/);
    const markers = herdOf(place);
    const cloning = markers.map(async (marker) => await place.backend.ensureClone('img', marker));
    const failed = (await Promise.allSettled(cloning)).filter((outcome) => outcome.status === 'rejected');
    for (const { reason } of failed) expect(reason).toMatchObject(unavailable);
    await Promise.all(markers.map(async (marker) => await place.backend.ensureClone('img', marker)));
    await place.backend.ensureAttemptAbsent(attempt);
    await expectWhole(place, markers);
  });

  it('puts a volume that a dead client holds into the trash, which may have its name already, and removes it there when that client is let go', async () => {
    const place = await openSealed(await inNamespace());
    const { backend } = place;
    const marker = volumeMarker(place);
    // Twice, so that the trash has the name already.
    for (const held of [1, 2]) {
      await backend.ensureClone('img', marker);
      await holdAndDie(place, `volume-${marker.volumeId}`);
      expect(await backend.findOpener(marker.volumeId)).toMatch(/^a client at /);
      await backend.ensureVolumeAbsent(marker.volumeId);
      expect(await backend.describeVolume(marker.volumeId)).toEqual({ kind: 'absent' });
      expect(await kinds(backend)).toEqual(['image-volume', ...Array<string>(held).fill('partial')]);
    }
    const inTrash = (await objects(backend)).flatMap(({ partial }) => partial ?? []);
    expect(inTrash.map((partial) => partial.name)).toEqual([marker.volumeId, marker.volumeId]);
    await removePartials(backend);
    await backend.ensureClone('img', marker);
    await expectWhole(place, [marker]);
  });

  it('removes what is in the trash with snapshots of its own', async () => {
    for (const openTool of [false, true]) {
      const { pool, cluster } = await open(await inNamespace());
      await cluster.createImage('image-old.a1.partial', MiB);
      await cluster.createSnapshot('image-old.a1.partial', 'sealed');
      await ceph.rbd(['trash', 'mv', `volumes/${pool.namespace}/image-old.a1.partial`]);
      const [{ id } = { id: '' }] = await cluster.listTrash();
      expect(await (openTool ? openToolCluster(pool) : cluster).removeFromTrash(id)).toBe(true);
      expect(await cluster.listTrash()).toEqual([]);
    }
  });

  describe('whose agent', () => {
    it('is killed in the middle of a herd makes every clone at the next try, and leaves none without its marker', async () => {
      const place = await openSealed(await inNamespace());
      const markers = herdOf(place);
      const cloning = Promise.allSettled(markers.map(async (marker) => await place.backend.ensureClone('img', marker)));
      await untilSome(place.cluster);
      const killed = signalAgent('SIGKILL');
      const failed = (await cloning).filter((outcome) => outcome.status === 'rejected');
      expect(failed).not.toEqual([]);
      for (const { reason } of failed)
        expect(reason).toMatchObject({
          ...unavailable,
          details: { cause: 'the process with the connection to Ceph ended' },
        });
      await Promise.all(
        markers.map(async (marker) => await withRetries(() => place.backend.ensureClone('img', marker))),
      );
      await expectWhole(place, markers);
      expect(agents()).not.toContain(killed);
    });

    it('is killed in the middle of a flatten leaves a sound volume, and the next flatten goes on from there', async () => {
      const place = await openSealed(await inNamespace());
      const { backend } = place;
      const image = await makeImage();
      const target = await populate(place, image, 'a1');
      await backend.sealImageVolume(target, { ...imageMarker(place, 'big'), virtualBytes: POPULATION_BYTES });
      const marker = volumeMarker(place, { sizeBytes: POPULATION_BYTES });
      const connection = await backend.ensureClone('big', marker);
      const volume = `volume-${marker.volumeId}`;
      const others = agents();
      const slowly = { bytesPerSecond: MiB };
      const flattening = backend.ensureFlattened?.(marker.volumeId, slowly);
      const ended = Promise.allSettled([flattening ?? Promise.reject(new Error('RBD flattens'))]);
      await waitFor(async () => (await countObjects(place, volume)) > 0 || undefined, {
        what: 'some objects to be copied',
        deadlineMs: PATIENCE_MS,
      });
      for (const pid of agents()) if (!others.includes(pid)) process.kill(pid, 'SIGKILL');
      expect(await ended).toMatchObject([{ status: 'rejected', reason: unavailable }]);
      const copied = await countObjects(place, volume);
      expect(copied).toBeGreaterThan(0);
      expect(copied).toBeLessThan(POPULATION_BYTES / (4 * MiB));
      const source: QemuDisk = { filename: image, format: 'raw' };
      expect(await isSameGuest(place.diskOf(connection), source)).toBe(true);
      // It waits until the dead client is let go, and begins with what is there.
      expect(await backend.ensureFlattened?.(marker.volumeId, slowly)).toBe('flattened');
      await backend.ensureImageVolumeAbsent('big');
      expect(await isSameGuest(place.diskOf(connection), source)).toBe(true);
    });

    it('is closed ends what waits for it, and starts for nobody again', async () => {
      const place = await openSealed(await inNamespace());
      const { backend, cluster } = place;
      const marker = volumeMarker(place);
      await backend.ensureClone('img', marker);
      const before = agents();
      const waiting: Promise<unknown>[] = [
        ...herdOf(place).map(async (more) => await backend.ensureClone('img', more)),
        backend.ensureFlattened?.(marker.volumeId, {}) ?? Promise.reject(new Error('RBD flattens')),
        cluster.listImages(),
        backend.space(),
      ];
      const outcomes = Promise.allSettled(waiting);
      await waitFor(() => agents().length > before.length || undefined, {
        what: 'an agent to flatten',
        deadlineMs: PATIENCE_MS,
        intervalMs: 1,
      });
      await cluster.close();
      expect((await outcomes).filter(({ status }) => status === 'rejected')).not.toEqual([]);
      await expect(backend.space()).rejects.toMatchObject(unavailable);
      await waitFor(() => agents().length === 0 || undefined, { what: 'all agents to end', deadlineMs: PATIENCE_MS });
    });

    it('hangs is replaced, and what it was asked has ended in doubt', async () => {
      const place = await openSealed(await inNamespace({ operationTimeoutMs: 1000 }));
      const stopped = signalAgent('SIGSTOP');
      const marker = volumeMarker(place);
      await expect(place.backend.ensureClone('img', marker)).rejects.toMatchObject({
        ...unavailable,
        details: { cause: 'Ceph did not answer cloneImage in time' },
      });
      await place.backend.ensureClone('img', marker);
      expect(agents()).not.toContain(stopped);
      await expectWhole(place, [marker]);
    });
  });

  describe('that cannot be opened', () => {
    const key = 'AQD2pWdmAAAAABAAr1l2bVvMyqMAzVdWIU1VDA==';
    const notThere = 'is not there, or this process may not read it';
    it.each<[string, (wrong: string) => Partial<RbdPool>, (wrong: string) => string]>([
      ['a missing configuration', () => ({ conf: '/none/ceph.conf' }), () => `/none/ceph.conf ${notThere}`],
      ['a missing keyring', () => ({ keyring: '/none/keyring' }), () => `/none/keyring ${notThere}`],
      [
        'a wrong key',
        (keyring) => ({ keyring }),
        (keyring) => `Ceph refused our credentials: client.cinder with ${keyring}`,
      ],
      [
        'a user without a key',
        () => ({ user: 'nobody' }),
        () => `the keyring that ${ceph.confPath} names is not there, or has no key of client.nobody`,
      ],
      ['a missing pool', () => ({ pool: 'none', namespace: undefined }), () => 'there is no pool none'],
      [
        'a missing namespace',
        () => ({ namespace: 'none' }),
        () => 'pool volumes has no namespace none; `rbd namespace create volumes/none` makes it',
      ],
    ])('says so of %s', async (_, more, cause) => {
      const wrong = join(directory, 'wrong.keyring');
      await writeFile(wrong, `[client.cinder]\n\tkey = ${key}\n`);
      const pool = await inNamespace(more(wrong));
      await expect(open(pool)).rejects.toMatchObject({ ...unavailable, details: { cause: cause(wrong) } });
      const cluster = openToolCluster(pool);
      const byTool = createRbdBackend({
        name,
        installation: brand<InstallationId>(randomUUID()),
        pool,
        cluster,
        names,
      });
      await expect(byTool).rejects.toMatchObject({ ...unavailable, details: { cause: cause(wrong) } });
    });

    it('says so of a monitor that is away, and opens when it is back', async () => {
      const pool = await inNamespace({ operationTimeoutMs: 1000 });
      await ceph.stopMon('SIGKILL');
      try {
        await expect(open(pool)).rejects.toMatchObject({
          ...unavailable,
          details: { cause: `no monitor that ${ceph.confPath} names has answered` },
        });
      } finally {
        await ceph.startMon();
      }
      expect((await (await open(pool)).backend.space()).freeBytes).toBeGreaterThan(0);
    });
  });

  describe('whose user', () => {
    const userOf = async (osd: string): Promise<{ user: string; keyring: string }> => {
      const user = `test-${randomUUID()}`;
      return { user, keyring: await ceph.createUser(user, { mon: 'profile rbd', osd }) };
    };

    it('has rights in one namespace alone can do all that it needs to', async () => {
      const pool = await inNamespace();
      const place = await openSealed({
        ...pool,
        ...(await userOf(`profile rbd pool=volumes namespace=${pool.namespace}`)),
      });
      const [kept, deleted] = [volumeMarker(place), volumeMarker(place)];
      for (const marker of [kept, deleted]) await place.backend.ensureClone('img', marker);
      await place.backend.ensureVolumeAbsent(deleted.volumeId);
      expect(await place.backend.describeVolume(kept.volumeId)).toMatchObject({ kind: 'present', parent: 'img' });
      await expect(place.backend.ensureImageVolumeAbsent('img')).rejects.toMatchObject({ type: 'ParentUnusable' });
      await expectWhole(place, [kept]);
      expect(await place.backend.ensureFlattened?.(kept.volumeId, {})).toBe('flattened');
      await place.backend.ensureImageVolumeAbsent('img');
      expect(await kinds(place.backend)).toEqual(['volume']);
    });

    it('may only read is refused when the pool is opened', async () => {
      const pool = await inNamespace();
      const { installation } = await open(pool);
      const reader = { ...pool, ...(await userOf('profile rbd-read-only pool=volumes')) };
      await expect(open(reader, { installation })).rejects.toMatchObject({
        ...unavailable,
        details: {
          cause: `Ceph refused our credentials: client.${reader.user} lacks rights for rados_write_op_operate`,
        },
      });
    });
  });

  describe('and the inventory', () => {
    const claim = async (pool: RbdPool, ...args: string[]): Promise<void> => {
      const place = ['--conf', ceph.confPath, '--id', 'admin', '-p', pool.pool, '-N', pool.namespace ?? ''];
      await promisify(execFile)('rados', [...place, ...args]);
    };
    const CLAIM = 'image-volume-cache.claim';
    const holdings = '3 volumes and 2 image-volumes';
    const known = (id: string | undefined, lostId?: string): KnownPlace => ({
      id,
      lostId,
      describeHoldings: async () => await Promise.resolve(holdings),
    });

    it('refuse the pool of another installation, and of another backend', async () => {
      const place = await openSealed(await inNamespace());
      await expect(place.reopen(brand<InstallationId>(randomUUID()))).rejects.toMatchObject({
        type: 'ForeignObject',
        details: {
          object: expect.stringContaining(
            `pool volumes, namespace ${place.pool.namespace} of cluster ${ceph.fsid} of backend ceph of installation ${place.installation}`,
          ) as string,
        },
      });
      const { pool, cluster, installation } = place;
      const other = createRbdBackend({ name: brand<BackendName>('other'), installation, pool, cluster, names });
      await expect(other).rejects.toMatchObject({ type: 'ForeignObject' });
      expect(await kinds(place.backend)).toEqual(['image-volume']);
    });

    it('take nothing for absent, and make nothing, while the pool is not the one that was claimed', async () => {
      const place = await openSealed(await inNamespace());
      const { backend, pool } = place;
      const marker = volumeMarker(place);
      await backend.ensureClone('img', marker);
      const kept = join(directory, randomUUID());
      await claim(pool, 'get', CLAIM, kept);
      const foreign = join(directory, randomUUID());
      await writeFile(foreign, JSON.stringify({ installation: randomUUID(), backend: name, place: randomUUID() }));
      const others: [() => Promise<void>, object][] = [
        [() => claim(pool, 'rm', CLAIM), unavailable],
        [() => claim(pool, 'put', CLAIM, foreign), { type: 'ForeignObject' }],
      ];
      for (const [change, failure] of others) {
        await change();
        const attempt = { kind: 'image-volume', name: 'new', attempt: 'a1' } as const;
        const calls: (() => Promise<unknown>)[] = [
          () => backend.describeParent('other'),
          () => backend.space(),
          () => backend.describeVolume(volumeMarker(place).volumeId),
          () => backend.ensureClone('other', volumeMarker(place)),
          () => backend.ensureVolumeAbsent(marker.volumeId),
          () => backend.ensureImageVolumeAbsent('img'),
          () => backend.ensureAttemptAbsent(attempt),
          () => backend.ensureWriteTarget({ ...attempt, virtualBytes: MiB }),
          () => objects(backend),
        ];
        for (const call of calls) await expect(call()).rejects.toMatchObject(failure);
      }
      await claim(pool, 'put', CLAIM, kept);
      await expectWhole(place, [marker]);
    });

    it('claim no pool where something is expected, such as an empty one of another cluster, until it is said to be lost', async () => {
      const pool = await inNamespace();
      const installation = brand<InstallationId>(randomUUID());
      const id = randomUUID();
      const where = `pool volumes, namespace ${pool.namespace} of cluster ${ceph.fsid}`;
      for (const [expected, place] of [
        [known(id), id],
        [known(id, randomUUID()), id],
        [known(undefined), installation],
      ] as const)
        await expect(open(pool, { installation, known: expected })).rejects.toThrow(
          new RegExp([`^backends.ceph: ${where} `, installation, holdings, `IVC_LOST_PLACE=${place}$`].join('.*')),
        );
      expect(await ceph.rbd(['ls', `volumes/${pool.namespace}`])).toBe('');
      await expect(claim(pool, 'stat', CLAIM)).rejects.toThrow(/No such file/);
      const made = await open(pool, { installation, known: known(id, id) });
      const { placeId } = made.backend;
      await expect(open(pool, { installation, known: known(id) })).rejects.toThrow(placeId);
      expect((await open(pool, { installation, known: known(placeId) })).backend.placeId).toBe(placeId);
    });
  });

  /** Opens an image for writing as another client does, which is then killed: Ceph takes it for alive for a while. */
  async function holdAndDie({ pool }: FaultyPlace, image: string): Promise<void> {
    const before = agents();
    await openCluster(pool).openWriter?.(image);
    for (const pid of agents()) if (!before.includes(pid)) process.kill(pid, 'SIGKILL');
  }
});

/** Calls again what says that the backend is unavailable, as the worker does. */
async function withRetries<Result>(work: () => Promise<Result>): Promise<Result> {
  for (const deadline = Date.now() + PATIENCE_MS; ;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Failure) || error.type !== 'BackendUnavailable' || Date.now() > deadline) throw error;
      await delay(500);
    }
  }
}

/** Waits until some of a herd's clones are on their way. */
async function untilSome(cluster: LibraryCluster): Promise<void> {
  const some = async (): Promise<true | undefined> => (await cluster.listImages()).length > 3 || undefined;
  await waitFor(some, { what: 'clones to be on their way', deadlineMs: PATIENCE_MS, intervalMs: 1 });
}

async function untilWritten({ cluster }: FaultyPlace, image: string): Promise<void> {
  const isThere = async (): Promise<boolean> => (await cluster.describeImage(image, [])) !== undefined;
  const some = async (): Promise<true | undefined> =>
    ((await isThere()) && (await cluster.usedBytes(image)) > 0) || undefined;
  await waitFor(some, { what: `${image} to get its first bytes`, deadlineMs: PATIENCE_MS, intervalMs: 1 });
}

/** @returns the pids of the agents of this process. */
function agents(): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        const parent = /\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
        const isAgent = readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('rbd/agent.js');
        return isAgent && Number(parent) === process.pid;
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Sends a signal to the only agent. @returns its pid. */
function signalAgent(signal: NodeJS.Signals): number {
  const [pid, ...others] = agents();
  if (pid === undefined || others.length > 0)
    throw new Error(`one agent was expected, not ${agents().join(', ') || 'none'}`);
  process.kill(pid, signal);
  return pid;
}

/** How many objects of an image hold data of its own. */
async function countObjects({ pool }: FaultyPlace, image: string): Promise<number> {
  const ceph = CephCluster.ofThisRun();
  const { namespace = '' } = pool;
  const info = await ceph.rbd(['info', `${pool.pool}/${namespace}/${image}`, '--format', 'json']);
  const { block_name_prefix: prefix } = JSON.parse(info) as { block_name_prefix: string };
  const list = await ceph.rados(['-p', pool.pool, '-N', namespace, 'ls']);
  return list.split('\n').filter((object) => object.startsWith(`${prefix}.`)).length;
}
