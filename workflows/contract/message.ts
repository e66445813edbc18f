import type { Caller } from './event-kinds';

/** Failures that may come after the request was accepted. */
export const failedKinds = [
  'volume.create-failed',
  'volume.delete-refused',
  'volume.extend-failed',
  'volume.reimage-failed',
  'volume.upload-failed',
  'snapshot.create-failed',
] as const;
export type FailedKind = (typeof failedKinds)[number];

/** Input of `DeleteMessage`. */
export interface DeleteMessageInput extends Caller {
  messageId: string;
  /** Only a message to this project. Default, for operators: to any. */
  projectId?: string;
}

/** Result of `DeleteMessage`. */
export interface DeleteMessageResult {
  messageId: string;
}
