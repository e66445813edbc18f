import type {
  BackendName,
  HostId,
  ImageId,
  SnapshotId,
  TransferId,
  VolumeId,
} from '../../../../workflows/contract/ids';
import { CONTROL_QUEUE, siblingQueues, taskQueues } from '../../../../workflows/contract/names';

const backend = 'local' as BackendName;

describe('names', () => {
  it('of workflows are sentences', () => {
    const { ids } = taskQueues();
    expect(ids.createVolume('v' as VolumeId)).toBe('volume/v');
    expect(ids.populate(backend, 'k')).toBe('populate/local/k');
    expect(ids.deleteVolume('v' as VolumeId)).toBe('delete/v');
    expect(ids.extendVolume('v' as VolumeId, 512)).toBe('extend/v/512');
    expect(ids.reimageVolume('v' as VolumeId, 'i', 'p')).toBe('reimage/v/i/p');
    expect(ids.changeVolume('v' as VolumeId, 'r')).toBe('change/v/r');
    expect(ids.changeAttachment('v' as VolumeId, 'r')).toBe('attachment/v/r');
    expect(ids.deleteVolume('v' as VolumeId, 'p/1')).toBe('delete/v/p%2F1');
    expect(ids.upload('v' as VolumeId, 'i' as ImageId)).toBe('upload/v/i');
    expect(ids.upload('v' as VolumeId, 'i' as ImageId, 'p/1')).toBe('upload/v/i/p%2F1');
  });

  it('of queues have the stack’s prefix, which a workflow finds again in its own queue’s name', () => {
    for (const prefix of ['', 'blue-']) {
      const queues = taskQueues(prefix);
      expect(queues.control).toBe(`${prefix}${CONTROL_QUEUE}`);
      expect(siblingQueues(queues.control).backend(backend)).toBe(`${prefix}backend-local`);
      expect(siblingQueues(queues.control).host('h' as HostId)).toBe(`${prefix}host-h`);
    }
  });

  it('of workflows have the stack’s prefix too, so that no two stacks share one', () => {
    const { ids } = siblingQueues(taskQueues('blue-').control);
    const made = [
      ids.createVolume('v' as VolumeId),
      ids.createVolumes('r'),
      ids.populate(backend, 'k'),
      ids.deleteVolume('v' as VolumeId),
      ids.upload('v' as VolumeId, 'i' as ImageId),
      ids.changeVolume('v' as VolumeId, 'r'),
      ids.changeAttachment('v' as VolumeId, 'r'),
      ids.seed('v' as VolumeId, 'i' as ImageId),
      ids.extendVolume('v' as VolumeId, 512),
      ids.reimageVolume('v' as VolumeId, 'i'),
      ids.createSnapshot('s' as SnapshotId),
      ids.deleteSnapshot('s' as SnapshotId),
      ids.shareSnapshot('s' as SnapshotId, 'r'),
      ids.unshareSnapshot('s' as SnapshotId, 'r'),
      ids.changeSnapshot('s' as SnapshotId, 'r'),
      ids.changeVolumeType('t', 'r'),
      ids.createTransfer('t' as TransferId),
      ids.acceptTransfer('t' as TransferId, 'r'),
      ids.deleteTransfer('t' as TransferId),
      ids.deleteMessage('m'),
      ids.importFromCinder(backend, 'r', 1),
      ids.revertImport(backend),
      ids.evict(backend),
      ids.warm('w'),
      ids.follow(backend, 'f'),
      ids.quotas('p', 'r'),
      ids.reconcile(backend),
      ids.refresh,
    ];
    for (const id of made) expect(id).toMatch(/^blue-[a-z]/);
    expect(made).toHaveLength(Object.keys(ids).length);
  });

  it('of queues have no prefix for a workflow on a queue that is none of ours', () => {
    expect(siblingQueues('replay').backend(backend)).toBe('backend-local');
  });
});
