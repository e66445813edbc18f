import { Socket } from 'node:net';
import type { Writable } from 'node:stream';

/**
 * Bytes between a process and its agent on a pipe of their own: messages of Node's IPC are copied several times, which
 * costs more than to write them to the cluster. A parcel is its number and its length (4 bytes each), then its bytes.
 */

const HEADER_BYTES = 8;

/** `bytes` may be used again when the parcel has come. */
export function sendParcel(pipe: Writable, parcel: number, bytes: Buffer): void {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(parcel, 0);
  header.writeUInt32LE(bytes.length, 4);
  pipe.cork();
  pipe.write(header);
  pipe.write(bytes);
  pipe.uncork();
}

export interface Parcels {
  /** Waits for a parcel, which is given out once. */
  take(parcel: number): Promise<Buffer>;
  /** What was taken, and is of no more use: its memory takes another parcel. */
  giveBack(bytes: Buffer): void;
}

/** Reads parcels from a file descriptor. @param mostBytes of a parcel: memory is given out in such pieces, and kept. */
export function receiveParcels(fd: number, mostBytes: number): Parcels {
  const unused: ArrayBufferLike[] = [];
  const arrived = new Map<number, Buffer>();
  const waiting = new Map<number, (bytes: Buffer) => void>();
  const deliver = (parcel: number, bytes: Buffer): void => {
    const resolve = waiting.get(parcel);
    if (resolve === undefined) arrived.set(parcel, bytes);
    else resolve(bytes);
    waiting.delete(parcel);
  };
  const header = Buffer.alloc(HEADER_BYTES);
  let headerBytes = 0;
  let body: Buffer = Buffer.alloc(0);
  let bodyBytes = 0;

  const receive = (bytes: Buffer): void => {
    for (let at = 0; at < bytes.length;) {
      if (headerBytes < HEADER_BYTES) {
        const copied = bytes.copy(header, headerBytes, at);
        headerBytes += copied;
        at += copied;
        if (headerBytes < HEADER_BYTES) continue;
        body = Buffer.from(unused.pop() ?? new ArrayBuffer(mostBytes), 0, header.readUInt32LE(4));
        bodyBytes = 0;
      }
      const copied = bytes.copy(body, bodyBytes, at);
      bodyBytes += copied;
      at += copied;
      if (bodyBytes < body.length) continue;
      deliver(header.readUInt32LE(0), body);
      headerBytes = 0;
    }
  };
  new Socket({ fd, writable: false }).on('data', receive).unref();
  return {
    take: async (parcel) => {
      const bytes = arrived.get(parcel);
      arrived.delete(parcel);
      return bytes ?? (await new Promise<Buffer>((resolve) => waiting.set(parcel, resolve)));
    },
    giveBack: ({ buffer }) => void unused.push(buffer),
  };
}
