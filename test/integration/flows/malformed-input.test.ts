import { randomUUID } from 'node:crypto';
import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import { expectCleanSlate, useStack } from '../../support/stack/flows';
import { workflowTypes } from '../../../workflows/contract/names';

const flow = useStack();

const json = (value: unknown): Payload => defaultPayloadConverter.toPayload(value);
const encoded = (encoding: string, data: string | Buffer): Payload => ({
  metadata: { encoding: Buffer.from(encoding) },
  data: Buffer.from(data as string),
});

/** Starts a run as any client may, with whatever payloads, and waits for its end. */
async function endOf(workflowType: string, payloads: Payload[], workflowId = `volume/${randomUUID()}`) {
  const { client, cache } = flow.stack;
  const { runId } = await client.workflowService.startWorkflowExecution({
    namespace: 'default',
    requestId: randomUUID(),
    workflowId,
    workflowType: { name: workflowType },
    taskQueue: { name: cache.queues.control },
    ...(payloads.length > 0 ? { input: { payloads } } : {}),
  });
  const handle = client.workflow.getHandle(workflowId, runId);
  const outcome = await handle.result().then(
    () => 'it has succeeded',
    (error: unknown) => (error instanceof Error ? error.cause : error),
  );
  return { workflowId, outcome };
}

const imageId = randomUUID();
const create = workflowTypes.createVolumeFromImage;
const deleteVolume = workflowTypes.deleteVolume;
const populate = workflowTypes.populateImageCache;
/** The refusal of a payload that nobody can read. */
const unreadable = (encoding: string) => ({ field: 'input', value: expect.stringContaining(`encoding ${encoding}`) });
const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;

