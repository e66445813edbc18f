import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { changeAttachment } from '../../../client/attachments';
import { extendVolume, reimageVolume } from '../../../client/volumes';
import { listEvents } from '../../../db/events';
import { GiB } from '../../../workflows/contract/bytes';
import { close, listen } from '../../../worker/loopback-server';
import { startStandInKeystone } from '../../support/openstack/stand-in-keystone';
import { startApi } from '../../support/stack/api';
import { expectCleanSlate, useStack } from '../../support/stack/flows';

/** Events that a compute service has been told. */
let told: unknown[] = [];

/** A stack whose cloud has one, in so many regions. */
const withCompute = (regions: number) =>
  useStack(async ({ after }) => {
    const nova = createServer((request, response) => {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString()));
      request.on('end', () => {
        const { events } = JSON.parse(text) as { events: object[] };
        told.push(...events);
        response.writeHead(200).end(JSON.stringify({ events: events.map((event) => ({ ...event, code: 200 })) }));
      });
    });
    const url = await listen(nova, { port: 0 });
    after(() => close(nova));
    const keystone = await startStandInKeystone({ compute: Array.from({ length: regions }, () => `${url}/v2.1/`) });
    after(() => keystone.stop());
    const account = { authUrl: keystone.url, username: 'ivc', projectName: 'service' };
    return { config: { identity: account }, environment: { OS_PASSWORD: 'any' } };
  });

/** A volume, and what is done with it for a server; each is another one. */
const prepare = async (flow: ReturnType<typeof useStack>, name: string) => {
  const { image } = await flow.upload(name);
  const { volumeId } = await flow.create(image, { projectId: 'p1', sizeBytes: GiB });
  const [attachmentId, serverId] = [randomUUID(), randomUUID()];
  const change = async (of: Pick<Parameters<typeof changeAttachment>[2], 'change' | 'connector'>) =>
    await changeAttachment(flow.stack.cache, volumeId, { attachmentId, byService: true, ...of });
  await changeAttachment(flow.stack.cache, volumeId, { change: 'create', attachmentId, instanceId: serverId });
  return { volumeId, serverId, change };
};

beforeEach(() => (told = []));

describe('a server', () => {
  const flow = withCompute(1);
  afterEach(() => expectCleanSlate(flow.stack));

  it('is told that the volume that is reserved for it has new bytes', async () => {
    const { volumeId, serverId, change } = await prepare(flow, 'reserved');
    const { image } = await flow.upload('new-bytes');
    const api = await startApi(flow.stack);
    const body = { 'os-reimage': { image_id: image.id, reimage_reserved: true } };
    expect((await api.call(`POST /v3/p1/volumes/${volumeId}/action`, body)).status).toBe(202);
    await flow.until('the server to be told', async () => told.length > 0);
    expect(told).toEqual([{ name: 'volume-reimaged', server_uuid: serverId, tag: volumeId, status: 'completed' }]);
    expect(await flow.volume(volumeId)).toMatchObject({ status: 'reserved', imageId: image.id });
    await change({ change: 'delete' });
    await api.stop();
  });

  it('is told that it will not get them', async () => {
    const { volumeId, serverId, change } = await prepare(flow, 'unlucky');
    const { image } = await flow.upload('corrupt');
    await flow.stack.imageService.inject({ kind: 'wrong-bytes', imageId: image.id, times: 100 });
    const asked = reimageVolume(flow.stack.cache, volumeId, { imageId: image.id, reimageReserved: true });
    await expect(asked).rejects.toMatchObject({ type: 'ImageRefused' });
    expect(told).toEqual([{ name: 'volume-reimaged', server_uuid: serverId, tag: volumeId, status: 'failed' }]);
    await change({ change: 'delete' });
  });

  it('is told that a volume that it has attached has grown, and of none that it has not', async () => {
    const { volumeId, serverId, change } = await prepare(flow, 'growing');
    await change({ change: 'connect', connector: { host: 'h1' } });
    await change({ change: 'complete' });
    await extendVolume(flow.stack.cache, volumeId, { sizeBytes: 2 * GiB });
    expect(told).toEqual([{ name: 'volume-extended', server_uuid: serverId, tag: volumeId, status: 'completed' }]);
    await change({ change: 'delete' });
    await extendVolume(flow.stack.cache, volumeId, { sizeBytes: 3 * GiB });
    expect(told).toHaveLength(1);
  });
});

describe('where nobody can tell which compute service is meant', () => {
  const flow = withCompute(2);

  it('a volume grows nevertheless, and the history says that its server was not told', async () => {
    const { volumeId, change } = await prepare(flow, 'untold');
    await change({ change: 'connect', connector: { host: 'h1' } });
    await change({ change: 'complete' });
    await extendVolume(flow.stack.cache, volumeId, { sizeBytes: 2 * GiB });
    expect(told).toEqual([]);
    expect(await flow.volume(volumeId)).toMatchObject({ sizeBytes: 2 * GiB });
    const events = await listEvents(flow.stack.database, { volumeId, scope: 'all projects', limit: 100 });
    expect(events.find(({ kind }) => kind === 'volume.extend-failed')?.detail).toEqual({
      error: 'InvalidRequest',
      told: 'volume-extended',
    });
  });
});
