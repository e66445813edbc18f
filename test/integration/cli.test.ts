import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { packageRoot } from '../../client/config/package-root';
import { connectClient, createVolume, deleteVolume, getVolume } from '../../client';
import { MiB } from '../../workflows/contract/bytes';
import type { VolumeId } from '../../workflows/contract/ids';
import type { Connection } from '../../workflows/contract/volume';
import { makeSampleImage, uploadSample, type SampleImage } from '../support/images/sample-image';
import { startOnTerminal } from '../support/machine/terminal';
import { readIvc, runIvc, spawnIvc } from '../support/stack/ivc';
import { useStack } from '../support/stack/flows';

const flow = useStack();
let sample: SampleImage;
let imageId: string;

beforeAll(async () => {
  sample = await makeSampleImage({ directory: flow.directory, name: 'first' });
});

const ivc = (...args: string[]) => runIvc(args, flow.stack.environment);
const ivcJson = (...args: string[]) => readIvc(args, flow.stack.environment);

describe('ivc image', () => {
  it('uploads a file, tells its format by its first bytes and shows the record', async () => {
    const { document, exitCode } = await ivcJson(
      'image',
      'upload',
      sample.path,
      '--property',
      'os_distro=debian',
      '--min-disk',
      '0',
    );
    expect(exitCode).toBe(0);
    expect(document).toMatchObject({
      name: 'first',
      status: 'active',
      diskFormat: 'qcow2',
      containerFormat: 'bare',
      properties: { os_distro: 'debian' },
    });
    imageId = String(document['id']);
    expect((await ivcJson('image', 'show', imageId)).document).toEqual(document);
    const { stdout } = await ivc('image', 'list');
    expect(stdout).toMatch(new RegExp(`^${imageId.slice(0, 8)} +first  active  qcow2`, 'm'));
  });

  it('names the file that it cannot read, and leaves no record', async () => {
    const before = (await ivcJson('image', 'list')).document;
    const { stderr, exitCode } = await ivc('image', 'upload', join(flow.directory, 'absent.qcow2'));
    expect(exitCode).toBe(2);
    expect(stderr).toContain('absent.qcow2 (ENOENT');
    expect((await ivcJson('image', 'list')).document).toEqual(before);
  });

  it('deletes an image by its name', async () => {
    const file = await makeSampleImage({ directory: flow.directory, name: 'short-lived' });
    const { document } = await ivcJson('image', 'upload', file.path);
    const id = String(document['id']);
    expect((await ivcJson('image', 'delete', 'short-lived')).document).toEqual({ id, outcome: 'deleted' });
    expect((await ivcJson('image', 'delete', id)).exitCode).toBe(3);
    expect((await ivcJson('image', 'delete', id, '--ignore-missing')).document).toEqual({ id, outcome: 'absent' });
  });

  it('exits with 3 for an image that is not there', async () => {
    const id = randomUUID();
    expect(await ivcJson('image', 'show', id)).toMatchObject({
      exitCode: 3,
      document: { error: { type: 'ImageNotFound', details: { imageId: id } } },
    });
  });
});

