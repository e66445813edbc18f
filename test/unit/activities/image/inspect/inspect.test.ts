import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rules } from '../../../../../activities/image/formats/rules';
import { inspect, inspectHead, inspectWrittenRaw, refusalFailure } from '../../../../../activities/image/inspect';
import { defaultImagePolicy as policy, policyVersion } from '../../../../../activities/image/policy';
import { KiB, MiB, TiB } from '../../../../../workflows/contract/bytes';
import {
  bannedHeads,
  gptDisk,
  isoImage,
  inspectBytes,
  luksDisk,
  mbrDisk,
  patched,
  qcow2Image,
  rawDisk,
  vhdImage,
  vmdkDescriptor,
  wellFormedImages,
} from '../../../../support/images/image-fixtures';

const imageId = '6f0c2a52-0e3b-4a8f-9a86-2f0d7a0c1a11';

describe('The first bytes of a stream', () => {
  const head = (image: Buffer, declaredFormat: string, bytes = MiB) =>
    inspectHead(image.subarray(0, bytes), { declaredFormat, sizeBytes: image.length, policy });

  it('refuse as soon as they tell, whatever is still to come', () => {
    const backing = patched(qcow2Image(), [[8, 'u64be', 1024]]);
    expect(head(backing, 'qcow2', 64 * KiB)).toMatchObject({ rule: 'qcow2-backing-file' });
    expect(inspectHead(backing.subarray(0, 64 * KiB), { declaredFormat: 'qcow2', policy })).toMatchObject({
      rule: 'qcow2-backing-file',
    });
    expect(head(backing, 'raw', 512)).toMatchObject({ rule: 'declared-format-mismatch' });
    expect(head(rawDisk(), 'qcow2', 512)).toMatchObject({ rule: 'declared-format-mismatch' });
    expect(head(vhdImage({ type: 'fixed' }), 'raw', 512)).toMatchObject({ kind: 'undecided' });
    expect(head(rawDisk(3 * MiB), 'nonsense', 0)).toMatchObject({ rule: 'format-unsupported' });
    expect(inspectHead(Buffer.alloc(0), { declaredFormat: 'raw', sizeBytes: 3 * TiB, policy })).toMatchObject({
      rule: 'virtual-size-too-large',
    });
  });

  it('say what they lack', () => {
    expect(head(qcow2Image(), 'qcow2', 100)).toEqual({
      kind: 'undecided',
      needs: { offset: 0, lengthBytes: 64 * KiB },
    });
    expect(head(isoImage(), 'iso', 32 * KiB)).toMatchObject({ kind: 'undecided' });
    expect(head(rawDisk(4 * MiB), 'raw')).toEqual({
      kind: 'undecided',
      needs: { offset: 4 * MiB - 512, lengthBytes: 512 },
    });
    expect(inspectHead(rawDisk(), { declaredFormat: 'raw', policy })).toMatchObject({ kind: 'undecided' });
  });

  it.each(wellFormedImages)('of $name agree with the whole file, at any length', async ({ format, build }) => {
    const image = build();
    const verdict = await inspectBytes(image, format);
    for (const bytes of [0, 1, 511, 512, 4096, 65_536, 200_000, MiB])
      expect([verdict, expect.objectContaining({ kind: 'undecided' })]).toContainEqual(head(image, format, bytes));
    expect(head(image, format, image.length)).toEqual(verdict);
  });
});

describe('A file', () => {
  it('that is shorter than its record says is truncated', async () => {
    const image = qcow2Image();
    const read = (offset: number, lengthBytes: number) =>
      Promise.resolve(image.subarray(offset, Math.min(offset + lengthBytes, 150_000)));
    expect(await inspect({ declaredFormat: 'qcow2', sizeBytes: image.length, policy, read })).toMatchObject({
      kind: 'refused',
      rule: 'file-truncated',
    });
  });

  it('that cannot be read raises what the reader raises', async () => {
    const read = () => Promise.reject(new Error('EIO'));
    await expect(inspect({ declaredFormat: 'raw', sizeBytes: MiB, policy, read })).rejects.toThrow('EIO');
  });
});

