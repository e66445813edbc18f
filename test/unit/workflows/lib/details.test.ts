import type { BackendName, EntryId, HostId, ImageId, ProjectId, VolumeId } from '../../../../workflows/contract/ids';
import type { CreateVolumeResult } from '../../../../workflows/contract/volume';
import {
  describeBypass,
  describeCreated,
  describeGivenUp,
  describePopulated,
  describePopulating,
  describeRefused,
} from '../../../../workflows/lib/details';

const volumeId = '5da40df4-4016-4ea3-8a4b-f91488ac0af6' as VolumeId;
const result: CreateVolumeResult = {
  volumeId,
  imageId: 'a7a10fad-f61e-4801-86ad-2004d8ed8280' as ImageId,
  projectId: 'default' as ProjectId,
  backend: 'local' as BackendName,
  name: null,
  sizeBytes: 2 * 1024 ** 3,
  outcome: 'miss',
  reason: 'the image was not cached',
  connection: { driver: 'file', path: '/volumes/one.qcow2', format: 'qcow2' },
  bytesDownloaded: 64 * 1024 ** 2,
  timingsMs: { admit: 12.4, wait: 61_500, total: 63_000 },
};
const scratch = {
  hostId: 'host' as HostId,
  contentHash: 'sha512-ab',
  bytes: 1024 ** 2,
  bytesDownloaded: 1024 ** 2,
  downloadMs: 1500,
};

describe('what the UI shows of a run', () => {
  it('tells outcome, reason, size, connection and timings of a created volume', () => {
    expect(describeCreated(result).split('\n')).toEqual([
      '**miss**: the image was not cached',
      '',
      `- volume \`${volumeId}\`: available, 2 GiB, on backend \`local\``,
      '- image `a7a10fad-f61e-4801-86ad-2004d8ed8280`: 64 MiB downloaded for this create',
      '- attach it as qcow2 file `/volumes/one.qcow2`',
      '- took 1 min 3 s (admit 12 ms, wait 1 min 1 s)',
    ]);
  });

  it('leaves out the timings of an answer that was given before', () => {
    expect(describeCreated({ ...result, timingsMs: {} })).not.toContain('took');
  });

  it('says where the bytes of this moment stand', () => {
    expect(describeBypass('requested', undefined, '[here](/there)')).toBe(
      '**bypassing the cache**: the request asked for it\n\nNow downloading the image. Current stage, bytes and rate: [here](/there), *Heartbeat Details*.',
    );
    const step = { imageId: 'image', hostId: 'host', imageVolume: 'image-volume-1' };
    expect(describePopulating(step, '[here](/there)')).toContain('**downloading** image `image`, on host `host`');
    expect(describePopulating({ ...step, scratch }, '[here](/there)')).toContain(
      '**writing** image `image` into `image-volume-1`: 1 MiB downloaded in 1.5 s, on host `host`',
    );
  });

  it('says what became of the volume when a create fails or is cancelled', () => {
    const failure = { type: 'NoSpace', message: 'backend local has no space', details: {} } as const;
    expect(describeGivenUp(failure, { volumeId, undone: true })).toBe(
      `**failed**: backend local has no space (NoSpace)\n\nThe work is undone; volume \`${volumeId}\` is in state error; send the same request again to retry.`,
    );
    expect(describeGivenUp(undefined, { volumeId, undone: true })).toBe(
      `**cancelled**\n\nThe work is undone; volume \`${volumeId}\` is deleted.`,
    );
  });

  it('says how many creates a population has answered, and with what', () => {
    const timingsMs = { download: 557, convert: 172 };
    expect(
      describePopulated({ kind: 'ready', entryId: 'e' as EntryId, bytesDownloaded: 1024 ** 2, timingsMs }, 16),
    ).toBe('**ready**: 1 MiB downloaded, download 557 ms, convert 172 ms\n\n16 waiting creates were answered.');
    expect(describePopulated({ kind: 'bypass', reason: 'no-room' }, 1)).toMatch(/^\*\*bypass\*\*: the cache is full/);
  });

  it('shows what a user has chosen as it is, never as Markdown', () => {
    const message = 'name: got "[x](javascript:y) <img> **b** `c`", allowed is less';
    const shown = describeRefused({ type: 'InvalidRequest', message, details: {} });
    expect(shown).toContain('\\[x\\](javascript:y) \\<img\\> \\*\\*b\\*\\* \\`c\\`');
    const connection = { driver: 'file', path: '/a`[b](c)`', format: 'raw' } as const;
    expect(describeCreated({ ...result, connection })).toContain('raw file `/a [b](c) `');
  });
});
