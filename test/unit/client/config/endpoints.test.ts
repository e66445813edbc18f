import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  endpointsPath,
  findEndpoints,
  removeEndpoints,
  writeEndpoints,
  type Endpoints,
} from '../../../../client/config/endpoints';
import { findProcess } from '../../../../lib/process-identity';

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'ivc-endpoints-'))));
afterEach(() => rmSync(directory, { recursive: true }));

function endpoints(change: Partial<Endpoints> = {}): Endpoints {
  const supervisor = findProcess(process.pid);
  if (!supervisor) throw new Error('this process is not in /proc');
  return {
    dataDirectory: directory,
    supervisor,
    temporal: { address: '127.0.0.1:7233', namespace: 'default', embedded: true, taskQueuePrefix: '' },
    database: { url: 'postgres://user:secret@host/name', embedded: false },
    images: { endpoint: 'http://127.0.0.1:9292', embedded: true },
    ...change,
  };
}

test('what was written is read again, and only its owner may read it', () => {
  writeEndpoints(endpoints());
  expect(findEndpoints(directory)).toEqual(endpoints());
  expect(statSync(endpointsPath(directory)).mode & 0o777).toBe(0o600);
  expect(readdirSync(directory)).toEqual(['endpoints.json']);
});

test('there are none when the file is absent, damaged or of another shape', () => {
  expect(findEndpoints(directory)).toBeUndefined();
  writeFileSync(endpointsPath(directory), '{"dataDirectory":');
  expect(findEndpoints(directory)).toBeUndefined();
  writeFileSync(endpointsPath(directory), '{}');
  expect(findEndpoints(directory)).toBeUndefined();
});

test('there are none when the supervisor is gone, even if its pid belongs to another process by now', () => {
  writeEndpoints(endpoints({ supervisor: { pid: process.pid, startTime: 'another/1' } }));
  expect(findEndpoints(directory)).toBeUndefined();
});

test('removing them twice is no error', () => {
  writeEndpoints(endpoints());
  removeEndpoints(directory);
  removeEndpoints(directory);
  expect(findEndpoints(directory)).toBeUndefined();
});
