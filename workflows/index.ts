export { CreateVolumeFromImage } from './create-volume-from-image';
export { DeleteVolume } from './delete-volume';
export { EvictImageCache } from './evict-image-cache';
export { PopulateImageCache } from './populate-image-cache';
export { FollowImage } from './follow-image';
export { RefreshImageCache } from './refresh-image-cache';
export { UnfollowImage } from './unfollow-image';
export { WarmImageCache } from './warm-image-cache';
