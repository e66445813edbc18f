import { runningStack } from './running-stack';

/** Stops and removes what `global-setup` started, whether the suites passed or not. */
async function globalTeardown(): Promise<void> {
  await runningStack.stop();
}

export = globalTeardown;
