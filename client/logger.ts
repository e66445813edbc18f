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

/** JSON lines on stderr, harmless to a terminal; stdout is for the one line that says the process is ready. */
export function createLogger(level: string): Logger {
  const stderr = pino.destination({ fd: 2, sync: false });
  return pino(
    {
      level,
      formatters: { level: (name) => ({ level: name }) },
      base: { pid: process.pid },
      redact: SECRET_FIELDS,
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    { write: (line: string) => stderr.write(visibleJson(line)) },
  );
}
