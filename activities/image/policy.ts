import { createHash } from 'node:crypto';
import { GiB, MiB, TiB } from '../../workflows/contract/bytes';

/** Disk formats that the parsers know, by Glance's names. Which of them may be used is the policy's word. */
export const imageFormats = ['raw', 'qcow2', 'vmdk', 'vhd', 'vhdx', 'vdi', 'iso'] as const;
export type ImageFormat = (typeof imageFormats)[number];

/** Rules for images. Every number is a limit that hostile headers run into before memory, time or space does. */
export interface ImagePolicy {
  /** Largest guest-visible size, in bytes. */
  maxVirtualBytes: number;
  formats: readonly ImageFormat[];
  /** Whether LUKS bytes at offset 0 and encrypted qcow2 are let through. The guest's own encryption inside a disk is never looked at. */
  allowEncrypted: boolean;
  /** Largest top-level table (qcow2 L1, VMDK grain directory, VHD and VHDX BAT, VDI block map), in bytes; QEMU's own limit for L1 is 32 MiB. */
  maxTableBytes: number;
  /** Most internal snapshots of a qcow2; none may carry VM state. */
  maxSnapshots: number;
  /** A file may expand to `expansionAllowanceBytes` plus this many times its own size; deflate alone reaches 1030. */
  maxExpansion: number;
  expansionAllowanceBytes: number;
  /** Refuse raw disks whose MBR is not what the UEFI specification draws (oslo.utils' reading); real tools write others. */
  strictPartitionTables: boolean;
}

export const defaultImagePolicy: ImagePolicy = {
  maxVirtualBytes: 2 * TiB,
  formats: imageFormats,
  allowEncrypted: false,
  maxTableBytes: 32 * MiB,
  maxSnapshots: 1024,
  maxExpansion: 250,
  expansionAllowanceBytes: GiB,
  strictPartitionTables: false,
};

/** Raised whenever a rule of the parsers changes its verdict, so that remembered verdicts are not believed any more. */
const INSPECTION_REVISION = 4;

/**
 * @param signatures the version of what is asked of signatures.
 * @returns 16 hex digits that change when the policy, or the parsers' rules, do; the order of keys and formats does not matter.
 */
export function policyVersion(policy: ImagePolicy, signatures?: string): string {
  const canonical = { ...policy, signatures, formats: [...policy.formats].sort(), revision: INSPECTION_REVISION };
  const sorted = Object.fromEntries(Object.entries(canonical).sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex').slice(0, 16);
}
