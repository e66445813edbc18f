import type { VolumeId } from './ids';

/** News for a server of a volume that it uses, in Nova's words. */
export interface VolumeNews {
  event: 'volume-extended' | 'volume-reimaged';
  status: 'completed' | 'failed';
}

/** News of a volume, for all servers that use it. */
export interface NewsOfVolume extends VolumeNews {
  volumeId: VolumeId;
}
