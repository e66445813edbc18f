import { readFileSync } from 'node:fs';
import { errorMessage } from './error-message';

/** Variables whose value may stand in a file, which `<NAME>_FILE` names. */
const secretVariables = [
  'DATABASE_URL',
  'PGPASSWORD',
  'TEMPORAL_API_KEY',
  'OS_PASSWORD',
  'OS_APPLICATION_CREDENTIAL_SECRET',
  'OS_TOKEN',
];

/**
 * As supervisors and container platforms hand secrets over. A variable that is set itself wins over its file; a line's
 * end at the end of a file is the editor's.
 * @param refuse makes the error of a file that cannot be read, from the variable that names it and the reason.
 * @returns a copy of `env` in which the secrets themselves stand.
 */
export function withSecretFiles(
  env: NodeJS.ProcessEnv,
  refuse: (variable: string, reason: string) => Error,
): NodeJS.ProcessEnv {
  const copy = { ...env };
  for (const variable of secretVariables) {
    const path = env[`${variable}_FILE`];
    if (path && !env[variable]) copy[variable] = readSecret(path, (reason) => refuse(`${variable}_FILE`, reason));
  }
  return copy;
}

function readSecret(path: string, refuse: (reason: string) => Error): string {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw refuse(errorMessage(error));
  }
}
