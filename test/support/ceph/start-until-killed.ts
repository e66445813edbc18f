/** A process that starts a cluster in the directory of its argument, tells that it is up, and waits until it is killed. */
import { CephCluster } from './cluster';

async function startUntilKilled(directory = ''): Promise<void> {
  await CephCluster.start({ directory });
  process.stdout.write('up\n');
  setInterval(() => undefined, 60_000);
}

void startUntilKilled(process.argv[2]);
