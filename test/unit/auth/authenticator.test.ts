import test from 'ava'
import { createAnonymousAuthenticator } from '../../../src/auth/authenticator.ts'

test('without authentication everybody is anonymous, with or without credentials', async (t) => {
  await using authenticator = createAnonymousAuthenticator()
  for (const authorization of [undefined, 'Basic YTpi']) {
    t.deepEqual(await authenticator.authenticate({ authorization, clientAddress: '192.0.2.1' }), {
      kind: 'anonymous',
    })
  }
})
