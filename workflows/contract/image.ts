import type { ImageId, ProjectId } from './ids';

/** Glance's image states (OpenStack Image API v2). Only `active` images have bytes that can be used. */
export const imageStatuses = [
  'queued',
  'saving',
  'uploading',
  'importing',
  'active',
  'deactivated',
  'killed',
  'deleted',
  'pending_delete',
] as const;
export type ImageStatus = (typeof imageStatuses)[number];

/** Disk formats that can be made into a volume; everything else is refused as `ImageUnsupported`. */
export const supportedDiskFormats = ['raw', 'qcow2', 'vmdk', 'vhd', 'vhdx', 'vdi', 'iso'] as const;
export type SupportedDiskFormat = (typeof supportedDiskFormats)[number];

/** Containers of a disk format; every other is refused as `ImageUnsupported`. */
export const supportedContainerFormats = ['bare', 'compressed'] as const;

/** `off`: nothing is looked at. `when-present`: as Cinder's `verify_glance_signatures = enabled`. */
export const signatureRequirements = ['off', 'when-present', 'always'] as const;
export type SignatureRequirement = (typeof signatureRequirements)[number];

/** A Glance image's record, as far as this product reads it. The bytes behind an id never change. */
export interface Image {
  id: ImageId;
  name: string | null;
  status: ImageStatus;
  visibility: string;
  owner: ProjectId | null;
  containerFormat: string | null;
  diskFormat: string | null;
  /** Stored bytes (the file), null while nothing was uploaded. */
  sizeBytes: number | null;
  /**
   * Guest-visible bytes as Glance worked them out from the declared format; null when it could not. A hint, never a
   * proof.
   */
  virtualSizeBytes: number | null;
  /** The uploader's number, in GiB. */
  minDiskGiB: number;
  minRamMiB: number;
  /** md5 of the stored bytes, hex. */
  checksum: string | null;
  hashAlgorithm: string | null;
  /** Hash of the stored bytes under `hashAlgorithm`, hex. */
  hashValue: string | null;
  hidden: boolean;
  protected: boolean;
  tags: string[];
  /** RFC 3339. */
  createdAt: string;
  updatedAt: string;
  /** The record's other properties, as `os_distro` or `hw_disk_bus`: they become a volume's image metadata. */
  properties: Record<string, string>;
}

/** The identity of what is cached: the same bytes declared raw and qcow2 are different disks. */
export interface CacheKey {
  containerFormat: string;
  diskFormat: string;
  hashAlgorithm: string;
  hashValue: string;
  /**
   * Set only where the image has no hash of at least sha256 (md5 can be collided by a tenant): then the key is the
   * image's own.
   */
  imageId?: ImageId;
  /**
   * Set only where a signature of the bytes is verified: a hash of that and of the public key. Images with the same bytes and other signatures share
   * nothing, so that none is served what was verified for another.
   */
  signature?: string;
  /** First 32 hex digits of sha256 of the fields above: stands in ids and names. */
  short: string;
}

/** Facts that were verified of a ready entry's bytes, beside those of their key. */
export interface EntryVerdict {
  signature?: {
    /** In the trust store. */
    certificateId: string;
    subject: string;
    /** SHA-256 of the certificate, hex. */
    fingerprint: string;
    /** As the image's properties name them. */
    keyType: string;
    hashMethod: string;
  };
}
