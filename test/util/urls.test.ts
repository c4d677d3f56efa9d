import { homedir, userInfo } from 'node:os'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { findParameterFault, nearest, parametersOfPath, pathOfUrl, schemeOf, urlOfPath } from '../../src/util/urls.ts'

describe('schemeOf()', () => {
  it.each([
    ['level:x', 'level'],
    ['S3://bucket', 's3'],
    ['/srv/x', undefined],
    ['', undefined],
    ['://x', undefined],
    ['a-scheme-that-is-much-too-long:x', undefined],
  ])('of %j is %j', (url, scheme) => expect(schemeOf(url)).toBe(scheme))
})

describe('pathOfUrl()', () => {
  it.each([
    ['level:a/b', 'a/b'],
    ['level:/srv/100%', '/srv/100%'],
    ['level:///srv/100%25', '/srv/100%'],
    ['level:a%20b', 'a%20b'],
    ['file:///a%20b', '/a b'],
    ['level:///a%20b', '/a b'],
    ['level:~/m', `${homedir()}/m`],
    ['file:~', homedir()],
    ['level:./~/m', './~/m'],
    ['level:~m/a', undefined],
    ['level:a/~/m', 'a/~/m'],
    ['level:', undefined],
    ['level:a\0b', undefined],
    ['level:///a%00b', undefined],
    ['level://host/share', undefined],
    ['level:///a%2Fb', undefined],
    ['level:///a#b', undefined],
  ])('of %j is %j', (url, path) => expect(pathOfUrl(url)).toBe(path))

  it('has the home directory of the user where HOME is empty', () => {
    onTestFinished(() => void vi.unstubAllEnvs())
    vi.stubEnv('HOME', '')
    expect(pathOfUrl('level:~/m')).toBe(`${userInfo().homedir}/m`)
  })

  it.each(['/srv/a', '/srv/a b', '/srv/100%', '/srv/a?b#c', '/srv/a?b=c#d%', '/srv/ä?x=1'])('gives %j back from its URL, without parameters', (path) => {
    const url = urlOfPath('level', path)
    expect(pathOfUrl(url)).toBe(path)
    expect(parametersOfPath(url).size).toBe(0)
  })
})

describe('findParameterFault()', () => {
  const known = ['part-bytes', 'region']
  const faultOf = (query: string): string | undefined => findParameterFault(new URLSearchParams(query), { scheme: 's3', known })?.sentence

  it('finds none in what is known', () => expect(faultOf('region=a&part-bytes=1')).toBeUndefined())

  it.each([
    ['regoin=a', '"regoin" is not a parameter of "s3:" URLs'],
    ['region=a&region=b', 'it has the parameter "region" more than once'],
    ['very secret=a', 'it has a parameter that "s3:" URLs do not have'],
    ['secret=a@b', 'it has a parameter that "s3:" URLs do not have'],
    ['__proto__=a', 'it has a parameter that "s3:" URLs do not have'],
    ['constructor=a', '"constructor" is not a parameter of "s3:" URLs'],
  ])('in %s says: %s', (query, sentence) => expect(faultOf(query)).toBe(sentence))
})

describe('nearest()', () => {
  it.each([
    ['partBytes', 'part-bytes'],
    ['PART_BYTES', 'part-bytes'],
    ['regoin', 'region'],
    ['regions', 'region'],
    ['credentials', undefined],
    ['re', undefined],
  ])('of %s is %j', (name, candidate) => expect(nearest(name, ['part-bytes', 'region'])).toBe(candidate))
})
