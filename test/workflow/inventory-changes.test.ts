import { createHash, randomUUID } from 'node:crypto';
import { listEvents } from '../../db/events';
import { selectFollows, upsertFollow } from '../../db/follows/follows';
import { readImports } from '../../db/imports';
import { selectMessages } from '../../db/messages';
import { selectQuotas } from '../../db/quotas';
import { findSnapshot } from '../../db/snapshots';
import { findTransfer } from '../../db/transfers';
import { findVolumeType } from '../../db/volume-types';
import { GiB, MiB } from '../../workflows/contract/bytes';
import type { EventKind } from '../../workflows/contract/event-kinds';
import type { ProjectId, SnapshotId, TransferId, VolumeId } from '../../workflows/contract/ids';
import { workflowTypes } from '../../workflows/contract/names';
import type { CreatePlainVolumeInput } from '../../workflows/contract/volume';
import { describeEveryStep, type Scenario } from '../support/every-step/every-step';
import { finalFailure } from '../support/every-step/faults';
import { newVolumeId, resultOf, type Ending, type World } from '../support/every-step/world';

const KEY_HASH = createHash('sha256').update('the key').digest('hex');
const source = { workflowId: 'prepared', runId: 'prepared' };

/** Change that one run makes to the inventory. */
interface Change {
  workflowId: string;
  input: object;
  /** Of a run that is done. */
  result: object;
  read: () => Promise<unknown>;
  /** Result of `read` before the change, and after it. */
  before: unknown;
  after: unknown;
  /** Tells of the change. */
  event?: { kind: EventKind; object: string };
}

/** One step in one transaction: a run that did not end well has changed all of it or nothing, and what has changed is told once. */
function changing(
  type: keyof typeof workflowTypes,
  { name, steps = [type], prepare }: { name: string; steps?: string[]; prepare: (world: World) => Promise<Change> },
): Scenario {
  return {
    name,
    steps,
    prepare: async (world, fault) => {
      const { workflowId, input, result, read, before, after, event } = await prepare(world);
      const count = async () => (event === undefined ? 0 : await countEvents(world, event));
      expect([await read(), await count()]).toEqual([before, 0]);
      let ending: Ending<object> | undefined;
      return {
        workflowId,
        run: async () => {
          ending = await world.run(workflowTypes[type], workflowId, input);
        },
        check: async () => {
          if (fault?.kind.startsWith('fails'))
            expect(ending).toEqual({ kind: 'failed', type: finalFailure.type, message: finalFailure.message });
          else if (fault?.kind !== 'is-cancelled') expect(ending).toEqual({ kind: 'done', result });
          const found = [await read(), await count()];
          const changed = [after, event === undefined ? 0 : 1];
          if (ending?.kind === 'done') expect(found).toEqual(changed);
          else expect([[before, 0], changed]).toContainEqual(found);
        },
      };
    },
  };
}

const ofVolume = changing('changeVolume', {
  name: 'a change of a volume',
  prepare: async (world) => {
    const { volumeId } = resultOf(await world.create(undefined, { metadata: { gone: 'x' } }));
    const change = { name: 'renamed', metadata: { a: '1', b: '2' }, unsetMetadata: ['gone'], bootable: false };
    const after = { name: 'renamed', description: null, metadata: { a: '1', b: '2' }, bootable: false };
    return {
      workflowId: world.stack.ids.changeVolume(volumeId, randomUUID()),
      input: { volumeId, ...change },
      result: { volumeId, ...after },
      read: async () => {
        const { name, description, metadata, bootable } = (await world.volume(volumeId)) ?? {};
        return { name, description, metadata, bootable };
      },
      before: { name: null, description: null, metadata: { gone: 'x' }, bootable: true },
      after,
      event: { kind: 'volume.changed', object: volumeId },
    };
  },
});

