import { ConfigError } from '../../../../client/config/config-error';
import { createProgram } from '../../../../client/cli/program';
import { documentFormatIn } from '../../../../client/cli/output/show';
import { reportError } from '../../../../client/cli/report-error';
import { failureError, ImageVolumeCacheError } from '../../../../client/errors';
import { failures, type FailureType } from '../../../../workflows/contract/failures';
import { failureExamples } from '../../../support/failure-examples';

let stdout: string;
let stderr: string;

beforeEach(() => {
  stdout = stderr = '';
  jest.spyOn(process.stdout, 'write').mockImplementation((chunk) => ((stdout += String(chunk)), true));
  jest.spyOn(process.stderr, 'write').mockImplementation((chunk) => ((stderr += String(chunk)), true));
});

afterEach(() => jest.restoreAllMocks());

async function exitCodeOf(...args: string[]): Promise<number> {
  try {
    await createProgram().parseAsync(['node', 'ivc', ...args]);
  } catch (error) {
    return reportError(error, { format: documentFormatIn(args) });
  }
  return 0;
}

describe('usage', () => {
  it('is no error when help or the version is asked for', async () => {
    expect([
      await exitCodeOf('--help'),
      await exitCodeOf('--version'),
      await exitCodeOf('volume', 'create', '--help'),
    ]).toEqual([0, 0, 0]);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^Exit codes: /m);
  });

  it.each([
    [['volume', 'create', '--image', 'x', '--size', 'big'], '--size', 'big'],
    [['volume', 'create', '--image', 'x', '--size', ''], '--size', 'nothing'],
    [['volume', 'create', '--image', 'x', '--size-bytes', '100'], '--size-bytes', '100'],
    [['volume', 'create', '--image', 'x', '--size', '1GiB', '--size-bytes', '512'], '--size-bytes', '512'],
    [['volume', 'create', '--image', 'x', '--backend', 'A'], '--backend', 'A'],
    [['volume', 'create', '--image', 'x', '--metadata', 'novalue'], '--metadata', 'novalue'],
    [['volume', 'create', '--image', 'x', '--sise', '1'], '--sise', ''],
    [['volume', 'create'], '--image', ''],
    [['volume', 'create', '--image', 'x', 'y'], 'create', ''],
    [['volume', 'list', '--state', 'lost'], '--state', 'lost'],
    [['image', 'upload', 'f', '--disk-format', 'zip'], '--disk-format', 'zip'],
    [['cache', 'warm'], '--image', ''],
    [['cache', 'limits', '--set', 'maxSize=1'], '--set', 'maxSize=1'],
    [['cache', 'limits', '--set', 'maxCount=none'], 'maxCount', 'none'],
    [['evict', '--key', 'abc'], '--key', 'abc'],
    [['report', '--since', 'yesterday'], '--since', 'yesterday'],
    [['status', '--hours', '0'], '--hours', '0'],
    [['worker', '--roles', 'cook'], '--roles', 'cook'],
    [['frob'], 'frob', ''],
  ])('names the option and the value that it got: %j', async (args, option, value) => {
    expect(await exitCodeOf(...args)).toBe(2);
    expect(stderr).toContain(option);
    expect(stderr).toContain(value);
    expect(stderr).toMatchSnapshot();
    expect(stdout).toBe('');
  });

  it('shows control characters of what was typed as escapes', async () => {
    expect(await exitCodeOf('volume', 'extend', 'x', '--size', '\u001b]0;x\u0007\nivc: all is well')).toBe(2);
    expect(stderr).toContain("'\\u001b]0;x\\u0007\\nivc: all is well'");
    expect(await exitCodeOf('evict', 'statux\u202e')).toBe(2);
    expect(await exitCodeOf('volum')).toBe(2);
    expect(stderr).toContain("'volum'\n(Did you mean volume?)\n");
    expect(stderr).not.toMatch(/[^\P{Cc}\n]|\p{Bidi_Control}/u);
  });

  it('is a document for a program', async () => {
    expect(await exitCodeOf('volume', 'extend', 'x', '--size', 'large', '--json')).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({
      error: { type: 'Usage', exitCode: 2, message: expect.stringContaining('Got large') },
    });
  });
});

describe('reportError', () => {
  it.each(Object.keys(failures) as FailureType[])('prints %s', (type) => {
    expect(reportError(failureError(type, failureExamples[type]), {})).toBe(failures[type].exitCode);
    expect(stderr).toMatchSnapshot();
    expect(stdout).toBe('');
  });

  it('prints one document with stable fields for a program, and the sentence for a person', () => {
    expect(reportError(failureError('ImageNotActive', { imageId: 'x', status: 'queued' }), { format: 'json' })).toBe(4);
    expect(Object.keys((JSON.parse(stdout) as { error: object }).error)).toEqual([
      'exitCode',
      'type',
      'message',
      'details',
    ]);
    expect(stderr).toBe(`ivc: ${failures.ImageNotActive.publicMessage({ imageId: 'x', status: 'queued' })}\n`);
  });

  it('says why a service is unavailable', () => {
    expect(reportError(failureError('DatabaseUnavailable', { cause: 'connect ECONNREFUSED' }), {})).toBe(5);
    expect(stderr).toContain('connect ECONNREFUSED');
    expect(stderr).toContain('`ivc up`');
  });

  it('asks for the server of Cinder’s database, and not for our stack, where that is not reached', () => {
    const message = "Cinder's database cannot be read: connect ECONNREFUSED 127.0.0.1:3306";
    expect(reportError(new ImageVolumeCacheError({ type: 'CinderUnavailable', message }), {})).toBe(5);
    expect(stderr).toContain('--database');
    expect(stderr).not.toContain('`ivc up`');
  });

  it('says how to look at what goes on after an interrupt', () => {
    const error = new ImageVolumeCacheError({
      type: 'WaitInterrupted',
      message: 'no longer waiting',
      workflowId: 'volume/1',
    });
    expect(reportError(error, {})).toBe(130);
    expect(stderr).toMatchSnapshot();
  });

  it('shows all faults of the configuration', () => {
    const error = new ConfigError('temporal.yaml', [
      { path: 'scratch.maxBytes', line: 3, received: '"lots"', allowed: 'a size' },
    ]);
    expect(reportError(error, {})).toBe(2);
    expect(stderr).toMatchSnapshot();
  });

  it('shows control characters of a message as escapes, and keeps them exact for a program', () => {
    const message = 'name: got "\u001b]52;c;eA==\u0007\nivc: done\u202e"';
    const error = new ImageVolumeCacheError({ type: 'InvalidRequest', message });
    reportError(error, { format: 'json' });
    expect(stderr).toBe('ivc: name: got "\\u001b]52;c;eA==\\u0007\\nivc: done\\u202e"\n');
    expect(JSON.parse(stdout)).toMatchObject({ error: { message } });
    expect(stdout).not.toMatch(/[^\P{Cc}\n]|\p{Bidi_Control}/u);
  });

  it('calls everything else unexpected', () => {
    expect(reportError(new TypeError('x is undefined'), {})).toBe(1);
    expect(stderr).toBe('ivc: x is undefined (IVC_DEBUG=1 shows where)\n');
  });
});
