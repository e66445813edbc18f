export { CreateVolumeFromImage } from './create-volume-from-image';
export { DeleteVolume } from './delete-volume';
export { PopulateImageCache } from './populate-image-cache';
