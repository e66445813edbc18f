import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

const running = new Set<ChildProcess>();

/**
 * Makes a process the running test's own: it is killed when the test is over, which may have failed before it ended it.
 * @returns the same process.
 */
export function endWithTest<Child extends ChildProcess>(child: Child): Child {
  child.once('spawn', () => running.add(child)).once('exit', () => running.delete(child));
  return child;
}

async function endAll(): Promise<void> {
  const ends = [...running].map(async (child) => {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  });
  await Promise.all(ends);
}

// Histories are recorded without jest.
if ('afterEach' in globalThis) afterEach(endAll);
