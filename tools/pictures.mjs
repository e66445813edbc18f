/**
 * Makes docs/pictures/*.png from a real run: a stack of its own, the quickstart, the Temporal UI and a report, looked at in headless Chromium.
 * `npm run pictures`; takes Debian's package `chromium`.
 */
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from './build.mjs';
import { main, root, run, ToolError } from './lib/run.mjs';

const pictures = join(root, 'docs/pictures');
/** Of one picture: they are cloned with the repository. */
const MAX_PICTURE_BYTES = 300 * 1024;
const WIDTH = 1200;
/** Without a build, so that `dist/` stays as it is while the pictures are made. */
const QUICKSTART = `const [module, steps, dataDirectory] = process.argv.slice(1);
  import(steps)
    .then(({ step }) => require(module).quickstart({ dataDirectory, json: false, stays: false, step }))
    .then((code) => (process.exitCode = code));`;
const ivcPath = join(root, 'dist/client/cli/main.js');

await main(async () => {
  await build();
  const { startBrowser } = await import(join(root, 'dist/test/support/browser/browser.js'));
  const work = mkdtempSync(join(tmpdir(), 'ivc-pictures-'));
  // As root the database runs as another user, who must be able to pass through.
  chmodSync(work, 0o711);
  const data = join(work, 'data');
  mkdirSync(pictures, { recursive: true });
  try {
    await ivc(data, 'up', '--detach');
    const browser = await startBrowser();
    try {
      const shoot = { browser, work, data, startedAtMs: Date.now() };
      await pictureQuickstart(shoot);
      await pictureReport(shoot);
      await pictureWorkflow(shoot);
    } finally {
      await browser.close();
    }
  } finally {
    await run(process.execPath, [ivcPath, 'down', '--data', data]);
    rmSync(work, { recursive: true, force: true });
  }
});

/** A newcomer's terminal: the quickstart's own output, cut to the rows that tell it. */
async function pictureQuickstart({ browser, work, data }) {
  const quickstart = join(root, 'dist/client/cli/quickstart/quickstart.js');
  const output = await capture(['-e', QUICKSTART, quickstart, join(root, 'tools/lib/step.mjs'), data]);
  const [tables = ''] = output.trim().split('\n\nNext steps:');
  const page = await browser.newPage({ width: WIDTH, height: 700, scale: 1.2, dark: true });
  const path = join(work, 'quickstart.html');
  writeFileSync(path, terminalPage('npm run quickstart', tables));
  await page.open(pathToFileURL(path).href);
  await save(page, 'quickstart', await boxOf(page, '#terminal'));
}

/** More images and creates, a bypass and a refusal among them, so that the report has something to tell. */
async function pictureReport({ browser, work, data, startedAtMs }) {
  const { makeSampleImage } = await import(join(root, 'dist/client/cli/quickstart/sample-image.js'));
  for (const name of ['debian', 'ubuntu', 'fedora']) {
    const path = await makeSampleImage(work, name);
    const { id } = JSON.parse(await ivc(data, 'image', 'upload', path, '--json'));
    const create = () => ivc(data, 'volume', 'create', '--image', id);
    await Promise.all([create(), create()]);
    for (let hit = 0; hit < 5; hit += 1) await create();
    if (name === 'debian') await ivc(data, 'volume', 'create', '--image', id, '--bypass-cache');
  }
  const html = join(work, 'report.html');
  const seconds = Math.ceil((Date.now() - startedAtMs) / 1000);
  await ivc(data, 'report', '--since', `${seconds}s`, '--html', html);
  const page = await browser.newPage({ width: WIDTH, height: 900 });
  await page.open(pathToFileURL(html).href);
  const { width } = await boxOf(page, 'body');
  const plots = await boxOf(page, '.plots');
  await save(page, 'report', { x: (WIDTH - width) / 2, y: 0, width, height: plots.y + plots.height + 12 });
}

/** The population of the quickstart's herd, as the Temporal UI shows a closed run. */
async function pictureWorkflow({ browser, data }) {
  const { temporal } = JSON.parse(readFileSync(join(data, 'endpoints.json'), 'utf8'));
  const { entries } = JSON.parse(await ivc(data, 'cache', 'list', '--json'));
  const [entry] = entries;
  if (!entry || !temporal.uiUrl) throw new ToolError('nothing is cached, or there is no UI');
  const workflowId = encodeURIComponent(`populate/${entry.backend}/${entry.cacheKey.short}`);
  const page = await browser.newPage({ width: 1400, height: 1080 });
  await page.open(`${temporal.uiUrl}/namespaces/${temporal.namespace}/workflows/${workflowId}`);
  await page.until(`/registerEntry/.test(document.body.innerText) && /answerWaiters/.test(document.body.innerText)`);
  await page.settle();
  await save(page, 'workflow', { x: 0, y: 0, width: 1400, height: 1080 });
}

function terminalPage(command, text) {
  const escape = (raw) => raw.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<!doctype html><meta charset="utf-8"><style>
    body { margin: 0; padding: 20px; background: #0c1117; }
    #terminal { display: inline-block; padding: 22px 26px; border-radius: 10px; background: #151b23; color: #e3e9ef;
      font: 12.5px/1.5 "DejaVu Sans Mono", monospace; white-space: pre; }
    b { color: #58c7a2; }
  </style><div id="terminal"><b>$ ${escape(command)}</b>\n${escape(text)}</div>`;
}

async function boxOf(page, selector) {
  return await page.evaluate(
    `(({ x, y, width, height }) => ({ x, y: y + scrollY, width, height }))(document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect())`,
  );
}

async function save(page, name, clip) {
  const path = join(pictures, `${name}.png`);
  await page.screenshot(path, clip);
  await page.close();
  const { size } = statSync(path);
  console.error(`${path}: ${size} bytes`);
  if (size > MAX_PICTURE_BYTES)
    throw new ToolError(`${name}.png has ${size} bytes, at most ${MAX_PICTURE_BYTES} are allowed`);
}

/** @returns stdout of the command line. */
function ivc(data, ...args) {
  return capture([ivcPath, ...args, '--data', data]);
}

function capture(args) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  const chunks = [];
  child.stdout.on('data', (chunk) => chunks.push(chunk));
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('close', (code) =>
      code === 0 ? done(Buffer.concat(chunks).toString()) : fail(new ToolError(`${args.join(' ')} ended with ${code}`)),
    );
  });
}
