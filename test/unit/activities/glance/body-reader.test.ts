import { randomBytes } from 'node:crypto';
import { createBodyReader } from '../../../../activities/glance/body-reader';
import type { ByteSink } from '../../../../activities/glance/byte-sink';

const body = randomBytes(3000);
const head = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);

/** Has room for a hundred bytes at a time, each time only when the test says so. */
function strictSink(): ByteSink & { taken: Buffer[]; giveRoom(): void } {
  let block: Buffer | undefined;
  let waiting: (() => void) | undefined;
  const taken: Buffer[] = [];
  return {
    taken,
    giveRoom() {
      block = Buffer.alloc(100);
      waiting?.();
    },
    room: () => block,
    filled(bytes) {
      if (block) taken.push(block.subarray(0, bytes));
      block = block?.subarray(bytes);
      if (block?.length === 0) block = undefined;
    },
    awaitRoom: () => (block === undefined ? new Promise((done) => (waiting = done)) : Promise.resolve()),
  };
}

describe('a body reader', () => {
  it('keeps the order of bytes that come though it is full, as a TLS connection hands them on', async () => {
    const sink = strictSink();
    const told: string[] = [];
    let end: (isUsed: boolean) => void = () => undefined;
    const ended = new Promise<boolean>((done) => (end = done));
    const reader = createBodyReader({
      lengthBytes: body.length,
      isPlain: () => true,
      sink,
      onBody: () => told.push('body'),
      onFull: () => told.push('full'),
      onRoom: () => told.push('room'),
      onEnd: (isUsed) => end(isUsed),
      onFailure: (error) => told.push(String(error)),
    });
    const all = Buffer.concat([head, body]);
    // Some bytes of the head, its rest with the first of the body, and the rest although there is no room.
    for (const [from, to] of [
      [0, 10],
      [10, 1000],
      [1000, 2000],
      [2000, all.length],
    ]) {
      const buffer = reader.next();
      const read = all.copy(buffer, 0, from, to);
      expect(reader.take(read, buffer)).toBe(to === 10);
    }
    expect(reader.isFull).toBe(true);
    expect(told).toEqual(['body', 'full']);
    for (let blocks = 0; blocks < body.length / 100; blocks += 1) {
      sink.giveRoom();
      await new Promise((done) => setImmediate(done));
    }
    expect(await ended).toBe(true);
    expect(Buffer.concat(sink.taken).equals(body)).toBe(true);
    expect(told).not.toContain('room');
  });
});
