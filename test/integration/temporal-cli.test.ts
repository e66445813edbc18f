import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, symlinkSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { ensureTemporalBinary } from '../../worker/stack/temporal-binary';
import { CONTROL_QUEUE } from '../../workflows/contract/names';
import { makeSampleImage, uploadSample } from '../support/images/sample-image';
import { useStack } from '../support/stack/flows';

/** The product without its library: Temporal's own command line starts, reads and deletes. */

const flow = useStack();
let address: string;
let taskQueue: string;
let imageId: string;

beforeAll(async () => {
  symlinkSync((await ensureTemporalBinary()).path, join(flow.directory, 'temporal'));
  address = flow.stack.cache.settings.address ?? '';
  taskQueue = flow.stack.cache.queues.control;
  imageId = (await uploadSample(flow.stack.images, await makeSampleImage({ directory: flow.directory, name: 'image' })))
    .id;
});

interface Outcome {
  stdout: string;
  stderr: string;
  exitCode: number;
}

function run(command: string, args: string[]): Promise<Outcome> {
  // No configuration of the user's own.
  const env = { PATH: `${flow.directory}${delimiter}${process.env['PATH'] ?? ''}`, HOME: flow.directory };
  return new Promise((done) => {
    execFile(command, args, { env }, (error, stdout, stderr) => {
      done({ stdout, stderr, exitCode: typeof error?.code === 'number' ? error.code : error ? 1 : 0 });
    });
  });
}

const temporal = (...args: string[]) => run(join(flow.directory, 'temporal'), [...args, '--address', address]);

async function readJson(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout, stderr, exitCode } = await temporal(...args, '--output', 'json');
  if (stdout === '') throw new Error(`temporal ${args.join(' ')} ended with ${exitCode}: ${stderr}`);
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** Runs a workflow to its end. @returns what the command says of it, and its history's event types. */
async function execute(type: string, workflowId: string, input: string[]) {
  const start = ['--task-queue', taskQueue, '--type', type, '--workflow-id', workflowId];
  const { exitCode } = await temporal('workflow', 'execute', ...start, ...input.flatMap((text) => ['--input', text]));
  const described = (await readJson('workflow', 'describe', '--workflow-id', workflowId)) as {
    workflowExecutionInfo: { status: string };
    result?: unknown;
  };
  const { events } = (await readJson('workflow', 'show', '--workflow-id', workflowId)) as {
    events: { eventType: string; workflowExecutionFailedEventAttributes?: { failure: Failed } }[];
  };
  return {
    exitCode,
    status: described.workflowExecutionInfo.status,
    result: described.result,
    eventTypes: events.map(({ eventType }) => eventType),
    failure: readFailure(events.at(-1)?.workflowExecutionFailedEventAttributes?.failure),
  };
}

interface Failed {
  applicationFailureInfo: { type: string; details: { payloads: { data: string }[] } };
}

/** @returns type and details of a failure as the history has it. */
function readFailure(failed: Failed | undefined) {
  if (failed === undefined) return undefined;
  const { type, details } = failed.applicationFailureInfo;
  return { type, details: JSON.parse(Buffer.from(details.payloads[0]?.data ?? '', 'base64').toString()) as unknown };
}

async function createVolume(workflowId: string, input: Record<string, unknown>): Promise<Record<string, unknown>> {
  const { exitCode } = await execute('CreateVolumeFromImage', workflowId, [JSON.stringify(input)]);
  expect(exitCode).toBe(0);
  const { status, result } = await readJson('workflow', 'result', '--workflow-id', workflowId);
  expect(status).toBe('COMPLETED');
  return result as Record<string, unknown>;
}

describe('any Temporal client', () => {
  it('makes a volume with the lines of the README', async () => {
    const lines = readmeLines()
      .replaceAll('127.0.0.1:7233', address)
      .replaceAll(`--task-queue ${CONTROL_QUEUE}`, `--task-queue ${taskQueue}`)
      .replaceAll('IMAGE_ID', imageId)
      .replaceAll('"local"', `"${flow.stack.backend}"`);
    const { stdout, stderr, exitCode } = await run('/bin/sh', ['-eu', '-c', lines]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const workflowId = /WorkflowId +(volume\/\S+)/.exec(stdout)?.[1] ?? '';
    expect(stdout).toContain(`"volumeId":"${workflowId.slice('volume/'.length)}"`);
    expect(stdout).toContain(`"driver":"file"`);
    // In words, for people.
    expect(stdout).toContain('**miss**');
  });

  it('needs nothing but the image, and gives a volume the id of its workflow', async () => {
    const volumeId = randomUUID();
    const volume = await createVolume(`volume/${volumeId}`, { imageId });
    expect(volume).toMatchObject({ volumeId, imageId, backend: flow.stack.backend, projectId: 'default', name: null });
  });

  it('derives the volume’s id from any other workflow id, so that a repeated start is the same volume', async () => {
    const workflowId = `my-disk-${randomUUID()}`;
    const first = await createVolume(workflowId, { imageId, backend: flow.stack.backend });
    // RFC 9562, version 5.
    expect(first['volumeId']).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5/);
    const again = await createVolume(workflowId, { imageId, backend: flow.stack.backend });
    expect(again).toMatchObject({ volumeId: first['volumeId'], connection: first['connection'] });
  });

  it('deletes a volume, and the deleting of the absent is done', async () => {
    const volumeId = randomUUID();
    await createVolume(`volume/${volumeId}`, { imageId });
    for (const outcome of ['deleted', 'absent']) {
      const ended = await execute('DeleteVolume', `delete/${volumeId}`, [JSON.stringify({ volumeId })]);
      expect(ended).toMatchObject({ status: 'WORKFLOW_EXECUTION_STATUS_COMPLETED', result: { volumeId, outcome } });
    }
  });
});

