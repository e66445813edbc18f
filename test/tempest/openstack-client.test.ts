import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseClientSteps, runOpenstackClient, type ClientAnswer } from '../support/openstack/openstack-client';
import { getVolumeCloud } from '../support/openstack/volume-cloud';

const RUN_TIMEOUT_MS = 900_000;

const steps = parseClientSteps(readFileSync(join(__dirname, 'openstack-client.txt'), 'utf8'));
const commands = steps.filter((step) => step.kind === 'command');
let answers: Map<string, ClientAnswer>;

beforeAll(async () => {
  answers = await runOpenstackClient(getVolumeCloud(), steps);
}, RUN_TIMEOUT_MS);

it.each(commands.map((command) => [command.args.join(' '), command] as const))(
  'openstack %s: the exit code and the fields of Cinder',
  (_, { line, expected }) => {
    const { code, fields, stderr } = answers.get(line) ?? { code: -1, fields: [], stderr: 'was not run' };
    const differs = expected.here !== undefined;
    const wanted = { code: expected.here ?? expected.code, fields: differs ? [] : expected.fields };
    // Its error output tells why another code is there.
    expect({ code, fields, ...(code !== wanted.code && { stderr }) }).toEqual(wanted);
  },
);
