/** Where the bytes of a body are put, without a copy on the way. */
export interface ByteSink {
  /** @returns room for the next bytes; undefined when there is none just now. @throws what ends the transfer. */
  room(): Buffer | undefined;
  /** So many bytes stand at the start of the room that was given last. @throws what ends the transfer. */
  filled(bytes: number): void;
  /** Resolves when there is room again. @throws what ends the transfer. */
  awaitRoom(): Promise<void>;
}
