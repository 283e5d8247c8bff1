/** Who a request comes from. */
export type Principal =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'user'; readonly name: string }

/** What identity is decided from: the raw `Authorization` value and the client's address. */
export type AuthRequest = {
  readonly authorization: string | undefined
  readonly clientAddress: string
}

export type Authenticator = AsyncDisposable & {
  /**
   * The principal of a request.
   * @throws RegistryError UNAUTHORIZED, with `headers['www-authenticate']`
   * @throws RegistryError TOOMANYREQUESTS, with `headers['retry-after']`
   */
  authenticate(request: AuthRequest): Promise<Principal>
}

/** The authenticator of a server without `auth`: there is nothing to check, everybody is anonymous. */
export function createAnonymousAuthenticator(): Authenticator {
  const anonymous = Promise.resolve<Principal>({ kind: 'anonymous' })
  return {
    authenticate: () => anonymous,
    async [Symbol.asyncDispose]() {},
  }
}
