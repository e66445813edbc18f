import { describeImageService } from '../conformance/image-service-contract';
import { startRealGlance } from '../support/glance/real-glance';

describeImageService('a real Glance', async () => ({ ...(await startRealGlance()), caller: 'administrator' }));
