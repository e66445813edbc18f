import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const folder = resolve(__dirname, '../../../activities');
const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => readFileSync(join(folder, name), 'utf8'));
/** Code that tells its progress: by itself, or with its findings. */
const tellsProgress = /createHeartbeatReporter|keepingAlive|createFindings|beginRun/;

function sourceOf(factory: string): string {
  return sources.find((text) => new RegExp(`export function ${factory}\\b`).test(text)) ?? '';
}

describe('the steps on a backend', () => {
  const [, body = ''] =
    /function createBackendActivities\([^]*?return \{([^]*?)\n {2}\};/.exec(sourceOf('createBackendActivities')) ?? [];
  const steps = [...body.matchAll(/^ {4}(\w+): (tellingThatItLives\()?(create\w+)\(/gm)];

  it('are found', () => expect(steps.length).toBeGreaterThan(20));

  it('heartbeat: a killed worker is noticed by its silence', () => {
    const silent = steps.filter(([, , wrapped, factory = '']) => {
      const source = sourceOf(factory);
      return wrapped === undefined && !tellsProgress.test(source);
    });
    expect(silent.map(([, name]) => name)).toEqual([]);
  });
});
