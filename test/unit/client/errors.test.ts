import { ServiceError, WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  RetryState,
  TerminatedFailure,
} from '@temporalio/common';
import { clientFailures, ImageVolumeCacheError } from '../../../client/errors';
import { toImageVolumeCacheError } from '../../../client/temporal-errors';
import { failures, isFailureType } from '../../../workflows/contract/failures';

const context = { temporal: 'localhost:7233', workflowId: 'volume/1' };

function failedBy(cause: Error): WorkflowFailedError {
  return new WorkflowFailedError('Workflow execution failed', cause, RetryState.NON_RETRYABLE_FAILURE);
}

function grpcError(code: number, details = ''): Error {
  return Object.assign(new Error(`${code} ${details}`), { code, details, metadata: {} });
}

describe('toImageVolumeCacheError', () => {
  it('keeps type, public message and details of a typed failure', () => {
    const details = { field: 'sizeBytes', value: '100', allowed: 'at least 1 GiB' };
    const failure = ApplicationFailure.create({
      type: 'InvalidRequest',
      message: 'sizeBytes: got 100',
      details: [details],
      nonRetryable: true,
    });
    expect(toImageVolumeCacheError(failedBy(failure), context)).toMatchObject({
      type: 'InvalidRequest',
      message: 'sizeBytes: got 100',
      details,
      exitCode: 2,
      workflowId: 'volume/1',
    });
  });

  it('looks through the failure of an activity', () => {
    const failure = ApplicationFailure.create({
      type: 'ImageNotFound',
      message: 'there is no image',
      details: [{ imageId: 'x' }],
    });
    const activity = new ActivityFailure(
      'Activity task failed',
      'admitVolume',
      '1',
      RetryState.NON_RETRYABLE_FAILURE,
      undefined,
      failure,
    );
    expect(toImageVolumeCacheError(failedBy(activity), context)).toMatchObject({
      type: 'ImageNotFound',
      exitCode: 3,
      details: { imageId: 'x' },
    });
  });

  it('gives every failure of the table the exit code of the table', () => {
    for (const [type, rule] of Object.entries(failures)) {
      const error = toImageVolumeCacheError(
        failedBy(ApplicationFailure.create({ type, message: 'it failed' })),
        context,
      );
      expect([error.type, error.exitCode]).toEqual([type, rule.exitCode]);
    }
  });

  it('tells a cancelled run from a terminated one', () => {
    expect(toImageVolumeCacheError(failedBy(new CancelledFailure('Workflow canceled')), context).type).toBe(
      'CreateCancelled',
    );
    const terminated = toImageVolumeCacheError(failedBy(new TerminatedFailure('by hand')), context);
    expect(terminated).toMatchObject({
      type: 'Terminated',
      exitCode: 1,
      message: 'workflow volume/1 was terminated by an operator: by hand',
    });
  });

  it('calls a failure that the table does not know unexpected', () => {
    const error = toImageVolumeCacheError(
      failedBy(ApplicationFailure.create({ type: 'TypeError', message: 'x is undefined' })),
      context,
    );
    expect(error).toMatchObject({
      type: 'Unexpected',
      exitCode: 1,
      message: 'workflow volume/1 failed: x is undefined',
    });
  });

  it.each([4, 14])('says which server does not answer for gRPC status %i', (code) => {
    const error = toImageVolumeCacheError(new ServiceError('Failed', { cause: grpcError(code) }), context);
    expect(error).toMatchObject({
      type: 'TemporalUnavailable',
      exitCode: 5,
      message:
        'Temporal at localhost:7233 does not answer: start it, or name another (temporal.address, TEMPORAL_ADDRESS)',
    });
  });

  it('says which server does not answer when the first connection is given up', () => {
    const error = toImageVolumeCacheError(new Error('Failed to connect before the deadline'), context);
    expect(error).toMatchObject({ type: 'TemporalUnavailable', exitCode: 5 });
  });

  it('hands on what the server says about a namespace that is not there', () => {
    const error = toImageVolumeCacheError(
      new ServiceError('Failed', { cause: grpcError(5, 'Namespace other is not found.') }),
      context,
    );
    expect(error).toMatchObject({
      type: 'TemporalUnavailable',
      message:
        'Temporal at localhost:7233 answers: Namespace other is not found. Create it, or name another (temporal.namespace, TEMPORAL_NAMESPACE).',
    });
  });

  it('says that a workflow is not there', () => {
    const error = toImageVolumeCacheError(new WorkflowNotFoundError('not found', 'volume/1', undefined), context);
    expect(error).toMatchObject({ type: 'WorkflowNotFound', exitCode: 3 });
  });

  it('leaves its own errors as they are', () => {
    const error = new ImageVolumeCacheError({ type: 'NotConfigured', message: 'no database' });
    expect(toImageVolumeCacheError(error, context)).toBe(error);
  });
});

it('names no failure of the client like one of the table', () => {
  expect(Object.keys(clientFailures).filter(isFailureType)).toEqual([]);
});
