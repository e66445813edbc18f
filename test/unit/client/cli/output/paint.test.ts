import { besidePaint } from '../../../../../client/cli/output/paint';
import { visibleText } from '../../../../../workflows/contract/visible-text';

const ESCAPE = '\u001b';
const green = (text: string): string => `${ESCAPE}[32m${text}${ESCAPE}[39m`;

it.each([
  [
    'of two states',
    `a  ${green('ready')}  b  ${green('creating now')}`,
    `a  ${green('ready')}  b  ${green('creating now')}`,
  ],
  ['of a name', green('name'), String.raw`\u001b[32mname\u001b[39m`],
  ['beside another escape', `${ESCAPE}]52;c ${green('ready')}`, `${String.raw`\u001b`}]52;c ${green('ready')}`],
  ['of a state with an escape in it', green(`ready ${ESCAPE}[2J`), String.raw`\u001b[32mready \u001b[2J\u001b[39m`],
])('leaves colours to states alone: %s', (_, line, expected) => {
  expect(besidePaint(line, visibleText)).toBe(expected);
});
