import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { holdAsGuest } from '../../support/images/qemu';
import { startApi, type TestApi } from '../../support/stack/api';
import { useStack } from '../../support/stack/flows';

const flow = useStack();
let api: TestApi;
beforeAll(async () => {
  api = await startApi(flow.stack);
});
afterAll(() => api.stop());

const messagesOf = async (query = '', minor = 70) =>
  (await api.call(`GET /v3/p1/messages${query}`, undefined, { minor })).body;
/** A volume of a type that no backend fits: accepted, and in `error`. */
const createUnplaced = async (): Promise<string> => {
  const type = { name: `type-${randomUUID()}`, extra_specs: { vendor_name: 'nobody' } };
  const made = await api.call('POST /v3/p1/types', { volume_type: type });
  const created = await api.call('POST /v3/p1/volumes', {
    volume: { size: 1, volume_type: made.body.volume_type.id },
  });
  expect(created.status).toBe(202);
  const { id } = created.body.volume;
  await flow.until('the volume to be in error', async () => {
    return (await api.call(`GET /v3/p1/volumes/${id}`)).body.volume.status === 'error';
  });
  return id;
};

const act = async (id: string, action: object) => await api.call(`POST /v3/p1/volumes/${id}/action`, action);
const toldOf = async (event: string) =>
  await flow.until('a message', async () => (await messagesOf(`?event_id=${event}`)).messages[0]);
/** A volume, its file, and how something is done while a guest has it open, until there is a message. */
interface Held {
  id: string;
  path: string;
  whileOpen: <T>(work: () => Promise<T>) => Promise<T>;
}

describe('messages', () => {
  it('tell why a volume has failed that was accepted, until somebody deletes them', async () => {
    const volumeId = await createUnplaced();
    const { messages } = await messagesOf(`?resource_uuid=${volumeId}`);
    expect(messages).toEqual([
      {
        id: expect.any(String),
        event_id: 'VOLUME_VOLUME_001_003',
        user_message: 'schedule allocate volume:Could not find any available weighted backend.',
        message_level: 'ERROR',
        created_at: expect.any(String),
        guaranteed_until: expect.any(String),
        request_id: expect.stringMatching(/^req-/),
        links: expect.any(Array),
        resource_type: 'VOLUME',
        resource_uuid: volumeId,
      },
    ]);
    const path = `/v3/p1/messages/${messages[0].id}`;
    expect((await api.call(`GET ${path}`)).body).toEqual({ message: messages[0] });
    expect((await api.call(`DELETE ${path}`)).status).toBe(204);
    expect((await api.call(`GET ${path}`)).status).toBe(404);
    expect((await api.call(`DELETE ${path}`)).status).toBe(404);
    expect((await messagesOf(`?resource_uuid=${volumeId}`)).messages).toEqual([]);
    expect((await api.call(`DELETE /v3/p1/volumes/${volumeId}`)).status).toBe(202);
    await flow.until('the volume to be gone', async () => {
      return (await api.call(`GET /v3/p1/volumes/${volumeId}`)).status === 404;
    });
  });

  it('come page by page, sorted, and by what they are about', async () => {
    const made = [await createUnplaced(), await createUnplaced(), await createUnplaced()];
    const about = ({ messages }: { messages: { resource_uuid: string }[] }) =>
      messages.map(({ resource_uuid: id }) => id).filter((id) => made.includes(id));
    expect(about(await messagesOf())).toEqual(made.toReversed());
    expect(about(await messagesOf('?sort=created_at:asc'))).toEqual(made);
    expect(about(await messagesOf('?event_id=VOLUME_VOLUME_001_003&resource_type=VOLUME'))).toHaveLength(3);
    for (const none of ['?event_id=VOLUME_VOLUME_003_004', '?resource_type=VOLUME_SNAPSHOT', '?message_level=INFO'])
      expect((await messagesOf(none)).messages).toEqual([]);
    const first = await messagesOf('?limit=2');
    expect(about(first)).toEqual(made.toReversed().slice(0, 2));
    expect(first.messages_links[0].href).toContain(`marker=${first.messages[1].id}`);
    expect(about(await messagesOf(`?limit=1&marker=${first.messages[1].id}`))).toEqual([made[0]]);
    expect(about(await messagesOf('?limit=1', 3))).toHaveLength(3);
    expect((await messagesOf('', 2)).itemNotFound.code).toBe(404);
  });

  it.each<{ what: string; event: string; message: string; provoke: (held: Held) => Promise<unknown> }>([
    {
      what: 'an extension',
      event: 'VOLUME_VOLUME_007_010',
      message: 'extend volume:Volume Driver failed to extend volume.',
      provoke: async ({ id, whileOpen }) => await whileOpen(() => act(id, { 'os-extend': { new_size: 2 } })),
    },
    {
      what: 'a delete',
      event: 'VOLUME_VOLUME_017_027',
      message: 'delete volume:Volume status is invalid.',
      provoke: async ({ id, whileOpen }) => await whileOpen(() => api.call(`DELETE /v3/p1/volumes/${id}`)),
    },
    {
      what: 'a snapshot',
      event: 'VOLUME_VOLUME_SNAPSHOT_009_013',
      message: 'create snapshot:Snapshot failed to create.',
      provoke: async ({ id, path }) => {
        await rm(path);
        return await api.call('POST /v3/p1/snapshots', { snapshot: { volume_id: id } });
      },
    },
    {
      what: 'an upload',
      event: 'VOLUME_VOLUME_003_004',
      message: 'copy volume to image:Failed to upload volume to image at backend.',
      provoke: async ({ id, path }) => {
        await rm(path);
        return await act(id, { 'os-volume_upload_image': { image_name: 'lost' } });
      },
    },
    {
      what: 'a reimage',
      event: 'VOLUME_VOLUME_016_028',
      message: 'reimage volume:Compute service failed to reimage volume.',
      provoke: async ({ id }) => {
        const { image } = await flow.upload('gone-meanwhile');
        await flow.stack.imageService.inject({ kind: 'status-404', imageId: image.id, times: 100 });
        return await act(id, { 'os-reimage': { image_id: image.id } });
      },
    },
  ])('tell of $what that has failed', async ({ event, message, provoke }) => {
    const { image } = await flow.upload(event);
    const { volumeId: id, connection } = await flow.create(image, { projectId: 'p1' });
    if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
    const { path, format } = connection;
    const whileOpen = async <T>(work: () => Promise<T>): Promise<T> => {
      const release = await holdAsGuest({ filename: path, format });
      try {
        const result = await work();
        await toldOf(event);
        return result;
      } finally {
        await release();
      }
    };
    await provoke({ id, path, whileOpen });
    expect(await toldOf(event)).toMatchObject({
      user_message: message,
      message_level: 'ERROR',
      request_id: expect.stringMatching(/^req-/),
    });
    await flow.stack.imageService.clearFaults();
  });
});
