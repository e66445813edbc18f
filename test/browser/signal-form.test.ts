import { randomUUID } from 'node:crypto';
import type { EvictionResult, EvictorSignalName } from '../../workflows/contract/eviction';
import { ensureTools } from '../support/machine/debian-packages';
import { startBrowser, type Browser, type Page } from '../support/browser/browser';
import { evictorOf } from '../support/stack/evictor';
import { until, useStack } from '../support/stack/flows';

/** With the browser being installed. */
const SETUP_TIMEOUT_MS = 300_000;

let browser: Browser;
let page: Page;
/** Of the evictor's run in the UI. */
let url: string;
let evictor: ReturnType<typeof evictorOf>;

// Before the stack stops, which the next line declares.
afterAll(async () => {
  await evictor.stop();
  await browser?.close();
});
// A parent that a clone needs stays, whatever the file system can.
const flow = useStack({ clone: 'overlay' });

beforeAll(async () => {
  await ensureTools({ chromium: 'chromium' });
  browser = await startBrowser();
  const { client, cache, backend } = flow.stack;
  const workflowId = cache.queues.ids.evict(backend);
  evictor = evictorOf({ client, backend, taskQueue: cache.queues.control, workflowId });
  await evictor.ask('resume');
  page = await browser.newPage({ width: 1400, height: 1000 });
  const ui = process.env['IVC_TEST_TEMPORAL_UI'] ?? '';
  url = `${ui}/namespaces/${client.options.namespace}/workflows/${encodeURIComponent(workflowId)}`;
}, SETUP_TIMEOUT_MS);

interface Form {
  signal: EvictorSignalName;
  /** Text that is typed as its input; nothing where it is absent. */
  input?: string;
  encoding?: 'json/plain' | 'json/protobuf';
}

const form = '#signal-confirmation-modal[open]';

/** Anew each time: it keeps what was typed last. */
async function openForm(): Promise<void> {
  await page.open(url);
  await page.click('button', 'More Actions');
  await page.click('[data-testid="signal-button"]');
}

/** Sends a signal as a person does: *More Actions*, *Send a Signal*, its name, its input, *Submit*. @returns what the evictor answers. */
async function send({ signal, input, encoding = 'json/plain' }: Form): Promise<EvictionResult> {
  const known = new Set((await evictor.status()).results.map(({ requestId }) => requestId));
  await openForm();
  await page.click(`${form} [data-testid="signal-select-button"]`);
  await page.click(`${form} [role="option"] .menu-item-wrapper`, signal);
  await page.until(`document.querySelector('${form} #signal-select').value === '${signal}'`);
  if (input !== undefined) await page.type(`${form} .cm-content`, input);
  await page.click(`${form} input[name="encoding"][value="${encoding}"]`);
  await page.click(`${form} [data-testid="confirm-modal-button"]`);
  await page.until(`document.querySelector('${form}') === null`);
  return await until('an answer', async () =>
    (await evictor.status()).results.find(({ requestId }) => !known.has(requestId)),
  );
}

describe('the form for signals in the Temporal UI', () => {
  it('offers every signal of the evictor and says what it takes', async () => {
    await openForm();
    await page.click(`${form} [data-testid="signal-select-button"]`);
    const options = await page.evaluate<string[]>(
      `[...document.querySelectorAll('${form} [role="option"]')].map(({ textContent }) => textContent.trim())`,
    );
    for (const signal of ['evict', 'sweep', 'pin', 'unpin', 'setLimits', 'pause', 'resume'])
      expect(options.filter((text) => new RegExp(`^${signal}\\s+\\{.*requestId\\?\\}`).test(text))).toHaveLength(1);
  });

  it('sends what the documentation says, and what is asked for is done', async () => {
    const requestId = randomUUID();
    const { image } = await flow.upload('form');
    const { volumeId } = await flow.create(image);
    const [entry] = await flow.entriesOf(image);
    expect(volumeId).toBeDefined();
    const evict = JSON.stringify({ imageId: image.id, reason: 'end of life', requestId });
    expect(await send({ signal: 'evict', input: evict })).toMatchObject({ requestId, outcome: 'done' });
    expect((await flow.entriesOf(image)).map(({ id, state }) => ({ id, state }))).toEqual([
      { id: entry?.id, state: 'retired' },
    ]);
    expect(await send({ signal: 'setLimits', input: '{"limits": {"maxCount": 40}, "by": "ada"}' })).toMatchObject({
      signal: 'setLimits',
      outcome: 'done',
    });
    expect(await send({ signal: 'sweep', input: '{"dryRun": true}' })).toMatchObject({ outcome: 'planned' });
  });

  it('may be left empty where every field has a default', async () => {
    expect(await send({ signal: 'pause' })).toMatchObject({ signal: 'pause', outcome: 'done' });
    expect(await evictor.status()).toMatchObject({ paused: true });
    expect(await send({ signal: 'resume' })).toMatchObject({ signal: 'resume', outcome: 'done' });
  });

  it.each<[string, Form, string]>([
    ['a wrong type', { signal: 'evict', input: '{"count": "one"}' }, 'count: got "one"'],
    ['no target', { signal: 'evict' }, 'target: got nothing'],
    ['a list', { signal: 'sweep', input: '[1]' }, 'input: got [1]'],
    ['another encoding', { signal: 'sweep', input: '{}', encoding: 'json/protobuf' }, 'encoding json/protobuf'],
  ])('sends %s, which is refused in the status', async (_what, given, why) => {
    expect(await send(given)).toMatchObject({ outcome: 'refused', summary: expect.stringContaining(why) });
  });

  it('has blocked no workflow task', async () => {
    const { events } = await evictor.handle.fetchHistory();
    expect((events ?? []).filter(({ workflowTaskFailedEventAttributes: failed }) => failed)).toEqual([]);
  });
});