describe('ivc volume', () => {
  it('creates a miss and then hits, each one JSON document with the documented fields', async () => {
    const miss = await ivcJson('volume', 'create', '--image', imageId);
    expect(miss).toMatchObject({
      exitCode: 0,
      document: { outcome: 'miss', sizeBytes: sample.virtualBytes, backend: flow.stack.backend, reused: false },
    });
    const hit = await ivcJson(
      'volume',
      'create',
      '--image',
      imageId,
      '--size',
      '32MiB',
      '--name',
      'root',
      '--metadata',
      'a=1',
      '--metadata',
      'b=2',
    );
    expect(hit).toMatchObject({
      exitCode: 0,
      document: { outcome: 'hit', sizeBytes: 32 * MiB, bytesDownloaded: 0, name: 'root' },
    });
    for (const { document } of [miss, hit]) {
      expect(Object.keys(document).sort()).toEqual([
        'backend',
        'bytesDownloaded',
        'connection',
        'imageId',
        'name',
        'outcome',
        'projectId',
        'reason',
        'reused',
        'runId',
        'sizeBytes',
        'timingsMs',
        'volumeId',
        'workflowId',
      ]);
      const connection = document['connection'] as Connection;
      await flow.expectGuestBytes(sample, { connection });
    }
    const shown = (await ivcJson('volume', 'show', String(hit.document['volumeId']))).document;
    expect(shown).toMatchObject({
      state: 'available',
      metadata: { a: '1', b: '2' },
      connection: hit.document['connection'],
      reason: hit.document['reason'],
      bytesDownloaded: 0,
      timingsMs: { total: expect.any(Number) },
    });
    expect(shown['qemu']).toMatch(/^-drive file=.*,format=(raw|qcow2),if=virtio$/);
  });

  it('answers the same request with the same volume, and another one with a conflict', async () => {
    const volumeId = randomUUID();
    const first = await ivcJson('volume', 'create', '--image', imageId, '--volume-id', volumeId);
    const second = await ivcJson('volume', 'create', '--image', imageId, '--volume-id', volumeId);
    expect(second.document).toMatchObject({ volumeId, connection: first.document['connection'] });
    const other = await ivcJson('volume', 'create', '--image', imageId, '--volume-id', volumeId, '--size', '1GiB');
    expect(other).toMatchObject({ exitCode: 1, document: { error: { type: 'Conflict', exitCode: 1 } } });
  });

  it('starts without waiting, and waits for what was started', async () => {
    const { document } = await ivcJson('volume', 'create', '--image', imageId, '--no-wait');
    expect(document).toEqual({
      volumeId: expect.any(String),
      workflowId: flow.stack.cache.queues.ids.createVolume(document['volumeId'] as VolumeId),
      runId: expect.any(String),
      reused: false,
    });
    const waited = await ivcJson('volume', 'create', '--image', imageId, '--volume-id', String(document['volumeId']));
    expect(waited).toMatchObject({ exitCode: 0, document: { volumeId: document['volumeId'] } });
  });

  it('lists what there is and deletes it, twice', async () => {
    const { document } = await ivcJson('volume', 'create', '--image', imageId, '--project', 'tidy');
    const volumeId = String(document['volumeId']);
    expect((await ivc('volume', 'list', '--project', 'tidy')).stdout).toMatch(
      new RegExp(`^${volumeId.slice(0, 8)} +-     available  16 MiB`, 'm'),
    );
    const remove = ['volume', 'delete', volumeId, '--project', 'tidy'];
    expect((await ivcJson(...remove)).document).toEqual({ volumeId, outcome: 'deleted' });
    expect(await ivc(...remove)).toMatchObject({
      exitCode: 0,
      stdout: `volume ${volumeId} was absent already\n`,
    });
    expect(await ivcJson('volume', 'delete', randomUUID(), '--project', 'tidy')).toMatchObject({
      exitCode: 3,
      document: { error: { type: 'VolumeNotFound' } },
    });
    expect((await ivcJson('volume', 'list', '--project', 'tidy')).document).toEqual({ volumes: [], next: null });
    expect((await ivcJson('volume', 'list', '--project', 'tidy', '--state', 'deleted')).document).toMatchObject({
      volumes: [{ volumeId }],
    });
  });

  it('takes names and the first digits of ids, refuses what is meant by several, and deletes many at once', async () => {
    const of = ['--project', 'names'];
    const make = async (name: string): Promise<string> => {
      const { document } = await ivcJson('volume', 'create', '--image', 'first', '--name', name, ...of);
      return String(document['volumeId']);
    };
    const [one, two, three] = [await make('one'), await make('same'), await make('same')];
    for (const called of ['one', one.slice(0, 8), one.toUpperCase()])
      expect((await ivcJson('volume', 'show', called, ...of)).document).toMatchObject({ volumeId: one });
    const { exitCode, stderr } = await ivc('volume', 'show', 'same', ...of);
    expect([exitCode, stderr]).toEqual([
      2,
      expect.stringMatching(new RegExp(`(?=.*${two} \\(same\\))(?=.*${three} \\(same\\))`)),
    ]);
    const gone = await ivcJson('volume', 'delete', 'one', two, 'never', ...of);
    expect(gone).toMatchObject({
      exitCode: 3,
      document: {
        deleted: [
          { volumeId: one, outcome: 'deleted' },
          { volumeId: two, outcome: 'deleted' },
        ],
        failed: [{ called: 'never', error: { type: 'VolumeNotFound' } }],
      },
    });
    expect(await ivcJson('volume', 'delete', 'never', 'same', '--ignore-missing', ...of)).toMatchObject({
      exitCode: 0,
      document: { deleted: [{ volumeId: 'never', outcome: 'absent' }, { volumeId: three }], failed: [] },
    });
    expect((await ivcJson('volume', 'delete', randomUUID(), '--all-projects')).exitCode).toBe(3);
    expect((await ivc('volume', 'list', ...of)).stdout).toBe('no volumes\n');
  });

  it('shows what changes again and again until it is told to stop', async () => {
    const status = spawnIvc(['status', '--watch', '1', '-o', 'name'], flow.stack.environment);
    let seen = '';
    await new Promise<void>((resolve) => {
      status.process.stdout?.on('data', (chunk) => {
        seen += String(chunk);
        if (seen.split('\n').length > 2) resolve();
      });
    });
    status.process.kill('SIGINT');
    expect((await status.ended).exitCode).toBe(0);
  });

  it('extends a volume, and never shrinks it', async () => {
    const { document } = await ivcJson('volume', 'create', '--image', imageId, '--size', '32MiB');
    const volumeId = String(document['volumeId']);
    const extend = async (size: string) => await ivcJson('volume', 'extend', volumeId, '--size', size);
    const extended = { volumeId, sizeBytes: 64 * MiB, formerSizeBytes: 32 * MiB, openedBy: null };
    expect(await extend('64MiB')).toEqual({ exitCode: 0, document: extended });
    expect((await extend('64MiB')).document).toEqual({ ...extended, formerSizeBytes: 64 * MiB });
    expect(await extend('32MiB')).toMatchObject({
      exitCode: 2,
      document: { error: { type: 'InvalidRequest', details: { field: 'sizeBytes' } } },
    });
    expect((await ivc('volume', 'extend', volumeId, '--size', '32MiB')).stderr).toContain(
      'ivc: --size 32MiB is less than the size that it has (a volume never shrinks): 64 MiB',
    );
    expect(await extend('900TiB')).toMatchObject({ exitCode: 1, document: { error: { type: 'NoSpace' } } });
    expect((await ivcJson('volume', 'show', volumeId)).document).toMatchObject({ sizeBytes: 64 * MiB });
  });

  it('changes name, metadata and bootable, and lists by them', async () => {
    const { document } = await ivcJson('volume', 'create', '--image', imageId, '--project', 'own', '--metadata', 'a=1');
    const volumeId = String(document['volumeId']);
    const of = [volumeId, '--project', 'own'];
    const set = [
      '--name',
      'db',
      '--description',
      'of users',
      '--property',
      'b=2',
      '--property',
      'c=x=y',
      '--non-bootable',
    ];
    expect(await ivcJson('volume', 'set', ...of, ...set)).toEqual({
      exitCode: 0,
      document: {
        volumeId,
        name: 'db',
        description: 'of users',
        metadata: { a: '1', b: '2', c: 'x=y' },
        bootable: false,
      },
    });
    const list = ['volume', 'list', '--project', 'own'];
    for (const filter of [['--name', 'db'], ['--property', 'b=2'], ['--non-bootable'], ['--sort', 'name:desc']])
      expect((await ivcJson(...list, ...filter)).document).toMatchObject({ volumes: [{ volumeId }] });
    expect((await ivcJson(...list, '--bootable')).document).toEqual({ volumes: [], next: null });
    expect((await ivcJson('volume', 'unset', ...of, '--property', 'a', '--property', 'b', '--name')).document).toEqual({
      volumeId,
      name: null,
      description: 'of users',
      metadata: { c: 'x=y' },
      bootable: false,
    });
    expect(await ivcJson('volume', 'set', ...of)).toMatchObject({
      exitCode: 2,
      document: { error: { type: 'Usage' } },
    });
    expect(await ivcJson('volume', 'set', ...of, '--property', `${'k'.repeat(256)}=1`)).toMatchObject({
      exitCode: 2,
      document: { error: { type: 'InvalidRequest' } },
    });
    expect(await ivcJson('volume', 'set', volumeId, '--project', 'foreign', '--name', 'mine')).toMatchObject({
      exitCode: 3,
      document: { error: { type: 'VolumeNotFound' } },
    });
  });

  it('leaves the work running when the wait is interrupted, and says how to look at it', async () => {
    const cold = await uploadSample(
      flow.stack.images,
      await makeSampleImage({ directory: flow.directory, name: 'cold' }),
    );
    await flow.stack.imageService.inject({ kind: 'stall', imageId: cold.id, afterBytes: MiB });
    const running = spawnIvc(['volume', 'create', '--image', cold.id], flow.stack.environment);
    await running.says('downloading');
    running.process.kill('SIGINT');
    const { exitCode, stderr, stdout } = await running.ended;
    expect([exitCode, stdout]).toEqual([130, '']);
    const [, volumeId = ''] = /ivc volume show (\S+)`/.exec(stderr) ?? [];
    expect((await ivcJson('volume', 'show', volumeId)).document).toMatchObject({ state: 'creating' });
    const joined = await ivcJson('volume', 'create', '--image', cold.id, '--volume-id', volumeId, '--no-wait');
    expect(joined.document).toMatchObject({ volumeId, reused: true });
    expect((await ivcJson('volume', 'delete', volumeId)).document).toEqual({ volumeId, outcome: 'deleted' });
  });

  it('says that nobody works on it while no worker polls', async () => {
    const path = join(flow.directory, 'elsewhere.yaml');
    await writeFile(path, `temporal: { address: "${flow.stack.cache.settings.address}", taskQueuePrefix: nobody- }\n`);
    const running = spawnIvc(['volume', 'create', '--image', imageId, '--config', path], flow.stack.environment);
    await running.says('nobody-image-volume-cache');
    running.process.kill('SIGTERM');
    const { exitCode, stderr } = await running.ended;
    expect(exitCode).toBe(130);
    const [, volumeId = ''] = /ivc volume show (\S+)`/.exec(stderr) ?? [];
    await flow.stack.client.workflow.getHandle(`nobody-volume/${volumeId}`).terminate('the test is done');
  });
});

