import { describeEveryStep } from '../support/every-step/every-step';
import { uploadScenario } from '../support/every-step/upload-scenario';

describe('UploadVolumeToImage', () => {
  describeEveryStep({
    UploadVolumeToImage: [
      uploadScenario({ name: 'an upload as raw', input: {} }),
      uploadScenario({
        name: 'an upload that holds its volume',
        input: { diskFormat: 'qcow2', holdVolume: true },
        last: ['endUploadHold'],
        struck: ['planUpload', 'ensureImageRecord', 'uploadImage', 'endUploadHold'],
      }),
      uploadScenario({ name: 'an upload as qcow2', input: { diskFormat: 'qcow2' }, struck: ['uploadImage'] }),
      uploadScenario({
        name: 'an upload that is cached',
        input: { diskFormat: 'qcow2', seedCache: true },
        cached: ['openWarming', 'awaitVerdict', 'openWarming'],
        struck: ['openWarming', 'awaitVerdict'],
      }),
    ],
  });
});
