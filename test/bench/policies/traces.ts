import { GiB, MiB } from '../../../workflows/contract/bytes';
import { createSeeded, type Seeded } from './random';

/** One image as a cloud has it. */
export interface TraceImage {
  /** Size of its image-volume. */
  bytes: number;
  /** Cost of a miss of it: download and conversion. */
  costSeconds: number;
}

/** Creates one after the other, as indexes of images. */
export interface Trace {
  name: string;
  /** Its description, in a few words. */
  about: string;
  images: TraceImage[];
  requests: { atMs: number; image: number }[];
  /** Limits of the cache. */
  maxBytes: number;
  maxCount: number;
}

const REQUESTS = 4000;
const IMAGES = 200;
const HOUR_MS = 3_600_000;
/** Creates come 8 an hour on average: a trace lasts three weeks. */
const MEAN_GAP_MS = HOUR_MS / 8;
const NO_COUNT = 1_000_000;

/** The traces that policies are compared on; the same for the same seed. */
export function makeTraces(seed: number): Trace[] {
  return [
    trace(seed, { name: 'zipf', about: 'popularity falls as 1/rank and never changes', pick: zipf(1) }),
    trace(seed + 1, { name: 'flat zipf', about: 'popularity falls as 1/rank^0.6', pick: zipf(0.6) }),
    trace(seed + 2, {
      name: 'counted',
      about: 'zipf, and maxCount is the tighter limit',
      pick: zipf(0.9),
      maxCount: 30,
      share: 0.6,
    }),
    trace(seed + 3, {
      name: 'shifts',
      about: 'other images are popular every three days',
      pick: shifting(3 * 24 * HOUR_MS),
    }),
    trace(seed + 4, {
      name: 'releases',
      about: 'every day a new version takes the place of a popular image',
      pick: releasing(24 * HOUR_MS),
    }),
    trace(seed + 5, { name: 'scans', about: 'zipf, and twice a week every image once', pick: scanning(zipf(1), 600) }),
    trace(seed + 6, {
      name: 'loop',
      about: 'a nightly matrix of more images than fit, over and over',
      pick: looping(80),
    }),
    trace(seed + 7, { name: 'recent', about: 'what was used last is used next, whatever it is', pick: recent(0.55) }),
    trace(seed + 8, {
      name: 'bursts',
      about: 'an image is used some thirty times within hours, then never again',
      pick: bursts(30),
    }),
    trace(seed + 9, { name: 'small', about: 'zipf, and the cache holds a twentieth', pick: zipf(0.9), share: 0.05 }),
  ];
}

/** @returns the image of request `index` at `atMs`. */
type Pick = (seeded: Seeded) => (index: number, atMs: number) => number;

function trace(
  seed: number,
  {
    name,
    about,
    pick,
    share = 0.2,
    maxCount = NO_COUNT,
  }: { name: string; about: string; pick: Pick; share?: number; maxCount?: number },
): Trace {
  const seeded = createSeeded(seed);
  const images = Array.from({ length: IMAGES }, () => makeImage(seeded));
  const choose = pick(seeded);
  let atMs = 0;
  const requests = Array.from({ length: REQUESTS }, (_, index) => {
    atMs += -Math.log(1 - seeded.next()) * MEAN_GAP_MS;
    return { atMs, image: choose(index, atMs) % IMAGES };
  });
  const totalBytes = images.reduce((sum, { bytes }) => sum + bytes, 0);
  return { name, about, images, requests, maxBytes: Math.round(totalBytes * share), maxCount };
}

/** Sizes are lognormal between 20 MiB and 20 GiB; the cost of a miss depends on the format and on the way to the store, not on the size alone. */
function makeImage(seeded: Seeded): TraceImage {
  const bytes = Math.min(20 * GiB, Math.max(20 * MiB, 1.5 * GiB * Math.exp(1.3 * seeded.normal())));
  const storedBytes = bytes * (0.2 + 0.8 * seeded.next());
  const downloadRate = seeded.oneOf([400, 110, 110, 30]) * MiB;
  const convertRate = seeded.oneOf([Infinity, 500, 500, 90]) * MiB;
  return { bytes: Math.round(bytes), costSeconds: 1.5 + storedBytes / downloadRate + bytes / convertRate };
}

function zipf(exponent: number): Pick {
  return (seeded) => {
    const byRank = seeded.shuffled(IMAGES);
    const draw = seeded.zipf(IMAGES, exponent);
    return () => byRank[draw()] ?? 0;
  };
}

function shifting(periodMs: number): Pick {
  return (seeded) => {
    const draw = seeded.zipf(IMAGES, 1);
    const orders: number[][] = [];
    return (_, atMs) => {
      const period = Math.floor(atMs / periodMs);
      while (orders.length <= period) orders.push(seeded.shuffled(IMAGES));
      return orders[period]?.[draw()] ?? 0;
    };
  };
}

function releasing(periodMs: number): Pick {
  return (seeded) => {
    const byRank = seeded.shuffled(IMAGES);
    const draw = seeded.zipf(IMAGES, 1);
    let releases = 0;
    return (_, atMs) => {
      for (; releases < Math.floor(atMs / periodMs); releases += 1) {
        const popular = Math.floor(seeded.next() * 10);
        const unknown = IMAGES - 1 - Math.floor(seeded.next() * 100);
        [byRank[popular], byRank[unknown]] = [byRank[unknown] ?? 0, byRank[popular] ?? 0];
      }
      return byRank[draw()] ?? 0;
    };
  };
}

function scanning(base: Pick, every: number): Pick {
  return (seeded) => {
    const choose = base(seeded);
    return (index, atMs) => (index >= every && index % every < IMAGES ? index % every : choose(index, atMs));
  };
}

function looping(length: number): Pick {
  return () => (index) => index % length;
}

/** With `share`, one of the last few is used again, the nearer the likelier; else any. */
function recent(share: number): Pick {
  return (seeded) => {
    const stack = seeded.shuffled(IMAGES);
    return () => {
      const depth =
        seeded.next() < share
          ? Math.min(IMAGES - 1, Math.floor(-Math.log(1 - seeded.next()) * 12))
          : Math.floor(seeded.next() * IMAGES);
      const [image = 0] = stack.splice(depth, 1);
      stack.unshift(image);
      return image;
    };
  };
}

function bursts(uses: number): Pick {
  return (seeded) => {
    const live = [0, 1, 2, 3, 4, 5];
    let next = live.length;
    return () => {
      const slot = Math.floor(seeded.next() * live.length);
      if (seeded.next() < 1 / uses) {
        live[slot] = next;
        next += 1;
      }
      return live[slot] ?? 0;
    };
  };
}
