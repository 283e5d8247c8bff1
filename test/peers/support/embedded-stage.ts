import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Api, createApi } from './api.ts'
import { basic, PASSWORD } from './credentials.ts'
import type { Fixtures } from './fixtures.ts'
import { startTidegate, type Tidegate } from './tidegate.ts'

export type EmbeddedStage = AsyncDisposable & {
  /** Tidegate, as it was last started. */
  readonly tidegate: Tidegate
  /** Its store, which goes with the stage. */
  readonly store: string
  /** Talks to it with the right password. */
  readonly api: Api
  /** Ends it with SIGKILL and starts it again, on the same port and store. */
  crash(): Promise<void>
}

/** Tidegate as a registry on an empty folder, with TLS and a password, on a free port. */
export async function startEmbeddedStage(
  { certificates, htpasswd }: Fixtures,
  address = '127.0.0.1',
): Promise<EmbeddedStage> {
  await using stack = new AsyncDisposableStack()
  const { path: store } = stack.use(await mkdtempDisposable(join(tmpdir(), 'store-')))
  const start = (port: number): Promise<Tidegate> =>
    startTidegate({ store, certificates, htpasswd, address, port })
  let tidegate = stack.use(await start(0))
  const owned = stack.move()
  return {
    get tidegate() {
      return tidegate
    },
    store,
    api: createApi({
      url: `https://${address}:${tidegate.port}`,
      authority: certificates.authority,
      servername: 'localhost',
      authorization: basic(PASSWORD),
    }),
    crash: async () => {
      await tidegate.kill()
      tidegate = owned.use(await start(tidegate.port))
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
