import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import type { Command } from 'commander';
import { hasGrace } from '../../../activities/reconcile/findings';
import { createProgram } from '../../../client/cli/program';
import { failures } from '../../../workflows/contract/failures';
import { refusals } from '../../support/refusals';

const root = resolve(__dirname, '../../..');
const manual = join(root, 'docs/manual');
const manualPages = readdirSync(manual).map((name) => join(manual, name));
/** By people for people: the page of the library is made from the sources. */
const pages = [
  join(root, 'README.md'),
  join(root, 'CONTRIBUTING.md'),
  join(root, 'docs/design.md'),
  join(root, 'docs/backends.md'),
  join(root, 'docs/api.md'),
  ...manualPages,
];
const read = (path: string): string => readFileSync(path, 'utf8');
const named = (path: string): string => relative(root, path);

const withoutCode = (text: string): string => text.replaceAll(/^```[^]*?^```$/gm, '');

/** As GitHub makes them: lower case, words with hyphens, no other signs. */
const anchorsOf = (text: string): string[] =>
  [...withoutCode(text).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

/** @returns the links of a page that lead nowhere. */
function deadLinksOf(page: string): string[] {
  const links = [...withoutCode(read(page)).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = '']) => link);
  return links.filter((link) => {
    if (/^https?:/.test(link)) return false;
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? page : resolve(dirname(page), path);
    return !existsSync(target) || (anchor !== undefined && !anchorsOf(read(target)).includes(anchor));
  });
}

describe('links of the documentation', () => {
  it.each(pages.map(named))('%s has none that leads nowhere', (page) => {
    expect(deadLinksOf(join(root, page))).toEqual([]);
  });

  it('lead from the first page of the manual to every other', () => {
    const index = read(join(manual, 'README.md'));
    const linked = [...index.matchAll(/\]\((\w[\w-]*\.md)\)/g)].map(([, name]) => name);
    expect(new Set(linked)).toEqual(new Set(readdirSync(manual).filter((name) => name !== 'README.md')));
  });

  it('lead from every alert to a heading of its own', () => {
    const rules = read(join(root, 'docs/prometheus/alerts.yaml'));
    const alerts = [...rules.matchAll(/^ +- alert: (\w+)$/gm)].map(([, name = '']) => name.toLowerCase());
    const linked = [
      ...rules.matchAll(/^ +runbook_url: '\{\{ \$externalLabels\.runbooks \}\}\/manual\/alerts\.md#(\w+)'$/gm),
    ];
    expect(alerts.length).toBeGreaterThan(10);
    expect(linked.map(([, anchor]) => anchor)).toEqual(alerts);
    const headings = anchorsOf(read(join(manual, 'alerts.md')));
    expect(alerts.filter((anchor) => !headings.includes(anchor))).toEqual([]);
  });
});

describe('commands in the documentation', () => {
  const program = createProgram();

  it.each(pages.map(named))('%s types only commands and options of ivc that there are', (page) => {
    const unknown = commandsIn(read(join(root, page))).filter((line) => !isKnown(program, line));
    expect(unknown).toEqual([]);
  });

  it('are found, and one that there is not is told', () => {
    expect(commandsIn(read(join(manual, 'volumes.md'))).length).toBeGreaterThan(10);
    expect(isKnown(program, 'volume create --image ID --size 20GiB')).toBe(true);
    expect(isKnown(program, 'volume make --image ID')).toBe(false);
    expect(isKnown(program, 'volume create --picture ID')).toBe(false);
  });
});

/** Where a command begins: after variables or another command, or at the beginning. */
const TYPED = /(?:^|&& |; |\$\(|<\(|xargs -r |[A-Z_]+=\S* )ivc ([^|;&>]*)/g;

/** @returns what follows `ivc` where it is typed: in blocks for a shell, and in the text between backticks. */
function commandsIn(text: string): string[] {
  const blocks = [...text.matchAll(/^```sh$([^]*?)^```$/gm)].flatMap(([, block = '']) =>
    block.replaceAll('\\\n', ' ').split('\n'),
  );
  const inline = [...withoutCode(text).matchAll(/`([^`]+)`/g)].flatMap(([, code = '']) => code);
  const lines = [...blocks, ...inline].map((line) => line.replace(/(?:^|\s)#\s.*$/, '').replaceAll(/"[^"]*"/g, 'TEXT'));
  return lines.flatMap((line) => [...line.matchAll(TYPED)].map(([, command = '']) => command.trim()));
}

function isKnown(program: Command, line: string): boolean {
  let command = program;
  let takesValue = false;
  for (const word of line.replaceAll(/[[\])]/g, '').split(/\s+/)) {
    const isValue = takesValue;
    takesValue = false;
    if (isValue) continue;
    if (/^--?[a-z]/i.test(word)) {
      const option = optionOf(command, word);
      if (option === undefined) return false;
      takesValue = option.required;
    } else if (command.commands.length > 0 && /^[a-z]/.test(word)) {
      const child = command.commands.find((one) => one.name() === word);
      if (child === undefined) return false;
      command = child;
    }
  }
  return true;
}

/** `--help` is commander's own. */
function optionOf(command: Command, word: string): { required: boolean } | undefined {
  if (word === '--help') return { required: false };
  return command.options.find(({ long, short }) => long === word || short === word);
}

const failuresPage = read(join(manual, 'failures.md'));

describe('the failure table of the documentation', () => {
  it('is the failure table of the code', () => {
    const documented = [...failuresPage.matchAll(/^\| `(\w+)` \| (yes|no) \| (refuse|undo) \| (\d) \|/gm)].map(
      ([, type, retry, undo, exitCode]) => [type, { retry: retry === 'yes', undo, exitCode: Number(exitCode) }],
    );
    const actual = Object.entries(failures).map(([type, { retry, exitCode }]) => [
      type,
      { retry, undo: refusals.some((refusal) => refusal === type) ? 'refuse' : 'undo', exitCode },
    ]);
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(actual));
  });
});

describe('the table of findings of the documentation', () => {
  const documented = [...failuresPage.matchAll(/^\| `([a-z-]+)` \| (.+) \| (yes|no) \| (.+) \|$/gm)];

  it('has every kind of the code, and which of them have a grace', () => {
    const graces = documented.map(([, kind, , grace]) => [kind, grace === 'yes']);
    expect(Object.fromEntries(graces)).toEqual(hasGrace);
  });

  it('has volumes without a row kept, and foreign objects left alone', () => {
    const done = Object.fromEntries(documented.map(([, kind, , , what]) => [kind, what]));
    expect(done).toMatchObject({
      'volume-without-row': expect.stringMatching(/^never deleted/),
      foreign: 'never touched',
    });
  });
});
