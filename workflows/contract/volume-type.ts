import type { Caller } from './event-kinds';

/** Cinder's own name of the type of a volume that has none. Asked for, it is in place of every default. */
export const NO_TYPE = '__DEFAULT__';

/** The property of an image that names the type of its volumes, where a request names none. Source: `cinder.volume.flows.api.create_volume`. */
export const IMAGE_TYPE_PROPERTY = 'cinder_img_volume_type';

/** How a volume type's volumes are to be encrypted, in Cinder's words. */
export interface VolumeTypeEncryption {
  encryptionId: string;
  provider: string;
  controlLocation: 'front-end' | 'back-end';
  cipher: string | null;
  keySize: number | null;
}

/** Changes of a volume type; properties left out stay as they are. */
export interface VolumeTypeChange {
  name?: string;
  /** Null: none. */
  description?: string | null;
  isPublic?: boolean;
  /** Extra specs to set; other keys stay. */
  extraSpecs?: Record<string, string>;
  /** Keys of extra specs to remove; the absent is done. */
  unsetExtraSpecs?: string[];
  /** Projects that may use one that is not public. */
  addProjects?: string[];
  removeProjects?: string[];
  /** Null: none. */
  encryption?: VolumeTypeEncryption | null;
}

/** Projects whose volumes have a type, of the configuration too, that ask for none. */
export interface DefaultTypeChange {
  addDefaultOf?: string[];
  removeDefaultOf?: string[];
}

/** Input of `ChangeVolumeType`: for operators. */
export interface ChangeVolumeTypeInput extends Caller, VolumeTypeChange, DefaultTypeChange {
  volumeTypeId: string;
  /** `create`: it is made, with a name; `delete`: it goes, unless volumes have it or it is a project's default. Default: an existing one is changed. */
  verb?: 'create' | 'delete';
}

/** Result of `ChangeVolumeType`. */
export interface ChangeVolumeTypeResult {
  volumeTypeId: string;
  name: string;
  outcome: 'created' | 'changed' | 'deleted';
}
