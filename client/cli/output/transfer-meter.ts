import type { ProgressView } from './progress';

interface Transfer {
  stage: string;
  bytesTotal: number;
  view: ProgressView;
}

const REPORT_INTERVAL_MS = 100;

/** @returns a tap that hands every chunk on and shows how many bytes have passed. */
export function createTransferMeter({ stage, bytesTotal, view }: Transfer): (source: AsyncIterable<Buffer>) => AsyncGenerator<Buffer> {
  return async function* meter(source) {
    const startedAt = Date.now();
    let bytesDone = 0;
    let shownAt = 0;
    for await (const chunk of source) {
      bytesDone += chunk.length;
      const now = Date.now();
      if (now - shownAt >= REPORT_INTERVAL_MS) {
        shownAt = now;
        view.show({ stage, transfer: { bytesDone, bytesTotal, bytesPerSecond: (bytesDone / Math.max(1, now - startedAt)) * 1000 } });
      }
      yield chunk;
    }
  };
}