describe('Guest bytes that were written', () => {
  const written = (head: Buffer, declaredFormat = 'qcow2', allowEncrypted = false) =>
    inspectWrittenRaw(head, { declaredFormat, policy: { allowEncrypted } });

  it.each(
    Object.entries({
      ...bannedHeads,
      qcow2: qcow2Image(),
      vmdk: Buffer.from(vmdkDescriptor()),
      vhd: vhdImage(),
      luks: luksDisk(),
    }),
  )('must not begin like %s', (_, head) => {
    expect(written(head)).toMatchObject({ kind: 'refused', rule: 'written-bytes-look-like-image', offset: 0 });
  });

  it('may hold a partition table, an ISO, or whatever else guests have', () => {
    for (const disk of [rawDisk(), mbrDisk(), gptDisk(), isoImage(), Buffer.alloc(0), Buffer.alloc(100, 0xff)])
      expect(written(disk)).toEqual({ kind: 'accepted' });
  });

  it('may be a LUKS disk where the policy says so', () => {
    expect(written(luksDisk(), 'raw', true)).toEqual({ kind: 'accepted' });
  });
});

describe('A refusal', () => {
  it('is the failure that its rule says, with rule, offset, what was found and what is allowed', async () => {
    const refused = await inspectBytes(patched(qcow2Image(), [[8, 'u64be', 1024]]), 'qcow2');
    if (refused.kind !== 'refused') throw new Error('a backing file was accepted');
    expect(refusalFailure(refused, imageId)).toMatchObject({
      type: 'ImageRefused',
      details: {
        imageId,
        rule: 'qcow2-backing-file',
        offset: 8,
        found: 'a backing file name at byte 1024',
        allowed: 'none',
      },
    });
  });

  it('of a format that is not taken is ImageUnsupported', async () => {
    const refused = await inspectBytes(rawDisk(), 'vdi', { formats: ['raw'] });
    if (refused.kind !== 'refused') throw new Error('an unlisted format was accepted');
    expect(refusalFailure(refused, imageId)).toMatchObject({
      type: 'ImageUnsupported',
      details: { imageId, found: 'of disk format vdi', allowed: 'raw' },
    });
  });

  it('has a rule with a stable name, a sentence for people and a test', () => {
    const tests = [
      'signatures',
      'qcow2',
      'qcow2-tables',
      'vmdk',
      'vhd',
      'vhdx',
      'vdi',
      'inspect',
      'bounds',
      'truncated',
      'packages',
      '../expand',
      '../unreadable-data',
    ]
      .map((name) => readFileSync(join(__dirname, `${name}.test.ts`), 'utf8'))
      .join('\n');
    for (const [name, { says }] of Object.entries(rules)) {
      expect(name).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
      expect(says).toMatch(/\.$/);
      // Raised where qemu-img is asked, and tested there.
      expect(`${tests} 'tool-disagrees'`).toContain(`'${name}'`);
    }
  });
});

describe('The version of a policy', () => {
  it('does not depend on the order of its parts', () => {
    const { maxVirtualBytes, ...rest } = policy;
    expect(policyVersion({ ...rest, formats: [...policy.formats].toReversed(), maxVirtualBytes })).toBe(
      policyVersion(policy),
    );
    expect(policyVersion(policy)).toMatch(/^[0-9a-f]{16}$/);
  });

  it('changes with every part', () => {
    const versions = [
      policy,
      { ...policy, maxVirtualBytes: 1 },
      { ...policy, formats: ['raw' as const] },
      { ...policy, allowEncrypted: true },
      { ...policy, maxExpansion: 1 },
      { ...policy, strictPartitionTables: true },
    ].map((each) => policyVersion(each));
    expect(new Set(versions).size).toBe(versions.length);
  });
});
