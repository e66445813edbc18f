import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { findPackage } from '../../../../../activities/image/formats/packages';
import { inspectHead } from '../../../../../activities/image/inspect';
import { defaultImagePolicy as policy } from '../../../../../activities/image/policy';
import { KiB, MiB } from '../../../../../workflows/contract/bytes';
import {
  inspectBytes,
  mbrDisk,
  patched,
  rawDisk,
  vmdkImage,
  wellFormedImages,
} from '../../../../support/images/image-fixtures';

const directory = mkdtempSync(join(tmpdir(), 'packages-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function tar(name: string, bytes: Buffer): Buffer {
  writeFileSync(join(directory, name), bytes);
  return execFileSync('tar', ['-C', directory, '-c', name], { maxBuffer: 64 * MiB });
}
const filter = (tool: string, args: string[], input: Buffer): Buffer =>
  execFileSync(tool, args, { input, maxBuffer: 64 * MiB });

const disk = mbrDisk();
const packed: [what: string, declared: string, image: () => Buffer][] = [
  ['a tar archive, such as an OVA', 'vmdk', () => tar('appliance.ovf', Buffer.from('<Envelope/>'))],
  ['a tar archive, such as an OVA', 'vmdk', () => tar('disk.vmdk', vmdkImage({ stream: true }))],
  ['a tar archive, such as an OVA', 'raw', () => tar('disk.raw', disk)],
  ['a gzip file', 'raw', () => gzipSync(disk)],
  ['a gzip file', 'qcow2', () => gzipSync(disk)],
  ['an xz file', 'raw', () => filter('xz', ['-c'], disk)],
  ['an lzma file', 'raw', () => filter('xz', ['-c', '--format=lzma'], disk)],
  ['a zstd file', 'raw', () => filter('zstd', ['-cq'], disk)],
  ['a bzip2 file', 'raw', () => filter('bzip2', ['-c'], disk)],
  ['a zip archive', 'vhd', () => Buffer.concat([Buffer.from('504b030414000000', 'hex'), disk])],
];

describe('A disk that is packed into another file', () => {
  it.each(packed)('is told to be %s when it is declared %s, with what to do', async (what, declared, build) => {
    const image = build();
    const verdict = await inspectBytes(image, declared);
    expect(verdict).toMatchObject({
      kind: 'refused',
      rule: 'disk-packed',
      offset: 0,
      found: `${what}, declared ${declared}`,
      allowed: expect.stringMatching(/^the disk itself: /),
    });
    const head = image.subarray(0, 64 * KiB);
    expect(inspectHead(head, { declaredFormat: declared, sizeBytes: image.length, policy })).toEqual(verdict);
  });

  it('is not seen in a disk, whatever it begins with', async () => {
    for (const { build } of wellFormedImages) expect(findPackage(build())).toBeUndefined();
    const booting = patched(mbrDisk(), [[0, 'bytes', Buffer.from('1f8b0800', 'hex')]]);
    expect(await inspectBytes(booting, 'raw')).toMatchObject({ kind: 'accepted' });
    const likeTar = patched(rawDisk(), [[257, 'bytes', 'ustar']]);
    expect(await inspectBytes(likeTar, 'raw')).toMatchObject({ kind: 'accepted' });
    const likeLzma = patched(rawDisk(), [[0, 'bytes', Buffer.from('5d01020304', 'hex')]]);
    expect(await inspectBytes(likeLzma, 'raw')).toMatchObject({ kind: 'accepted' });
  });
});
