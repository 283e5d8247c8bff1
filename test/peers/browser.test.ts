import type { Page } from 'playwright-core'
import { basic, PASSWORD } from './support/credentials.ts'
import { makeFixtures } from './support/fixtures.ts'
import { type Images, makeImages } from './support/images.ts'
import { type Peer, peerTest } from './support/peers.ts'
import { must } from './support/process.ts'
import { startRegistry } from './support/registry.ts'
import { openSandbox } from './support/sandbox.ts'
import { startTidegate } from './support/tidegate.ts'
import { fetchInPage, openBrowser, type Seen, servePage } from './support/web-page.ts'

type Stage = AsyncDisposable & {
  readonly images: Images
  /** A page of the one origin that may use the API. */
  readonly allowed: Page
  /** The same page under another name. */
  readonly foreign: Page
  /** What a page sees when it asks for `path`. */
  ask(page: Page, path: string, options?: AskOptions): Promise<Seen>
}

type AskOptions = {
  readonly method?: string
  readonly password?: string
  readonly accept?: string
}

const REPOSITORIES = ['team/app', 'team/other'] as const

/** As registry UIs send it: over 128 characters, so that it is not safelisted and needs a preflight (Fetch standard, "CORS-safelisted request-header"). */
const LONG_ACCEPT = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
].join(', ')

async function setStage(): Promise<Stage> {
  await using stack = new AsyncDisposableStack()
  const { folder, certificates, htpasswd } = stack.use(await makeFixtures())
  const images = await makeImages(folder, [1])
  const registry = stack.use(await startRegistry())
  const sandbox = stack.use(await openSandbox())
  for (const repository of REPOSITORIES) {
    const remote = `docker://${new URL(registry.url).host}/${repository}:v1`
    const args = ['copy', '--dest-tls-verify=false', `oci:${images.layout}:v1`, remote]
    must(await sandbox.run('skopeo', args), 'skopeo copy')
  }
  const { port } = stack.use(await servePage(certificates))
  const origin = `https://127.0.0.1:${port}`
  const tidegate = stack.use(
    await startTidegate({ upstream: registry.url, certificates, htpasswd, origins: [origin] }),
  )
  const { context } = stack.use(await openBrowser())
  const open = async (url: string): Promise<Page> => {
    const page = await context.newPage()
    await page.goto(url)
    return page
  }
  const allowed = await open(origin)
  const foreign = await open(`https://localhost:${port}`)
  const owned = stack.move()
  return {
    images,
    allowed,
    foreign,
    ask: (page, path, { method = 'GET', password = PASSWORD, accept = '*/*' } = {}) =>
      fetchInPage(page, `https://localhost:${tidegate.port}${path}`, method, {
        accept,
        authorization: basic(password),
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** An answer that the page could read. @throws Error when the browser withheld it */
function readable(seen: Seen): Exclude<Seen, { error: string }> {
  if ('error' in seen) throw new Error(`the browser withheld the answer: ${seen.error}`)
  return seen
}

const peers: readonly Peer[] = ['docker-registry', 'htpasswd', 'openssl', 'skopeo', 'chromium']

peerTest(peers, 'a page of an allowed origin lists, reads and deletes', async (t) => {
  await using stage = await setStage()
  const { allowed, images } = stage
  const manifest = '/v2/team/app/manifests'
  const tagged = { accept: LONG_ACCEPT }

  const catalog = readable(await stage.ask(allowed, '/v2/_catalog'))
  t.deepEqual(JSON.parse(catalog.body), { repositories: REPOSITORIES })
  const page = readable(await stage.ask(allowed, '/v2/_catalog?n=1'))
  t.regex(page.headers['link'] ?? '', /_catalog\?last=team%2Fapp&n=1/)
  const tags = readable(await stage.ask(allowed, '/v2/team/app/tags/list'))
  t.deepEqual(JSON.parse(tags.body), { name: 'team/app', tags: ['v1'] })

  const read = readable(await stage.ask(allowed, `${manifest}/v1`, tagged))
  t.is(read.headers['docker-content-digest'], images.image.digest)
  t.is(read.headers['docker-distribution-api-version'], 'registry/2.0')

  const path = `${manifest}/${images.image.digest}`
  t.is(readable(await stage.ask(allowed, path, { method: 'DELETE' })).status, 202)
  const gone = readable(await stage.ask(allowed, `${manifest}/v1`, tagged))
  t.is(gone.status, 404)
  t.regex(gone.body, /MANIFEST_UNKNOWN/)
})

peerTest(peers, 'a page of an allowed origin can read why it was refused', async (t) => {
  await using stage = await setStage()
  const refused = readable(await stage.ask(stage.allowed, '/v2/_catalog', { password: 'wrong' }))
  t.is(refused.status, 401)
  t.regex(refused.body, /"code":"UNAUTHORIZED"/)
  t.regex(refused.headers['www-authenticate'] ?? '', /^Basic realm="Test"/)
})

peerTest(peers, 'a page of another origin can neither read nor delete', async (t) => {
  await using stage = await setStage()
  const { allowed, foreign, images } = stage
  const path = `/v2/team/app/manifests/${images.image.digest}`
  t.deepEqual(await stage.ask(foreign, '/v2/_catalog'), { error: 'TypeError' })
  t.deepEqual(await stage.ask(foreign, path, { method: 'DELETE' }), { error: 'TypeError' })
  const kept = readable(await stage.ask(allowed, path, { accept: LONG_ACCEPT }))
  t.is(kept.status, 200)
})
