import { errorMessage } from '../lib/error-message';
import { parseDatabaseUrl } from './url';

/** SQLSTATEs, as `withDatabaseErrors` ends a message. */
const NO_DATABASE = /\(3D000\)$/;
const REFUSED_USER = /\((?:28000|28P01)\)$/;

/** @returns what is wrong with the database server of `url`, without its password: the key of the configuration, what happened and where, and what to do. */
export function describeUnreachable(url: string, error: unknown): string {
  const { host, port, database: name = '', user } = parseDatabaseUrl(url);
  const server = `${host}:${port}`;
  const reason = reasonOf(error);
  if (NO_DATABASE.test(reason))
    return `database.url: ${server} has no database ${name}: create it with \`createdb -h ${host} -p ${port} -U ${user} ${name}\`, or name another (DATABASE_URL)`;
  if (REFUSED_USER.test(reason))
    return `database.url: ${server} refuses user ${user} (${reason}): give the right password (DATABASE_URL, PGPASSWORD, or the file of PGPASSFILE)`;
  return `database.url: ${server}/${name} does not answer (${reason}): start it, or name another (DATABASE_URL)`;
}

/** Node's words for a connection that was not made. */
const NO_CONNECTION = /^(?:connect|getaddrinfo) /;

/** @returns whether a statement failed since there was no connection to be had, or none without another password or name. */
export function isUnreachable(error: unknown): boolean {
  const reason = reasonOf(error);
  return [NO_DATABASE, REFUSED_USER, NO_CONNECTION].some((known) => known.test(reason));
}

/** A failure for users says less than its cause. */
function reasonOf(error: unknown): string {
  return errorMessage(error instanceof Error && error.cause instanceof Error ? error.cause : error);
}