describe('a malformed input', () => {
  const unit = (text: string) => text.replace('IMAGE', imageId);

  it.each([
    ['no input at all', [], { field: 'input', value: 'nothing' }],
    ['null', ['null'], { field: 'input', value: 'null' }],
    ['a list', ['[]'], { field: 'input', value: '[]' }],
    ['a text', ['"text"'], { field: 'input', value: '"text"' }],
    ['an object without the image', ['{}'], { field: 'imageId', value: 'nothing' }],
    ['an image id that is a number', ['{"imageId":5}'], { field: 'imageId', value: '5' }],
    ['an unknown field', ['{"imageId":"IMAGE","size":1}'], { field: 'size', value: '1' }],
    ['a size in words', ['{"imageId":"IMAGE","sizeBytes":"10G"}'], { field: 'sizeBytes', value: '"10G"' }],
    ['metadata that is no text', ['{"imageId":"IMAGE","metadata":{"tier":1}}'], { field: 'metadata.tier', value: '1' }],
    ['an empty name', ['{"imageId":"IMAGE","name":""}'], { field: 'name', value: '""' }],
    ['a flag in words', ['{"imageId":"IMAGE","bypassCache":"yes"}'], { field: 'bypassCache', value: '"yes"' }],
  ])('of %s ends the create with a failure that names the field', async (_what, input, details) => {
    const ended = await execute('CreateVolumeFromImage', `volume/${randomUUID()}`, input.map(unit));
    expect(ended).toMatchObject({
      exitCode: 1,
      status: 'WORKFLOW_EXECUTION_STATUS_FAILED',
      failure: { type: 'InvalidRequest', details },
    });
    expect(ended.eventTypes).not.toContain('EVENT_TYPE_WORKFLOW_TASK_FAILED');
    expect(ended.eventTypes).not.toContain('EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT');
  });

  it.each([
    ['DeleteVolume', [], { field: 'input', value: 'nothing' }],
    ['DeleteVolume', ['{"volumeId":"mine"}'], { field: 'volumeId', value: '"mine"' }],
    ['ExtendVolume', [], { field: 'input', value: 'nothing' }],
    ['ChangeVolume', [], { field: 'input', value: 'nothing' }],
    ['PopulateImageCache', [], { field: 'input', value: 'nothing' }],
    ['PopulateImageCache', ['{"backend":7}'], { field: 'backend', value: '7' }],
  ])('ends %s of %j alike', async (type, input, details) => {
    const ended = await execute(type, `malformed/${randomUUID()}`, input);
    expect(ended).toMatchObject({
      status: 'WORKFLOW_EXECUTION_STATUS_FAILED',
      failure: { type: 'InvalidRequest', details },
    });
    expect(ended.eventTypes).not.toContain('EVENT_TYPE_WORKFLOW_TASK_FAILED');
  });

  it('of a volume id that is not the workflow’s names both', async () => {
    const [inId, inInput] = [randomUUID(), randomUUID()];
    const { failure } = await execute('CreateVolumeFromImage', `volume/${inId}`, [
      JSON.stringify({ imageId, volumeId: inInput }),
    ]);
    expect(failure).toMatchObject({
      type: 'InvalidRequest',
      details: { field: 'volumeId', value: inInput, allowed: expect.stringContaining(inId) },
    });
  });
});

/** @returns the shell lines of the README's section about other clients. */
function readmeLines(): string {
  const readme = readFileSync(resolve(__dirname, '../../README.md'), 'utf8');
  const section = readme.slice(readme.indexOf('### From any Temporal client'));
  const lines = /```sh\n([\s\S]*?)```/.exec(section)?.[1];
  if (lines === undefined) throw new Error('the README has no shell lines for any Temporal client');
  return lines;
}
