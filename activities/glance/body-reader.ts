import { KiB } from '../../workflows/contract/bytes';
import type { ByteSink } from './byte-sink';
import { findBody, parseResponseHead, type ResponseHead } from './response-head';

/** Bytes that come before there is room for them: the head, and what follows it in the same read. */
const LANDING_BYTES = 64 * KiB;

export interface BodyReaderOptions {
  /** Of the body. */
  lengthBytes: number;
  /** Whether the answer is what was asked for. */
  isPlain: (head: ResponseHead) => boolean;
  sink: ByteSink;
  /** The head was understood, and the body begins. */
  onBody: () => void;
  /** There is no room: nothing more is read until `onRoom`. */
  onFull: () => void;
  onRoom: () => void;
  /** All of the body is in the sink; false: the answer is not what was asked for, and nothing of it was used. */
  onEnd: (isUsed: boolean) => void;
  /** The sink has thrown. */
  onFailure: (error: unknown) => void;
}

/** Between a connection that reads into a given buffer and a sink that has room or not. */
export interface BodyReader {
  /** @returns where the connection's next bytes go. */
  next(): Buffer;
  /** So many bytes have been read into `buffer`. @returns false when nothing more is to be read for now. */
  take(bytes: number, buffer: Uint8Array): boolean;
  readonly hasHead: boolean;
  /** Whether it holds bytes for which there was no room yet: an end of the connection is to wait for them. */
  readonly isFull: boolean;
  /** Nothing is wanted any more. */
  close(): void;
}

export function createBodyReader(options: BodyReaderOptions): BodyReader {
  const { lengthBytes, isPlain, sink } = options;
  const landing: Buffer = Buffer.allocUnsafe(LANDING_BYTES);
  /** Bytes of the head so far; undefined once it is complete. */
  let head: Buffer | undefined = Buffer.alloc(0);
  /** Bytes that came when there was no room for them; undefined while the connection is read. */
  let parked: Buffer[] | undefined;
  let received = 0;
  let closed = false;

  const end = (isUsed: boolean): void => {
    closed = true;
    options.onEnd(isUsed);
  };
  const count = (bytes: number): void => {
    sink.filled(bytes);
    received += bytes;
    if (received === lengthBytes) end(true);
  };
  /** Puts bytes that landed elsewhere where there is room. @returns those for which there is none. */
  const copy = (bytes: Buffer): Buffer => {
    let rest = bytes.subarray(0, lengthBytes - received);
    for (let room = sink.room(); rest.length > 0 && room !== undefined; room = closed ? undefined : sink.room()) {
      const copied = rest.copy(room);
      rest = rest.subarray(copied);
      count(copied);
    }
    return rest;
  };
  /** @returns whether all of it has found room. */
  const drain = (waiting: Buffer[]): boolean => {
    for (let first = waiting[0]; first !== undefined; first = waiting[0]) {
      const rest = copy(first);
      if (rest.length > 0) {
        waiting[0] = rest;
        return false;
      }
      waiting.shift();
    }
    return true;
  };
  const waitForRoom = async (waiting: Buffer[]): Promise<void> => {
    options.onFull();
    for (;;) {
      await sink.awaitRoom();
      const isEmpty = drain(waiting);
      if (closed) return;
      if (isEmpty && sink.room() !== undefined) break;
    }
    parked = undefined;
    options.onRoom();
  };
  /** A TLS connection hands on the rest of its record though it is to read nothing. */
  const park = (rest: Buffer): false => {
    const bytes = Buffer.from(rest);
    if (parked !== undefined) parked.push(bytes);
    else waitForRoom((parked = [bytes])).catch(options.onFailure);
    return false;
  };
  const takeHead = (bytes: Buffer): boolean => {
    const known = Buffer.concat([head ?? Buffer.alloc(0), bytes]);
    const from = findBody(known);
    if (from === undefined && known.length < LANDING_BYTES) {
      head = known;
      return true;
    }
    const parsed = from === undefined ? undefined : parseResponseHead(known.toString('latin1', 0, from));
    if (parsed === undefined || !isPlain(parsed)) {
      end(false);
      return false;
    }
    head = undefined;
    options.onBody();
    return takeBody(copy(known.subarray(from)));
  };
  /** @param rest what has found no room. */
  const takeBody = (rest: Buffer): boolean => closed || (rest.length === 0 && sink.room() !== undefined) || park(rest);

  return {
    next() {
      if (closed || head !== undefined || parked !== undefined) return landing;
      return sink.room()?.subarray(0, lengthBytes - received) ?? landing;
    },
    take(bytes, buffer) {
      const landed = landing.subarray(0, bytes);
      if (closed) return false;
      if (head !== undefined) return takeHead(landed);
      if (parked !== undefined) return park(landed);
      if (buffer === landing) return takeBody(copy(landed));
      count(bytes);
      return takeBody(landing.subarray(0, 0));
    },
    get hasHead() {
      return head === undefined;
    },
    get isFull() {
      return parked !== undefined;
    },
    close: () => (closed = true),
  };
}
