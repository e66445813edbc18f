import {
  CompositePayloadConverter,
  JsonPayloadConverter,
  UndefinedPayloadConverter,
  type Payload,
  type PayloadConverter,
} from '@temporalio/common';

const own = new CompositePayloadConverter(new UndefinedPayloadConverter(), new JsonPayloadConverter());

/**
 * JSON, as all of our own payloads are. Any Temporal client may start a workflow with something else (the UI's start
 * form offers other encodings), and a converter that throws holds the workflow task for ever: so what cannot be read
 * becomes a sentence that says what came, which admission refuses.
 */
export const payloadConverter: PayloadConverter = {
  toPayload: (value) => own.toPayload(value),
  fromPayload: readPayload as PayloadConverter['fromPayload'],
};

function readPayload(payload: Payload): unknown {
  try {
    const value: unknown = own.fromPayload(payload);
    // A value nested too deep to be written again would stop the workflow at its first step.
    if (isLarge(payload)) own.toPayload(value);
    return value;
  } catch {
    return `an unreadable payload of encoding ${encodingOf(payload)}`;
  }
}

/** Below this nothing can be nested so deep that it cannot be written as JSON. */
const SURELY_SHALLOW_BYTES = 1024;
const MAX_ENCODING_CHARACTERS = 60;

function isLarge({ data }: Payload): boolean {
  return (data?.length ?? 0) > SURELY_SHALLOW_BYTES;
}

function encodingOf({ metadata }: Payload): string {
  const encoding = metadata?.['encoding'];
  if (encoding === undefined) return 'none';
  return String.fromCharCode(...encoding.subarray(0, MAX_ENCODING_CHARACTERS));
}
