import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { createGlanceClient } from '../../activities/glance/client';
import type { ImageService } from '../../activities/glance/image-service';
import { MiB } from '../../workflows/contract/bytes';
import { CephCluster } from '../support/ceph/cluster';
import { startRealGlance, type RealGlance } from '../support/glance/real-glance';

const START_TIMEOUT_MS = 300_000;

describe('an image in a Glance whose store is Ceph', () => {
  const cluster = CephCluster.ofThisRun();
  const bytes = randomBytes(9 * MiB);
  let directory = '';
  let glance: RealGlance;
  let images: ImageService;
  let id = '';

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-glance-in-ceph-'));
    glance = await startRealGlance({ ceph: cluster });
    images = createGlanceClient({ endpoint: glance.endpoint });
    ({ id } = await images.createImage({ name: 'raw', diskFormat: 'raw', containerFormat: 'bare' }));
    await images.uploadImage({ imageId: id, body: Readable.from([bytes]), sizeBytes: bytes.length });
  }, START_TIMEOUT_MS);

  afterAll(async () => {
    await images.close();
    await glance.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it('is a snapshot that its record names', async () => {
    const url = `rbd://${cluster.fsid}/${cluster.pools.images}/${id}/snap`;
    const record: unknown = await (await fetch(`${glance.endpoint}/v2/images/${id}`)).json();
    expect(record).toMatchObject({ direct_url: url, locations: [{ url }] });
  });

  it('is read and cloned by the user of the volumes', async () => {
    const snapshot = `${cluster.pools.images}/${id}@snap`;
    const asCinder = { user: 'cinder' };
    const volume = `${cluster.pools.volumes}/${await cluster.createNamespace()}/cloned`;
    await cluster.rbd(['clone', snapshot, volume], asCinder);
    for (const [name, source] of Object.entries({ snapshot, volume })) {
      await cluster.rbd(['export', '--no-progress', source, join(directory, name)], asCinder);
      expect((await readFile(join(directory, name))).equals(bytes)).toBe(true);
    }
  });

  it('comes whole from its start where only its end is asked for, since such a store cannot seek', async () => {
    const request = { imageId: id, offsetBytes: 8 * MiB, expectedBytes: bytes.length };
    const { startsAtBytes, lengthBytes, body } = await images.openDownload(request);
    expect([startsAtBytes, lengthBytes]).toEqual([0, bytes.length]);
    expect((await buffer(body)).equals(bytes)).toBe(true);
  });
});
