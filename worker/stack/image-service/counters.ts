/** Requests for one image since the service started. */
export interface ImageCounters {
  /** Requests for its record. */
  records: number;
  /** Requests for its file. */
  downloads: number;
  /** Bytes of its file that were handed to connections. */
  bytesServed: number;
  /** Requests for its file that named a range. */
  rangeRequests: number;
}

export interface Counters {
  add(imageId: string, counts: Partial<ImageCounters>): void;
  all(): Record<string, ImageCounters>;
}

export function createCounters(): Counters {
  const counters = new Map<string, ImageCounters>();
  return {
    add: (imageId, counts) => {
      const counted = counters.get(imageId) ?? { records: 0, downloads: 0, bytesServed: 0, rangeRequests: 0 };
      for (const [name, count] of Object.entries(counts)) counted[name as keyof ImageCounters] += count;
      counters.set(imageId, counted);
    },
    all: () => Object.fromEntries(counters),
  };
}