const ofSnapshot = changing('changeSnapshot', {
  name: 'a change of a snapshot',
  prepare: async (world) => {
    const snapshotId = await take(world, await makeBlank(world));
    const after = { name: 'renamed', description: 'of a snapshot', metadata: { a: '1' } };
    return {
      workflowId: world.stack.ids.changeSnapshot(snapshotId, randomUUID()),
      input: { snapshotId, ...after },
      result: { snapshotId, ...after },
      read: async () => {
        const row = await findSnapshot(world.stack.database, { snapshotId, scope: 'all projects' });
        return { name: row?.name, description: row?.description, metadata: row?.metadata };
      },
      before: { name: null, description: null, metadata: {} },
      after,
      event: { kind: 'snapshot.changed', object: snapshotId },
    };
  },
});

const offer = changing('createTransfer', {
  name: 'an offer of a volume',
  prepare: async (world) => {
    const volumeId = await makeBlank(world);
    const asked = offerOf(volumeId);
    return {
      workflowId: world.stack.ids.createTransfer(asked.transferId),
      input: asked,
      result: told(asked, 'offered'),
      read: () => readOffer(world, asked),
      before: { isOffered: false, status: null, projects: ['offering'] },
      after: { isOffered: true, status: 'awaiting-transfer', projects: ['offering'] },
      event: { kind: 'volume.offered', object: volumeId },
    };
  },
});

const acceptance = changing('acceptTransfer', {
  name: 'an acceptance of a volume with its snapshot',
  prepare: async (world) => {
    const volumeId = await makeBlank(world);
    const snapshotId = await take(world, volumeId);
    const asked = await offerBefore(world, volumeId);
    const { transferId, keyHash } = asked;
    return {
      workflowId: world.stack.ids.acceptTransfer(transferId, randomUUID()),
      input: { transferId, keyHash, projectId: 'accepting' },
      result: told(asked, 'accepted'),
      read: () => readOffer(world, asked, snapshotId),
      before: { isOffered: true, status: 'awaiting-transfer', projects: ['offering', 'offering'] },
      after: { isOffered: false, status: null, projects: ['accepting', 'accepting'] },
      event: { kind: 'volume.transferred', object: volumeId },
    };
  },
});

const withdrawal = changing('deleteTransfer', {
  name: 'the end of an offer',
  prepare: async (world) => {
    const volumeId = await makeBlank(world);
    const asked = await offerBefore(world, volumeId);
    const { transferId } = asked;
    return {
      workflowId: world.stack.ids.deleteTransfer(transferId),
      input: { transferId },
      result: told(asked, 'ended'),
      read: () => readOffer(world, asked),
      before: { isOffered: true, status: 'awaiting-transfer', projects: ['offering'] },
      after: { isOffered: false, status: null, projects: ['offering'] },
      event: { kind: 'volume.offer-ended', object: volumeId },
    };
  },
});

const typeMade = changing('changeVolumeType', {
  name: 'a new volume type',
  prepare: (world) => Promise.resolve(typeChange(world)),
});

const typeRemoved = changing('changeVolumeType', {
  name: 'the end of a volume type',
  prepare: async (world) => typeChange(world, await makeType(world)),
});

const message = changing('deleteMessage', {
  name: 'the end of a message',
  prepare: async (world) => {
    const { stack } = world;
    const volumeId = newVolumeId();
    const step = { activity: 'makePlainVolume', nth: 1 };
    stack.faults.arm({ kind: 'fails', workflowId: stack.ids.createVolume(volumeId), step });
    await createBlank(world, volumeId);
    const messages = () => selectMessages(stack.database, { scope: 'all projects', object: volumeId, limit: 10 });
    const [{ messageId } = { messageId: '' }] = await messages();
    return {
      workflowId: stack.ids.deleteMessage(messageId),
      input: { messageId },
      result: { messageId },
      read: async () => (await messages()).length,
      before: 1,
      after: 0,
    };
  },
});

