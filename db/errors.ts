import { types } from 'node:util';
import { Failure } from '../workflows/contract/failures';

/** Codes of the driver and of Node's sockets that mean: no connection, or none any more. */
const connectionCodes = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECTION_ENDED',
  'CONNECT_TIMEOUT',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
]);

/**
 * SQLSTATEs that pass by themselves: connection exceptions, too few resources, a server that starts or stops, one that
 * is a standby until it is promoted, a statement or lock that took too long, transactions that were rolled back for
 * another one. Source: PostgreSQL's appendix "Error Codes".
 */
const passingStates = /^(?:08...|53...|57P..|57014|55P03|25006|40...)$/;
/**
 * SQLSTATEs that no waiting changes: data that a column cannot hold, rules of a row, statements that the schema does
 * not know. Rules about other rows (unique, foreign key, exclusion) are none of them: those may change.
 */
const finalStates = /^(?:22...|23502|23514|42...)$/;
/** PgBouncer's word for the session's limits. */
const POOLER_REFUSAL = /unsupported startup parameter/;

/**
 * Runs `work` on the database and turns its errors into failures.
 * @throws DatabaseUnavailable (retried) for what passes; the effect of the statement is then in doubt. DatabaseRefused
 * (final) for what never will. Everything else is a plain error without parameters: a bug.
 */
export async function withDatabaseErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toDatabaseFailure(error);
  }
}

export function toDatabaseFailure(error: unknown): unknown {
  if (error instanceof Failure || !isError(error)) return error;
  if (POOLER_REFUSAL.test(describe(error)))
    return new Failure('InvalidRequest', {
      field: 'database.url',
      value: 'a URL without pgbouncer=true',
      allowed: `pgbouncer=true in it, since a PgBouncer answers (${describe(error)})`,
    });
  if (isPassing(error))
    return new Failure('DatabaseUnavailable', { cause: describe(error) }, { cause: withoutParameters(error) });
  const { code } = facts(isError(error.cause) ? error.cause : error);
  if (finalStates.test(code)) {
    const plain = withoutParameters(error);
    return new Failure('DatabaseRefused', { sqlState: code, cause: plain.message }, { cause: plain });
  }
  return withoutParameters(error);
}

function isPassing(error: Error): boolean {
  const { code, syscall } = facts(error);
  if ('errors' in error && Array.isArray(error.errors))
    return error.errors.some((each) => isError(each) && isPassing(each));
  if (isError(error.cause) && isPassing(error.cause)) return true;
  return connectionCodes.has(code) || syscall === 'connect' || passingStates.test(code);
}

function describe(error: Error): string {
  const inner = isError(error.cause) ? error.cause : error;
  return inner.message || facts(inner).code;
}

/**
 * The driver hangs a statement's parameters on its errors and drizzle writes them into the message: users' data, which
 * no log needs.
 */
function withoutParameters(error: Error): Error {
  const inner = isError(error.cause) ? error.cause : error;
  const { code, constraint } = facts(inner);
  if (code === '' && inner === error) return error;
  const plain = new Error(
    `${inner.message}${code === '' ? '' : ` (${code}${constraint === '' ? '' : `, ${constraint}`})`}`,
  );
  if (error.stack !== undefined) plain.stack = `${plain.name}: ${plain.message}\n${stackFrames(error.stack)}`;
  return plain;
}

function stackFrames(stack: string): string {
  return stack
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .join('\n');
}

/** Node's own errors are no `instanceof Error` where code runs in a context of its own. */
function isError(value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value);
}

function facts(error: Error): { code: string; syscall: string; constraint: string } {
  const fact = (name: string): string => {
    const value: unknown = Reflect.get(error, name);
    return typeof value === 'string' ? value : '';
  };
  return { code: fact('code'), syscall: fact('syscall'), constraint: fact('constraint_name') };
}
