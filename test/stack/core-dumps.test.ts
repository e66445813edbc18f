import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { runCommand } from '../../activities/command';
import { useStack } from '../support/stack/flows';

const flow = useStack({ workers: [] });

const limitOf = (pid: number | 'self' | undefined): string | undefined =>
  /^Max core file size +(.*?) +bytes/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1]?.replaceAll(/ +/g, ' ');
/** Where a worker of the stack runs, and the kernel puts its cores unless it is told otherwise. */
const coresHere = (): string[] => readdirSync(process.cwd()).filter((name) => /^core(?:\.\d+)?$/.test(name));

it('a worker that is aborted leaves no core file, whatever was allowed to who has started it', async () => {
  await runCommand('prlimit', ['--pid', String(process.pid), '--core=unlimited'], { timeoutMs: 10_000 });
  expect(limitOf('self')).toMatch(/^unlimited /);
  const before = coresHere();
  const worker = await flow.stack.startWorker();
  expect(limitOf(worker.process.pid)).toBe('0 0');
  const ended = once(worker.process, 'exit');
  worker.process.kill('SIGABRT');
  expect(await ended).toEqual([null, 'SIGABRT']);
  expect(coresHere()).toEqual(before);
});
