import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A connection on which a test says what no HTTP client would, byte by byte. */
export interface RawHttp {
  socket: Socket;
  say(text: string): void;
  /** Resolves with all that has come as soon as it matches. Rejects when the connection ends before. */
  hears(expected: RegExp): Promise<string>;
  /** Resolves with all that has come when the other side has ended the connection. */
  ended: Promise<string>;
}

export async function openRawHttp(url: string): Promise<RawHttp> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  let heard = '';
  socket.setEncoding('utf8').on('data', (text: string) => (heard += text));
  const ended = new Promise<string>((resolve) => socket.on('error', () => undefined).on('close', () => resolve(heard)));
  return {
    socket,
    say: (text) => void socket.write(text),
    hears: (expected) =>
      new Promise((resolve, reject) => {
        const look = () => expected.test(heard) && resolve(heard);
        look();
        socket.on('data', look);
        void ended.then(() => reject(new Error(`the connection ended before ${expected}: ${heard}`)));
      }),
    ended,
  };
}

/** @returns the head of a request of so many bytes of body. */
export function requestHead(request: string, contentLength: number, headers: Record<string, string> = {}): string {
  const more = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${request} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${contentLength}\r\n${more.join('')}\r\n`;
}
