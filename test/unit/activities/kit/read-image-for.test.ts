import { mkdtemp, rm } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createGlanceClient } from '../../../../activities/glance/client';
import type { ImageService } from '../../../../activities/glance/image-service';
import { readImageFor } from '../../../../activities/kit/read-image-for';
import type { ProjectId } from '../../../../workflows/contract/ids';
import { createImageMembers } from '../../../support/glance/image-members';
import { startTestImageService, type TestImageService } from '../../../support/glance/image-service';
import { startWatchedGate, type WatchedGate } from '../../../support/openstack/watched-gate';

const owner = 'owner' as ProjectId;
const member = 'member' as ProjectId;
const stranger = 'stranger' as ProjectId;
const config = { identity: { cloud: 'any' } };

let directory: string;
let service: TestImageService;
let gate: WatchedGate;
let images: ImageService;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ivc-rights-'));
  service = await startTestImageService(directory);
  gate = await startWatchedGate(service.url);
  images = createGlanceClient({ endpoint: gate.url });
});
afterAll(async () => {
  await images?.close();
  await gate?.close();
  await service?.stop();
  await rm(directory, { recursive: true, force: true });
});

const publish = async (visibility: string): Promise<string> =>
  (await images.createImage({ diskFormat: 'raw', containerFormat: 'bare', owner, visibility })).id;

/** @returns what the image service is asked, with `IMAGE` in place of the id, and what the caller is told. */
async function ask(imageId: string, projectId: ProjectId) {
  const before = gate.heads().length;
  const told = await readImageFor({ images, config }, { imageId, projectId }).then(
    ({ id }) => id,
    ({ type }: { type: string }) => type,
  );
  const lines =
    gate
      .heads()
      .slice(before)
      .match(/^[A-Z]+ \S+ HTTP/gm) ?? [];
  return { told: told.replaceAll(imageId, 'IMAGE'), asked: lines.map((line) => line.replaceAll(imageId, 'IMAGE')) };
}

it('asks of what a project may not see what it asks of what is not there', async () => {
  const absent = await ask(randomUUID(), stranger);
  expect(absent.told).toBe('ImageNotFound');
  expect(absent.asked).toHaveLength(2);
  for (const visibility of ['private', 'shared']) {
    const imageId = await publish(visibility);
    await createImageMembers(service.url).add(imageId, member);
    expect(await ask(imageId, stranger)).toEqual(absent);
  }
});

it('asks for members only where they decide', async () => {
  for (const [visibility, projectId, questions] of [
    ['private', owner, 1],
    ['public', stranger, 1],
    ['community', stranger, 1],
    ['shared', member, 2],
  ] as const) {
    const imageId = await publish(visibility);
    if (visibility === 'shared') await createImageMembers(service.url).add(imageId, member);
    const { told, asked } = await ask(imageId, projectId);
    expect([visibility, told, asked.length]).toEqual([visibility, 'IMAGE', questions]);
  }
});
