import { tmpdir } from 'node:os';
import { describeBackend } from './backend-contract';
import { describeFileBackend, makeFilePlace } from './file-backend-contract';

const makePlace = async () => await makeFilePlace(tmpdir(), 'overlay');

describeBackend('the file backend with overlays', makePlace);
describeFileBackend('the directory of a file backend with overlays', makePlace, 'overlay');
