import { describeRemedy } from '../../../../workflows/contract/unserved';

it.each([
  ['image-volume-cache', 'ivc worker --roles control'],
  ['stack-image-volume-cache', 'ivc worker --roles control'],
  ['backend-local', 'ivc worker --roles backend,host'],
  ['my-host-backend-local', 'ivc worker --roles backend,host'],
  ['stack-host-0f8fad5b-d9cb-469f-a165-70867728950e', 'ivc worker --roles host on the host whose scratch it is'],
])('a worker for the task queue %s is started by `%s`', (taskQueue, remedy) => {
  expect(describeRemedy(taskQueue)).toBe(remedy);
});
