import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { formatReportHtml } from '../../client/cli/report/html';
import { chooseBucketMs, type Report } from '../../client/report';
import { toBuckets, toTotals } from '../../client/report';
import type { OutcomeBucket } from '../../db/report/report';
import { brand } from '../support/brand';
import { ensureTools } from '../support/machine/debian-packages';
import { startBrowser, type Browser, type Page, type PageOptions } from '../support/browser/browser';

/** With the browser being installed. */
const SETUP_TIMEOUT_MS = 300_000;
const HOUR_MS = 3_600_000;
const NOW_MS = Date.parse('2026-03-02T12:00:00Z');

let browser: Browser;
let directory: string;

beforeAll(async () => {
  await ensureTools({ chromium: 'chromium' });
  directory = await mkdtemp(join(tmpdir(), 'ivc-report-'));
  browser = await startBrowser();
}, SETUP_TIMEOUT_MS);

afterAll(async () => {
  await browser?.close();
  await rm(directory, { recursive: true, force: true });
});

/** Marks and texts of plots that are cut off. */
const outsideOfPlots = `[...document.querySelectorAll('svg')].flatMap((plot) => {
      const box = plot.getBoundingClientRect();
      return [...plot.querySelectorAll('rect, circle, text')].filter((mark) => {
        const { left, right, top, bottom } = mark.getBoundingClientRect();
        return left < box.left - 1 || right > box.right + 1 || top < box.top - 1 || bottom > box.bottom + 1;
      });
    }).map((mark) => mark.outerHTML)`;

const pages: Page[] = [];
afterEach(async () => {
  for (const page of pages.splice(0)) await page.close();
});

async function show(report: Report, options: PageOptions = {}): Promise<Page> {
  const path = join(directory, 'report.html');
  await writeFile(path, formatReportHtml(report));
  const page = await browser.newPage(options);
  pages.push(page);
  await page.open(pathToFileURL(path).href);
  return page;
}

