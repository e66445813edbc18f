import type { ClusterIdentity, RbdCluster, RbdPool } from './cluster';

/**
 * Calls that the agent process serves, by name: each is one visit to the cluster over its one connection. Reads and writes in pieces go by an image
 * that stays open; its number is the agent's own.
 */
export interface AgentCalls extends Omit<
  RbdCluster,
  | 'access'
  | 'identify'
  | 'flatten'
  | 'emptyImage'
  | 'hash'
  | 'read'
  | 'openReader'
  | 'openWriter'
  | 'close'
  | 'describeSnapshot'
  | 'listExtents'
  | 'protectSnapshot'
  | 'unprotectSnapshot'
> {
  connect(pool: RbdPool & { operationsAtOnce?: number }): Promise<ClusterIdentity>;
  flatten(name: string): Promise<void>;
  emptyImage(name: string, sizeBytes: number): Promise<void>;
  describeSnapshot: NonNullable<RbdCluster['describeSnapshot']>;
  listExtents: NonNullable<RbdCluster['listExtents']>;
  protectSnapshot: NonNullable<RbdCluster['protectSnapshot']>;
  unprotectSnapshot: NonNullable<RbdCluster['unprotectSnapshot']>;
  openImage(
    name: string,
    options: { snapshot?: string; writable: boolean },
  ): Promise<{ image: number; sizeBytes: number }>;
  readAt(image: number, offset: number, lengthBytes: number): Promise<Buffer>;
  /** Goes on with the hash of an open image: calls take effect in their order. `offset`: a multiple of 4 MiB. */
  hashOn(image: number, algorithm: string, range: { offset: number; lengthBytes: number }): Promise<void>;
  /** @returns hex, once. */
  digestOf(image: number): Promise<string>;
  writeAt(image: number, offset: number, bytes: Buffer): Promise<void>;
  flushImage(image: number): Promise<void>;
  closeImage(image: number): Promise<void>;
  /** How often each call of librados and librbd was made, to see what an operation costs. */
  countCalls(): Promise<Record<string, number>>;
  /** Images that are open in the agent, to see that every path closes them. */
  countOpenImages(): Promise<number>;
}
export type AgentCall = keyof AgentCalls;

/** Stands for bytes that come on the pipe beside the messages; see `parcels.ts`. */
export interface Parcel {
  parcel: number;
}
/** The agent's end of that pipe. */
export const PARCELS_FD = 4;
export const MAX_PARCEL_BYTES = 4 * 1024 ** 2;

export interface AgentRequest {
  id: number;
  call: AgentCall;
  /** Buffers are parcels. */
  args: unknown[];
}

export type AgentReply =
  | { id: number; value: unknown }
  | { id: number; ceph: { call: string; errno: number } }
  | { id: number; bug: string }
  /** The libraries cannot be loaded: the agent ends. */
  | { missing: string };
