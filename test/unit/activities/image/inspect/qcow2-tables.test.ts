import { MiB, TiB } from '../../../../../workflows/contract/bytes';
import { inspectBytes, patched, qcow2Image } from '../../../../support/images/image-fixtures';

const CLUSTER = 65_536;
const L1 = 3 * CLUSTER;

describe('The tables of a qcow2', () => {
  const entry = (offset: number): bigint => (1n << 63n) | BigInt(offset);
  const compressed = (offset: number): bigint => (1n << 62n) | BigInt(offset);
  const strict = { expansionAllowanceBytes: 0, maxExpansion: 2 };

  it('are refused when two L1 entries share an L2 table', async () => {
    const image = qcow2Image({ virtualBytes: 2 * 512 * MiB, l2Tables: [[], []] });
    const first = image.readBigUInt64BE(L1);
    expect(await inspectBytes(image, 'qcow2')).toMatchObject({ kind: 'accepted' });
    expect(await inspectBytes(patched(image, [[L1 + 8, 'u64be', first]]), 'qcow2')).toMatchObject({
      rule: 'qcow2-l2-shared',
    });
  });

  it('are refused when a small file shares its clusters to write a large disk', async () => {
    const l2 = Array.from({ length: 8192 }, () => entry(CLUSTER));
    const image = qcow2Image({ virtualBytes: 512 * MiB, l2Tables: [l2] });
    expect(await inspectBytes(image, 'qcow2', strict)).toMatchObject({ rule: 'qcow2-clusters-shared' });
  });

  it.each([false, true])(
    'are refused when compressed clusters expand out of all proportion (extended L2: %s)',
    async (extendedL2) => {
      const l2 = Array.from({ length: 4096 }, (_, index) => compressed(CLUSTER + index));
      const image = qcow2Image({ virtualBytes: 512 * MiB, l2Tables: [l2], extendedL2 });
      expect(await inspectBytes(image, 'qcow2', strict)).toMatchObject({ rule: 'expansion-too-large' });
      expect(await inspectBytes(image, 'qcow2', { ...strict, maxExpansion: 1000 })).toMatchObject({ kind: 'accepted' });
    },
  );

  it('are let through when the disk is large, sparse and honest', async () => {
    const l2 = [entry(CLUSTER * 2), 1n, 0n, compressed(CLUSTER * 2)];
    expect(
      await inspectBytes(qcow2Image({ virtualBytes: 2 * TiB, l2Tables: [l2, [], l2] }), 'qcow2', strict),
    ).toMatchObject({
      kind: 'accepted',
    });
  });
});
