import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { findTool } from '../../../activities/command';

const START_TIMEOUT_MS = 60_000;
const CALL_TIMEOUT_MS = 30_000;
const WAIT_TIMEOUT_MS = 30_000;
const POLL_MS = 100;
const QUIET_MS = 1500;
/** How long it may take to go when it is asked to. */
const END_TIMEOUT_MS = 5000;

/** Debian's browser, without a window, a profile of its own and nothing that it does by itself in the background. */
const chromiumArguments = [
  '--headless=new',
  '--no-sandbox',
  '--remote-debugging-pipe',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-default-apps',
  '--disable-domain-reliability',
  '--disable-extensions',
  '--disable-features=OptimizationHints,MediaRouter,Translate,AutofillServerCommunication',
  '--disable-gpu',
  '--disable-sync',
  '--disable-dev-shm-usage',
  '--hide-scrollbars',
  '--metrics-recording-only',
  '--no-default-browser-check',
  '--no-first-run',
  '--no-pings',
];

export interface PageOptions {
  width?: number;
  height?: number;
  /** Pixels of the screenshot a pixel of the page. */
  scale?: number;
  dark?: boolean;
  /** Default: true. */
  javaScript?: boolean;
}

/** One page of the browser. */
export interface Page {
  /** Loads `url` and waits for its load event. */
  open(url: string): Promise<void>;
  /** Runs an expression in the page, whether or not the page's own scripts may run. @returns its value, as JSON can carry it. */
  evaluate<Value>(expression: string): Promise<Value>;
  /** Waits until the expression is true. */
  until(expression: string): Promise<void>;
  /** Waits for the one visible element that fits and clicks on it. @param text what is written on it, where several fit. */
  click(selector: string, text?: string): Promise<void>;
  /** Clicks on an element and puts text into it, as a paste does. */
  type(selector: string, text: string): Promise<void>;
  /** Waits until nothing has been asked for in a while: a page that draws itself is then drawn. */
  settle(): Promise<void>;
  /** Writes a PNG: the whole page, or a part of it. */
  screenshot(path: string, clip?: { x: number; y: number; width: number; height: number }): Promise<void>;
  /** What console and security policy had to say, errors and warnings only. */
  complaints(): string[];
  /** Every URL that was asked for. */
  requests(): string[];
  close(): Promise<void>;
}

export interface Browser {
  newPage(options?: PageOptions): Promise<Page>;
  close(): Promise<void>;
}

/** Starts a browser; `chromium` must be installed. It is driven over two pipes, so no port is open. */
export async function startBrowser(): Promise<Browser> {
  const tool = findTool('chromium');
  if (tool === undefined) throw new Error('chromium is missing: type `sudo apt-get install chromium` and try again');
  const profile = await mkdtemp(join(tmpdir(), 'ivc-browser-'));
  const child = spawn(tool, [...chromiumArguments, `--user-data-dir=${profile}`], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: profile, LC_ALL: 'C.UTF-8', TZ: 'UTC' },
    detached: true,
  });
  const exited = once(child, 'exit');
  const [, , , input, output] = child.stdio;
  const session = connect(input as Writable, output as Readable);
  child.once('error', (error) => session.fail(error));
  child.once('exit', (code) => session.fail(new Error(`the browser ended with ${code}`)));
  const close = async (): Promise<void> => {
    session.call('Browser.close').catch(() => undefined);
    const timer = setTimeout(() => killGroup(child.pid), END_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
    killGroup(child.pid);
    await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: POLL_MS });
  };
  try {
    await session.call('Browser.getVersion', {}, { timeoutMs: START_TIMEOUT_MS });
  } catch (error) {
    await close();
    throw error;
  }
  return { newPage: (options = {}) => openPage(session, options), close };
}

/** Its helpers are in its process group; some outlive it for a moment. */
function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // All gone.
  }
}

