import type { ImageVolumeCache } from '../client/connection';

/** The context that the routes of every resource are given. */
export interface ApiContext {
  cache: ImageVolumeCache;
  availabilityZone: string;
  /** As in links; undefined: as the client has called it. */
  publicUrl: string | undefined;
}
