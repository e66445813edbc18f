import { existsSync, readFileSync } from 'node:fs';
import { isIP, type Socket } from 'node:net';
import { checkServerIdentity, connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import type { TlsSettings } from './url';

/** SSLRequest. Source: PostgreSQL's documentation, "Message Formats". */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const YES = 'S'.charCodeAt(0);
const NO = 'N'.charCodeAt(0);

/**
 * Asks a PostgreSQL for TLS on a fresh connection. @returns the encrypted socket; undefined: it has none, and waits for
 * a plain start-up.
 * @throws what the handshake or the server's certificate failed for.
 */
export async function startTls(
  socket: Socket,
  { host, tls }: { host: string; tls: TlsSettings },
): Promise<TLSSocket | undefined> {
  const answer = await firstAnswer(socket, SSL_REQUEST);
  if (answer.length === 1 && answer[0] === NO) return undefined;
  // More than one byte would have been sent by somebody in between.
  if (answer.length !== 1 || answer[0] !== YES)
    throw new Error('the server has answered the request for TLS with neither yes nor no');
  const secured = connect({ socket, ...tlsOptions(host, tls) });
  await settled(secured, 'secureConnect');
  return secured;
}

/** @returns the first bytes that the server answers `message` with. @throws when it closes the connection instead. */
export async function firstAnswer(socket: Socket, message: Buffer): Promise<Buffer> {
  socket.write(message);
  return await settled<Buffer>(socket, 'data');
}

/**
 * As libpq: a known root certificate is always checked against; the host's name only in `verify-full`.
 * The files are read anew for each connection, so that renewed certificates need no restart. @throws when one cannot be
 * read.
 */
export function tlsOptions(host: string, { mode, rootCertificate, certificate, key }: TlsSettings): ConnectionOptions {
  const verifies = mode === 'verify-ca' || mode === 'verify-full' || rootCertificate !== undefined;
  return {
    rejectUnauthorized: verifies,
    checkServerIdentity: (_, found) => (mode === 'verify-full' ? checkServerIdentity(host, found) : undefined),
    ...(isIP(host) === 0 && { servername: host }),
    ...(rootCertificate !== undefined && rootCertificate !== 'system' && { ca: readFileSync(rootCertificate) }),
    ...(certificate !== undefined && { cert: readFileSync(certificate) }),
    ...(key !== undefined && existsSync(key) && { key: readFileSync(key) }),
  };
}

/** Waits for one event. @throws when the connection fails or is closed before. */
export function settled<T = void>(socket: Socket, event: 'connect' | 'data' | 'secureConnect'): Promise<T> {
  return new Promise((resolve, reject) => {
    const onEvent = (value: T): void => end(() => resolve(value));
    const onError = (error: Error): void => end(() => reject(error));
    const onClose = (): void =>
      end(() => reject(Object.assign(new Error('the server closed the connection'), { code: 'ECONNRESET' })));
    const end = (then: () => void): void => {
      socket.off(event, onEvent).off('error', onError).off('close', onClose);
      then();
    };
    socket.on(event, onEvent).on('error', onError).on('close', onClose);
  });
}
