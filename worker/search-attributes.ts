import { temporal } from '@temporalio/proto';
import type { Connection } from '@temporalio/client';
import { searchAttributeNames } from '../workflows/contract/names';
import type { Logger } from '../client/logger';

const KEYWORD = temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD;

/**
 * Registers our search attributes where this worker may. @returns whether the namespace has all of them as keywords:
 * without, workflows upsert none, for an upsert of an unknown one blocks the workflow task for ever.
 */
export async function ensureSearchAttributes(
  connection: Connection,
  namespace: string,
  logger: Logger,
): Promise<boolean> {
  try {
    const missing = await missingSearchAttributes(connection, namespace);
    if (missing.length === 0) return true;
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(missing.map((name) => [name, KEYWORD])),
    });
    return (await missingSearchAttributes(connection, namespace)).length === 0;
  } catch (error) {
    logger.warn({ namespace, error: String(error) }, 'search attributes are not registered; runs work without them');
    return false;
  }
}

async function missingSearchAttributes(connection: Connection, namespace: string): Promise<string[]> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  return searchAttributeNames.filter((name) => customAttributes?.[name] !== KEYWORD);
}