const quotas = changing('setQuotas', {
  name: 'a change of quotas',
  steps: ['applyQuotas'],
  prepare: (world) => {
    const projectId = `limited-${randomUUID()}` as ProjectId;
    return Promise.resolve({
      workflowId: world.stack.ids.quotas(projectId, randomUUID()),
      input: { projectId, quotas: { volumes: 3, snapshots: null } },
      result: { projectId, set: { volumes: 3, snapshots: null } },
      read: async () => {
        const [row] = await selectQuotas(world.stack.database, { scope: { projectId }, limit: 1 });
        return [row?.quotas.volumes.limit, row?.quotas.snapshots.setBy !== null];
      },
      before: [null, false],
      after: [3, true],
      event: { kind: 'quotas.set', object: projectId },
    });
  },
});

const unfollow = changing('unfollowImage', {
  name: 'the end of a follow',
  steps: ['removeFollow'],
  prepare: async (world) => {
    const { backend, database, ids } = world.stack;
    const name = randomUUID();
    const spec = { name, imageName: name, tags: [], properties: {}, backend, keep: 0, pin: false };
    await upsertFollow(database, { ...spec, by: 'an operator', source });
    return {
      workflowId: ids.follow(backend, name),
      input: { name, backend },
      result: { name, backend, outcome: 'removed' },
      read: async () => (await selectFollows(database, { backend, name, limit: 10 })).length,
      before: 1,
      after: 0,
      event: { kind: 'follow.removed', object: name },
    };
  },
});

const imported = changing('importFromCinder', {
  name: 'an import of quotas',
  steps: ['planImport', 'importSettings'],
  prepare: (world) => {
    const { projectId, input, read } = importOf(world);
    const finding = { kind: 'quota', projectId, bytes: null, reason: null, action: 'taken' };
    return Promise.resolve({
      workflowId: world.stack.ids.importFromCinder(world.stack.backend, projectId, 1),
      input,
      result: {
        backend: world.stack.backend,
        dryRun: false,
        findings: [
          { ...finding, object: `${projectId}/gigabytes`, name: 'gigabytes 5' },
          { ...finding, object: `${projectId}/snapshots`, name: 'snapshots -1' },
        ],
      },
      read,
      before: [null, false, []],
      after: [5 * GiB, true, ['taken', 'taken']],
      event: { kind: 'quotas.set', object: projectId },
    });
  },
});

const reverted = changing('revertImport', {
  name: 'the end of an import',
  steps: ['planRevert', 'giveBackVolumes', 'giveBackSettings'],
  prepare: async (world) => {
    const { projectId, input, read } = importOf(world);
    const { backend, ids } = world.stack;
    resultOf(await world.run(workflowTypes.importFromCinder, ids.importFromCinder(backend, projectId, 1), input));
    const finding = { kind: 'quota', projectId, bytes: null, reason: null, action: 'given-back' };
    return {
      // One for each world: it gives back what was taken over from one source.
      workflowId: `${ids.revertImport(backend)}/${projectId}`,
      input: { backend, source: input.source },
      result: {
        backend,
        dryRun: false,
        findings: [
          { ...finding, object: `${projectId}/gigabytes`, name: 'bytes' },
          { ...finding, object: `${projectId}/snapshots`, name: 'snapshots' },
        ],
      },
      read,
      before: [5 * GiB, true, ['taken', 'taken']],
      after: [null, false, ['given-back', 'given-back']],
    };
  },
});

describe('changes of the inventory alone', () => {
  describeEveryStep({
    ChangeVolume: [ofVolume],
    ChangeSnapshot: [ofSnapshot],
    CreateTransfer: [offer],
    AcceptTransfer: [acceptance],
    DeleteTransfer: [withdrawal],
    ChangeVolumeType: [typeMade, typeRemoved],
    DeleteMessage: [message],
    SetQuotas: [quotas],
    UnfollowImage: [unfollow],
    ImportFromCinder: [imported],
    RevertImport: [reverted],
  });
});