describe('the library', () => {
  it('needs no more than a Temporal address to create and delete a volume', async () => {
    const { address, taskQueuePrefix } = flow.stack.cache.settings;
    const cache = await connectClient({ address, taskQueuePrefix, dataDirectory: join(flow.directory, 'no-data') });
    try {
      expect(cache.settings).toMatchObject({ databaseUrl: undefined, imagesEndpoint: undefined });
      const volume = await createVolume(cache, { imageId, backend: flow.stack.backend });
      expect(volume).toMatchObject({
        outcome: 'hit',
        reused: false,
        workflowId: cache.queues.ids.createVolume(volume.volumeId),
      });
      await expect(getVolume(cache, volume.volumeId)).rejects.toMatchObject({ type: 'NotConfigured', exitCode: 5 });
      await expect(deleteVolume(cache, volume.volumeId)).resolves.toEqual({
        volumeId: volume.volumeId,
        outcome: 'deleted',
      });
    } finally {
      await cache.close();
    }
  });

  it('refuses a volume id that is none before anything is started', async () => {
    await expect(createVolume(flow.stack.cache, { imageId, volumeId: 'mine' })).rejects.toMatchObject({
      type: 'InvalidRequest',
      details: { field: 'volumeId' },
    });
  });
});

describe('an error', () => {
  const absent = randomUUID();
  const usage = { type: 'Usage', exitCode: 2 };
  const errors: { about: string; args: string[]; error: { type: string; exitCode: number; details?: object } }[] = [
    {
      about: 'a size that is none',
      args: ['volume', 'create', '--image', 'x', '--size', '10GB'],
      error: usage,
    },
    {
      about: 'two sizes',
      args: ['volume', 'create', '--image', 'x', '--size', '1GiB', '--size-bytes', '512'],
      error: usage,
    },
    { about: 'an unknown option', args: ['volume', 'create', '--image', 'x', '--sise', '1'], error: usage },
    { about: 'an unknown command', args: ['volume', 'creat'], error: usage },
    {
      about: 'an image that nobody knows by this name',
      args: ['volume', 'create', '--image', 'x'],
      error: { type: 'ImageNotFound', exitCode: 3, details: { imageId: 'x', known: expect.stringContaining('first') } },
    },
    {
      about: 'an unknown backend',
      args: ['volume', 'create', '--image', absent, '--backend', 'nowhere'],
      error: { type: 'BackendNotFound', exitCode: 3, details: { backend: '"nowhere"' } },
    },
    ...[['volume', 'list'], ['evict'], ['evict', 'status'], ['cache', 'limits']].map((verb) => ({
      about: `an unknown backend of \`${verb.join(' ')}\``,
      args: [...verb, '--backend', 'nowhere'],
      error: { type: 'BackendNotFound', exitCode: 3, details: { backend: '"nowhere"', known: expect.any(String) } },
    })),
    {
      about: 'an absent image',
      args: ['volume', 'create', '--image', absent],
      error: {
        type: 'ImageNotFound',
        exitCode: 3,
        details: { imageId: absent, known: expect.stringContaining('first') },
      },
    },
    {
      about: 'an absent image that nothing is cached of',
      args: ['evict', '--image', absent],
      error: { type: 'ImageNotFound', exitCode: 3, details: { imageId: absent } },
    },
    {
      about: 'an absent volume',
      args: ['volume', 'show', absent],
      error: {
        type: 'VolumeNotFound',
        exitCode: 3,
        details: { volumeId: absent, known: expect.stringContaining('root') },
      },
    },
    ...[
      ['cache', 'show', absent],
      ['evict', '--entry', absent],
    ].map((args) => ({
      about: `an absent entry of \`${args.slice(0, 2).join(' ')}\``,
      args,
      error: { type: 'EntryNotFound', exitCode: 3, details: { entryId: absent, known: expect.any(String) } },
    })),
    {
      about: 'a follow that there is not',
      args: ['cache', 'unfollow', 'nobody'],
      error: { type: 'FollowNotFound', exitCode: 3, details: { follow: 'nobody', known: 'none' } },
    },
    {
      about: 'a server that does not answer',
      args: ['volume', 'create', '--image', absent, '--address', '127.0.0.1:1'],
      error: { type: 'TemporalUnavailable', exitCode: 5, details: { address: '127.0.0.1:1' } },
    },
    {
      about: 'an unknown namespace',
      args: ['volume', 'create', '--image', absent, '--namespace', 'nowhere'],
      error: { type: 'TemporalUnavailable', exitCode: 5 },
    },
  ];

  it.each(errors)('about $about exits with $error.exitCode, $error.type', async ({ args, error }) => {
    const { exitCode, stderr, stdout } = await ivc(...args, '--json');
    const document = JSON.parse(stdout) as { error: { message: string } };
    expect([exitCode, document]).toMatchObject([error.exitCode, { error }]);
    expect(stderr).toContain(document.error.message);
  });

  it('about an image that may not be used exits with 4, as one document for a program', async () => {
    const { id } = await flow.stack.images.createImage({ name: 'queued', diskFormat: 'raw', containerFormat: 'bare' });
    const { exitCode, document } = await ivcJson('volume', 'create', '--image', id);
    expect([exitCode, document]).toMatchObject([
      4,
      { error: { type: 'ImageNotActive', exitCode: 4, details: { imageId: id, status: 'queued' } } },
    ]);
  });

  it('about a database that does not answer exits with 5', async () => {
    const environment = { ...flow.stack.environment, DATABASE_URL: 'postgres://x@127.0.0.1:1/x' };
    expect(await readIvc(['volume', 'list'], environment)).toMatchObject({
      exitCode: 5,
      document: { error: { type: 'DatabaseUnavailable' } },
    });
  });

  it('about a database that does not let us in says where it is, and which key names another', async () => {
    const url = flow.stack.cache.settings.databaseUrl ?? '';
    const nobody = { ...flow.stack.environment, DATABASE_URL: url.replace(/:\/\/[^@]*@/, '://nobody:hidden@') };
    const nowhere = { ...flow.stack.environment, DATABASE_URL: url.replace(/\/[^/?]+(\?|$)/, '/nowhere$1') };
    for (const [environment, said] of [
      [nobody, 'refuses user nobody'],
      [nowhere, 'has no database nowhere'],
    ] as const) {
      const { exitCode, stderr } = await runIvc(['volume', 'list'], environment);
      expect([exitCode, stderr]).toEqual([5, expect.stringMatching(new RegExp(`database.url: \\S+ ${said}`))]);
      expect(stderr).not.toContain('hidden');
    }
  });

  it('about the configuration names path, value and what is allowed', async () => {
    const path = join(flow.directory, 'broken.yaml');
    await writeFile(path, 'scratch: { downloadsAtOnce: 0 }\n');
    const { exitCode, stderr } = await ivc('volume', 'list', '--config', path);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('scratch.downloadsAtOnce (line 1): got 0')]);
  });
});