describe('a run that another client has started with', () => {
  afterAll(() => expectCleanSlate(flow.stack));

  it.each<[string, string, Payload[], { field: string; value: unknown }]>([
    ['no input', create, [], { field: 'input', value: 'nothing' }],
    ['null', create, [json(null)], { field: 'input', value: 'null' }],
    ['a string', create, [json('debian')], { field: 'input', value: '"debian"' }],
    ['a number', create, [json(7)], { field: 'input', value: '7' }],
    ['an array', create, [json([imageId])], { field: 'input', value: `["${imageId}"]` }],
    ['an empty object', create, [json({})], { field: 'imageId', value: 'nothing' }],
    ['an unknown field', create, [json({ imageId, flavor: 'm1' })], { field: 'flavor', value: '"m1"' }],
    ['an image id of another type', create, [json({ imageId: 5 })], { field: 'imageId', value: '5' }],
    [
      'an upper-case image id',
      create,
      [json({ imageId: imageId.toUpperCase() })],
      { field: 'imageId', value: `"${imageId.toUpperCase()}"` },
    ],
    [
      'a size as a string',
      create,
      [json({ imageId, sizeBytes: '1073741824' })],
      { field: 'sizeBytes', value: '"1073741824"' },
    ],
    [
      'a size that is no whole number',
      create,
      [json({ imageId, sizeBytes: 512.5 })],
      { field: 'sizeBytes', value: '512.5' },
    ],
    [
      'a size beyond all bounds',
      create,
      [json({ imageId, sizeBytes: 1e300 })],
      { field: 'sizeBytes', value: '1e+300' },
    ],
    ['a negative size', create, [json({ imageId, sizeBytes: -512 })], { field: 'sizeBytes', value: '-512' }],
    ['an empty name', create, [json({ imageId, name: '' })], { field: 'name', value: '""' }],
    [
      'a name that no database stores',
      create,
      [json({ imageId, name: 'a\0b' })],
      { field: 'name', value: '"a\\u0000b"' },
    ],
    ['half a character', create, [json({ imageId, name: '\ud800' })], { field: 'name', value: '"\\ud800"' }],
    ['metadata of another type', create, [json({ imageId, metadata: { a: 1 } })], { field: 'metadata.a', value: '1' }],
    [
      'metadata that no database stores',
      create,
      [json({ imageId, metadata: { a: '\0' } })],
      { field: 'metadata.a', value: '"\\u0000"' },
    ],
    ['a volume id that is none', create, [json({ imageId, volumeId: '../x' })], { field: 'volumeId', value: '"../x"' }],
    [
      'a string of a megabyte',
      create,
      [json('x'.repeat(1_000_000))],
      { field: 'input', value: expect.stringMatching(/^"xxx/) },
    ],
    [
      'an image id of a megabyte',
      create,
      [json({ imageId: 'x'.repeat(1_000_000) })],
      { field: 'imageId', value: expect.stringMatching(/^"xxx/) },
    ],
    ['arrays nested without end', create, [encoded('json/plain', deep)], unreadable('json/plain')],
    ['broken JSON', create, [encoded('json/plain', '{"imageId": ')], unreadable('json/plain')],
    ['empty JSON', create, [encoded('json/plain', '')], unreadable('json/plain')],
    ['bytes that are no UTF-8', create, [encoded('json/plain', Buffer.from([0xff, 0xfe]))], unreadable('json/plain')],
    ['json/protobuf', create, [encoded('json/protobuf', '{}')], unreadable('json/protobuf')],
    ['binary/protobuf', create, [encoded('binary/protobuf', '')], unreadable('binary/protobuf')],
    ['binary/plain', create, [encoded('binary/plain', 'abc')], unreadable('binary/plain')],
    ['binary/encrypted', create, [encoded('binary/encrypted', 'abc')], unreadable('binary/encrypted')],
    ['a payload without metadata', create, [{ data: Buffer.from('{}') }], unreadable('none')],
    ['a null payload', create, [encoded('binary/null', '')], { field: 'input', value: 'nothing' }],
    ['no input to a delete', deleteVolume, [], { field: 'input', value: 'nothing' }],
    ['a string to a delete', deleteVolume, [json('x')], { field: 'input', value: '"x"' }],
    ['no UUID to a delete', deleteVolume, [json({ volumeId: 'x' })], { field: 'volumeId', value: '"x"' }],
    ['json/protobuf to a delete', deleteVolume, [encoded('json/protobuf', '{}')], unreadable('json/protobuf')],
    ['no input to a population', populate, [], { field: 'input', value: 'nothing' }],
    ['null to a population', populate, [json(null)], { field: 'input', value: 'null' }],
    ['an empty object to a population', populate, [json({})], { field: 'backend', value: 'nothing' }],
    [
      'a key of another type to a population',
      populate,
      [json({ backend: 'local', imageId, projectId: 'p', cacheKey: 'k' })],
      { field: 'cacheKey', value: '"k"' },
    ],
    ['binary/plain to a population', populate, [encoded('binary/plain', 'abc')], unreadable('binary/plain')],
  ])('%s ends with a typed failure that names the field', async (...[, workflowType, payloads, details]) => {
    const { outcome } = await endOf(workflowType, payloads);
    expect(outcome).toMatchObject({ type: 'InvalidRequest', details: [details] });
  });

  it('more arguments than one is served by the first', async () => {
    const { image } = await flow.upload('arguments');
    const { outcome } = await endOf(create, [json({ imageId: image.id, backend: flow.stack.backend }), json('more')]);
    expect(outcome).toBe('it has succeeded');
  });

  it('a key whose hash is another’s is refused by a population', async () => {
    const cacheKey = {
      containerFormat: 'bare',
      diskFormat: 'raw',
      hashAlgorithm: 'sha512',
      hashValue: 'ab',
      short: 'cd',
    };
    const { outcome } = await endOf(populate, [json({ backend: 'local', imageId, projectId: 'p', cacheKey })]);
    expect(outcome).toMatchObject({ type: 'InvalidRequest', details: [{ field: 'cacheKey.short' }] });
  });

  it('a workflow id of its own makes a volume whose id follows from it, and one of another volume is refused', async () => {
    const { image } = await flow.upload('own-id');
    const input = { imageId: image.id, backend: flow.stack.backend };
    const first = await endOf(create, [json(input)], `nightly-${imageId}`);
    const again = await endOf(create, [json(input)], first.workflowId);
    expect([first.outcome, again.outcome]).toEqual(['it has succeeded', 'it has succeeded']);
    const rows = await flow.stack.database.sql`select 1 from volumes where workflow_id = ${first.workflowId}`;
    expect([...rows]).toHaveLength(1);
    const other = await endOf(create, [json({ ...input, volumeId: randomUUID() })]);
    expect(other.outcome).toMatchObject({ type: 'InvalidRequest', details: [{ field: 'volumeId' }] });
  });

  it('a refused request leaves no volume row and one decision record', async () => {
    const { workflowId } = await endOf(create, [json({ imageId, name: 'a\0b' })]);
    const rows = await flow.stack.database.sql`select 1 from volumes where workflow_id = ${workflowId}`;
    expect([...rows]).toEqual([]);
    const decisions = await flow.stack.inventory.decisions();
    expect(decisions.filter((decision) => decision.workflowId === workflowId)).toMatchObject([
      { outcome: 'refused', errorType: 'InvalidRequest', imageId },
    ]);
  });
});
