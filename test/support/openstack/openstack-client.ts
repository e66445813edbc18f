import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { installPythonTools } from '../machine/python-tools';
import type { VolumeCloud } from './volume-cloud';

const tools = resolve(__dirname, '../../../tools/openstack-client');
const UNTIL_TIMEOUT_MS = 240_000;
const UNTIL_INTERVAL_MS = 200;

/** Answer of one command of `openstack`. */
export interface ClientAnswer {
  code: number;
  /** Names of columns or fields, when it was asked for `csv` or `json`. */
  fields: string[];
  stderr: string;
}

export type ClientStep = CommandStep | UntilStep;
export interface CommandStep {
  kind: 'command';
  /** As it stands in the list. */
  line: string;
  /** Name of the answer in later steps: `{name.field}`. */
  name: string;
  args: string[];
  /** Answer of real Cinder, and, where we differ, the exit code here. */
  expected: { code: number; fields: string[]; here: number | undefined };
}
interface UntilStep {
  kind: 'until';
  line: string;
  /** Such as `volume snapshot`. */
  noun: string[];
  what: string;
  /** A status, or `gone`. */
  status: string;
}

const answerSchema = z.object({ code: z.number(), stdout: z.string(), stderr: z.string() });
const recordSchema = z.record(z.string(), z.unknown());

/**
 * @param text `$ ARGUMENTS` or `NAME$ ARGUMENTS`, then `CODE FIELD, FIELD` as Cinder has answered, then, where we differ, `here CODE: REASON`;
 * `until NOUN WHAT STATUS` waits.
 */
export function parseClientSteps(text: string): ClientStep[] {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.flatMap((line, index): ClientStep[] => {
    const [, name, command] = /^(\w*)\$ (.+)$/.exec(line) ?? [];
    if (name !== undefined && command !== undefined) {
      const [, code, fields = ''] = /^(\d+)(?: (.+))?$/.exec(lines[index + 1] ?? '') ?? [];
      if (code === undefined) throw new Error(`nothing is expected of ${line}`);
      const [, here] = /^here (\d+): /.exec(lines[index + 2] ?? '') ?? [];
      const expected = { code: Number(code), fields: fieldsOf(fields), here: here === undefined ? here : Number(here) };
      return [{ kind: 'command', line, name, args: command.split(' '), expected }];
    }
    const [word, ...words] = line.split(' ');
    if (word !== 'until') return [];
    const [what = '', status = ''] = words.slice(-2);
    return [{ kind: 'until', line, noun: words.slice(0, -2), what, status }];
  });
}

/** Runs the steps one after the other with openstackclient as it is on PyPI. @returns an answer for the line of each command. */
export async function runOpenstackClient(
  cloud: VolumeCloud,
  steps: readonly ClientStep[],
): Promise<Map<string, ClientAnswer>> {
  const client = await startClient(cloud);
  const named: Record<string, Record<string, unknown>> = {
    cloud: { image: cloud.imageId, project: cloud.admin.projectId },
  };
  const filled = (argument: string): string =>
    argument.replace(/\{(\w+)\.(\w+)\}/, (_, name: string, field: string) => String(named[name]?.[field]));
  const answers = new Map<string, ClientAnswer>();
  try {
    for (const step of steps) {
      if (step.kind === 'until') await waitUntil(client, step);
      else {
        const { code, stdout, stderr } = await client.run(step.args.map(filled));
        const answered = code === 0 ? readAnswer(step.args, stdout) : { fields: [] };
        if (step.name !== '') named[step.name] = answered.record ?? {};
        answers.set(step.line, { code, fields: answered.fields, stderr });
      }
    }
    return answers;
  } finally {
    await client.end();
  }
}

interface Client {
  run: (args: string[]) => Promise<z.infer<typeof answerSchema>>;
  end: () => Promise<void>;
}

async function startClient({ keystoneUrl, region, admin }: VolumeCloud): Promise<Client> {
  const packages = await installPythonTools('openstack-client', join(tools, 'requirements.txt'));
  const child = spawn('python3', [join(tools, 'run-steps.py')], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      PYTHONPATH: packages,
      PYTHONWARNINGS: 'ignore',
      OS_AUTH_URL: keystoneUrl,
      OS_IDENTITY_API_VERSION: '3',
      OS_REGION_NAME: region,
      OS_USERNAME: admin.user,
      OS_PASSWORD: admin.password,
      OS_PROJECT_NAME: admin.project,
      OS_USER_DOMAIN_ID: 'default',
      OS_PROJECT_DOMAIN_ID: 'default',
    },
  });
  const exited = once(child, 'exit');
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    run: async (args) => {
      child.stdin.write(`${JSON.stringify(args)}\n`);
      const { value, done } = await answers.next();
      if (done === true) throw new Error(`the client ended at: ${args.join(' ')}`);
      return answerSchema.parse(JSON.parse(value));
    },
    end: async () => {
      child.stdin.end();
      await exited;
    },
  };
}

async function waitUntil(client: Client, { line, noun, what, status }: UntilStep): Promise<void> {
  const end = performance.now() + UNTIL_TIMEOUT_MS;
  for (;;) {
    const { code, stdout } = await client.run([...noun, 'show', '-f', 'value', '-c', 'status', what]);
    const found = code === 0 ? stdout.trim() : 'gone';
    if (found === status) return;
    if (found.startsWith('error') || performance.now() > end) throw new Error(`${line}: it is ${found}`);
    await sleep(UNTIL_INTERVAL_MS);
  }
}

function readAnswer(args: readonly string[], stdout: string): { fields: string[]; record?: Record<string, unknown> } {
  const format = args[args.indexOf('-f') + 1];
  if (format === 'csv') return { fields: fieldsOf((stdout.split('\n')[0] ?? '').replaceAll('"', '')) };
  if (format !== 'json') return { fields: [] };
  const record = recordSchema.parse(JSON.parse(stdout));
  return { fields: Object.keys(record), record };
}

function fieldsOf(text: string): string[] {
  return text.split(',').flatMap((field) => field.trim() || []);
}
