import { setTimeout as delay } from 'node:timers/promises';
import type { BackendName } from '../../../workflows/contract/ids';
import type { CreateVolumeResult } from '../../../workflows/contract/volume';
import { expectCleanSlate, type FlowStack, type RunningCreate, type UploadedImage } from './flows';
import type { SampleOptions } from '../images/sample-image';
import { type EntryRow } from '../../../db/schema';

/** One image of a herd, and how many creates come for it at once. */
export interface HerdImage extends Partial<Omit<SampleOptions, 'directory' | 'name'>> {
  creates: number;
  /** Whether the cache has it before the herd comes. */
  warm?: boolean;
  /** Of its downloads; default: as fast as it goes. */
  bytesPerSecond?: number;
  /** Creates on these backends beside the stack's own, as many on each. */
  alsoOn?: BackendName[];
}

export interface HerdMember {
  upload: UploadedImage;
  warm: boolean;
  backends: BackendName[];
  creates: RunningCreate[];
}

/** Creates that came at the same time. */
export interface Herd {
  members: HerdMember[];
  /** Settles when the last create has ended, well or not. */
  ended: Promise<void>;
  hasEnded(): boolean;
}

/** One image that the cache has, and one of each way of being written that it has not. */
export function warmAndCold(cold: Pick<HerdImage, 'virtualBytes' | 'dataBytes' | 'bytesPerSecond'>): HerdImage[] {
  return [
    { diskFormat: 'qcow2', creates: 4, warm: true },
    { diskFormat: 'qcow2', creates: 6, ...cold },
    { diskFormat: 'raw', creates: 6, ...cold },
  ];
}

let herds = 0;

/** Uploads the images and starts all creates; their order is left to chance. `beforeColdImage` is called before creates come for it. */
export async function startHerd(
  flow: FlowStack,
  images: HerdImage[],
  beforeColdImage?: (upload: UploadedImage) => Promise<void>,
): Promise<Herd> {
  herds += 1;
  const members = await Promise.all(images.map((image, index) => prepare(flow, image, `herd-${herds}-${index}`)));
  for (const { member } of members) if (!member.warm) await beforeColdImage?.(member.upload);
  await Promise.all(
    members.flatMap(({ member, count }) =>
      member.backends.flatMap((backend) =>
        Array.from({ length: count }, async (_, index) => {
          // Every second one is started as any Temporal client may do it, under an id of its own.
          const start = index % 2 === 0 ? flow.start : flow.startAs;
          member.creates.push(await start(member.upload.image, { backend }));
        }),
      ),
    ),
  );
  const herd = members.map(({ member }) => member);
  let over = false;
  const awaitAll = async (): Promise<void> => {
    await Promise.allSettled(herd.flatMap(({ creates }) => creates.map(({ result }) => result())));
    over = true;
  };
  const ended = awaitAll();
  return { members: herd, ended, hasEnded: () => over };
}

async function prepare(
  flow: FlowStack,
  { creates, warm = false, bytesPerSecond, alsoOn = [], ...sample }: HerdImage,
  name: string,
): Promise<{ member: HerdMember; count: number }> {
  const upload = await flow.upload(name, sample);
  const { id: imageId } = upload.image;
  const backends = [flow.stack.backend, ...alsoOn];
  if (warm) for (const backend of backends) await flow.create(upload.image, { backend });
  if (bytesPerSecond !== undefined)
    await flow.stack.imageService.inject({ kind: 'slow', imageId, bytesPerSecond, times: 1_000_000 });
  return { member: { upload, warm, backends, creates: [] }, count: creates };
}

export interface Arrival extends HerdMember {
  volumes: CreateVolumeResult[];
  /** Of all its backends. */
  entries: EntryRow[];
  bytesServed: number;
}

/** Waits for every create and holds its volume against the image, byte by byte. */
export async function expectArrival(flow: FlowStack, { members, ended }: Herd): Promise<Arrival[]> {
  await ended;
  return await Promise.all(
    members.map(async (member) => {
      const { sample, image } = member.upload;
      const volumes = await Promise.all(member.creates.map(({ result }) => result()));
      for (const volume of volumes) await flow.expectGuestBytes(sample, volume);
      const { bytesServed } = await flow.stack.imageService.counters(image.id);
      const entries = await Promise.all(member.backends.map((backend) => flow.entriesOf(image, backend)));
      return { ...member, volumes, entries: entries.flat(), bytesServed };
    }),
  );
}

/** One image-volume on each backend, made by one flight, serves all clones; and nobody but its leader has populated it. */
export function expectOnePopulation({ backends, entries, creates, volumes, warm }: Arrival): void {
  const clones = creates.length / backends.length + (warm ? 1 : 0);
  expect(entries.map(({ state, generation, clones: held }) => ({ state, generation, clones: held }))).toEqual(
    backends.map(() => ({ state: 'ready', generation: 1, clones })),
  );
  const misses = volumes.filter(({ outcome }) => outcome === 'miss').length;
  expect(misses).toBeLessThanOrEqual(warm ? 0 : backends.length);
}

/** Every create arrives, by one population an image that fetched no byte twice but `bytesAgain` of each, and the slate is clean. */
export async function expectWholeHerd(flow: FlowStack, herd: Herd, { bytesAgain = 0 } = {}): Promise<Arrival[]> {
  const arrivals = await expectArrival(flow, herd);
  for (const arrival of arrivals) {
    expectOnePopulation(arrival);
    const sizeBytes = arrival.upload.image.sizeBytes ?? 0;
    expect(arrival.bytesServed).toBeGreaterThanOrEqual(sizeBytes);
    expect(arrival.bytesServed).toBeLessThanOrEqual(sizeBytes + bytesAgain);
  }
  await expectCleanSlate(flow.stack);
  return arrivals;
}

/** Calls `strike` after each of `gapsMs`, counted from the end of the last one, for as long as the herd runs. @returns how often. */
export async function strikeHerd(herd: Herd, gapsMs: number[], strike: () => Promise<void>): Promise<number> {
  let strikes = 0;
  for (const gapMs of gapsMs) {
    await Promise.race([delay(gapMs), herd.ended]);
    if (herd.hasEnded()) break;
    await strike();
    strikes += 1;
  }
  return strikes;
}
