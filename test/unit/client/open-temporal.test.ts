import { isGrpcCancelledError } from '@temporalio/client';
import { setTimeout as delay } from 'node:timers/promises';
import { openTemporal } from '../../../client/open-temporal';
import { choosePort } from '../../../worker/ports';

/** Time enough for the first attempts of a call that nobody answers; the SDK goes on with it for some 20 s. */
const FIRST_ATTEMPTS_MS = 300;

/** A call that waits for its next attempt, at a port where nobody listens. */
async function callInVain(signal: AbortSignal) {
  const connection = openTemporal({ address: `127.0.0.1:${await choosePort(0)}` });
  const failed = connection
    .withAbortSignal(signal, () => connection.workflowService.getSystemInfo({}))
    .then(() => undefined)
    .catch((error: unknown) => error);
  await delay(FIRST_ATTEMPTS_MS);
  return { connection, failed };
}

describe('a call that waits for its next attempt', () => {
  it('ends as cancelled when its caller aborts it', async () => {
    const controller = new AbortController();
    const { connection, failed } = await callInVain(controller.signal);
    controller.abort();
    // Well before the next attempt, which would hear it.
    expect(isGrpcCancelledError(await Promise.race([failed, delay(0)]))).toBe(true);
    await connection.close();
  });

  // gRPC throws in the SDK's timer: without a guard that is an uncaught exception, which ends the process.
  it('ends as cancelled when the connection is closed', async () => {
    const { connection, failed } = await callInVain(new AbortController().signal);
    await connection.close();
    expect(isGrpcCancelledError(await failed)).toBe(true);
  });
});

it('refuses a call of a closed connection', async () => {
  const connection = openTemporal({ address: `127.0.0.1:${await choosePort(0)}` });
  await connection.close();
  const error: unknown = await connection.workflowService.getSystemInfo({}).catch((reason: unknown) => reason);
  expect(isGrpcCancelledError(error)).toBe(true);
});
