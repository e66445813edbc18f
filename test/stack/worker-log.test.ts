import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { useStack } from '../support/stack/flows';

const flow = useStack({ config: { worker: { logLevel: 'debug' } } });

const lineSchema = z.looseObject({
  level: z.enum(['debug', 'info', 'warn', 'error']),
  time: z.iso.datetime(),
  msg: z.string(),
});

it('every line has a level by its name, and those of workflows and activities the run', async () => {
  const { volumeId } = await flow.create((await flow.upload('logged')).image);
  const { runId } = await flow.stack.client.workflow
    .getHandle(flow.stack.cache.queues.ids.createVolume(volumeId))
    .describe();
  const log = await flow.until('the run and its activities to be in the log', async () => {
    const text = readFileSync(flow.stack.workers[0]?.logPath ?? '', 'utf8');
    const activities = [...text.matchAll(/"activityType"/g)].length;
    return text.includes(runId) && activities > 1 && text.endsWith('\n') && text;
  });
  const lines = log
    .trim()
    .split('\n')
    .map((line) => lineSchema.parse(JSON.parse(line)));
  const ofRuns = lines.filter((line) => line['workflowType'] !== undefined);
  expect(ofRuns.filter((line) => line['activityType'] !== undefined).length).toBeGreaterThan(1);
  expect(ofRuns.map(({ runId: run }) => run)).toContain(runId);
  expect(ofRuns.filter((line) => typeof line['runId'] !== 'string' || typeof line['workflowId'] !== 'string')).toEqual(
    [],
  );
  expect(log).not.toContain('taskToken');
});
