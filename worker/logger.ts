import { DefaultLogger, type LogLevel, type LogMetadata } from '@temporalio/worker';
import { pino, type Logger } from 'pino';
import { visibleJson } from '../workflows/contract/visible-text';

export type { Logger };

/** Names of fields that may hold a secret: their values never reach a log. */
const SECRET_FIELDS = [
  '*.token',
  '*.password',
  '*.secret',
  'token',
  'password',
  'secret',
  'headers["x-auth-token"]',
  '*.headers["x-auth-token"]',
];

/** JSON lines on stderr, harmless to a terminal; stdout is for the worker's one line that says it is ready. */
export function createLogger(level: string): Logger {
  const stderr = pino.destination({ fd: 2, sync: false });
  return pino(
    { level, base: { pid: process.pid }, redact: SECRET_FIELDS, timestamp: pino.stdTimeFunctions.isoTime },
    { write: (line: string) => stderr.write(visibleJson(line)) },
  );
}

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
  const { error, ...rest } = meta ?? {};
  return error instanceof Error
    ? { ...rest, err: error }
    : { ...rest, ...(error === undefined ? {} : { error: String(error) }) };
}
