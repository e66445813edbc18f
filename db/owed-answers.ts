/** Answers that one session's server owes, counted from the bytes of both directions. */
export interface OwedAnswers {
  count(): number;
  /** @param chunk whole messages, as the driver writes them. */
  sent(chunk: Buffer): void;
  /** @param chunk any piece of the stream. */
  received(chunk: Buffer): void;
}

/** Types of messages. Source: PostgreSQL's documentation, "Message Formats". */
const QUERY = 'Q'.charCodeAt(0);
const SYNC = 'S'.charCodeAt(0);
const READY_FOR_QUERY = 'Z'.charCodeAt(0);
/** A type and a length that counts itself but not the type. */
const HEADER_BYTES = 5;

/** Each start-up, Query and Sync is answered by one ReadyForQuery, whatever comes before it. */
export function owedAnswers(): OwedAnswers {
  let owed = 0;
  let isStarted = false;
  const incoming = messageReader((type) => {
    if (type === READY_FOR_QUERY) owed -= 1;
  });
  return {
    count: () => owed,
    sent: (chunk) => {
      if (!isStarted) {
        // The first message has no type.
        isStarted = true;
        owed += 1;
        return;
      }
      messageReader((type) => {
        if (type === QUERY || type === SYNC) owed += 1;
      })(chunk);
    },
    received: incoming,
  };
}

/** Tells the type of each message whose header has come, however the stream is cut. */
function messageReader(onMessage: (type: number) => void): (chunk: Buffer) => void {
  let header = Buffer.alloc(0);
  let bodyBytes = 0;
  return (chunk) => {
    let rest = chunk;
    for (;;) {
      const skipped = Math.min(bodyBytes, rest.length);
      bodyBytes -= skipped;
      rest = rest.subarray(skipped);
      if (rest.length === 0) return;
      const missing = HEADER_BYTES - header.length;
      header = Buffer.concat([header, rest.subarray(0, missing)]);
      rest = rest.subarray(missing);
      if (header.length < HEADER_BYTES) return;
      onMessage(header.readUInt8(0));
      bodyBytes = Math.max(0, header.readUInt32BE(1) + 1 - HEADER_BYTES);
      header = Buffer.alloc(0);
    }
  };
}
