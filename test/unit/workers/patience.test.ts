import test from 'ava'
import { within } from '../../../src/workers/patience.ts'

test('patience: no answer in time is UNAVAILABLE, and says why in the log', async (t) => {
  const error = await t.throwsAsync(within(20, new Promise(() => {})), { code: 'UNAVAILABLE' })
  t.regex(String(error?.cause), /did not answer within 20 ms/)
})

test('patience: an answer in time is passed on, right or wrong, and one too late is no fault', async (t) => {
  t.is(await within(60_000, Promise.resolve(7)), 7)
  await t.throwsAsync(within(60_000, Promise.reject(new TypeError('no'))), { message: 'no' })
  const late = Promise.withResolvers<void>()
  await t.throwsAsync(within(1, late.promise), { code: 'UNAVAILABLE' })
  late.reject(new Error('too late'))
})
