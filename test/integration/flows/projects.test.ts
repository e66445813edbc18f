import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import * as library from '../../../client';
import { createProgram } from '../../../client/cli/program';
import { GiB } from '../../../workflows/contract/bytes';
import type { ImageId, VolumeId } from '../../../workflows/contract/ids';
import { useStack } from '../../support/stack/flows';
import { readIvc } from '../../support/stack/ivc';

const { changeVolume, createSnapshot, createVolume, deleteVolume, extendVolume, getVolume, listVolumes } = library;
const { deleteSnapshot, getSnapshot, listSnapshots, reimageVolume, shareSnapshot, unshareSnapshot } = library;
const { uploadVolume } = library;
const flow = useStack();
const ivc = (...args: string[]) => readIvc(args, flow.stack.environment);

const stranger = 'stranger';
let volumeId: VolumeId;
let imageId: ImageId;

beforeAll(async () => {
  const { image } = await flow.upload('of a project');
  imageId = image.id;
  ({ volumeId } = await flow.create(image, { projectId: 'owner' }));
  // With the volume's own id, so that every verb is asked about the same one.
  await createSnapshot(flow.stack.cache, { volumeId, snapshotId: volumeId, projectId: 'owner' }, {});
});

/** @returns what a caller is told of a volume, with its id left out; a failure with type and details. */
async function toldOf(id: string, call: (id: string) => Promise<unknown>): Promise<string> {
  const told = await call(id).catch((error: unknown) => error);
  const { type, details } = told as { type?: string; details?: object };
  return JSON.stringify(type === undefined ? told : { type, details }).replaceAll(id, 'ID');
}

