/** Reads guest bytes at any place of what was written. */
export interface GuestReader {
  /** Several may run at once. @returns fewer bytes than asked for only at the end. */
  read(offset: number, lengthBytes: number): Promise<Buffer>;
  /** Reads the first bytes where they are. @returns hex. @throws the signal's reason. */
  hash(options: HashOptions): Promise<string>;
  close(): Promise<void>;
}

export interface HashOptions {
  /** A name that node:crypto knows. */
  algorithm: string;
  lengthBytes: number;
  signal: AbortSignal;
  onProgress: (bytesDone: number) => void;
}
