import type { BackendName, HostId, VolumeId } from '../../../../workflows/contract/ids';
import { CONTROL_QUEUE, siblingQueues, taskQueues } from '../../../../workflows/contract/names';

const backend = 'local' as BackendName;

describe('names', () => {
  it('of workflows are sentences', () => {
    const { ids } = taskQueues();
    expect(ids.createVolume('v' as VolumeId)).toBe('volume/v');
    expect(ids.populate(backend, 'k')).toBe('populate/local/k');
    expect(ids.deleteVolume('v' as VolumeId)).toBe('delete/v');
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
      ids.evict(backend),
      ids.warm('w'),
      ids.follow(backend, 'f'),
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
