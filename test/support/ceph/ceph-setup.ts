import { join } from 'node:path';
import globalSetup = require('../jest/global-setup');
import { runningStack } from '../jest/running-stack';
import { CephCluster } from './cluster';

/** Starts, beside what `global-setup` starts, one Ceph for a whole run: tests find it by `CephCluster.ofThisRun`. `global-teardown` stops it. */
async function cephSetup(): Promise<void> {
  if (process.env['IVC_TEST_CEPH'] !== undefined) return;
  await globalSetup();
  await runningStack.add(async () => {
    const cluster = await CephCluster.start({ directory: join(runningStack.directory ?? '', 'ceph') });
    cluster.announce();
    return { stop: async () => await cluster.stop() };
  });
}

export = cephSetup;