describe('a verb of a project', () => {
  /** The library's functions that a user's request reaches, as they are asked about one volume. */
  const verbs: Record<string, (id: string, of: { projectId?: string }) => Promise<unknown>> = {
    getVolume: (id, of) => getVolume(flow.stack.cache, id, of),
    listVolumes: (id, of) => listVolumes(flow.stack.cache, { ...of, after: id }),
    changeVolume: (id, of) => changeVolume(flow.stack.cache, id, { ...of, name: 'mine' }),
    extendVolume: (id, of) => extendVolume(flow.stack.cache, id, { ...of, sizeBytes: GiB }),
    reimageVolume: (id, of) => reimageVolume(flow.stack.cache, id, { ...of, imageId }),
    uploadVolume: (id, of) => uploadVolume(flow.stack.cache, { ...of, volumeId: id, name: 'mine' }, {}),
    createSnapshot: (id, of) => createSnapshot(flow.stack.cache, { ...of, volumeId: id }, {}),
    getSnapshot: (id, of) => getSnapshot(flow.stack.cache, id, of),
    listSnapshots: (id, of) => listSnapshots(flow.stack.cache, { ...of, after: id }),
    shareSnapshot: (id, of) => shareSnapshot(flow.stack.cache, { ...of, snapshotId: id, members: ['mine'] }, {}),
    unshareSnapshot: (id, of) => unshareSnapshot(flow.stack.cache, { ...of, snapshotId: id }, {}),
    deleteSnapshot: (id, of) => deleteSnapshot(flow.stack.cache, id, of),
    deleteVolume: (id, of) => deleteVolume(flow.stack.cache, id, of),
  };
  /** They make volumes, and say for which project. */
  const makers = ['createVolume', 'createVolumes'];
  /** They reach no volume, or are an operator's. */
  const others = [
    'connectClient',
    'evict',
    'evictionStatus',
    'followImage',
    'forgetRefusal',
    'getEntry',
    'getQuotas',
    'importFromCinder',
    'listFlights',
    'listFollows',
    'listImageVolumes',
    'listQuotas',
    'openClient',
    'pauseEviction',
    'pin',
    'reconcile',
    'refreshCache',
    'resumeEviction',
    'revertImport',
    'seedCache',
    'setLimits',
    'setQuotas',
    'sweep',
    'unfollowImage',
    'unpin',
    'warmCache',
  ];

  it('is each function of the library but those that are known to be none', () => {
    const isFunction = ([, value]: [string, unknown]) => typeof value === 'function' && !/^[A-Z]/.test(value.name);
    const functions = Object.entries(library).filter(isFunction);
    expect(functions.map(([name]) => name).sort()).toEqual([...Object.keys(verbs), ...makers, ...others].sort());
  });

  it.each(Object.keys(verbs))(
    "%s tells of another project's volume what it tells of one that never was",
    async (name) => {
      const call = (id: string) => verbs[name]?.(id, { projectId: stranger }) ?? Promise.reject(new Error(name));
      const told = await toldOf(volumeId, call);
      expect(told).toBe(await toldOf(randomUUID(), call));
      expect(await flow.volume(volumeId)).toMatchObject({ state: 'available' });
    },
  );

  it.each(['getVolume', 'changeVolume', 'extendVolume', 'reimageVolume', 'uploadVolume', 'deleteVolume'])(
    '%s fails with VolumeNotFound',
    async (name) => {
      await expect(verbs[name]?.(volumeId, { projectId: stranger })).rejects.toMatchObject({
        type: 'VolumeNotFound',
        exitCode: 3,
        details: { volumeId },
      });
    },
  );

  it("finds another project's volume neither by its name nor by the beginning of its id", async () => {
    await changeVolume(flow.stack.cache, volumeId, { projectId: 'owner', name: 'hidden' });
    for (const called of ['hidden', volumeId.slice(0, 8)]) {
      for (const verb of [
        ['volume', 'show'],
        ['volume', 'delete'],
        ['snapshot', 'show'],
      ])
        expect(await ivc(...verb, called, '--project', stranger)).toMatchObject({ exitCode: 3 });
      expect(await ivc('volume', 'show', called, '--project', 'owner')).toMatchObject({ document: { volumeId } });
    }
  });

  it('refuses a project id that is none', async () => {
    for (const projectId of ['', 'p'.repeat(65), '\ud800'])
      await expect(deleteVolume(flow.stack.cache, volumeId, { projectId })).rejects.toMatchObject({
        type: 'InvalidRequest',
        details: { field: 'projectId' },
      });
  });

  it('is told nothing of a create of another project that it joins by the id', async () => {
    const { image } = await flow.upload('joined');
    const { imageService, cache } = flow.stack;
    await imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
    const own = await flow.start(image, { projectId: 'owner' });
    await flow.untilWaiting(own.volumeId);
    const request = { imageId: image.id, backend: flow.stack.backend, volumeId: own.volumeId, projectId: stranger };
    const joined = createVolume(cache, request).catch((error: unknown) => error);
    await imageService.clearFaults();
    expect(await joined).toMatchObject({ type: 'Conflict', details: { found: 'a request of another project' } });
    expect(await own.result()).toMatchObject({ projectId: 'owner' });
    await deleteVolume(cache, own.volumeId);
  });

  it('lists what is its own; without a project, as an operator, everything', async () => {
    const idsOf = async (projectId?: string) =>
      (await listVolumes(flow.stack.cache, { projectId })).map((volume) => volume.volumeId);
    expect(await idsOf(stranger)).toEqual([]);
    expect(await idsOf('owner')).toEqual([volumeId]);
    expect(await idsOf()).toEqual([volumeId]);
    expect(await getVolume(flow.stack.cache, volumeId)).toMatchObject({ projectId: 'owner' });
  });
});

