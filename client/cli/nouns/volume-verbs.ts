import type { Command } from 'commander';
import { registerVolumeCreate } from '../commands/volume-create';
import { registerVolumeDelete } from '../commands/volume-delete';
import { registerVolumeExtend } from '../commands/volume-extend';
import { registerVolumeList } from '../commands/volume-list';
import { registerVolumeReimage } from '../commands/volume-reimage';
import { registerVolumeSet } from '../commands/volume-set';
import { registerVolumeShow } from '../commands/volume-show';
import { registerVolumeTypes } from '../commands/volume-types';
import { registerVolumeUpload } from '../commands/volume-upload';

export function registerVolumeVerbs(volume: Command): void {
  registerVolumeCreate(volume);
  registerVolumeList(volume);
  registerVolumeShow(volume);
  registerVolumeSet(volume);
  registerVolumeExtend(volume);
  registerVolumeReimage(volume);
  registerVolumeDelete(volume);
  registerVolumeUpload(volume);
  registerVolumeTypes(volume);
}
