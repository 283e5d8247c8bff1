import test from 'ava'
import fc from 'fast-check'
import { parseDigest } from '../../../src/lib/digest.ts'
import {
  algorithmOf,
  createDigester,
  digestFile,
  parseAlgorithm,
} from '../../../src/registry/digester.ts'
import { createStore, digestOf, pattern } from './uploads/support.ts'

test('digester: an algorithm we do not have is DIGEST_INVALID', (t) => {
  t.throws(() => parseAlgorithm('md5'), { code: 'DIGEST_INVALID' })
  t.throws(() => parseAlgorithm('constructor'), { code: 'DIGEST_INVALID' })
  t.throws(() => algorithmOf(parseDigest('blake3:abc')), { code: 'DIGEST_INVALID' })
})

test('digester: a file that is not there has no digest', async (t) => {
  await using store = await createStore()
  t.is(await digestFile(store.driver, '/none', 'sha256'), undefined)
})

test('digester: pieces give the digest of the whole, and asking for it does not end it', (t) => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 200 }))
  fc.assert(
    fc.property(pieces, fc.constantFrom('sha256' as const, 'sha512' as const), (all, algorithm) => {
      const digester = createDigester(algorithm)
      for (const piece of all) {
        digester.update(piece)
        digester.digest()
      }
      t.is(digester.digest(), digestOf(Buffer.concat(all), algorithm))
      t.is(digester.offset, Buffer.concat(all).length)
    }),
  )
})

for (const length of [0, 1, 256 * 1024, 256 * 1024 + 1, 3 * 256 * 1024]) {
  test(`digester: a file of ${length} bytes is read to its end`, async (t) => {
    await using store = await createStore()
    const bytes = pattern(length)
    await store.driver.write('/file', bytes)
    t.is(await digestFile(store.driver, '/file', 'sha512'), digestOf(bytes, 'sha512'))
  })
}