/** @returns what is said of any stack: without its addresses, ids, figures and the widths of columns. */
function wordingOf(text: string): string {
  return text
    .replaceAll(flow.stack.environment['IVC_CONFIG'] ?? '', 'CONFIG')
    .replaceAll(flow.stack.cache.queues.prefix, 'PREFIX-')
    .replaceAll(flow.stack.backend, 'BACKEND')
    .replaceAll(/\d+@\S+/g, 'WORKER')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID')
    .replaceAll(/\d[\d.:TZ-]*(?: (?:[KMGT]?i?B|m?s)\b)?/g, 'N')
    .replaceAll(/ +/g, ' ');
}

describe('what operators look at', () => {
  it('is who did what to a volume that is gone, page by page', async () => {
    const { document } = await ivcJson('volume', 'create', '--image', imageId, '--project', 'watched');
    const volumeId = String(document['volumeId']);
    await ivc('volume', 'delete', volumeId, '--project', 'watched');
    const { queues } = flow.stack.cache;
    const events = ['events', '--volume', volumeId];
    const first = await ivcJson(...events, '--limit', '1');
    const about = { volumeId, imageId, projectId: 'watched', object: volumeId, by: userInfo().username };
    expect(first).toMatchObject({
      exitCode: 0,
      document: {
        events: [
          { ...about, kind: 'volume.deleted', workflowId: queues.ids.deleteVolume(volumeId as VolumeId, 'watched') },
        ],
        next: expect.any(String),
      },
    });
    const { document: second } = await ivcJson(...events, '--after', String(first.document['next']));
    const requestId = expect.stringContaining(`${queues.ids.createVolume(volumeId as VolumeId)}/`);
    expect(second).toMatchObject({ events: [{ ...about, kind: 'volume.created', requestId }], next: null });
    expect((await ivc(...events, '--kind', 'volume.created')).stdout).toContain(volumeId);
    const unknown = await ivcJson('events', '--kind', 'volume.delted');
    expect(unknown).toMatchObject({ exitCode: 2, document: { error: { type: 'Usage' } } });
    expect(await ivcJson('events', '--after', 'c99999')).toMatchObject({
      exitCode: 2,
      document: { error: { type: 'InvalidRequest', details: { field: 'after' } } },
    });
  });

  it('is the entry and the creates that used it', async () => {
    const { document } = await ivcJson('cache', 'list', '--backend', flow.stack.backend, '--state', 'ready');
    const entries = document['entries'] as { entryId: string; images: { imageId: string }[] }[];
    const entry = entries.find(({ images }) => images.some((image) => image.imageId === imageId));
    const shown = await ivcJson('cache', 'show', entry?.entryId ?? '');
    expect(shown.document).toMatchObject({
      ...entry,
      decisions: expect.arrayContaining([expect.objectContaining({ outcome: 'hit' })]),
    });
    expect((await ivc('cache', 'list', '-o', 'name')).stdout).toContain(entry?.entryId);
  });

  it('is the status of backends with their hit rate', async () => {
    const { document, exitCode } = await ivcJson('status');
    expect(exitCode).toBe(0);
    expect(document).toMatchObject({
      backends: [
        {
          backend: flow.stack.backend,
          driver: 'file',
          space: { freeBytes: expect.any(Number) },
          cache: { enabled: true },
        },
      ],
      decisions: { hit: expect.any(Number), hitRate: expect.any(Number) },
    });
    await flow.until(
      'no population to run',
      async () => ((await ivcJson('status')).document['flights'] as unknown[]).length === 0,
    );
    expect(wordingOf((await ivc('status')).stdout)).toMatchSnapshot();
  });

  it('is a doctor who finds nothing wrong, or says what to do', async () => {
    const well = await ivcJson('doctor');
    expect(well).toMatchObject({ exitCode: 0, document: { healthy: true } });
    const ill = await runIvc(['doctor'], {
      ...flow.stack.environment,
      OS_IMAGE_ENDPOINT_OVERRIDE: 'http://127.0.0.1:1',
    });
    expect(ill.exitCode).toBe(5);
    // The tools of the host are not the test's to decide.
    const lines = wordingOf(ill.stdout)
      .split('\n')
      .filter((line) => !/^(?:ok|warning|FAULT) (?:qemu|confinement)/.test(line));
    expect(lines.join('\n')).toMatchSnapshot();
  });

  it('is a doctor who says how qemu-img is confined on this host, and what is missing', async () => {
    const withoutTools = { ...flow.stack.environment, PATH: join(flow.stack.scratchDirectory, 'no-tools-here') };
    const { stdout } = await runIvc(['doctor', '--json'], withoutTools);
    const { findings } = JSON.parse(stdout) as { findings: { check: string; state: string; found: string }[] };
    expect(findings.find(({ check }) => check === 'confinement of qemu-img')).toMatchObject({
      state: 'warning',
      found: expect.stringMatching(/missing: .*no network/),
      remedy: expect.stringContaining('util-linux'),
    });
    const { stdout: here } = await runIvc(['doctor'], flow.stack.environment);
    expect(here).toMatch(/confinement of qemu-img {2,}\S/);
  });
});

