import { temporal } from '@temporalio/proto';
import { isOpenRun } from '../../../../workflows/contract/run-status';

describe('isOpenRun', () => {
  const { WorkflowExecutionStatus } = temporal.api.enums.v1;
  const names = Object.keys(WorkflowExecutionStatus).map((name) => name.replace('WORKFLOW_EXECUTION_STATUS_', ''));
  // The SDK spells one of them otherwise.
  const statuses = names.map((name) => (name === 'CANCELED' ? 'CANCELLED' : name));

  it('takes a paused run for an open one, and whatever else the server may say that is no end', () => {
    expect(statuses.filter(isOpenRun)).toEqual(['UNSPECIFIED', 'RUNNING', 'PAUSED']);
    expect(isOpenRun('UNKNOWN')).toBe(true);
  });
});
