import { randomBytes } from 'node:crypto';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { ByteSink } from '../../../../activities/glance/byte-sink';
import { createGlanceClient } from '../../../../activities/glance/client';
import { KiB, MiB } from '../../../../workflows/contract/bytes';

const imageId = '0f6a1c1e-0000-4000-8000-000000000001';
const bytes = randomBytes(3 * MiB + 17);
const END = '\r\n\r\n';

let server: Server | undefined;
afterEach(() => new Promise<void>((done) => (server === undefined ? done() : server.close(() => done()))));

/** Answers each connection's request with `serve`. */
async function listen(serve: (socket: Socket, request: string) => void): Promise<string> {
  const started = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (request) => serve(socket, request.toString('latin1')));
  });
  server = started;
  await new Promise<void>((done) => started.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${(started.address() as AddressInfo).port}`;
}

interface Collector extends ByteSink {
  taken(): Buffer;
}

/** Gives room in blocks of `blockBytes`, after each only when it is waited for. */
function collector(blockBytes: number, { waits = false } = {}): Collector {
  const blocks: Buffer[] = [];
  let block: Buffer | undefined = Buffer.alloc(blockBytes);
  let filled = 0;
  return {
    taken: () => Buffer.concat([...blocks, ...(block === undefined ? [] : [block.subarray(0, filled)])]),
    room: () => block?.subarray(filled),
    filled(count) {
      filled += count;
      if (block === undefined || filled < block.length) return;
      blocks.push(block);
      block = waits ? undefined : Buffer.alloc(blockBytes);
      filled = 0;
    },
    async awaitRoom() {
      await new Promise((done) => setImmediate(done));
      block ??= Buffer.alloc(blockBytes);
    },
  };
}

function headOf(lengthBytes: number, more: string[] = [], status = '200 OK'): string {
  return [`HTTP/1.1 ${status}`, `Content-Length: ${lengthBytes}`, ...more].join('\r\n') + END;
}

async function downloadInto(
  endpoint: string,
  sink: ByteSink,
  { offsetBytes = 0, signal }: { offsetBytes?: number; signal?: AbortSignal } = {},
): Promise<boolean | undefined> {
  const images = createGlanceClient({ endpoint, timeouts: { headersMs: 300, bodyIdleMs: 300, connectMs: 2000 } });
  try {
    return await images.downloadInto?.({ imageId, offsetBytes, expectedBytes: bytes.length, signal }, sink);
  } finally {
    await images.close();
  }
}

describe('downloadInto', () => {
  it.each([
    ['as large as the body', bytes.length, false],
    ['in small blocks', 4 * KiB, false],
    ['that is free again only later', 100 * KiB, true],
  ])('fills room %s', async (_room, blockBytes, waits) => {
    const endpoint = await listen((socket) => {
      socket.write(headOf(bytes.length));
      socket.end(bytes);
    });
    const sink = collector(blockBytes, { waits });
    expect(await downloadInto(endpoint, sink)).toBe(true);
    expect(sink.taken().equals(bytes)).toBe(true);
  });

  it('understands a head that comes byte by byte, and its end together with the body', async () => {
    const head = headOf(bytes.length);
    const endpoint = await listen((socket) => {
      socket.setNoDelay(true);
      const write = (at: number): void => {
        if (at === head.length - 1) return void socket.end(Buffer.concat([Buffer.from(head.slice(at)), bytes]));
        socket.write(head.charAt(at), () => setImmediate(() => write(at + 1)));
      };
      write(0);
    });
    const sink = collector(MiB);
    expect(await downloadInto(endpoint, sink)).toBe(true);
    expect(sink.taken().equals(bytes)).toBe(true);
  });

  it('asks for the rest, takes exactly that, and leaves what goes on behind the end', async () => {
    const requests: string[] = [];
    const endpoint = await listen((socket, request) => {
      requests.push(request);
      const range = [`Content-Range: bytes ${MiB}-${bytes.length - 1}/${bytes.length}`];
      socket.write(headOf(bytes.length - MiB, range, '206 Partial Content'));
      socket.write(bytes.subarray(MiB));
      socket.write('and more');
    });
    const sink = collector(MiB);
    expect(await downloadInto(endpoint, sink, { offsetBytes: MiB })).toBe(true);
    expect(requests[0]).toMatch(new RegExp(`^GET /v2/images/${imageId}/file HTTP/1.1\r\n[^]*range: bytes=${MiB}-\r\n`));
    expect(sink.taken().equals(bytes.subarray(MiB))).toBe(true);
  });

  it.each([
    ['another status', headOf(3, [], '503 Service Unavailable')],
    ['another length', headOf(bytes.length + 1)],
    ['two lengths', headOf(bytes.length, [`content-length: ${bytes.length}`])],
    ['a chunked body', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked${END}`],
    ['an encoded body', headOf(bytes.length, ['Content-Encoding: gzip'])],
    ['something that is no HTTP', `220 mail.example ESMTP${END}`],
    ['a head without an end', `HTTP/1.1 200 OK\r\nX-Filler: ${'x'.repeat(70 * KiB)}`],
  ])('uses nothing of an answer with %s', async (_what, head) => {
    const endpoint = await listen((socket) => socket.end(Buffer.concat([Buffer.from(head), bytes])));
    const sink = collector(MiB);
    expect(await downloadInto(endpoint, sink)).toBe(false);
    expect(sink.taken()).toHaveLength(0);
  });

  it('uses nothing of the whole when a part was asked for', async () => {
    const endpoint = await listen((socket) => socket.end(Buffer.concat([Buffer.from(headOf(bytes.length)), bytes])));
    const sink = collector(MiB);
    expect(await downloadInto(endpoint, sink, { offsetBytes: 1 })).toBe(false);
    expect(sink.taken()).toHaveLength(0);
  });

  it.each([
    ['is cut', (socket: Socket) => void socket.end(), 'the connection was cut'],
    ['falls silent', () => undefined, 'the answer stalled'],
  ])('keeps what came of a body that %s', async (_what, then, cause) => {
    const endpoint = await listen((socket) => {
      socket.write(headOf(bytes.length));
      socket.write(bytes.subarray(0, 2 * MiB), () => then(socket));
    });
    const sink = collector(MiB);
    await expect(downloadInto(endpoint, sink)).rejects.toMatchObject({
      type: 'ImageServiceUnavailable',
      details: { cause },
    });
    expect(sink.taken().equals(bytes.subarray(0, 2 * MiB))).toBe(true);
  });

  it('gives up a service that never answers, and one that is not there', async () => {
    const endpoint = await listen(() => undefined);
    await expect(downloadInto(endpoint, collector(MiB))).rejects.toMatchObject({
      type: 'ImageServiceUnavailable',
      details: { cause: 'no answer in time' },
    });
    await expect(downloadInto('http://127.0.0.1:1', collector(MiB))).rejects.toMatchObject({
      type: 'ImageServiceUnavailable',
      details: { cause: expect.stringContaining('ECONNREFUSED') },
    });
  });

  it('ends with the reason of the caller’s abort, and with what the sink throws', async () => {
    const endpoint = await listen((socket) => {
      socket.write(headOf(bytes.length));
      socket.write(bytes.subarray(0, MiB));
    });
    const controller = new AbortController();
    const reason = new Error('somebody else is faster');
    const aborting: ByteSink = { ...collector(MiB), filled: () => controller.abort(reason) };
    await expect(downloadInto(endpoint, aborting, { signal: controller.signal })).rejects.toBe(reason);
    const full = new Error('the disk is full');
    const throwing: ByteSink = {
      ...collector(MiB),
      room: () => {
        throw full;
      },
    };
    await expect(downloadInto(endpoint, throwing)).rejects.toBe(full);
  });
});
