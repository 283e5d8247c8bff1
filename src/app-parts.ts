import type { Logger } from 'pino'
import { openStore } from './app-store.ts'
import { type OpenBackend, openUpstream } from './app-upstream.ts'
import { type Authenticator, createAnonymousAuthenticator } from './auth/authenticator.ts'
import { openHtpasswdAuthenticator } from './auth/htpasswd.ts'
import { createPasswordVerifier, type PasswordVerifier } from './auth/password-verifier.ts'
import type { Config } from './config/schema.ts'
import { gatherProblems } from './lib/startup-error.ts'
import { loadTlsServerOptions, type TlsServerMaterial } from './tls/server-options.ts'

/** What a server is made of before it listens. */
export type Parts = {
  readonly tls: TlsServerMaterial | undefined
  readonly authenticator: Authenticator
  readonly backend: OpenBackend
}

type PartsOptions = {
  readonly log: Logger
  readonly verifier: PasswordVerifier
  /** Takes what has to be closed in the end. */
  readonly opened: AsyncDisposableStack
}

/** Reads every file that the configuration names. @throws StartupError with every problem */
export async function openParts(
  config: Config,
  { log, verifier, opened }: PartsOptions,
): Promise<Parts> {
  const { http, auth, upstream } = config
  const openAuthenticator = async (): Promise<Authenticator> => {
    if (auth.htpasswd === undefined) return createAnonymousAuthenticator()
    return await openHtpasswdAuthenticator({ ...auth.htpasswd, log, verifier })
  }
  const openBackend = upstream === undefined ? openStore : openUpstream
  const [tls, authenticator, backend] = await gatherProblems([
    http.tls === undefined ? Promise.resolve(undefined) : loadTlsServerOptions(http.tls),
    openAuthenticator().then((value) => opened.use(value)),
    openBackend(config, log).then((value) => opened.use(value)),
  ])
  for (const warning of tls?.warnings ?? []) log.warn(warning)
  return { tls, authenticator, backend }
}

/** Reads every file that the configuration names, as a start would. @throws StartupError */
export async function checkApp(config: Config, log: Logger): Promise<void> {
  await using opened = new AsyncDisposableStack()
  const verifier = opened.use(createPasswordVerifier({ log }))
  await openParts(config, { log, verifier, opened })
}
