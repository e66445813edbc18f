import type { Connection } from '@temporalio/client';
import { isGrpcServiceError } from '@temporalio/client';

/** gRPC's code for a caller that may not ask. */
const PERMISSION_DENIED = 7;

/** @returns the server's own id of a namespace, which no other namespace has; undefined where this account may not ask. */
export async function findNamespaceId(connection: Connection, namespace: string): Promise<string | undefined> {
  try {
    const { namespaceInfo } = await connection.workflowService.describeNamespace({ namespace });
    return namespaceInfo?.id || undefined;
  } catch (error) {
    const code: number | undefined = isGrpcServiceError(error) ? error.code : undefined;
    if (code === PERMISSION_DENIED) return undefined;
    throw error;
  }
}