describe('ivc', () => {
  /** Commands that reach a project's volumes, as they are typed about one. */
  const verbs: Record<string, (id: string) => string[]> = {
    'volume show': (id) => ['volume', 'show', id],
    'volume list': (id) => ['volume', 'list', '--after', id],
    'volume set': (id) => ['volume', 'set', id, '--name', 'mine'],
    'volume unset': (id) => ['volume', 'unset', id, '--name'],
    'volume extend': (id) => ['volume', 'extend', id, '--size', '1GiB'],
    'volume reimage': (id) => ['volume', 'reimage', id, '--image', imageId],
    'volume upload': (id) => ['volume', 'upload', id, '--name', 'mine'],
    'snapshot create': (id) => ['snapshot', 'create', id],
    'snapshot show': (id) => ['snapshot', 'show', id],
    'snapshot list': (id) => ['snapshot', 'list', '--after', id],
    'snapshot share': (id) => ['snapshot', 'share', id, '--member', 'mine'],
    'snapshot unshare': (id) => ['snapshot', 'unshare', id],
    'snapshot delete': (id) => ['snapshot', 'delete', id],
    'volume delete': (id) => ['volume', 'delete', id],
  };
  const makers = ['volume create'];
  /** Groups and commands that reach no volume, or are an operator's. */
  const others = [
    'volume types',
    'completion',
    'help',
    'up',
    'down',
    'worker',
    'api',
    'doctor',
    'status',
    'report',
    'refresh',
    'evict',
    'reconcile',
    'image',
    'cache',
    'quota',
    'events',
    'import',
  ];

  it('has no other commands', () => {
    const isOther = (path: string) => others.includes(path) || others.includes(path.split(' ')[0] ?? '');
    const commands = leavesOf(createProgram()).filter((path) => !isOther(path));
    expect(commands.sort()).toEqual([...Object.keys(verbs), ...makers].sort());
  });

  it.each(Object.keys(verbs))(
    "%s tells of another project's volume what it tells of one that never was",
    async (name) => {
      const absent = randomUUID();
      const ask = async (id: string, ...more: string[]) => {
        const { exitCode, document } = await ivc(...(verbs[name]?.(id) ?? []), ...more);
        return [exitCode, JSON.parse(withoutRuns(JSON.stringify(document)).replaceAll(id, 'ID'))];
      };
      for (const project of [['--project', stranger], []])
        expect(await ask(volumeId, ...project)).toEqual(await ask(absent, ...project));
      expect(await flow.volume(volumeId)).toMatchObject({ state: 'available' });
    },
  );

  it('is asked about the default project, one that is named, or all', async () => {
    const listed = async (...args: string[]) => (await ivc('volume', 'list', ...args)).document['volumes'];
    expect(await listed()).toEqual([]);
    expect(await listed('--project', 'owner')).toMatchObject([{ volumeId }]);
    expect(await listed('--all-projects')).toMatchObject([{ volumeId }]);
    expect(await ivc('volume', 'show', volumeId, '--all-projects')).toMatchObject({ exitCode: 0 });
    expect(await ivc('volume', 'show', volumeId)).toMatchObject({
      exitCode: 3,
      document: { error: { type: 'VolumeNotFound' } },
    });
    expect(await ivc('volume', 'list', '--all-projects', '--project', 'owner')).toMatchObject({ exitCode: 2 });
  });

  it('wants a project, or all of them, where an identity is configured', async () => {
    const environment = { ...flow.stack.environment, OS_AUTH_URL: 'http://127.0.0.1:1/v3', OS_TOKEN: 'none' };
    expect(await readIvc(['volume', 'list'], environment)).toMatchObject({
      exitCode: 2,
      document: { error: { type: 'InvalidRequest', details: { field: 'projectId' } } },
    });
    const all = await readIvc(['volume', 'list', '--all-projects'], environment);
    expect(all.document['volumes']).toMatchObject([{ volumeId }]);
  });

  it('deletes for the project and for an operator at the same time, once', async () => {
    await deleteSnapshot(flow.stack.cache, volumeId, { projectId: 'owner' });
    const outcomes = await Promise.all([
      deleteVolume(flow.stack.cache, volumeId),
      deleteVolume(flow.stack.cache, volumeId, { projectId: 'owner' }),
      deleteVolume(flow.stack.cache, volumeId, { projectId: stranger }).catch((error: unknown) => error),
    ]);
    expect(outcomes.slice(0, 2).map((deleted) => (deleted as { outcome: string }).outcome)).toContain('deleted');
    expect(outcomes[2]).toMatchObject({ type: 'VolumeNotFound' });
    expect(await ivc('volume', 'delete', volumeId, '--project', 'owner')).toMatchObject({
      exitCode: 0,
      document: { outcome: 'absent' },
    });
  });
});

/** The run that was asked, in place of its ids. */
function withoutRuns(text: string): string {
  return text.replaceAll(/"(workflowId|runId)":"[^"]*"/g, '"$1":"-"');
}

/** @returns the paths of the commands that have no further ones below them. */
function leavesOf(command: Command, path = ''): string[] {
  return command.commands.flatMap((child) => {
    const own = `${path}${child.name()}`;
    return child.commands.length === 0 ? [own] : leavesOf(child, `${own} `);
  });
}
