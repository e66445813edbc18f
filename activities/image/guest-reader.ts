/** Reads guest bytes at any place of what was written. */
export interface GuestReader {
  /** Several may run at once. @returns fewer bytes than asked for only at the end. */
  read(offset: number, lengthBytes: number): Promise<Buffer>;
  close(): Promise<void>;
}
