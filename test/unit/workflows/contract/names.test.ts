import type { BackendName, HostId, VolumeId } from '../../../../workflows/contract/ids';
import { CONTROL_QUEUE, siblingQueues, taskQueues, workflowIds } from '../../../../workflows/contract/names';

const backend = 'local' as BackendName;

describe('names', () => {
  it('of workflows are sentences', () => {
    expect(workflowIds.createVolume('v' as VolumeId)).toBe('volume/v');
    expect(workflowIds.populate(backend, 'k')).toBe('populate/local/k');
    expect(workflowIds.deleteVolume('v' as VolumeId)).toBe('delete/v');
  });

  it('of queues have the stack’s prefix, which a workflow finds again in its own queue’s name', () => {
    for (const prefix of ['', 'blue-']) {
      const queues = taskQueues(prefix);
      expect(queues.control).toBe(`${prefix}${CONTROL_QUEUE}`);
      expect(siblingQueues(queues.control).backend(backend)).toBe(`${prefix}backend-local`);
      expect(siblingQueues(queues.control).host('h' as HostId)).toBe(`${prefix}host-h`);
    }
  });

  it('of queues have no prefix for a workflow on a queue that is none of ours', () => {
    expect(siblingQueues('replay').backend(backend)).toBe('backend-local');
  });
});
