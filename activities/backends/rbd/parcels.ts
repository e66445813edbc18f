import { read } from 'node:fs';
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';

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
  /** Of a parcel that was taken and is of no more use: its memory takes another one. */
  giveBack(bytes: Buffer): void;
}

/**
 * Reads parcels from a pipe, on another thread, until that ends. @param mostBytes of a parcel: memory is given out in
 * such pieces, and kept.
 */
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
  const receive = async (): Promise<void> => {
    const header = Buffer.alloc(HEADER_BYTES);
    while (await fill(fd, header)) {
      const bytes = Buffer.from(unused.pop() ?? new ArrayBuffer(mostBytes), 0, header.readUInt32LE(4));
      await fill(fd, bytes);
      deliver(header.readUInt32LE(0), bytes);
    }
  };
  void receive();
  return {
    take: async (parcel) => {
      const bytes = arrived.get(parcel);
      arrived.delete(parcel);
      return bytes ?? (await new Promise<Buffer>((resolve) => waiting.set(parcel, resolve)));
    },
    giveBack: ({ buffer }) => void unused.push(buffer),
  };
}

const readSome = promisify(read);

/** @returns false when the pipe has ended. */
async function fill(fd: number, buffer: Buffer): Promise<boolean> {
  for (let done = 0; done < buffer.length;) {
    const { bytesRead } = await readSome(fd, buffer, done, buffer.length - done, null);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}
