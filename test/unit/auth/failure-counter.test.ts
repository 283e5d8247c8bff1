import test from 'ava'
import { createFailureCounter } from '../../../src/auth/failure-counter.ts'

test('failures count for the client as this user, and for the client as anybody', (t) => {
  const failures = createFailureCounter()
  failures.failed({ client: '192.0.2.1', user: 'alice' })
  failures.failed({ client: '192.0.2.1', user: 'bob' })
  t.deepEqual(failures.of({ client: '192.0.2.1', user: 'alice' }), [1, 2])
  t.deepEqual(failures.of({ client: '192.0.2.1', user: 'carol' }), [0, 2])
  t.deepEqual(failures.of({ client: '192.0.2.2', user: 'alice' }), [0, 0])
})

test('failures are forgotten five minutes after the last', (t) => {
  let now = 0
  const failures = createFailureCounter({ now: () => now })
  const login = { client: '192.0.2.1', user: 'alice' }
  failures.failed(login)
  now = 299_999
  t.deepEqual(failures.of(login), [1, 1])
  now = 300_000
  t.deepEqual(failures.of(login), [0, 0])
})
