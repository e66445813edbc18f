import {
  chmodSync,
  existsSync,
  openSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
  closeSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { reconcile } from '../../../client/reconcile';
import { MiB } from '../../../workflows/contract/bytes';
import type { ReconcileInput, ReconcileResult } from '../../../workflows/contract/reconcile';
import { expectCleanSlate, useStack } from '../../support/stack/flows';
import { type EntryRow } from '../../../db/schema';

const schedules = { refresh: 'off', reconcile: 'off', evict: 'off', grace: '1ms' };

describe('a reconciliation', () => {
  const flow = useStack({ config: { schedules } });
  afterEach(() => expectCleanSlate(flow.stack));

  const run = async (input: Partial<ReconcileInput> = {}): Promise<ReconcileResult> => {
    const { cache, backend } = flow.stack;
    return (await reconcile(cache, { backend, ...input }, { wait: true })).result;
  };
  const pathOf = ({ imageVolume }: EntryRow): string =>
    join(flow.stack.volumesDirectory, 'images', `${imageVolume}.raw`);
  const cached = async (name: string, diskFormat: 'raw' | 'qcow2' = 'raw') => {
    const { sample, image } = await flow.upload(name, { diskFormat, virtualBytes: 4 * MiB });
    await flow.create(image);
    const entry = async (): Promise<EntryRow> => {
      const [found] = await flow.entriesOf(image);
      if (!found) throw new Error(`${name} is not cached`);
      return found;
    };
    return { sample, image, entry };
  };

  it('takes the digest of a sealed parent’s guest bytes, once', async () => {
    const { entry, sample } = await cached('digest');
    expect((await run({ dryRun: true })).digested).toBe(0);
    expect((await run()).digested).toBeGreaterThanOrEqual(1);
    const digest = createHash('sha256').update(readFileSync(sample.rawPath)).digest('hex');
    expect(await entry()).toMatchObject({ digestAlgorithm: 'sha256', digest });
    expect((await run()).digested).toBe(0);
    const events = await flow.stack.inventory.events((await entry()).id);
    expect(events.filter(({ kind }) => kind === 'digested')).toHaveLength(1);
  });

  it('quarantines a parent whose bytes have rotted though its file looks untouched, and the next create gets the image’s bytes', async () => {
    const { entry, image, sample } = await cached('rot', 'qcow2');
    await run();
    expect((await run({ scrub: true })).counts).not.toHaveProperty('digest-mismatch');
    const rotten = await entry();
    flipByte(pathOf(rotten), MiB + 5);
    const { counts, scrubbed, findings } = await run({ scrub: true });
    expect(counts).toMatchObject({ 'digest-mismatch': 1 });
    expect(scrubbed).toBeGreaterThanOrEqual(1);
    expect(findings).toContainEqual(
      expect.objectContaining({ kind: 'digest-mismatch', object: rotten.imageVolume, action: 'repaired' }),
    );
    const volume = await flow.create(image);
    expect(volume.outcome).toBe('miss');
    await flow.expectGuestBytes(sample, volume);
    expect(await entry()).toMatchObject({ generation: rotten.generation + 1, state: 'ready' });
  });

  it('removes what nobody uses from a scratch, and leaves alone what is used', async () => {
    const { scratchDirectory, database } = flow.stack;
    const hostId = readFileSync(join(scratchDirectory, 'host-id'), 'utf8').trim();
    const orphan = join(scratchDirectory, 'images', 'sha512-00');
    const unused = join(scratchDirectory, 'images', 'sha512-01');
    for (const path of [orphan, unused]) writeFileSync(path, 'rubbish', { mode: 0o600 });
    utimesSync(orphan, 1, 1);
    await database.sql`insert into scratch_files (host_id, content_hash, bytes_reserved, users, last_used_at) values
      (${hostId}, 'sha512-01', 7, array['populate/local/ended'], now() - interval '1 hour'),
      (${hostId}, 'sha512-02', 7, array['populate/local/ended'], now() - interval '1 hour')`;
    const dry = await run({ dryRun: true });
    expect(dry.counts).toMatchObject({ 'scratch-without-row': 1, 'scratch-unused': 1, 'scratch-row-without-file': 1 });
    expect(existsSync(orphan) && existsSync(unused)).toBe(true);
    expect((await run()).counts).toMatchObject({
      'scratch-without-row': 1,
      'scratch-unused': 1,
      'scratch-row-without-file': 1,
    });
    expect(existsSync(orphan) || existsSync(unused)).toBe(false);
    const left = await database.sql`select content_hash from scratch_files`;
    expect([...left]).toEqual([]);
  });

  it('retires what a new image policy does not allow, and renews what it does', async () => {
    const qcow2 = await cached('policy-qcow2', 'qcow2');
    const vhd = await cached('policy-vhd', 'raw');
    const { database } = flow.stack;
    await database.sql`update cache_entries set policy_version = 'before' where id = ${(await qcow2.entry()).id}`;
    const { id } = await vhd.entry();
    const { id: boxedId } = await (await cached('policy-container', 'raw')).entry();
    await database.sql`update cache_entries set container_format = 'docker' where id = ${boxedId}`;
    // As if it had come as a format that is switched off by now.
    await database.sql`update cache_entries set policy_version = 'before', disk_format = 'ploop' where id = ${id}`;
    const { findings } = await run();
    expect(findings).toContainEqual(
      expect.objectContaining({ kind: 'entry-against-policy', object: id, action: 'repaired' }),
    );
    const boxed = findings.find(({ object }) => object === boxedId);
    expect(boxed).toMatchObject({ action: 'repaired', found: 'container format docker is switched off' });
    expect((await qcow2.entry()).policyVersion).not.toBe('before');
    const [row] = await database.sql<{ state: string; reason: string }[]>`
      select state, reason from cache_entries where id = ${id}`;
    expect(row?.reason).toBe('policy-changed');
    expect(row?.state).not.toBe('ready');
  });
});

/** As a disk does it: neither mode nor times tell of it. */
function flipByte(path: string, offset: number): void {
  const { atime, mtime } = statSync(path);
  chmodSync(path, 0o600);
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.from([0xff]), 0, 1, offset);
  writeSync(file, Buffer.from([0x00]), 0, 1, offset + 1);
  closeSync(file);
  chmodSync(path, 0o400);
  utimesSync(path, atime, mtime);
}
