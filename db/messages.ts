import { sql, type SQL } from 'drizzle-orm/sql';
import { failedKinds, type FailedKind } from '../workflows/contract/message';
import type { ImageId, ProjectId, VolumeId } from '../workflows/contract/ids';
import type { Database } from './client';
import { events } from './schema';
import { isInScope, type ProjectScope } from './scope';
import { cast, readRows, recordset, runStatement, type RowRead } from './statement';

/*
 * Messages are no rows: each is the decision of a create that has failed, or an event that says what else has. Its id tells which, so that it is found
 * by it at once; one that was deleted has its id in a table.
 */

/** Of decisions, and of events: the middle of an id. */
const sources = { decisions: '4001', events: '4002' } as const;
type Source = keyof typeof sources;

const FIRST = '6d657373-6167';
const MIDDLE = '8000';

const idOf = (source: Source): SQL =>
  sql`(${sql.raw(`'${FIRST}-${sources[source]}-${MIDDLE}-'`)} || lpad(to_hex(id), 12, '0'))::uuid`;

interface Place {
  source: Source;
  id: number;
}

/** @returns undefined for what is no message's id. */
function placeOf(messageId: string): Place | undefined {
  const [, middle = '', digits = ''] = new RegExp(`^${FIRST}-(\\d{4})-${MIDDLE}-([0-9a-f]{12})$`).exec(messageId) ?? [];
  const source = (['decisions', 'events'] as const).find((known) => sources[known] === middle);
  return source === undefined ? undefined : { source, id: Number.parseInt(digits, 16) };
}

/** A kind of failure, and its reason: each has its own words. */
export interface MessageCause {
  kind: FailedKind;
  /** One of the failures' types; an empty one where it is not known. */
  error: string;
  ofImage: boolean;
}

export interface MessageQuery {
  scope: ProjectScope;
  /** Any of them; undefined: all. */
  causes?: readonly MessageCause[];
  /** Of a volume or a snapshot. */
  object?: string;
  requestId?: string;
  limit: number;
  offset?: number;
  /** The id of the message that they follow in the list. */
  after?: string;
  /** The oldest first. Default: the newest. */
  ascending?: boolean;
}

const fields = {
  messageId: cast.text(sql`message_id`),
  at: events.at,
  kind: cast.text<FailedKind>(sql`kind`),
  error: cast.text(sql`error`),
  ofImage: cast.boolean(sql`of_image`),
  object: cast.text(sql`object`),
  requestId: cast.text<string | null>(sql`request_id`),
  projectId: cast.text<ProjectId | null>(sql`project_id`),
  volumeId: cast.text<VolumeId | null>(sql`volume_id`),
  imageId: cast.text<ImageId | null>(sql`image_id`),
};

/** @returns messages about what has failed, none that was deleted. */
export async function selectMessages(
  database: Database,
  { scope, causes, object, requestId, limit, offset = 0, after, ascending = false }: MessageQuery,
) {
  const order = sql.raw(ascending ? 'asc' : 'desc');
  const place = after === undefined ? undefined : placeOf(after);
  const conditions = [
    sql`true`,
    object === undefined ? undefined : sql`object = ${object}`,
    requestId === undefined ? undefined : sql`request_id = ${requestId}`,
    causes === undefined ? undefined : isOneOfCauses(causes),
    place &&
      sql`(at, message_id) ${sql.raw(ascending ? '>' : '<')} ((select at from ${sql.identifier(place.source)} where id = ${place.id}), ${after}::uuid)`,
  ].filter((condition) => condition !== undefined);
  return await readRows(
    database,
    fields,
    (columns) => sql`select ${columns} from (${decided(scope)} union all ${happened(scope)}) told
      where ${sql.join(conditions, sql` and `)} and not exists (select from deleted_messages d where d.id = message_id)
      order by at ${order}, message_id ${order} limit ${limit} offset ${offset}`,
  );
}

export type MessageRow = RowRead<typeof selectMessages>;

/** @returns undefined for what is not there, was deleted, or is not the scope's. */
export async function findMessage(
  database: Database,
  { messageId, scope }: { messageId: string; scope: ProjectScope },
): Promise<MessageRow | undefined> {
  const place = placeOf(messageId);
  if (place === undefined) return undefined;
  const [row] = await readRows(
    database,
    fields,
    (columns) => sql`select ${columns} from (${messageAt(place, scope)}) told
      where not exists (select from deleted_messages d where d.id = message_id)`,
  );
  return row;
}

/** Nobody is told it any more. Repeated it is `deleted` again. @returns whether the scope has such a message. */
export async function hideMessage(
  database: Database,
  { messageId, scope }: { messageId: string; scope: ProjectScope },
): Promise<boolean> {
  const place = placeOf(messageId);
  if (place === undefined) return false;
  const found = await runStatement(
    database,
    sql`with found as (${messageAt(place, scope)}), noted as (
        insert into deleted_messages (id) select message_id from found on conflict (id) do nothing
      ) select from found`,
  );
  return found > 0;
}

const messageAt = ({ source, id }: Place, scope: ProjectScope): SQL =>
  (source === 'decisions' ? decided : happened)(scope, sql`id = ${id}`);

/** A create that was cancelled has no type of failure. */
function decided(scope: ProjectScope, which: SQL = sql`true`): SQL {
  return sql`select ${idOf('decisions')} as message_id, at, 'volume.create-failed' as kind, error_type as error, image_id is not null as of_image,
      volume_id::text as object, request_id, project_id, volume_id, image_id
    from decisions where outcome = 'failed' and error_type is not null and volume_id is not null and ${isInScope(sql`project_id`, scope)} and ${which}`;
}

/** A snapshot whose create was cancelled has failed without an error; a delete that was refused at once is no message. */
function happened(scope: ProjectScope, which: SQL = sql`true`): SQL {
  const kinds = sql.raw(failedKinds.map((kind) => `'${kind}'`).join(', '));
  return sql`select ${idOf('events')} as message_id, at, kind, coalesce(detail ->> 'error', '') as error, image_id is not null as of_image, object,
      request_id, project_id, volume_id, image_id
    from events where kind in (${kinds}) and (kind <> 'snapshot.create-failed' or detail ? 'error')
      and (kind <> 'volume.delete-refused' or detail ? 'begun') and ${isInScope(sql`project_id`, scope)} and ${which}`;
}

function isOneOfCauses(causes: readonly MessageCause[]): SQL {
  if (causes.length === 0) return sql`false`;
  const rows = causes.map(({ kind, error, ofImage }) => ({ kind, error, of_image: ofImage }));
  return sql`(kind, error, of_image) in (select kind, error, of_image from ${recordset(rows, sql`kind text, error text, of_image boolean`)})`;
}
