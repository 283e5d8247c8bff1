import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import type { Certificates } from './certificates.ts'

/** What a script in a page may see of an answer, or the name of the error that it gets instead. */
export type Seen =
  | { readonly error: string }
  | {
      readonly status: number
      readonly body: string
      /** The headers that the browser lets the script read. */
      readonly headers: Readonly<Record<string, string>>
    }

export type PageServer = AsyncDisposable & { readonly port: number }

/** Serves an empty page over TLS on a free port of 127.0.0.1. */
export async function servePage({ certificate, key }: Certificates): Promise<PageServer> {
  const server = createServer(
    { cert: await readFile(certificate), key: await readFile(key) },
    (_req, res) =>
      res.setHeader('content-type', 'text/html').end('<!doctype html><title>UI</title>'),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new TypeError('no TCP address')
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Opens Debian's Chromium without a window, with a profile of its own. */
export async function openBrowser(): Promise<
  AsyncDisposable & { readonly context: BrowserContext }
> {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
  const context = await browser.newContext({ ignoreHTTPSErrors: true })
  return { context, [Symbol.asyncDispose]: () => browser.close() }
}

/** Has a script in the page fetch `url` with credentials, as a registry UI does. */
export function fetchInPage(
  page: Page,
  url: string,
  method: string,
  headers: Readonly<Record<string, string>>,
): Promise<Seen> {
  return page.evaluate(
    async (request) => {
      try {
        const { method, headers } = request
        const response = await fetch(request.url, { method, headers, credentials: 'include' })
        return {
          status: response.status,
          body: await response.text(),
          headers: Object.fromEntries(response.headers),
        }
      } catch (error) {
        return { error: error instanceof Error ? error.name : String(error) }
      }
    },
    { url, method, headers },
  )
}
