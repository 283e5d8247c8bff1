import { hash } from 'node:crypto'
import test from 'ava'
import { createKeyedHash } from '../../../src/auth/keyed-hash.ts'

test('the same text has the same hash under one key, and another under another or none', (t) => {
  const keyed = createKeyedHash()
  t.is(keyed('secret'), keyed('secret'))
  t.not(keyed('secret'), keyed('Secret'))
  t.not(keyed('secret'), createKeyedHash()('secret'))
  t.not(keyed('secret'), hash('sha256', 'secret', 'base64'))
})
