import { rmSync } from 'node:fs';
import type { Part } from '../../../worker/stack/part';

/** The stack that setup started and teardown must stop. Jest loads the two apart from each other, so it is kept where both see it. */
interface RunningStack {
  directory: string | undefined;
  /** A part without a process named here ends with this one by itself. */
  parts: { part?: Part; stop: () => Promise<void> }[];
  /** Starts one more; where that fails, all are stopped, since no teardown follows. */
  add: (start: () => Promise<{ part?: Part; stop: () => Promise<void> }>) => Promise<void>;
  stop: () => Promise<void>;
  /** Teardown does not run when jest is interrupted. */
  stopWhenKilled: () => void;
}

declare global {
  var ivcRunningStack: RunningStack | undefined;
}

export const runningStack: RunningStack = (globalThis.ivcRunningStack ??= {
  directory: undefined,
  parts: [],
  async add(start) {
    try {
      this.parts.push(await start());
    } catch (error) {
      await this.stop();
      throw error;
    }
  },
  async stop() {
    const errors: unknown[] = [];
    // The last first: later parts need the ones that were there before them.
    for (let part = this.parts.pop(); part !== undefined; part = this.parts.pop())
      await part.stop().catch((error: unknown) => errors.push(error));
    removeDirectory(this);
    if (errors.length > 0) throw errors[0];
  },
  stopWhenKilled() {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));
    process.once('exit', () => {
      for (const { part } of this.parts) if (part) process.kill(part.process.pid, 'SIGKILL');
      removeDirectory(this);
    });
  },
});

function removeDirectory(stack: RunningStack): void {
  if (stack.directory !== undefined)
    rmSync(stack.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  stack.directory = undefined;
}
