import { setTimeout as delay } from 'node:timers/promises';
import { chromium, type BrowserContext, type Page as PlaywrightPage } from 'playwright-core';
import { findTool } from '../../../activities/command';

const START_TIMEOUT_MS = 60_000;
const WAIT_TIMEOUT_MS = 30_000;
const POLL_MS = 100;

/** The browser does nothing by itself in the background, and runs as root too. */
const chromiumArguments = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];

export interface PageOptions {
  width?: number;
  height?: number;
  /** Pixels of the screenshot for each pixel of the page. */
  scale?: number;
  dark?: boolean;
  /** Whether the page's own scripts may run. Default: true. */
  javaScript?: boolean;
}

/** One page of the browser, in a profile of its own. */
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
  /** Waits until nothing is asked for any more: a page that draws itself is then drawn. */
  settle(): Promise<void>;
  /** Writes a PNG: the whole page, or a part of it. */
  screenshot(path: string, clip?: { x: number; y: number; width: number; height: number }): Promise<void>;
  /** Errors and warnings of the console, and of the page's scripts. */
  complaints(): string[];
  /** Every URL that was asked for. */
  requests(): string[];
  close(): Promise<void>;
}

export interface Browser {
  newPage(options?: PageOptions): Promise<Page>;
  close(): Promise<void>;
}

/** Starts Debian's browser without a window; `chromium` must be installed. It is driven over pipes, so no port is open. */
export async function startBrowser(): Promise<Browser> {
  const executablePath = findTool('chromium');
  if (executablePath === undefined)
    throw new Error('chromium is missing: type `sudo apt-get install chromium` and try again');
  const browser = await chromium.launch({ executablePath, args: chromiumArguments, timeout: START_TIMEOUT_MS });
  return {
    async newPage({ width = 1200, height = 900, scale = 1, dark = false, javaScript = true } = {}) {
      const context = await browser.newContext({
        viewport: { width, height },
        deviceScaleFactor: scale,
        colorScheme: dark ? 'dark' : 'light',
        javaScriptEnabled: javaScript,
        timezoneId: 'UTC',
      });
      return await openPage(context);
    },
    close: () => browser.close(),
  };
}

async function openPage(context: BrowserContext): Promise<Page> {
  context.setDefaultTimeout(WAIT_TIMEOUT_MS);
  const page = await context.newPage();
  const complaints: string[] = [];
  const requests: string[] = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => requests.push(request.url()));
  const click = async (selector: string, text?: string): Promise<void> => {
    const fitting = page.locator(selector).filter({ visible: true, hasText: text && exactly(text) });
    await fitting.click();
  };
  return {
    open: async (url) => void (await page.goto(url)),
    evaluate: (expression) => page.evaluate(expression),
    until: (expression) => waitUntilTrue(page, expression),
    click,
    type: async (selector, text) => {
      await click(selector);
      await page.keyboard.insertText(text);
    },
    settle: () => page.waitForLoadState('networkidle'),
    screenshot: async (path, clip) => void (await page.screenshot({ path, clip, fullPage: true })),
    complaints: () => complaints,
    requests: () => requests,
    close: () => context.close(),
  };
}

/** Asks from outside: `waitForFunction` evaluates text within the page, which a content security policy may forbid. */
async function waitUntilTrue(page: PlaywrightPage, expression: string): Promise<void> {
  const deadline = performance.now() + WAIT_TIMEOUT_MS;
  while (!(await page.evaluate(`Boolean(${expression})`))) {
    if (performance.now() > deadline) throw new Error(`waited ${WAIT_TIMEOUT_MS} ms for ${expression}`);
    await delay(POLL_MS);
  }
}

function exactly(text: string): RegExp {
  return new RegExp(`^\\s*${text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}\\s*$`);
}
