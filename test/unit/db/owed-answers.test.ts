import { owedAnswers, type OwedAnswers } from '../../../db/owed-answers';

const message = (type: string, body: string): Buffer => {
  const header = Buffer.alloc(5);
  header.write(type, 'latin1');
  header.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([header, Buffer.from(body, 'latin1')]);
};
const startUp = message('?', 'user\0ivc\0\0').subarray(1);
const ready = message('Z', 'I');
const extended = Buffer.concat([message('P', 'select 1'), message('B', ''), message('E', ''), message('S', '')]);

let owed: OwedAnswers;
beforeEach(() => {
  owed = owedAnswers();
  owed.sent(startUp);
});

it('counts the start-up, with its messages of a password', () => {
  owed.sent(message('p', 'SSSQQQ'));
  expect(owed.count()).toBe(1);
  owed.received(Buffer.concat([message('R', 'ZZZZ'), message('K', '12345678'), ready]));
  expect(owed.count()).toBe(0);
});

it('counts each query and each Sync, several sent at once included', () => {
  owed.received(ready);
  owed.sent(Buffer.concat([message('Q', 'begin'), extended, extended]));
  expect(owed.count()).toBe(3);
  owed.received(Buffer.concat([message('C', 'BEGIN'), ready]));
  expect(owed.count()).toBe(2);
});

it('waits without a Sync for what was asked in between', () => {
  owed.received(ready);
  owed.sent(Buffer.concat([message('P', 'select $1'), message('D', 'S'), message('H', '')]));
  owed.sent(Buffer.concat([message('B', ''), message('E', ''), message('S', '')]));
  expect(owed.count()).toBe(1);
});

it('finds answers however the stream is cut, and none in the bytes of a row', () => {
  owed.sent(extended);
  const stream = Buffer.concat([ready, message('D', 'Z\0\0\0\x05IZ\0\0\0\x05I'.repeat(20)), message('D', ''), ready]);
  for (let bytes = 1; bytes <= 17; bytes += 1) {
    const cut = owedAnswers();
    cut.sent(startUp);
    cut.sent(extended);
    for (let at = 0; at < stream.length; at += bytes) cut.received(stream.subarray(at, at + bytes));
    expect(cut.count()).toBe(0);
  }
});
