import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Certificates, makeCertificates } from './certificates.ts'
import { makeHtpasswd } from './credentials.ts'

export type Fixtures = AsyncDisposable & {
  readonly folder: string
  readonly certificates: Certificates
  /** Path of the password file. */
  readonly htpasswd: string
}

/** Makes what every server under test needs, in a folder that goes with it. */
export async function makeFixtures(): Promise<Fixtures> {
  await using stack = new AsyncDisposableStack()
  const { path: folder } = stack.use(await mkdtempDisposable(join(tmpdir(), 'fixtures-')))
  const certificates = await makeCertificates(folder)
  const htpasswd = await makeHtpasswd(folder)
  const owned = stack.move()
  return { folder, certificates, htpasswd, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
