import { randomBytes } from 'node:crypto'
import test from 'ava'
import { deriveTicketKeys, openTicketKeys } from '../../../src/tls/session-tickets.ts'

const secret = Buffer.alloc(32, 1)
const noon = Date.UTC(2026, 0, 15, 12)
const hourMs = 3_600_000
const files = ['certificate', 'key'].map((text) => ({ bytes: Buffer.from(text) }))

test('session tickets: one secret and the same files are the same 48 bytes, all day long', (t) => {
  const keys = deriveTicketKeys(secret, files, noon)
  t.is(keys.length, 48)
  t.deepEqual(deriveTicketKeys(Buffer.from(secret), [...files], noon + 11 * hourMs), keys)
})

test('session tickets: another secret, file, order of files or day is another key', (t) => {
  const [certificate, key] = files
  if (certificate === undefined || key === undefined) throw new Error('there are two')
  const variants = [
    deriveTicketKeys(secret, files, noon),
    deriveTicketKeys(randomBytes(32), files, noon),
    deriveTicketKeys(secret, [key, certificate], noon),
    deriveTicketKeys(secret, [...files, { bytes: Buffer.from('authority') }], noon),
    deriveTicketKeys(secret, files, noon + 12 * hourMs),
  ]
  t.is(new Set(variants.map(String)).size, variants.length)
})

test('session tickets: files that change are followed at once', (t) => {
  const used: Buffer[] = []
  using tickets = openTicketKeys({ secret, files, use: (keys) => void used.push(keys) })
  t.is(used.length, 1)
  tickets.follow([...files].reverse())
  t.is(used.length, 2)
  t.notDeepEqual(used[0], used[1])
})