function importOf({ stack }: World) {
  const projectId = `imported-${randomUUID()}` as ProjectId;
  const limits = [
    { projectId, resource: 'gigabytes', limit: 5 },
    { projectId, resource: 'snapshots', limit: -1 },
  ];
  const objects = limits.map(({ resource }) => `${projectId}/${resource}`);
  return {
    projectId,
    input: { backend: stack.backend, source: `mysql://cinder/${projectId}`, quotas: limits },
    read: async () => {
      const [row] = await selectQuotas(stack.database, { scope: { projectId }, limit: 1 });
      const notes = await readImports(stack.database, { kind: 'quota', objects });
      const { bytes, snapshots } = row?.quotas ?? {};
      return [bytes?.limit, snapshots?.setBy !== null, [...notes.values()].map(({ state }) => state)];
    },
  };
}

async function countEvents({ stack }: World, { kind, object }: { kind: EventKind; object: string }): Promise<number> {
  const events = await listEvents(stack.database, { scope: 'all projects', kind, limit: 1000 });
  return events.filter((event) => event.object === object).length;
}

async function createBlank(world: World, volumeId: VolumeId): Promise<Ending<unknown>> {
  const input: CreatePlainVolumeInput = {
    backend: world.stack.backend,
    sizeBytes: MiB,
    projectId: 'offering',
  };
  return await world.run(workflowTypes.createVolume, world.stack.ids.createVolume(volumeId), input);
}

async function makeBlank(world: World): Promise<VolumeId> {
  const volumeId = newVolumeId();
  resultOf(await createBlank(world, volumeId));
  return volumeId;
}

async function take(world: World, volumeId: VolumeId): Promise<SnapshotId> {
  const snapshotId = randomUUID() as SnapshotId;
  resultOf(await world.run(workflowTypes.createSnapshot, world.stack.ids.createSnapshot(snapshotId), { volumeId }));
  return snapshotId;
}

interface Offer {
  transferId: TransferId;
  volumeId: VolumeId;
  name: string;
  keyHash: string;
}

function offerOf(volumeId: VolumeId): Offer {
  return { transferId: randomUUID() as TransferId, volumeId, name: 'offered', keyHash: KEY_HASH };
}

async function offerBefore(world: World, volumeId: VolumeId): Promise<Offer> {
  const asked = offerOf(volumeId);
  resultOf(await world.run(workflowTypes.createTransfer, world.stack.ids.createTransfer(asked.transferId), asked));
  return asked;
}

function told({ transferId, volumeId, name }: Offer, outcome: string): object {
  return { transferId, volumeId, name, sourceProjectId: 'offering', outcome };
}

/** @returns whose the volume is, and its snapshot. */
async function readOffer(world: World, { transferId, volumeId }: Offer, snapshotId?: SnapshotId) {
  const scope = 'all projects';
  const row = await world.volume(volumeId);
  const snapshot = snapshotId && (await findSnapshot(world.stack.database, { snapshotId, scope }));
  return {
    isOffered: (await findTransfer(world.stack.database, { transferId, scope })) !== undefined,
    status: row?.status,
    projects: [row?.projectId, ...(snapshot ? [snapshot.projectId] : [])],
  };
}

/** @returns its id, which is its name too. */
async function makeType(world: World): Promise<string> {
  const volumeTypeId = randomUUID();
  const input = { volumeTypeId, verb: 'create', name: volumeTypeId };
  resultOf(
    await world.run(
      workflowTypes.changeVolumeType,
      world.stack.ids.changeVolumeType(volumeTypeId, randomUUID()),
      input,
    ),
  );
  return volumeTypeId;
}

/** @param before the name of the type that is to go; undefined: one is made. */
function typeChange({ stack }: World, before?: string): Change {
  const volumeTypeId = before ?? randomUUID();
  const name = before ?? `made-${volumeTypeId}`;
  return {
    workflowId: stack.ids.changeVolumeType(volumeTypeId, randomUUID()),
    input: { volumeTypeId, ...(before === undefined ? { verb: 'create', name } : { verb: 'delete' }) },
    result: { volumeTypeId, name, outcome: before === undefined ? 'created' : 'deleted' },
    read: async () => (await findVolumeType(stack.database, volumeTypeId))?.name,
    before,
    after: before === undefined ? name : undefined,
    event: { kind: before === undefined ? 'volume-type.set' : 'volume-type.removed', object: name },
  };
}
