/** Where a recorded stack's files were, as the checked-in histories say it. */
const DIRECTORY = '/var/lib/image-volume-cache';

/**
 * @returns a history's JSON without what it tells of the machine that recorded it: directories, process identities, stack traces, also within payloads,
 * which are base64. The parts that replay compares (types, ids, order) stay.
 * @param volumesDirectory the recorded backend's.
 */
export function withoutMachine(value: unknown, volumesDirectory: string): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutMachine(item, volumesDirectory));
  if (typeof value === 'string') return value.replaceAll(volumesDirectory, DIRECTORY);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => {
    if (key === 'identity') return [key, 'worker'];
    if (key === 'stackTrace') return [key, ''];
    return [
      key,
      isPayloadData(value, key)
        ? withoutMachineIn(String(item), volumesDirectory)
        : withoutMachine(item, volumesDirectory),
    ];
  });
  return Object.fromEntries(entries);
}

function isPayloadData(value: object, key: string): boolean {
  return key === 'data' && 'metadata' in value;
}

function withoutMachineIn(base64: string, volumesDirectory: string): string {
  const text = Buffer.from(base64, 'base64').toString('utf8').replaceAll(volumesDirectory, DIRECTORY);
  return Buffer.from(text).toString('base64');
}
