import { useStack } from '../../support/stack/flows';

const flow = useStack();
const VOLUME = 'web <1>';

interface Shown {
  what: string;
  summary: string;
}

/** The summaries that the UI shows beside the steps of a run. */
async function summariesOf(workflowId: string): Promise<Shown[]> {
  const { events } = await flow.stack.client.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).flatMap((event) => {
    const { activityTaskScheduledEventAttributes: activity, markerRecordedEventAttributes: marker } = event;
    const what = activity?.activityType?.name ?? marker?.markerName ?? undefined;
    if (what === undefined || what === null) return [];
    const data = event.userMetadata?.summary?.data;
    return [{ what, summary: data ? String(JSON.parse(Buffer.from(data).toString())) : '' }];
  });
}

it('every step of a create and of a population has a summary, with the names of image and volume', async () => {
  const { stack } = flow;
  const { image } = await flow.upload('named');
  await flow.create(image, { name: VOLUME });
  const { volumeId } = await flow.create(image, { name: VOLUME });
  const { ids } = stack.cache.queues;
  const { workflowId } = flow.flightHandle(image);
  const hit = await summariesOf(ids.createVolume(volumeId));
  const population = await summariesOf(workflowId);

  const named = `${image.name} (${image.id})`;
  expect(hit.filter(({ summary }) => summary === '')).toEqual([]);
  expect(population.filter(({ summary }) => summary === '')).toEqual([]);
  expect(hit.map(({ summary }) => summary)).toContainEqual(expect.stringContaining(named));
  expect(population.map(({ summary }) => summary)).toContainEqual(expect.stringContaining(`image ${named} to host`));

  const started = await stack.client.workflow.getHandle(ids.createVolume(volumeId)).describe();
  expect(await started.staticSummary()).toContain('web \\<1\\>');
  expect(await (await flow.flightHandle(image).describe()).staticSummary()).toContain(named);
});
