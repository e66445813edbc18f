import { DefaultLogger, type LogLevel, type LogMetadata } from '@temporalio/worker';
import type { Logger } from '../client/logger';

const pinoLevels: Record<LogLevel, 'trace' | 'debug' | 'info' | 'warn' | 'error'> = {
  TRACE: 'trace',
  DEBUG: 'debug',
  INFO: 'info',
  WARN: 'warn',
  ERROR: 'error',
};

/** Logs of the SDK, workflows and activities go the same way; the SDK's line for every started task is `debug`. */
export function createTemporalLogger(logger: Logger): DefaultLogger {
  return new DefaultLogger('DEBUG', ({ level, message, meta }) => {
    logger[pinoLevels[level]](serializable(meta), message);
  });
}

function serializable(meta: LogMetadata | undefined): object {
  // A task's token is for the server alone; the run of an activity is called as that of a workflow.
  const { error, taskToken: _token, workflowRunId, ...rest } = meta ?? {};
  const fields = workflowRunId === undefined ? rest : { ...rest, runId: workflowRunId };
  return error instanceof Error
    ? { ...fields, err: error }
    : { ...fields, ...(error === undefined ? {} : { error: String(error) }) };
}
