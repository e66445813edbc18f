import { percentile, rounded, timed } from '../result';

/** A system that makes volumes of images. */
export interface Contender {
  name: string;
  /**
   * Returns when the volume is available. @param inFlight how many are asked for at once.
   * @returns after how many milliseconds a POST was answered, where it is asked by one.
   */
  create(this: void, imageId: string, inFlight: number): Promise<{ postMs?: number }>;
  /** @throws Error unless the next volume of the image is a hit. */
  assertCached(this: void, imageId: string): Promise<void>;
}

/** Ids of images that the contender has not seen. */
export interface Images {
  hit: string;
  herd: string;
  cold: string[];
}

export interface Figures {
  hitP50Ms: number;
  hitP95Ms: number;
  /** Of the hits that were alone; undefined where no POST asks. */
  postP50Ms?: number;
  /** Hits, `inFlight` at once. */
  hitsPerSecond: number;
  sustainedP50Ms: number;
  /** Of Ceph's OSD map, while those were made. */
  mapChanges: number;
  /** Until the last of all has its volume. */
  herdMs: number;
  coldP50Ms: number;
}

const HITS = 20;
const WARM_UP = 2;
export const SUSTAINED_HITS = 100;
export const IN_FLIGHT = 8;
export const HERD = 16;

/** One after the other: cold misses, a herd on a cold image, hits alone, hits several at once. */
export async function measureContender(
  { create, assertCached }: Contender,
  images: Images,
  countMapChanges: () => Promise<number>,
): Promise<Figures> {
  await create(images.hit, 1);
  await assertCached(images.hit);
  const postMs: number[] = [];
  const make = async (imageId: string, inFlight: number): Promise<void> => {
    const created = await create(imageId, inFlight);
    if (created.postMs !== undefined) postMs.push(created.postMs);
  };
  const hit = (inFlight: number) => (): Promise<void> => make(images.hit, inFlight);
  await timed(WARM_UP, 1, hit(1));
  const cold = await timed(images.cold.length, 1, (index) => make(images.cold[index] ?? '', 1));
  const herd = await timed(HERD, HERD, () => make(images.herd, HERD));
  postMs.length = 0;
  const alone = await timed(HITS, 1, hit(1));
  const postP50Ms = postMs.length === 0 ? undefined : rounded(percentile(postMs, 0.5));
  const before = await countMapChanges();
  const sustained = await timed(SUSTAINED_HITS, IN_FLIGHT, hit(IN_FLIGHT));
  const mapChanges = (await countMapChanges()) - before;
  return {
    hitP50Ms: rounded(percentile(alone.eachMs, 0.5)),
    hitP95Ms: rounded(percentile(alone.eachMs, 0.95)),
    ...(postP50Ms !== undefined && { postP50Ms }),
    hitsPerSecond: rounded((SUSTAINED_HITS / sustained.totalMs) * 1000, 2),
    sustainedP50Ms: rounded(percentile(sustained.eachMs, 0.5)),
    mapChanges,
    herdMs: rounded(herd.totalMs),
    coldP50Ms: rounded(percentile(cold.eachMs, 0.5)),
  };
}
