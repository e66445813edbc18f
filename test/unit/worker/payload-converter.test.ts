import type { Payload } from '@temporalio/common';
import { assert, jsonValue, option, property } from 'fast-check';
import { payloadConverter } from '../../../worker/payload-converter';

const encoded = (encoding: string, data: string): Payload => ({
  metadata: { encoding: Buffer.from(encoding) },
  data: Buffer.from(data),
});

describe('the payload converter', () => {
  it('reads what it has written', () => {
    assert(
      property(option(jsonValue(), { nil: undefined }), (value) => {
        const read: unknown = payloadConverter.fromPayload(payloadConverter.toPayload(value, undefined as never));
        expect(read).toEqual(value === undefined ? undefined : JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('never throws on a payload that others have written, and says what it was', () => {
    for (const encoding of ['json/protobuf', 'binary/plain', 'binary/encrypted'])
      expect(payloadConverter.fromPayload(encoded(encoding, '{}'))).toBe(
        `an unreadable payload of encoding ${encoding}`,
      );
    expect(payloadConverter.fromPayload(encoded('json/plain', '{'))).toBe(
      'an unreadable payload of encoding json/plain',
    );
    expect(payloadConverter.fromPayload({})).toBe('an unreadable payload of encoding none');
  });

  it('does not pass on what is nested too deep to be written again', () => {
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    expect(payloadConverter.fromPayload(encoded('json/plain', deep))).toBe(
      'an unreadable payload of encoding json/plain',
    );
  });
});
