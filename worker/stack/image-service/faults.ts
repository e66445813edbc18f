import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { KiB } from '../../../workflows/contract/bytes';
import { HttpError } from './http';

const faultSchema = z.strictObject({
  /** Absent: any image. */
  imageId: z.string().optional(),
  /**
   * `cut`: the connection breaks after `afterBytes` of the body. `stall`: it falls silent there, and breaks when the
   * faults are cleared. `wrong-length`: a well-formed answer of only so many bytes. `wrong-bytes`: the byte there is
   * inverted. `endless`: the body goes on after its end. `no-range`: ranges are ignored. `slow`: nothing is wrong but
   * `bytesPerSecond`, which all kinds may have.
   */
  kind: z.enum([
    'cut',
    'stall',
    'wrong-length',
    'wrong-bytes',
    'endless',
    'status-404',
    'status-500',
    'status-503',
    'no-range',
    'slow',
  ]),
  afterBytes: z.int().min(0).default(0),
  /** Requests it strikes. */
  times: z.int().min(1).default(1),
  retryAfterSeconds: z.int().min(0).optional(),
  /** Of the body. */
  bytesPerSecond: z.int().min(1).optional(),
  /** Requests that a status strikes; the other kinds strike files alone, and some of them uploads. */
  on: z.enum(['record', 'file', 'upload']).default('file'),
});
export type Fault = z.output<typeof faultSchema>;
/** One that strikes a request. */
export type StrikingFault = Fault & { untilCleared: Promise<void> };

/** Faults that tests inject at the wire. */
export interface Faults {
  /** @throws HttpError 400. */
  inject(body: unknown): void;
  clear(): void;
  /** @returns the fault that strikes this request, which is then counted off. */
  take(imageId: string, on: Fault['on']): StrikingFault | undefined;
}

export function createFaults(): Faults {
  let pending: Fault[] = [];
  let isCleared: () => void = () => undefined;
  let untilCleared = Promise.resolve();
  const clear = (): void => {
    pending = [];
    isCleared();
    untilCleared = new Promise((resolve) => (isCleared = resolve));
  };
  clear();
  return {
    inject: (body) => {
      const fault = faultSchema.safeParse(body);
      if (!fault.success) throw new HttpError(400, z.prettifyError(fault.error));
      pending.push(fault.data);
    },
    clear,
    take: (imageId, on) => {
      const fault = pending.find((candidate) => candidate.on === on && (candidate.imageId ?? imageId) === imageId);
      if (fault === undefined) return undefined;
      fault.times -= 1;
      pending = pending.filter(({ times }) => times > 0);
      return { ...fault, untilCleared };
    },
  };
}

/** @throws HttpError with its status when that is the fault. */
export function strike(fault: Fault | undefined): void {
  if (fault?.kind === 'status-404') throw new HttpError(404, 'The resource could not be found.');
  if (fault?.kind === 'status-500') throw new HttpError(500, 'The server has either erred or is incapable.');
  if (fault?.kind !== 'status-503') return;
  const headers: Record<string, string> =
    fault.retryAfterSeconds === undefined ? {} : { 'retry-after': String(fault.retryAfterSeconds) };
  throw new HttpError(503, 'The service is unavailable.', headers);
}

const SLOW_PIECE_BYTES = 64 * KiB;

/** Passes the bytes on as a link of the fault's rate would. */
export async function* slowly(
  source: AsyncIterable<Buffer>,
  { bytesPerSecond }: Pick<StrikingFault, 'bytesPerSecond'>,
): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    const pieceBytes = bytesPerSecond === undefined ? chunk.length : SLOW_PIECE_BYTES;
    for (let start = 0; start < chunk.length; start += pieceBytes) {
      const piece = chunk.subarray(start, start + pieceBytes);
      yield piece;
      if (bytesPerSecond !== undefined) await delay((1000 * piece.length) / bytesPerSecond);
    }
  }
}
