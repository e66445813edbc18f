import postgres from 'postgres';
import { driverTypes, type Database } from '../../../db/client';
import { createOrm, type DriverSql } from '../../../db/statement';
import { parseDatabaseUrl } from '../../../db/url';

/** Every statement that is sent, with the plan that it really ran by: `EXPLAIN (ANALYZE, BUFFERS)` of PostgreSQL's own module auto_explain. */
export interface ExplainedDatabase {
  database: Database;
  /** @returns the plans since it was asked last, in the order of their statements. */
  takePlans(): ExplainedStatement[];
}

export interface ExplainedStatement {
  /** As it was sent, in one line. */
  text: string;
  plan: string;
}

/** One connection; as a superuser, which tests are. @param settings of the session, such as `enable_seqscan`. */
export function connectExplained(url: string, settings: Record<string, string> = {}): ExplainedDatabase {
  const { host, port, database, user, password } = parseDatabaseUrl(url);
  const plans: ExplainedStatement[] = [];
  const sql: DriverSql = postgres({
    host,
    port,
    database,
    user,
    password: password ?? '',
    max: 1,
    fetch_types: false,
    onnotice: ({ message }) => {
      const explained = parseNotice(message ?? '');
      if (explained) plans.push(explained);
    },
    types: driverTypes,
    connection: {
      session_preload_libraries: 'auto_explain',
      'auto_explain.log_min_duration': '0',
      'auto_explain.log_analyze': 'on',
      'auto_explain.log_buffers': 'on',
      client_min_messages: 'log',
      ...settings,
    },
  });
  return {
    database: {
      sql,
      orm: createOrm({ sql }),
      statements: () => plans.length,
      ping: async () => void (await sql`select 1`),
      close: () => sql.end({ timeout: 5 }),
    },
    takePlans: () => plans.splice(0),
  };
}

/** `duration: 0.05 ms  plan:`, the statement after `Query Text:`, then its plan. */
function parseNotice(message: string): ExplainedStatement | undefined {
  const match = /^duration: [\d.]+ ms {2}plan:\nQuery Text: ([\s\S]*?)\n(?=\S.*\(cost=)([\s\S]*)$/.exec(message);
  if (!match) return undefined;
  return { text: (match[1] ?? '').replace(/\s+/g, ' ').trim(), plan: match[2] ?? '' };
}
