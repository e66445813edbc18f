import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRawCopy } from '../../../../activities/image/copy-raw';
import { createFileWriter } from '../../../../activities/image/guest-writer';

const SIZE_BYTES = 1_000_000;
let directory: string;
let bytes: Buffer;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ivc-copy-raw-'));
  bytes = randomBytes(SIZE_BYTES);
  bytes.fill(0, 100_000, 400_000);
  writeFileSync(join(directory, 'image'), bytes);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const openTarget = async (virtualBytes: number) => {
  const handle = await open(join(directory, 'target'), 'wx');
  await handle.truncate(virtualBytes);
  return createFileWriter(handle);
};
const finish = async (copy: ReturnType<typeof createRawCopy>) => {
  const image = await open(join(directory, 'image'));
  try {
    return await copy.finish(image);
  } finally {
    await copy.end();
    await image.close();
  }
};

it('puts the bytes where they belong, and zeros up to a whole sector', async () => {
  const copy = createRawCopy({ sizeBytes: SIZE_BYTES, openTarget });
  for (let at = 0; at < SIZE_BYTES; at += 77_777) void copy.see(bytes.subarray(at, at + 77_777));
  expect(await finish(copy)).toEqual({ virtualBytes: 1_000_448 });
  const written = readFileSync(join(directory, 'target'));
  expect(written.length).toBe(1_000_448);
  expect(written.subarray(0, SIZE_BYTES).equals(bytes)).toBe(true);
});

it('is unfinished when bytes are missing, when its target cannot be made, and once it was ended', async () => {
  const short = createRawCopy({ sizeBytes: SIZE_BYTES, openTarget });
  await short.see(bytes.subarray(0, 1000));
  expect(await finish(short)).toEqual({ unfinished: new Error(`1000 of ${SIZE_BYTES} bytes have come`) });
  const reason = new Error('no room');
  const refused = createRawCopy({ sizeBytes: SIZE_BYTES, openTarget: () => Promise.reject(reason) });
  await refused.see(bytes);
  expect(refused.unfinished).toBe(reason);
  expect(await finish(refused)).toEqual({ unfinished: reason });
  expect(refused.unfinished).toBe(reason);
});
