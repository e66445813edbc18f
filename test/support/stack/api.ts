import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parse, stringify } from 'yaml';
import { checkout } from '../machine/checkout';
import type { Stack } from './stack';

interface ApiUrls {
  url: string;
  livenessUrl: string;
  readinessUrl: string;
  /** Where its `metrics` say a port. */
  metricsUrl?: string;
}

export interface TestApi extends ApiUrls {
  logPath: string;
  /** @param request such as `GET /v3/p1/volumes`; with `3.70` unless `minor` says another. */
  call(
    request: string,
    body?: object,
    options?: { minor?: number; headers?: Record<string, string> },
  ): Promise<ApiAnswer>;
  /** Its lines about requests, the last one last. */
  requestLines(): Record<string, unknown>[];
  process: ChildProcess;
  /** @param signal default: SIGTERM. @returns its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

export interface ApiAnswer {
  status: number;
  headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- a test says with its expectations what an answer is.
  body: any;
}

/** Starts the block-storage API beside a stack, without tokens. @param api of the section `api`. */
export async function startApi(stack: Stack, api: Record<string, unknown> = {}): Promise<TestApi> {
  const configPath = `${stack.environment['IVC_CONFIG']}.api.yaml`;
  const config: object = parse(readFileSync(stack.environment['IVC_CONFIG'] ?? '', 'utf8'));
  writeFileSync(
    configPath,
    stringify({ ...config, api: { listen: '127.0.0.1:0', auth: 'none', metrics: { port: 0 }, ...api } }),
  );
  const logPath = `${configPath}.log`;
  const log = openSync(logPath, 'a', 0o600);
  const child = spawn(process.execPath, [join(checkout, 'dist/worker/api/main.js'), '--config', configPath], {
    env: stack.environment,
    stdio: ['ignore', 'pipe', log],
  });
  closeSync(log);
  const exited = once(child, 'exit');
  const urls = await new Promise<ApiUrls>((done, fail) => {
    const ended = (code: number | null) =>
      fail(new Error(`the API ended with ${code}: ${readFileSync(logPath, 'utf8')}`));
    child.once('exit', ended);
    if (child.stdout)
      createInterface({ input: child.stdout }).once('line', (line) => {
        child.off('exit', ended);
        done(JSON.parse(line) as ApiUrls);
      });
  });
  return {
    ...urls,
    logPath,
    call: async (request, body, { minor = 70, headers = {} } = {}) => {
      const [method = '', path = ''] = request.split(' ');
      const answer = await fetch(`${urls.url}${path}`, {
        method,
        headers: { 'content-type': 'application/json', 'openstack-api-version': `volume 3.${minor}`, ...headers },
        // oxlint-disable-next-line unicorn/no-invalid-fetch-options -- a GET is given none.
        body: body && JSON.stringify(body),
      });
      const text = await answer.text();
      return { status: answer.status, headers: answer.headers, body: text === '' ? undefined : JSON.parse(text) };
    },
    requestLines: () =>
      readFileSync(logPath, 'utf8')
        .split('\n')
        .flatMap((line) => (line.includes('"requestId"') ? [JSON.parse(line) as Record<string, unknown>] : [])),
    process: child,
    stop: async (signal) => {
      child.kill(signal);
      await exited;
      return child.exitCode;
    },
  };
}
