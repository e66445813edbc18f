import { join } from 'node:path';
import globalSetup = require('../jest/global-setup');
import { runningStack } from '../jest/running-stack';
import { CephCluster } from './cluster';

/** Starts, beside what `global-setup` starts, one Ceph for a whole run: tests find it by `CephCluster.ofThisRun`. `global-teardown` stops it. */
async function cephSetup(): Promise<void> {
  if (process.env['IVC_TEST_CEPH'] !== undefined) return;
  await globalSetup();
  try {
    const cluster = await CephCluster.start({ directory: join(runningStack.directory ?? '', 'ceph') });
    runningStack.parts.push({ stop: async () => await cluster.stop() });
    cluster.announce();
  } catch (error) {
    await runningStack.stop();
    throw error;
  }
}

export = cephSetup;
