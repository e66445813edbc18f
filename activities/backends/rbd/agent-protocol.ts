import type { ClusterIdentity, RbdImage, RbdPool, RbdWatcher } from './cluster';

/** What the agent process does, by name: each is one visit to the cluster over its one connection. Handles are numbers of the agent's own. */
export interface AgentCalls {
  connect(pool: RbdPool & { operationsAtOnce?: number }): Promise<ClusterIdentity>;
  space(): Promise<{ totalBytes: number; freeBytes: number }>;
  readObject(name: string): Promise<Buffer | undefined>;
  createObject(name: string, bytes: Buffer): Promise<boolean>;
  ensureTrash(): Promise<void>;
  listImages(): Promise<string[]>;
  listTrash(): Promise<{ id: string; name: string }[]>;
  describeImage(name: string, metadataKeys: readonly string[]): Promise<RbdImage | undefined>;
  usedBytes(name: string, snapshot?: string): Promise<number>;
  countChildren(name: string, snapshot: string): Promise<number>;
  listWatchers(name: string): Promise<RbdWatcher[]>;
  createImage(name: string, sizeBytes: number): Promise<void>;
  cloneImage(
    parent: { image: string; snapshot: string },
    clone: { name: string; sizeBytes: number; metadata: Record<string, string> },
  ): Promise<void>;
  completeImage(name: string, change: { sizeBytes: number; metadata: Record<string, string> }): Promise<void>;
  createSnapshot(name: string, snapshot: string): Promise<void>;
  renameImage(from: string, to: string): Promise<void>;
  removeImage(name: string): Promise<void>;
  removeFromTrash(id: string): Promise<boolean>;
  flatten(name: string): Promise<void>;
  openImage(
    name: string,
    options: { snapshot?: string; writable: boolean },
  ): Promise<{ image: number; sizeBytes: number }>;
  readAt(image: number, offset: number, lengthBytes: number): Promise<Buffer>;
  writeAt(image: number, offset: number, bytes: Buffer): Promise<void>;
  flushImage(image: number): Promise<void>;
  closeImage(image: number): Promise<void>;
  /** Images that are open in the agent, to see that every path closes them. */
  countOpenImages(): Promise<number>;
}
export type AgentCall = keyof AgentCalls;

export interface AgentRequest {
  id: number;
  call: AgentCall;
  args: unknown[];
}

export type AgentReply =
  | { id: number; value: unknown }
  | { id: number; ceph: { call: string; errno: number } }
  | { id: number; bug: string }
  /** The libraries cannot be loaded: the agent ends. */
  | { missing: string };
