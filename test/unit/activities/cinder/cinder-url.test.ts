import { describeCinderUrl, parseCinderUrl } from '../../../../activities/cinder/cinder-url';

describe("the URL of Cinder's database", () => {
  it('is what its configuration says', () => {
    const url = parseCinderUrl('mysql+pymysql://cinder:p%40ss@db.example:3307/cinder?charset=utf8');
    expect(url).toEqual({
      dialect: 'mysql',
      host: 'db.example',
      port: 3307,
      user: 'cinder',
      password: 'p@ss',
      database: 'cinder',
    });
    expect(describeCinderUrl(url)).toBe('mysql://db.example:3307/cinder');
  });

  it.each([
    ['mariadb://root@localhost/cinder?unix_socket=/run/s.sock', 'mysql:///run/s.sock/cinder'],
    ['postgresql+psycopg2://cinder:secret@[::1]:5433/cinder', 'postgres://::1:5433/cinder'],
    ['postgresql://cinder@/cinder?host=/run/postgresql', 'postgres:///run/postgresql/cinder'],
  ])('may be %s', (text, described) => {
    expect(describeCinderUrl(parseCinderUrl(text))).toBe(described);
  });

  it.each([
    ['sqlite:////var/lib/cinder/cinder.sqlite', 'the scheme sqlite'],
    ['cinder', 'no URL'],
    ['mysql://cinder:secret@db', 'an unreadable URL'],
    ['mysql://cinder:secret@db/cinder?compress=1', 'the parameter compress'],
    ['mysql://cinder:secret@db/cinder?ssl_ca=/nowhere', 'ENOENT'],
    ['postgresql://cinder:secret@db/cinder?sslmode=require', 'sslmode=require'],
    ['mysql://cinder:%zz@db/cinder', 'a part with a broken percent-encoding'],
  ])('is refused where it is %s, and never repeated', (text, said) => {
    const read = (): unknown => parseCinderUrl(text);
    expect(read).toThrow(said);
    expect(read).not.toThrow(/secret/);
  });
});
