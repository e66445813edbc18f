import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { choosePort } from '../../worker/ports';
import { waitFor } from '../../worker/stack/wait';
import { MiB } from '../../workflows/contract/bytes';
import { startApi, type ApiAnswer, type TestApi } from '../support/stack/api';
import { expectCleanSlate } from '../support/stack/flows';
import { useStackWithOwnDatabase } from '../support/stack/own-database';
import type { StartingWorker } from '../support/stack/stack';
import { createRandom, fromSeed, type Random } from '../support/seeded';

/** A long soak sets it to thousands. */
const CREATES = Number(process.env['IVC_SOAK_CREATES'] ?? 96);
const CLIENTS = 16;
const PROJECT = 'soak';
/** The longer ones let a step that died be tried again. */
const GAP_MS = { min: 500, max: 15_000 };
const POLL_MS = 100;
const PATIENCE_MS = 240_000;
/** Of the volumes that are there, so many are deleted again. */
const DELETED_SHARE = 0.7;
const WORKER_GROWTH_BYTES = 192 * MiB;

const random = createRandom('API killed');
const { flow, server, restart } = useStackWithOwnDatabase({ workers: [] });

describe('clients of the block-storage API', () => {
  it(
    `get what they were promised in ${CREATES} creates while worker, API and PostgreSQL are killed`,
    async () => {
      const { stack } = flow;
      const { id: imageId } = (await flow.upload('soak', { virtualBytes: 32 * MiB })).image;
      const listen = `127.0.0.1:${await choosePort(0)}`;
      let api = await startApi(stack, { listen });
      let worker = await stack.spawnWorker();
      await worker.ready;

      let left = CREATES;
      const promised: string[] = [];
      const deleted: string[] = [];
      const client = async (own: Random): Promise<void> => {
        while (left > 0) {
          left -= 1;
          const volumeId = await create(() => api, imageId);
          promised.push(volumeId);
          if (own.next() > DELETED_SHARE) continue;
          await remove(() => api, volumeId);
          deleted.push(volumeId);
        }
      };
      const clients = Promise.all(Array.from({ length: CLIENTS }, (_, index) => client(fromSeed(random.seed + index))));
      let over = false;
      const hasEnded = (): boolean => over;
      const ended = clients.finally(() => (over = true));
      // It is awaited after the strikes.
      ended.catch(() => undefined);

      const strikes = {
        worker: async () => {
          await worker.stop('SIGKILL');
          worker = await stack.spawnWorker();
          await worker.ready;
        },
        API: async () => {
          await api.stop('SIGKILL');
          api = await startApi(stack, { listen });
        },
        database: async () => {
          process.kill(server().part.process.pid, 'SIGKILL');
          await server().part.exited;
          await restart();
        },
      };
      const struck: string[] = [];
      const early = memoryOf(worker);
      while (!hasEnded()) {
        await Promise.race([delay(random.mostlyShort(GAP_MS.min, GAP_MS.max)), ended]);
        if (hasEnded()) break;
        const what = random.pick(['worker', 'API', 'database'] as const);
        await strikes[what]();
        struck.push(what);
      }
      await ended;
      process.stderr.write(`API killed: ${struck.length} kills in ${CREATES} creates, ${deleted.length} deleted\n`);

      expect(new Set(promised).size).toBe(CREATES);
      await expectCleanSlate(stack);
      const kept = promised.filter((id) => !deleted.includes(id));
      const rows = await stack.inventory.volumes();
      const there = rows.filter(({ state }) => state !== 'deleted').map(({ id, state }) => ({ id: String(id), state }));
      const byId = (one: { id: string }, other: { id: string }): number => one.id.localeCompare(other.id);
      expect(there.sort(byId)).toEqual(kept.map((id) => ({ id, state: 'available' })).sort(byId));
      const { body } = await api.call(`GET /v3/${PROJECT}/os-quota-sets/${PROJECT}?usage=true`);
      expect(body.quota_set).toMatchObject({
        volumes: { in_use: kept.length, reserved: 0 },
        gigabytes: { in_use: kept.length, reserved: 0 },
      });
      expect(memoryOf(worker)).toBeLessThan(early + WORKER_GROWTH_BYTES);
      await api.stop();
    },
    60_000 + CREATES * 5000,
  );
});

/** Asks until it is answered by anything but a failure of the server: that it may ask again is what the key is for. */
async function insist(
  api: () => TestApi,
  request: string,
  { body, headers }: { body?: object; headers?: Record<string, string> } = {},
): Promise<ApiAnswer> {
  return await waitFor(
    async () => {
      const answer = await api()
        .call(request, body, { headers })
        .catch(() => undefined);
      return answer !== undefined && answer.status < 500 ? answer : undefined;
    },
    { what: `an answer to ${request}`, deadlineMs: PATIENCE_MS, intervalMs: POLL_MS },
  );
}

/** @returns the id of a volume that became available. */
async function create(api: () => TestApi, imageId: string): Promise<string> {
  const body = { volume: { size: 1, imageRef: imageId } };
  const posted = await insist(api, `POST /v3/${PROJECT}/volumes`, {
    body,
    headers: { 'idempotency-key': randomUUID() },
  });
  expect(posted).toMatchObject({ status: 202 });
  const { id } = posted.body.volume as { id: string };
  const status = await waitFor(
    async () => {
      const { body: shown } = await insist(api, `GET /v3/${PROJECT}/volumes/${id}`);
      const { status: now } = shown.volume as { status: string };
      return ['creating', 'downloading'].includes(now) ? undefined : now;
    },
    { what: `volume ${id} to be made`, deadlineMs: PATIENCE_MS, intervalMs: POLL_MS },
  );
  expect({ id, status }).toEqual({ id, status: 'available' });
  return id;
}

/** A delete that was repeated finds it gone, or on its way. */
async function remove(api: () => TestApi, id: string): Promise<void> {
  const { status } = await insist(api, `DELETE /v3/${PROJECT}/volumes/${id}`);
  expect([202, 400, 404]).toContain(status);
  let shown: ApiAnswer | undefined;
  const isGone = async (): Promise<true | undefined> => {
    shown = await insist(api, `GET /v3/${PROJECT}/volumes/${id}`);
    return shown.status === 404 || undefined;
  };
  try {
    await waitFor(isGone, { what: `volume ${id} to be gone`, deadlineMs: PATIENCE_MS, intervalMs: POLL_MS });
  } catch (cause) {
    throw new Error(`its delete was answered with ${status}; it is ${JSON.stringify(shown?.body)}`, { cause });
  }
}

/** @returns the resident bytes of a worker. */
function memoryOf({ process: { pid } }: StartingWorker): number {
  const kibibytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kibibytes) * 1024;
}
