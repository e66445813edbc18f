import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { createGlanceClient } from '../../activities/glance/client';
import type { CreateImageRequest, ImageService } from '../../activities/glance/image-service';
import { GiB, KiB, MiB } from '../../workflows/contract/bytes';
import type { ProjectId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import { createImageMembers, type ImageMembers } from '../support/glance/image-members';

export interface StartedImageService {
  endpoint: string;
  /** The caller without a token: an owner is refused the data of a deactivated image, an administrator gets it. */
  caller: 'owner' | 'administrator';
  stop(): Promise<void>;
}

const SIZE_BYTES = 3 * MiB + 17;

/** The duties of every image service that this product works with: the same suite runs against the local one and a real Glance, and the real one decides. */
export function describeImageService(name: string, start: () => Promise<StartedImageService>): void {
  const bytes = randomBytes(SIZE_BYTES);
  let service: StartedImageService;
  let images: ImageService;

  beforeAll(async () => {
    service = await start();
    images = createGlanceClient({ endpoint: service.endpoint });
  });

  afterAll(async () => {
    await images.close();
    await service.stop();
  });

  const create = (request: Partial<CreateImageRequest> = {}) =>
    images.createImage({ name: 'sample', diskFormat: 'raw', containerFormat: 'bare', ...request });
  const upload = (imageId: string, data: Buffer = bytes) =>
    images.uploadImage({ imageId, body: chunksOf(data), sizeBytes: data.length });
  const createActive = async (request: Partial<CreateImageRequest> = {}, data: Buffer = bytes): Promise<Image> => {
    const { id } = await create(request);
    await upload(id, data);
    return images.getImage(id);
  };
  const ask = (path: string, init?: RequestInit) => fetch(`${service.endpoint}${path}`, init);
  const download = async (imageId: string, offsetBytes = 0): Promise<Buffer> => {
    const { body } = await images.openDownload({ imageId, offsetBytes, expectedBytes: SIZE_BYTES });
    return collect(body);
  };
  const patch = (id: string, operations: unknown[]) =>
    ask(`/v2/images/${id}`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/openstack-images-v2.1-json-patch' },
      body: JSON.stringify(operations),
    });

  describe(name, () => {
    describe('a record', () => {
      it('is queued and has what it was created with', async () => {
        const id = randomUUID();
        const created = await create({
          id,
          minDiskGiB: 2,
          minRamMiB: 64,
          tags: ['b', 'a', 'b'],
          properties: { os_distro: 'debian', hw_disk_bus: 'virtio' },
        });
        expect(created).toMatchObject({
          id,
          name: 'sample',
          status: 'queued',
          diskFormat: 'raw',
          containerFormat: 'bare',
          visibility: 'shared',
          minDiskGiB: 2,
          minRamMiB: 64,
          sizeBytes: null,
          virtualSizeBytes: null,
          checksum: null,
          hashAlgorithm: null,
          hashValue: null,
          hidden: false,
          protected: false,
        });
        expect(created.properties).toEqual({ os_distro: 'debian', hw_disk_bus: 'virtio' });
        expect([...created.tags].sort()).toEqual(['a', 'b']);
        expect(await images.getImage(id)).toEqual(created);
      });

      it('names its own path and that of its data', async () => {
        const { id } = await create();
        const shown: unknown = await (await ask(`/v2/images/${id}`)).json();
        expect(shown).toMatchObject({
          self: `/v2/images/${id}`,
          file: `/v2/images/${id}/file`,
          schema: '/v2/schemas/image',
        });
      });

      it('is not found by an id that nobody used, or that is none', async () => {
        await expect(images.getImage(randomUUID())).rejects.toMatchObject({ type: 'ImageNotFound' });
        await expect(images.getImage('../images')).rejects.toMatchObject({ type: 'ImageNotFound' });
        expect((await ask('/v2/images/none')).status).toBe(404);
      });

      it('with values that no image may have is refused', async () => {
        await expect(create({ diskFormat: 'nonsense' })).rejects.toMatchObject({ type: 'InvalidRequest' });
        await expect(create({ id: 'not-a-uuid' })).rejects.toMatchObject({ type: 'InvalidRequest' });
        await expect(create({ properties: { size: '1' } })).rejects.toMatchObject({ type: 'InvalidRequest' });
        expect(
          (await ask('/v2/images', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{bad' }))
            .status,
        ).toBe(400);
      });

      it('with the id of another is refused', async () => {
        const { id } = await create();
        await expect(create({ id })).rejects.toMatchObject({
          type: 'InvalidRequest',
          details: { field: 'imageId', value: id },
        });
      });
    });

    describe('an owner', () => {
      it('is whom an administrator names, and nobody else afterwards', async () => {
        const owner = randomUUID() as ProjectId;
        const { id } = await create({ owner });
        expect(await images.getImage(id)).toMatchObject({ owner });
        const { images: owned } = await images.listImages({ owner });
        expect(owned.map((image) => image.id)).toEqual([id]);
      });

      it('is found beside a visibility', async () => {
        const owner = randomUUID();
        const [community, shared] = [await create({ owner, visibility: 'community' }), await create({ owner })];
        const idsOf = async (visibility: string) =>
          (await images.listImages({ owner, visibility })).images.map(({ id }) => id);
        expect(await idsOf('community')).toEqual([community.id]);
        expect(await idsOf('shared')).toEqual([shared.id]);
        expect(await idsOf('public')).toEqual([]);
      });
    });

    describe('a member', () => {
      let members: ImageMembers;
      beforeAll(() => (members = createImageMembers(service.endpoint)));
      const status = async (answer: Promise<Response>) => (await drained(await answer)).status;

      it('is pending, then what it answers, and gone when it is removed; nothing of it moves updated_at', async () => {
        const { id, updatedAt } = await create();
        const [first, second] = [randomUUID(), randomUUID()] as ProjectId[];
        if (first === undefined || second === undefined) throw new Error('two projects');
        expect(await images.listMembers(id)).toEqual([]);
        expect(await status(members.add(id, first))).toBe(200);
        expect(await status(members.add(id, second))).toBe(200);
        const listed = async () => new Map((await images.listMembers(id)).map((member) => [member.projectId, member]));
        expect((await listed()).get(first)).toEqual({ projectId: first, status: 'pending' });
        for (const answer of ['accepted', 'rejected', 'pending'] as const) {
          expect(await status(members.answer(id, first, answer))).toBe(200);
          expect((await listed()).get(first)).toEqual({ projectId: first, status: answer });
        }
        expect(await status(members.remove(id, first))).toBe(204);
        expect([...(await listed()).keys()]).toEqual([second]);
        expect(await images.getImage(id)).toMatchObject({ updatedAt });
      });

      it('is added once, answers what there is, and must be there to be removed', async () => {
        const { id } = await create();
        const project = randomUUID();
        expect(await status(members.answer(id, project, 'accepted'))).toBe(404);
        expect(await status(members.remove(id, project))).toBe(404);
        await drained(await members.add(id, project));
        expect(await status(members.add(id, project))).toBe(409);
        expect(await status(members.answer(id, project, 'perhaps'))).toBe(400);
      });

      it.each(['private', 'community'])('is none of a %s image', async (visibility) => {
        const { id } = await create({ visibility });
        expect(await status(members.add(id, randomUUID()))).toBe(403);
        await expect(images.listMembers(id)).rejects.toMatchObject({ type: 'ImageNotFound' });
      });

      it('of an image that is not there is not found', async () => {
        await expect(images.listMembers(randomUUID())).rejects.toMatchObject({ type: 'ImageNotFound' });
        expect(await status(members.add(randomUUID(), randomUUID()))).toBe(404);
      });

      it('stays one while the image is something else than shared', async () => {
        const { id } = await create();
        const project = randomUUID() as ProjectId;
        await drained(await members.add(id, project));
        await patch(id, [{ op: 'replace', path: '/visibility', value: 'private' }]);
        await patch(id, [{ op: 'replace', path: '/visibility', value: 'shared' }]);
        expect(await images.listMembers(id)).toEqual([{ projectId: project, status: 'pending' }]);
      });
    });

    describe('an edit', () => {
      it('changes name, numbers, tags and properties', async () => {
        const { id } = await create({ tags: ['old'], properties: { gone: '1', kept: '1' } });
        const edited = await patch(id, [
          { op: 'replace', path: '/name', value: 'renamed' },
          { op: 'replace', path: '/min_disk', value: 3 },
          { op: 'replace', path: '/tags', value: ['new'] },
          { op: 'remove', path: '/gone' },
          { op: 'replace', path: '/kept', value: '2' },
          { op: 'add', path: '/added', value: '3' },
        ]);
        expect(edited.status).toBe(200);
        expect(await images.getImage(id)).toMatchObject({
          name: 'renamed',
          minDiskGiB: 3,
          tags: ['new'],
          properties: { kept: '2', added: '3' },
        });
      });

      it.each([
        { what: 'of the data fields', path: '/size', value: 1, status: 403 },
        { what: 'of the format of an active image', path: '/disk_format', value: 'qcow2', status: 403 },
        { what: 'of a property that is not there', path: '/absent', value: '1', status: 409 },
        { what: 'below a property', path: '/one/two', value: '1', status: 400 },
      ])('$what is refused with $status', async ({ path, value, status }) => {
        const { id } = await createActive();
        expect((await patch(id, [{ op: 'replace', path, value }])).status).toBe(status);
      });

      it('of another media type is refused', async () => {
        const { id } = await create();
        expect(
          (
            await ask(`/v2/images/${id}`, {
              method: 'PATCH',
              headers: { 'content-type': 'application/json' },
              body: '[]',
            })
          ).status,
        ).toBe(415);
      });
    });

    describe('an upload', () => {
      it('makes the image active with size, md5 and sha512 of the stored bytes', async () => {
        expect(await createActive()).toMatchObject({
          status: 'active',
          sizeBytes: SIZE_BYTES,
          virtualSizeBytes: SIZE_BYTES,
          checksum: createHash('md5').update(bytes).digest('hex'),
          hashAlgorithm: 'sha512',
          hashValue: createHash('sha512').update(bytes).digest('hex'),
        });
      });

      it('may come without its length', async () => {
        const { id } = await create();
        await images.uploadImage({ imageId: id, body: chunksOf(bytes) });
        expect(await images.getImage(id)).toMatchObject({ status: 'active', sizeBytes: SIZE_BYTES });
      });

      it('may be empty', async () => {
        const { id, sizeBytes, status } = await createActive({}, Buffer.alloc(0));
        expect({ sizeBytes, status }).toEqual({ sizeBytes: 0, status: 'active' });
        const answer = await ask(`/v2/images/${id}/file`);
        expect([answer.status, (await answer.arrayBuffer()).byteLength]).toEqual([200, 0]);
      });

      it('has the virtual size that its declared format says, and none where the bytes are of another', async () => {
        expect(await createActive({ diskFormat: 'qcow2' }, qcow2Head(5 * GiB))).toMatchObject({
          status: 'active',
          virtualSizeBytes: 5 * GiB,
        });
        expect(await createActive({ diskFormat: 'raw' }, qcow2Head(5 * GiB))).toMatchObject({
          status: 'active',
          virtualSizeBytes: 64 * KiB,
        });
        expect(await createActive({ diskFormat: 'qcow2' })).toMatchObject({ status: 'active', virtualSizeBytes: null });
      });

      it('is taken only once', async () => {
        const { id, hashValue } = await createActive();
        await expect(upload(id, Buffer.from('other'))).rejects.toMatchObject({ type: 'InvalidRequest' });
        expect(await images.getImage(id)).toMatchObject({ hashValue });
      });

      it('is refused without formats, of another media type, and for no image', async () => {
        const created = await ask('/v2/images', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: '{"name": "no formats"}',
        });
        const path = String(created.headers.get('location')).replace(/^https?:\/\/[^/]+/, '');
        const put = (to: string, type: string) =>
          ask(to, { method: 'PUT', headers: { 'content-type': type }, body: 'bytes' });
        expect((await put(`${path}/file`, 'application/octet-stream')).status).toBe(400);
        const { id } = await create();
        expect((await put(`/v2/images/${id}/file`, 'text/plain')).status).toBe(415);
        await expect(upload(randomUUID())).rejects.toMatchObject({ type: 'ImageNotFound' });
      });

      it('that is cut leaves the image queued, and a second one fills it', async () => {
        const { id } = await create();
        const stateIs = (status: string) => async () => (await images.getImage(id)).status === status;
        const cut = startUpload(`${service.endpoint}/v2/images/${id}/file`);
        await until(stateIs('saving'));
        await cut();
        await until(stateIs('queued'));
        await upload(id);
        expect(await images.getImage(id)).toMatchObject({ status: 'active', sizeBytes: SIZE_BYTES });
      });

      it('that goes on keeps others out, and leaves nothing when its image is deleted', async () => {
        const { id } = await create();
        const cut = startUpload(`${service.endpoint}/v2/images/${id}/file`);
        await until(async () => (await images.getImage(id)).status === 'saving');
        await expect(upload(id)).rejects.toMatchObject({ type: 'InvalidRequest', details: { field: 'imageId' } });
        expect(await images.getImage(id)).toMatchObject({ status: 'saving', sizeBytes: null });
        await images.deleteImage(id);
        await cut();
        await expect(images.getImage(id)).rejects.toMatchObject({ type: 'ImageNotFound' });
        await expect(create({ id })).rejects.toMatchObject({ type: 'InvalidRequest', details: { field: 'imageId' } });
      });
    });

    describe('a download', () => {
      it('brings all bytes with their length and md5', async () => {
        const { id, checksum } = await createActive();
        const { startsAtBytes, lengthBytes, body } = await images.openDownload({
          imageId: id,
          offsetBytes: 0,
          expectedBytes: SIZE_BYTES,
        });
        expect([startsAtBytes, lengthBytes]).toEqual([0, SIZE_BYTES]);
        expect((await collect(body)).equals(bytes)).toBe(true);
        const { headers } = await drained(await ask(`/v2/images/${id}/file`));
        expect(headers.get('content-type')).toBe('application/octet-stream');
        expect(headers.get('content-md5')).toBe(checksum);
        expect(['etag', 'last-modified', 'accept-ranges'].map((header) => headers.get(header))).toEqual([
          null,
          null,
          null,
        ]);
      });

      it('begins exactly where asked', async () => {
        const { id } = await createActive();
        for (const offsetBytes of [1, MiB, SIZE_BYTES - 1]) {
          const { startsAtBytes, lengthBytes, body } = await images.openDownload({
            imageId: id,
            offsetBytes,
            expectedBytes: SIZE_BYTES,
          });
          expect([startsAtBytes, lengthBytes]).toEqual([offsetBytes, SIZE_BYTES - offsetBytes]);
          expect((await collect(body)).equals(bytes.subarray(offsetBytes))).toBe(true);
        }
      });

      it.each([0, 1, MiB, SIZE_BYTES - 1])(
        'is read straight into what the caller gives, from byte %d on',
        async (offsetBytes) => {
          const { id } = await createActive();
          const target = Buffer.alloc(SIZE_BYTES - offsetBytes);
          let filled = 0;
          const sink = {
            room: () => target.subarray(filled),
            filled: (count: number) => void (filled += count),
            awaitRoom: () => Promise.resolve(),
          };
          const request = { imageId: id, offsetBytes, expectedBytes: SIZE_BYTES };
          expect(await images.downloadInto?.(request, sink)).toBe(true);
          expect(target.equals(bytes.subarray(offsetBytes))).toBe(true);
        },
      );

      it.each([
        { range: 'bytes=3-', status: 206, contentRange: `bytes 3-${SIZE_BYTES - 1}/${SIZE_BYTES}` },
        { range: 'bytes=3-9', status: 206, contentRange: `bytes 3-9/${SIZE_BYTES}` },
        { range: `bytes=3-${SIZE_BYTES + 5}`, status: 206, contentRange: `bytes 3-${SIZE_BYTES - 1}/${SIZE_BYTES}` },
        { range: 'bytes=-5', status: 206, contentRange: `bytes ${SIZE_BYTES - 5}-${SIZE_BYTES - 1}/${SIZE_BYTES}` },
        { range: `bytes=${SIZE_BYTES}-`, status: 416, contentRange: null },
        { range: 'bytes=9-3', status: 416, contentRange: null },
        { range: 'bytes=abc', status: 416, contentRange: null },
        { range: 'bytes=1-2,4-5', status: 400, contentRange: null },
      ])('of the range $range answers $status', async ({ range, status, contentRange }) => {
        const { id } = await createActive();
        const answer = await drained(await ask(`/v2/images/${id}/file`, { headers: { range } }));
        expect([answer.status, answer.headers.get('content-range')]).toEqual([status, contentRange]);
      });

      it('from behind the end is ImageChanged, since its record said otherwise', async () => {
        const { id } = await createActive();
        await expect(
          images.openDownload({ imageId: id, offsetBytes: SIZE_BYTES, expectedBytes: 2 * SIZE_BYTES }),
        ).rejects.toMatchObject({ type: 'ImageChanged' });
      });

      it('of a queued image is ImageNotActive, and 204 on the wire', async () => {
        const { id } = await create();
        await expect(download(id)).rejects.toMatchObject({ type: 'ImageNotActive' });
        expect((await ask(`/v2/images/${id}/file`)).status).toBe(204);
      });

      it('of no image is ImageNotFound', async () => {
        await expect(download(randomUUID())).rejects.toMatchObject({ type: 'ImageNotFound' });
      });

      it('has no HEAD', async () => {
        const { id } = await createActive();
        expect((await ask(`/v2/images/${id}/file`, { method: 'HEAD' })).status).toBe(405);
      });

      it('ends whole though the image is deleted meanwhile, and the next is not found', async () => {
        const { id } = await createActive();
        const { body } = await images.openDownload({ imageId: id, offsetBytes: 0, expectedBytes: SIZE_BYTES });
        await images.deleteImage(id);
        expect((await collect(body)).equals(bytes)).toBe(true);
        await expect(download(id, MiB)).rejects.toMatchObject({ type: 'ImageNotFound' });
      });
    });

    describe('a state', () => {
      it('deactivated is shown, keeps the data from its owner, and ends with reactivate', async () => {
        const { id, hashValue } = await createActive();
        await images.deactivate(id);
        await images.deactivate(id);
        expect(await images.getImage(id)).toMatchObject({ status: 'deactivated', hashValue });
        if (service.caller === 'owner') await expect(download(id)).rejects.toMatchObject({ type: 'ImageNotActive' });
        else expect((await download(id)).equals(bytes)).toBe(true);
        await images.reactivate(id);
        await images.reactivate(id);
        expect(await images.getImage(id)).toMatchObject({ status: 'active', hashValue });
        expect((await download(id)).equals(bytes)).toBe(true);
      });

      it('of a queued image cannot be switched', async () => {
        const { id } = await create();
        await expect(images.deactivate(id)).rejects.toMatchObject({ type: 'InvalidRequest' });
        await expect(images.reactivate(id)).rejects.toMatchObject({ type: 'InvalidRequest' });
      });
    });

    describe('a tag', () => {
      it('is added once and removed once, and the bytes stay what they are', async () => {
        const { id, hashValue } = await createActive();
        await images.addTag(id, 'golden');
        await images.addTag(id, 'golden');
        expect(await images.getImage(id)).toMatchObject({ tags: ['golden'], hashValue, status: 'active' });
        expect((await ask(`/v2/images/${id}/tags/golden`, { method: 'DELETE' })).status).toBe(204);
        expect((await ask(`/v2/images/${id}/tags/golden`, { method: 'DELETE' })).status).toBe(404);
        expect((await images.getImage(id)).tags).toEqual([]);
      });

      it('moves updated_at', async () => {
        const { id, updatedAt } = await createActive();
        // The resolution is one second: another tag is set until it has passed.
        await until(async () => {
          await images.addTag(id, 'golden');
          return (await images.getImage(id)).updatedAt > updatedAt;
        });
      });
    });

    describe('a delete', () => {
      it('takes the record away, and the id is never used again', async () => {
        const { id } = await createActive();
        await images.deleteImage(id);
        await expect(images.getImage(id)).rejects.toMatchObject({ type: 'ImageNotFound' });
        await expect(images.deleteImage(id)).rejects.toMatchObject({ type: 'ImageNotFound' });
        await expect(create({ id })).rejects.toMatchObject({ type: 'InvalidRequest' });
      });

      it('of a protected image is refused', async () => {
        const { id } = await create();
        await images.setProtected(id, true);
        await images.setProtected(id, true);
        expect(await images.getImage(id)).toMatchObject({ protected: true });
        await expect(images.deleteImage(id)).rejects.toMatchObject({ type: 'InvalidRequest' });
        await patch(id, [{ op: 'replace', path: '/protected', value: false }]);
        await images.deleteImage(id);
      });
    });

    describe('a list', () => {
      it('has pages, the newest image first', async () => {
        const group = `group-${randomUUID()}`;
        const ids: string[] = [];
        for (let count = 0; count < 5; count += 1) ids.push((await create({ name: group })).id);
        const found: Image[] = [];
        let marker: string | undefined;
        for (let page = 0; page < 4; page += 1) {
          const { images: some, nextMarker } = await images.listImages({ name: group, limit: 2, marker });
          found.push(...some);
          marker = nextMarker;
          if (marker === undefined) break;
        }
        expect(found.map(({ id }) => id)).toEqual(ids.toReversed());
      });

      it('filters by name, status, tag and property', async () => {
        const group = `group-${randomUUID()}`;
        const queued = await create({ name: group, tags: ['one'], properties: { release: '1' } });
        const active = await createActive({ name: group, tags: ['one', 'two'], properties: { release: '2' } });
        const idsOf = async (query: Parameters<ImageService['listImages']>[0]) =>
          (await images.listImages({ name: group, ...query })).images.map(({ id }) => id).sort();
        expect(await idsOf({})).toEqual([queued.id, active.id].sort());
        expect(await idsOf({ status: 'active' })).toEqual([active.id]);
        expect(await idsOf({ tags: ['one'] })).toEqual([queued.id, active.id].sort());
        expect(await idsOf({ tags: ['one', 'two'] })).toEqual([active.id]);
        expect(await idsOf({ properties: { release: '1' } })).toEqual([queued.id]);
        expect(await idsOf({ properties: { release: '3' } })).toEqual([]);
        expect(await idsOf({ properties: { codename: '1' } })).toEqual([]);
        const all = { status: 'active', tags: ['two'], properties: { release: '2' } } as const;
        expect(await idsOf(all)).toEqual([active.id]);
      });

      it('filters by owner', async () => {
        const group = `group-${randomUUID()}`;
        const { owner } = await create({ name: group });
        expect((await images.listImages({ name: group, owner: 'a-project-without-images' })).images).toEqual([]);
        if (owner === null) return;
        expect((await images.listImages({ name: group, owner })).images).toHaveLength(1);
      });

      it('has the newest first, also where an image that was made before is active later', async () => {
        const group = `group-${randomUUID()}`;
        const older = await create({ name: group });
        const newer = await createActive({ name: group });
        await upload(older.id);
        const { images: found } = await images.listImages({ name: group, status: 'active' });
        expect(found.map(({ id }) => id)).toEqual([newer.id, older.id]);
      });

      it('does not show a deactivated or a deleted image as active', async () => {
        const group = `group-${randomUUID()}`;
        const [deactivated, deleted, active] = [
          await createActive({ name: group }),
          await createActive({ name: group }),
          await createActive({ name: group }),
        ];
        await images.deactivate(deactivated.id);
        await images.deleteImage(deleted.id);
        const idsOf = async () =>
          (await images.listImages({ name: group, status: 'active' })).images.map(({ id }) => id);
        expect(await idsOf()).toEqual([active.id]);
        await images.reactivate(deactivated.id);
        expect(await idsOf()).toEqual([active.id, deactivated.id]);
      });

      it('keeps hash and status of an image whose tags, visibility and properties change', async () => {
        const { id, hashAlgorithm, hashValue, checksum, sizeBytes } = await createActive();
        await images.addTag(id, 'edited');
        await patch(id, [
          { op: 'replace', path: '/visibility', value: 'community' },
          { op: 'add', path: '/os_distro', value: 'debian' },
          { op: 'replace', path: '/os_hidden', value: true },
        ]);
        const same = { status: 'active', hashAlgorithm, hashValue, checksum, sizeBytes };
        expect(await images.getImage(id)).toMatchObject({ ...same, tags: ['edited'], visibility: 'community' });
      });

      it.each(['sort=name:up', 'sort=nothing:asc', 'limit=-1', 'limit=abc', `marker=${randomUUID()}`])(
        'with %s is refused',
        async (query) => {
          expect((await ask(`/v2/images?${query}`)).status).toBe(400);
        },
      );

      it('does not show a hidden image unless asked', async () => {
        const group = `group-${randomUUID()}`;
        const { id } = await create({ name: group });
        await patch(id, [{ op: 'replace', path: '/os_hidden', value: true }]);
        expect((await images.listImages({ name: group })).images).toEqual([]);
        const hidden: unknown = await (await ask(`/v2/images?name=${group}&os_hidden=true`)).json();
        expect(hidden).toMatchObject({ images: [{ id }] });
      });
    });

    it('answers many at once', async () => {
      const created = await Promise.all(Array.from({ length: 32 }, () => createActive({}, bytes.subarray(0, KiB))));
      const read = await Promise.all(
        created.flatMap(({ id }) => [images.getImage(id), images.addTag(id, 'busy').then(() => images.getImage(id))]),
      );
      expect(new Set(read.map(({ status }) => status))).toEqual(new Set(['active']));
    });

    it('shows its versions, and answers 404 and 405 where nothing is', async () => {
      expect((await drained(await ask('/versions'))).status).toBe(200);
      expect((await drained(await ask('/'))).status).toBe(300);
      const versions: unknown = await (await ask('/versions')).json();
      expect(versions).toMatchObject({
        versions: expect.arrayContaining([expect.objectContaining({ status: 'CURRENT' })]),
      });
      expect((await drained(await ask('/v2/nothing'))).status).toBe(404);
      expect((await drained(await ask(`/v2/images/${randomUUID()}`, { method: 'PUT' }))).status).toBe(405);
    });

    it('is reached with the version in the endpoint too', async () => {
      const { id } = await create();
      const versioned = createGlanceClient({ endpoint: `${service.endpoint}/v2/` });
      expect(await versioned.getImage(id)).toMatchObject({ id });
      await versioned.close();
    });
  });
}

async function* chunksOf(data: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += 256 * KiB) yield data.subarray(at, at + 256 * KiB);
}

async function collect(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function drained(answer: Response): Promise<Response> {
  await answer.arrayBuffer();
  return answer;
}

/** The start of a qcow2 file (version 3, no tables), padded to one cluster. */
function qcow2Head(virtualBytes: number): Buffer {
  const head = Buffer.alloc(64 * KiB);
  head.write('QFI\xfb', 'latin1');
  head.writeUInt32BE(3, 4);
  head.writeUInt32BE(16, 20);
  head.writeBigUInt64BE(BigInt(virtualBytes), 24);
  head.writeUInt32BE(4, 96);
  head.writeUInt32BE(104, 100);
  return head;
}

/** Sends a part of what it announces. @returns what breaks the connection. */
function startUpload(url: string): () => Promise<void> {
  const headers = { 'content-type': 'application/octet-stream', 'content-length': String(SIZE_BYTES) };
  const request = httpRequest(url, { method: 'PUT', headers });
  request.once('error', () => undefined);
  request.write(Buffer.alloc(MiB));
  return () =>
    new Promise((resolve) => {
      request.once('close', resolve);
      request.destroy();
    });
}

const POLL_MS = 50;
const POLLS = 200;

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let polls = 0; polls < POLLS; polls += 1) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`nothing happened in ${POLLS * POLL_MS} ms`);
}
