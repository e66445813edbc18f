import type { BackendName, EntryId, HostId, ImageId, ProjectId, VolumeId } from '../../../../workflows/contract/ids';
import type { CreateVolumeResult } from '../../../../workflows/contract/volume';
import {
  describeBypass,
  describeCloneStep,
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
    expect(describeCreated(result)).toMatchSnapshot();
  });

  it('leaves out the timings of an answer that was given before', () => {
    expect(describeCreated({ ...result, timingsMs: {} })).not.toContain('took');
  });

  it('says where the bytes of this moment stand', () => {
    const progress = '[here](/there)';
    const step = { imageId: 'image', hostId: 'host', imageVolume: 'image-volume-1' };
    expect([
      describeBypass('requested', undefined, progress),
      describePopulating(step, progress),
      describePopulating({ ...step, scratch }, progress),
    ]).toMatchSnapshot();
  });

  it('says what became of the volume when a create fails or is cancelled', () => {
    const failure = { type: 'NoSpace', message: 'backend local has no space', details: {} } as const;
    const endings = [failure, undefined].map((ending) => describeGivenUp(ending, { volumeId, undone: true }));
    expect(endings).toMatchSnapshot();
  });

  it('says how many creates a population has answered, and with what', () => {
    const timingsMs = { download: 557, convert: 172 };
    const ready = { kind: 'ready', entryId: 'e' as EntryId, bytesDownloaded: 1024 ** 2, timingsMs } as const;
    const bypass = { kind: 'bypass', reason: 'no-room' } as const;
    expect([describePopulated(ready, 16), describePopulated(bypass, 1)]).toMatchSnapshot();
  });

  it('shows what a user has chosen as it is, never as Markdown', () => {
    const message = 'name: got "[x](javascript:y) <img> **b** `c`", allowed is less';
    const shown = describeRefused({ type: 'InvalidRequest', message, details: {} });
    expect(shown).toContain('\\[x\\](javascript:y) \\<img\\> \\*\\*b\\*\\* \\`c\\`');
    const connection = { driver: 'file', path: '/a`[b](c)`', format: 'raw' } as const;
    expect(describeCreated({ ...result, connection })).toContain('raw file `/a [b](c) `');
  });
});

it('tells beforehand what to start where nobody clones', () => {
  const cloning = describeCloneStep({ imageId: 'i' as ImageId, backend: 'local' as BackendName }, 'backend-local');
  expect(cloning).toContain('task queue `backend-local`: start one with `ivc worker --roles backend,host`.');
});
