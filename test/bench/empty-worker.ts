import { DefaultLogger, NativeConnection, Runtime, Worker, bundleWorkflowCode } from '@temporalio/worker';

/** The floor's worker: the same SDK in the same shape, and a workflow that does nothing. */
async function main(): Promise<void> {
  const logger = new DefaultLogger('ERROR');
  Runtime.install({
    logger,
    shutdownSignals: [],
    telemetryOptions: { logging: { forward: {}, filter: { core: 'ERROR', other: 'ERROR' } } },
  });
  const connection = await NativeConnection.connect({ address: process.env['ADDRESS'] });
  const { code } = await bundleWorkflowCode({ workflowsPath: require.resolve('./empty-workflow'), logger });
  const worker = await Worker.create({ connection, taskQueue: 'bench-empty', workflowBundle: { code } });
  process.once('SIGTERM', () => worker.shutdown());
  const running = worker.run();
  process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
  await running;
  await connection.close();
}

void main();