async function openPage(
  session: Session,
  { width = 1200, height = 900, scale = 1, dark = false, javaScript = true }: PageOptions,
): Promise<Page> {
  const { targetId } = await session.call<{ targetId: string }>('Target.createTarget', { url: 'about:blank' });
  const attached = await session.call<{ sessionId: string }>('Target.attachToTarget', { targetId, flatten: true });
  const { sessionId } = attached;
  const call = <Result>(method: string, params: object = {}) => session.call<Result>(method, params, { sessionId });
  const complaints: string[] = [];
  const requests: string[] = [];
  let loads = 0;
  let lastRequestAtMs = Date.now();
  session.listen(sessionId, (method, params) => {
    if (method === 'Page.loadEventFired') loads += 1;
    if (method.startsWith('Network.')) lastRequestAtMs = Date.now();
    if (method === 'Network.requestWillBeSent') requests.push((params as unknown as RequestSent).request.url);
    if (method === 'Log.entryAdded') complaints.push((params as unknown as LogEntry).entry.text);
    if (method === 'Runtime.exceptionThrown') complaints.push(JSON.stringify(params));
    if (method === 'Runtime.consoleAPICalled' && ['error', 'warning'].includes(String(params['type'])))
      complaints.push(JSON.stringify(params['args']));
  });
  for (const domain of ['Page', 'Network', 'Log', 'Runtime']) await call(`${domain}.enable`);
  await call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: scale, mobile: false });
  const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }];
  await call('Emulation.setEmulatedMedia', { features });
  if (!javaScript) await call('Emulation.setScriptExecutionDisabled', { value: true });

  const evaluate = async <Value>(expression: string): Promise<Value> => {
    const evaluated = await call<Evaluated>('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (evaluated.exceptionDetails) throw new Error(`${expression}: ${JSON.stringify(evaluated.exceptionDetails)}`);
    return evaluated.result.value as Value;
  };
  const click = async (selector: string, text?: string): Promise<void> => {
    const visible = `[...document.querySelectorAll(${JSON.stringify(selector)})].filter((one) => one.checkVisibility({ visibilityProperty: true }))`;
    const fitting =
      text === undefined ? visible : `${visible}.filter((one) => one.innerText.trim() === ${JSON.stringify(text)})`;
    const what = `one ${selector}${text === undefined ? '' : ` with ${text}`} to click on`;
    const clicked = `(([one, other]) => one && !other && !one.disabled && (one.focus(), one.click(), true))(${fitting})`;
    await until(what, () => evaluate<boolean>(`Boolean(${clicked})`));
  };
  const until = (what: string, check: () => boolean | Promise<boolean>) => waitUntil(check, what);
  return {
    open: async (url) => {
      const before = loads;
      const { errorText } = await call<{ errorText?: string }>('Page.navigate', { url });
      if (errorText !== undefined) throw new Error(`${url}: ${errorText}`);
      await until(`${url} to be loaded`, () => loads > before);
    },
    evaluate,
    until: (expression) => until(expression, () => evaluate<boolean>(`Boolean(${expression})`)),
    click,
    type: async (selector, text) => {
      await click(selector);
      await call('Input.insertText', { text });
    },
    settle: () => until('requests to end', () => Date.now() - lastRequestAtMs > QUIET_MS),
    screenshot: async (path, clip) => {
      const area = clip && { clip: { ...clip, scale: 1 } };
      const { data } = await call<{ data: string }>('Page.captureScreenshot', {
        format: 'png',
        captureBeyondViewport: true,
        ...area,
      });
      await writeFile(path, Buffer.from(data, 'base64'));
    },
    complaints: () => complaints,
    requests: () => requests,
    close: async () => void (await session.call('Target.closeTarget', { targetId })),
  };
}

interface RequestSent {
  request: { url: string };
}
interface LogEntry {
  entry: { text: string };
}
interface Evaluated {
  result: { value: unknown };
  exceptionDetails?: object;
}

async function waitUntil(check: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + WAIT_TIMEOUT_MS;
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_TIMEOUT_MS} ms for ${what}`);
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

type Listener = (method: string, params: Record<string, unknown>) => void;

interface Session {
  call<Result>(method: string, params?: object, options?: { sessionId?: string; timeoutMs?: number }): Promise<Result>;
  listen(sessionId: string, listener: Listener): void;
  /** Ends every call that is open. */
  fail(error: Error): void;
}

/** The DevTools protocol over two pipes: JSON messages, each ended by a zero byte. */
function connect(input: Writable, output: Readable): Session {
  const open = new Map<number, { done: (value: never) => void; fail: (error: Error) => void }>();
  const listeners = new Map<string, Listener>();
  let nextId = 1;
  let broken: Error | undefined;
  let rest = '';
  input.on('error', () => undefined);
  output.setEncoding('utf8');
  output.on('data', (chunk: string) => {
    const messages = (rest + chunk).split('\0');
    rest = messages.pop() ?? '';
    for (const message of messages) receive(JSON.parse(message) as Message);
  });
  const receive = ({ id, result, error, method, params, sessionId }: Message): void => {
    if (id === undefined) return listeners.get(sessionId ?? '')?.(method ?? '', params ?? {});
    const waiting = open.get(id);
    open.delete(id);
    if (error) waiting?.fail(new Error(error.message));
    else waiting?.done(result as never);
  };
  return {
    call: (method, params = {}, { sessionId, timeoutMs = CALL_TIMEOUT_MS } = {}) =>
      new Promise((resolve, reject) => {
        if (broken) return reject(broken);
        const id = nextId;
        nextId += 1;
        const timer = setTimeout(() => {
          open.delete(id);
          reject(new Error(`${method} was not answered within ${timeoutMs} ms`));
        }, timeoutMs);
        open.set(id, {
          done: (value) => {
            clearTimeout(timer);
            resolve(value);
          },
          fail: (error) => {
            clearTimeout(timer);
            reject(error);
          },
        });
        input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
      }),
    listen: (sessionId, listener) => void listeners.set(sessionId, listener),
    fail: (error) => {
      broken = error;
      for (const { fail } of open.values()) fail(error);
      open.clear();
    },
  };
}

interface Message {
  id?: number;
  result?: unknown;
  error?: { message: string };
  method?: string;
  params?: Record<string, unknown>;
  sessionId?: string;
}
