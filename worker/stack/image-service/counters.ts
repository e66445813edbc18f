/** What one image was asked for since the service started. */
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
    add: (imageId, { records = 0, downloads = 0, bytesServed = 0, rangeRequests = 0 }) => {
      const counted = counters.get(imageId) ?? { records: 0, downloads: 0, bytesServed: 0, rangeRequests: 0 };
      counters.set(imageId, {
        records: counted.records + records,
        downloads: counted.downloads + downloads,
        bytesServed: counted.bytesServed + bytesServed,
        rangeRequests: counted.rangeRequests + rangeRequests,
      });
    },
    all: () => Object.fromEntries(counters),
  };
}