describe('the progress of a create on a terminal', () => {
  it.each([80, 60])('is one line of %d columns, which has rate and time left', async (columns) => {
    const file = await makeSampleImage({ directory: flow.directory, name: `slow-${columns}` });
    const slow = await uploadSample(flow.stack.images, file);
    await flow.stack.imageService.inject({ kind: 'slow', imageId: slow.id, bytesPerSecond: 2 * MiB });
    const main = join(packageRoot(), 'dist/client/cli/main.js');
    const command = [process.execPath, main, 'volume', 'create', '--image', slow.id];
    const { exitCode, screen } = await startOnTerminal(command, flow.stack.environment, columns).ended;
    expect(exitCode).toBe(0);
    const lines = stripVTControlCharacters(screen).split(/[\r\n]+/);
    expect(lines.filter((line) => line.length > columns)).toEqual([]);
    expect(lines).toContainEqual(expect.stringMatching(/downloading.*, \S+ MiB\/s, .+ left$/));
  });
});

describe('ivc worker', () => {
  it('runs the roles that are named until it is told to stop', async () => {
    const worker = spawnIvc(['worker', '--roles', 'control'], { ...flow.stack.environment, IVC_METRICS_PORT: '0' });
    const [line] = await new Promise<string[]>((done) =>
      worker.process.stdout?.once('data', (chunk: Buffer) => done(chunk.toString().split('\n'))),
    );
    expect(JSON.parse(line ?? '')).toMatchObject({ ready: true, roles: ['control'] });
    worker.process.kill('SIGTERM');
    expect((await worker.ended).exitCode).toBe(0);
  });

  it('names the role that there is not', async () => {
    const { exitCode, stderr } = await ivc('worker', '--roles', 'control,chef');
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('Got chef')]);
  });
});
