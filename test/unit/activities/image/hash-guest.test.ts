import { createHash, randomBytes } from 'node:crypto';
import type { GuestReader } from '../../../../activities/image/guest-reader';
import { hashGuest } from '../../../../activities/image/hash-guest';
import { MiB } from '../../../../workflows/contract/bytes';

/** Of bytes in memory, and how many reads of it are open at the same time. */
function readerOf(bytes: Buffer): GuestReader & { most: () => number } {
  let open = 0;
  let most = 0;
  return {
    most: () => most,
    read: async (offset, lengthBytes) => {
      open += 1;
      most = Math.max(most, open);
      await new Promise(setImmediate);
      open -= 1;
      return bytes.subarray(offset, offset + lengthBytes);
    },
    close: () => Promise.resolve(),
  };
}

const options = { algorithm: 'sha512', signal: new AbortController().signal, onProgress: () => undefined };

describe('hashGuest', () => {
  it.each([1, 4 * MiB, 4 * MiB + 1, 41 * MiB + 100])('hashes %i bytes and none behind them', async (sizeBytes) => {
    const bytes = randomBytes(sizeBytes + 512);
    const reader = readerOf(bytes);
    const expected = createHash('sha512').update(bytes.subarray(0, sizeBytes)).digest('hex');
    const seen: number[] = [];
    const onProgress = (bytesDone: number): void => void seen.push(bytesDone);
    expect(await hashGuest(reader, { ...options, sizeBytes, onProgress })).toBe(expected);
    expect(seen.at(-1)).toBe(sizeBytes);
    expect(reader.most()).toBeLessThanOrEqual(7);
  });

  it('says where the bytes end too early', async () => {
    const reading = hashGuest(readerOf(Buffer.alloc(5 * MiB)), { ...options, sizeBytes: 6 * MiB });
    await expect(reading).rejects.toThrow(`the bytes end before byte ${6 * MiB}`);
  });

  it('ends with what a read throws, when the reads beside it have ended', async () => {
    let open = 0;
    const reader: GuestReader = {
      read: async (offset) => {
        open += 1;
        await new Promise(setImmediate);
        open -= 1;
        if (offset === 0) throw new Error('gone');
        return Buffer.alloc(4 * MiB);
      },
      close: () => Promise.resolve(),
    };
    await expect(hashGuest(reader, { ...options, sizeBytes: 40 * MiB })).rejects.toThrow('gone');
    expect(open).toBe(0);
  });

  it('ends with the signal’s reason', async () => {
    const signal = AbortSignal.abort(new Error('cancelled'));
    await expect(hashGuest(readerOf(Buffer.alloc(MiB)), { ...options, signal, sizeBytes: MiB })).rejects.toThrow(
      'cancelled',
    );
  });
});
