import { describeImageService } from '../conformance/image-service-contract';
import { startRealGlance } from '../support/real-glance';

describeImageService('a real Glance', async () => ({ ...(await startRealGlance()), caller: 'administrator' }));
