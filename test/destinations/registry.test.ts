import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, test } from 'vitest'
import { DESTINATION_SCHEMES, openDestination } from '../../destinations/registry.ts'

describe('openDestination()', () => {
  test.each([
    ['file:backups', resolve('backups')],
    ['file:./my backups/100%', resolve('my backups/100%')],
    ['file:/srv/backups/', '/srv/backups'],
    ['file:/srv/a?b#c', '/srv/a?b#c'],
    ['FILE:/srv/backups', '/srv/backups'],
    ['file:///srv/backups', '/srv/backups'],
    ['file:///srv/my%20backups', '/srv/my backups'],
    ['file:///srv/100%25%3F', '/srv/100%?'],
    ['file:~/backups', join(homedir(), 'backups')],
  ])('takes %s as the path %s', async (url, path) => {
    const destination = await openDestination(url)
    equal(destination.scheme, 'file')
    equal(destination.url, `file:${path}`)
    equal((await openDestination(destination.url)).url, destination.url)
  })

  test.each(['file:', 'file:a\0b', 'file://host/share', 'file:///srv/a%2Fb', 'file:///srv/a%00b', 'file:///srv?x=1', 'file:srv?x=1', 'file:///srv#x', 'file:///srv/%zz'])(
    'refuses %j',
    async (url) => {
      await rejects(openDestination(url), { code: 'destination_config_invalid', httpStatus: 400 })
    },
  )

  test.each(['backups', '/srv/backups', '', 'ftp://user:hunter2@host/x', 'toString:x', '__proto__:x', 'AKIAIOSFODNN7EXAMPLE:hunter2', '://hunter2'])(
    'refuses %j, naming the schemes it knows and repeating no secret',
    async (url) => {
      await rejects(openDestination(url), (error: Error & { code: string; hint: string }) => {
        equal(error.code, 'destination_config_invalid')
        for (const scheme of DESTINATION_SCHEMES) ok(error.message.includes(`"${scheme}:"`))
        ok(!/hunter2|AKIA|user/.test(JSON.stringify([error.message, error.hint])))
        return true
      })
    },
  )

  test('gives a URL that can be opened again for a path that looks like parameters', async () => {
    const { url } = await openDestination('file:///srv/a%3Fb=c')
    equal(url, 'file:///srv/a%3Fb=c')
    equal((await openDestination(url)).url, url)
  })

  test.each([
    ['file:backups?acces=full', /"acces" is not a parameter of "file:" URLs/, /URLs have none/],
    ['s3://bucket?acces=full', /"acces" is not a parameter of "s3:" URLs/, /^Did you mean "access"\?/],
    ['s3://bucket?partBytes=6000000', /"partBytes" is not a parameter/, /^Did you mean "part-bytes"\?/],
  ])('refuses the parameter of %s by name', async (url, message, hint) => {
    await rejects(openDestination(url), { code: 'destination_config_invalid', message, hint })
  })

  test('knows the schemes of the table', () => {
    deepEqual([...DESTINATION_SCHEMES], ['file', 's3'])
  })
})
