import { ConfigError } from '../../../../client/config/config-error';
import { createProgram } from '../../../../client/cli/program';
import { reportError } from '../../../../client/cli/report-error';
import { failureError, ImageVolumeCacheError } from '../../../../client/errors';

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
    return reportError(error, { json: args.includes('--json') });
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
    expect(stdout).toContain('Exit codes: 0 done');
  });

  it.each([
    [
      ['volume', 'create', '--image', 'x', '--size', 'big'],
      "option '--size <GiB>' argument 'big' is invalid. Got big, allowed is a size",
    ],
    [
      ['volume', 'create', '--image', 'x', '--size-bytes', '100'],
      "option '--size-bytes <bytes>' argument '100' is invalid",
    ],
    [
      ['volume', 'create', '--image', 'x', '--backend', 'A'],
      "option '--backend <name>' argument 'A' is invalid. Got A",
    ],
    [['volume', 'create'], "required option '--image <id>' not specified"],
    [['volume', 'create', '--image', 'x', 'y'], 'too many arguments'],
    [['volume', 'show', '12'], "'12' is invalid for argument 'volume-id'. Got 12"],
    [
      ['volume', 'list', '--state', 'lost'],
      "option '--state <state>' argument 'lost' is invalid. Allowed choices are creating",
    ],
    [['image', 'upload', 'f', '--disk-format', 'zip'], 'Allowed choices are'],
    [['status', '--hours', '0'], "option '--hours <n>' argument '0' is invalid"],
    [['worker', '--roles', 'cook'], 'Got cook, allowed are control, backend, host'],
    [['frob'], "unknown command 'frob'"],
  ])('names the option and the value that it got: %j', async (args, said) => {
    expect(await exitCodeOf(...args)).toBe(2);
    expect(stderr).toContain(said);
    expect(stdout).toBe('');
  });

  it('shows control characters of what was typed as escapes', async () => {
    expect(await exitCodeOf('volume', 'show', '\u001b]0;x\u0007\nivc: all is well')).toBe(2);
    expect(stderr).toContain("'\\u001b]0;x\\u0007\\nivc: all is well' is invalid for argument 'volume-id'");
    expect(await exitCodeOf('evict', 'statux\u202e')).toBe(2);
    expect(await exitCodeOf('volum')).toBe(2);
    expect(stderr).toContain("error: unknown command 'volum'\n(Did you mean volume?)\n");
    expect(stderr).not.toMatch(/[^\P{Cc}\n]|\p{Bidi_Control}/u);
  });

  it('is a document for a program', async () => {
    expect(await exitCodeOf('volume', 'show', '12', '--json')).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({
      error: { type: 'Usage', exitCode: 2, message: expect.stringContaining('Got 12') },
    });
  });
});

describe('reportError', () => {
  it('prints one document with stable fields for a program, and the sentence for a person', () => {
    expect(reportError(failureError('ImageNotActive', { imageId: 'x', status: 'queued' }), { json: true })).toBe(4);
    expect(Object.keys((JSON.parse(stdout) as { error: object }).error)).toEqual([
      'exitCode',
      'type',
      'message',
      'details',
    ]);
    expect(stderr).toBe('ivc: imageId: image x is queued; only an active image can be used\n');
  });

  it('says why a service is unavailable and what to start', () => {
    expect(reportError(failureError('DatabaseUnavailable', { cause: 'connect ECONNREFUSED' }), { json: false })).toBe(
      5,
    );
    expect(stderr).toBe(
      "ivc: the inventory's database is unavailable: connect ECONNREFUSED\nIs the stack up? `ivc up` starts it, `ivc doctor` says what is wrong.\n",
    );
  });

  it('says how to look at what goes on after an interrupt', () => {
    const error = new ImageVolumeCacheError({
      type: 'WaitInterrupted',
      message: 'no longer waiting',
      workflowId: 'volume/1',
    });
    expect(reportError(error, { json: false })).toBe(130);
    expect(stderr).toContain('`ivc volume show 1`; wait for it with the same command and `--volume-id 1`');
  });

  it('shows all faults of the configuration', () => {
    const error = new ConfigError('temporal.yaml', [
      { path: 'scratch.maxBytes', line: 3, received: '"lots"', allowed: 'a size' },
    ]);
    expect(reportError(error, { json: false })).toBe(2);
    expect(stderr).toContain('scratch.maxBytes (line 3): got "lots", allowed is a size');
  });

  it('shows control characters of a message as escapes, and keeps them exact for a program', () => {
    const message = 'name: got "\u001b]52;c;eA==\u0007\nivc: done\u202e"';
    const error = new ImageVolumeCacheError({ type: 'InvalidRequest', message });
    reportError(error, { json: true });
    expect(stderr).toBe('ivc: name: got "\\u001b]52;c;eA==\\u0007\\nivc: done\\u202e"\n');
    expect(JSON.parse(stdout)).toMatchObject({ error: { message } });
    expect(stdout).not.toMatch(/[^\P{Cc}\n]|\p{Bidi_Control}/u);
  });

  it('calls everything else unexpected', () => {
    expect(reportError(new TypeError('x is undefined'), { json: false })).toBe(1);
    expect(stderr).toBe('ivc: x is undefined (IVC_DEBUG=1 shows where)\n');
  });
});