describe('the report’s page', () => {
  it('plots every point, says nothing on the console and asks the network for nothing', async () => {
    const page = await show(sampleReport());
    const marks = (selector: string) => page.evaluate<number>(`document.querySelectorAll('${selector}').length`);
    // A day in buckets of half an hour; every third has creates.
    expect(await marks('#hit-rate circle')).toBe(16);
    expect(await marks('#outcomes rect')).toBe(16 * 3);
    expect(await marks('#saved-bytes circle')).toBe(48);
    expect(await marks('#saved-seconds circle')).toBe(48);
    expect(await marks('#stages rect')).toBe(3);
    expect(await page.evaluate('document.querySelector("#hit-rate circle title").textContent')).toContain('80 %');
    expect(page.complaints()).toEqual([]);
    expect(page.requests()).toEqual([pathToFileURL(join(directory, 'report.html')).href]);
  });

  it('draws its marks where their values are, inside of the plot', async () => {
    const page = await show(sampleReport());
    const heights = await page.evaluate<number[]>(
      `[...document.querySelectorAll('#outcomes rect.hit')].map((bar) => bar.getBoundingClientRect().height)`,
    );
    expect(Math.min(...heights)).toBeGreaterThan(20);
    expect(await page.evaluate(outsideOfPlots)).toEqual([]);
  });

  it('shows texts of the inventory as texts, whatever they hold', async () => {
    const hostile = '<img src=x onerror=alert(1)>"\'&</script><script>document.title="gone"</script>';
    const page = await show({
      ...sampleReport(),
      backend: hostile,
      reasons: [{ outcome: 'failed', reason: hostile, creates: 1 }],
    });
    expect(await page.evaluate('document.querySelectorAll("img, script").length')).toBe(0);
    expect(await page.evaluate('document.title')).toContain(hostile);
    expect(await page.evaluate('document.body.textContent')).toContain(`failed1${hostile}`);
    expect(page.complaints()).toEqual([]);
  });

  it('is the same without JavaScript', async () => {
    const page = await show(sampleReport(), { javaScript: false });
    expect(await page.evaluate('document.querySelectorAll("#hit-rate circle").length')).toBe(16);
    expect(await page.evaluate('document.querySelectorAll("script").length')).toBe(0);
  });

  it.each([
    ['light', false],
    ['dark', true],
  ])('can be read in %s colours, and is no empty picture', async (name, dark) => {
    const page = await show(sampleReport(), { dark });
    const [ink, paper] = await page.evaluate<[string, string]>(
      '[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]',
    );
    expect(contrast(luminance(ink), luminance(paper))).toBeGreaterThan(7);
    expect(luminance(paper) < 0.1).toBe(dark);
    const picture = join(directory, `${name}.png`);
    await page.screenshot(picture);
    expect((await stat(picture)).size).toBeGreaterThan(20_000);
    expect((await readFile(picture)).subarray(1, 4).toString()).toBe('PNG');
  });

  it('needs no sideways scrolling on a small screen, of its tables neither', async () => {
    const page = await show(sampleReport(), { width: 390 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
    const wide = await page.evaluate<string[]>(
      `[...document.querySelectorAll('body *:not(svg *)')].filter((part) => part.scrollWidth > part.clientWidth + 1 && getComputedStyle(part).display !== 'inline').map((part) => part.outerHTML.slice(0, 200))`,
    );
    expect(wide).toEqual([]);
    expect(await page.evaluate(outsideOfPlots)).toEqual([]);
    const overlapping = await page.evaluate<string[]>(`[...document.querySelectorAll('svg')].flatMap((plot) => {
      const texts = [...plot.querySelectorAll('text')].map((text) => ({ said: text.textContent, box: text.getBoundingClientRect() }));
      const isOver = (one, other) => one.right > other.left + 1 && other.right > one.left + 1 && one.bottom > other.top + 4 && other.bottom > one.top + 4;
      return texts.filter(({ box }, at) => texts.some((other, before) => before < at && isOver(box, other.box))).map(({ said }) => said);
    })`);
    expect(overlapping).toEqual([]);
  });

  it('has ticks at round times and numbers, says that times are UTC, and names images', async () => {
    const page = await show(sampleReport());
    const labels = await page.evaluate<string[]>(
      `[...document.querySelectorAll('#outcomes svg text')].map((text) => text.textContent)`,
    );
    expect(labels).toEqual(['UTC', '0', '5', '10', '12:00', '16:00', '20:00', '03-02', '04:00', '08:00']);
    const text = await page.evaluate<string>('document.body.textContent');
    expect(text).toContain('At (UTC)');
    expect(text).toContain('debian-12');
    expect(await page.evaluate('document.querySelector("#outcomes rect title").textContent')).toContain('UTC: ');
  });

  it('says so when nothing has happened', async () => {
    const page = await show({ ...sampleReport(), ...nothing });
    expect(await page.evaluate('document.body.textContent')).toContain('Hit rate-');
    expect(await page.evaluate('document.querySelectorAll("table").length')).toBe(0);
    expect(page.complaints()).toEqual([]);
  });
});

/** A day of 16 busy half-hours, each with eight hits, a miss and a joiner. */
function sampleReport(): Report {
  const bucketMs = chooseBucketMs(24 * HOUR_MS);
  const [fromMs, toMs] = [NOW_MS - 24 * HOUR_MS, NOW_MS];
  const rows = Array.from({ length: 16 }, (_, index): OutcomeBucket[] => {
    const bucket = fromMs / bucketMs + 3 * index;
    const saved = { savedBytes: 8 * 2 ** 30, savedSeconds: 96 };
    const none = { bytesDownloaded: 0, savedBytes: 0, savedSeconds: 0 };
    return [
      { bucket, outcome: 'hit', creates: 8, bytesDownloaded: 0, ...saved },
      { bucket, outcome: 'miss', creates: 1, ...none, bytesDownloaded: 2 ** 30 },
      { bucket, outcome: 'joined', creates: 1, ...none },
    ];
  }).flat();
  return {
    from: new Date(fromMs).toISOString(),
    to: new Date(toMs).toISOString(),
    backend: null,
    totals: toTotals(rows),
    buckets: toBuckets(rows, { fromMs, toMs, bucketMs }),
    bucketSeconds: bucketMs / 1000,
    reasons: [],
    stages: [
      { outcome: 'bypassed', stage: 'download', creates: 16, p50Ms: 60_000, p95Ms: 3_599_000, maxMs: 3_600_000 },
      { outcome: 'hit', stage: 'clone', creates: 128, p50Ms: 12, p95Ms: 40, maxMs: 90 },
      { outcome: 'miss', stage: 'download', creates: 16, p50Ms: 8000, p95Ms: 12_000, maxMs: 15_000 },
    ],
    expensiveMisses: [
      {
        at: new Date(fromMs).toISOString(),
        volumeId: null,
        backend: brand('local'),
        imageId: brand('7a2f4b1e-0000-4000-8000-000000000001'),
        imageName: 'debian-12',
        totalMs: 15_000,
        downloadMs: 12_000,
        convertMs: 2500,
        bytesDownloaded: 2 ** 30,
        workflowId: 'volume/7a2f4b1e-0000-4000-8000-000000000002',
      },
    ],
    images: [],
    left: [],
  };
}

const nothing: Partial<Report> = {
  totals: toTotals([]),
  buckets: [],
  reasons: [],
  stages: [],
  expensiveMisses: [],
  images: [],
  left: [],
};

/** Of a colour as computed styles have it, `rgb(r, g, b)`. Source: WCAG 2.2, relative luminance. */
function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = (colour.match(/\d+/g) ?? []).map((text) => {
    const share = Number(text) / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: number, other: number): number {
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}
