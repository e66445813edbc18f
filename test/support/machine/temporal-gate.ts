import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  connect,
  constants,
  createSecureServer,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';

/** Before a plain Temporal server: takes only clients with a certificate of `ca.crt` and with the API key, as Temporal Cloud does. */
export interface TemporalGate {
  address: string;
  /** Calls that were let in and that were refused for their key. */
  calls: { passed: number; refused: number };
  stop(): Promise<void>;
}

/** gRPC's UNAUTHENTICATED. */
const REFUSAL = {
  ':status': 200,
  'content-type': 'application/grpc',
  'grpc-status': '16',
  'grpc-message': 'no such key',
};

/** @param path of certificates by name. @param target host:port. */
export async function startTemporalGate(
  target: string,
  { path, apiKey }: { path: (name: string) => string; apiKey: string },
): Promise<TemporalGate> {
  const upstream = connect(`http://${target}`, { settings: { enablePush: false } });
  const calls = { passed: 0, refused: 0 };
  const server = createSecureServer({
    cert: readFileSync(path('server.crt')),
    key: readFileSync(path('server.key')),
    ca: readFileSync(path('ca.crt')),
    requestCert: true,
    rejectUnauthorized: true,
  });
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session)).on('error', () => session.destroy());
  });
  server.on('tlsClientError', () => undefined);
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    if (headers.authorization !== `Bearer ${apiKey}`) {
      calls.refused += 1;
      stream.respond(REFUSAL, { endStream: true });
      return;
    }
    calls.passed += 1;
    passOn(stream, upstream.request(withoutConnection(headers)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const session of sessions) session.destroy();
      upstream.destroy();
      await closed;
    },
  };
}

function passOn(incoming: ServerHttp2Stream, outgoing: ClientHttp2Stream): void {
  let trailers: IncomingHttpHeaders = {};
  outgoing.on('error', () => incoming.close(constants.NGHTTP2_CANCEL));
  outgoing.on('response', (headers, flags) => {
    const endStream = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    if (incoming.destroyed) return;
    incoming.respond(withoutConnection(headers), endStream ? { endStream } : { waitForTrailers: true });
    if (!endStream) outgoing.pipe(incoming);
  });
  outgoing.on('trailers', (found) => (trailers = found));
  incoming.on('wantTrailers', () => incoming.sendTrailers(withoutConnection(trailers)));
  incoming.on('close', () => outgoing.close(constants.NGHTTP2_CANCEL));
  incoming.pipe(outgoing);
}

function withoutConnection(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const { authorization: _key, ...rest } = headers;
  return rest;
}
