import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { encodeWorkflowIdConflictPolicy, encodeWorkflowIdReusePolicy, type Payload } from '@temporalio/common';
import { text } from '../workflows/contract/markdown';
import { workflowTypes } from '../workflows/contract/names';
import type { CreateVolumeInput } from '../workflows/contract/volume';

export interface StartCreateRequest {
  workflowId: string;
  taskQueue: string;
  input: CreateVolumeInput;
  /** Shown in the Temporal UI. */
  summary: string;
}

export interface StartedCreate {
  runId: string;
  /** Whether a create of this volume was running already: this call has joined it and `input` was not looked at. */
  reused: boolean;
}

/**
 * Starts the create, or finds the one that is running. The server's answer says which of the two; the SDK's `start` keeps that to itself,
 * hence the call of the service.  Idempotent for one `workflowId` while its run is open.
 */
export async function startCreate(
  client: Client,
  { workflowId, taskQueue, input, summary }: StartCreateRequest,
): Promise<StartedCreate> {
  const { workflowService, options } = client;
  const { runId, started } = await workflowService.startWorkflowExecution({
    namespace: options.namespace,
    identity: options.identity,
    requestId: randomUUID(),
    workflowId,
    workflowType: { name: workflowTypes.createVolumeFromImage },
    taskQueue: { name: taskQueue },
    workflowIdReusePolicy: encodeWorkflowIdReusePolicy('ALLOW_DUPLICATE'),
    workflowIdConflictPolicy: encodeWorkflowIdConflictPolicy('USE_EXISTING'),
    input: { payloads: [await toPayload(client, input)] },
    userMetadata: { summary: await toPayload(client, text(summary)) },
  });
  return { runId, reused: !started };
}

/** As the client itself encodes what it sends. */
async function toPayload({ options: { loadedDataConverter } }: Client, value: unknown): Promise<Payload> {
  const { payloadConverter, payloadCodecs } = loadedDataConverter;
  let payloads = [payloadConverter.toPayload(value)];
  for (const codec of payloadCodecs) payloads = await codec.encode(payloads);
  const [payload] = payloads;
  if (payload === undefined) throw new Error('a payload codec has encoded nothing');
  return payload;
}
