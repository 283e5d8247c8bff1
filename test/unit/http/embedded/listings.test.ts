import test from 'ava'
import fc from 'fast-check'
import { parseRepoName } from '../../../../src/lib/names.ts'
import { ask, digestOf, errorIn, headerOf, MemoryRegistry, startEmbedded } from './support.ts'

const digest = digestOf('manifest')

/** A front whose repository `team/app` has these tags, and whose catalog has these repositories. */
async function start(tags: readonly string[], names: readonly string[] = []) {
  const registry = new MemoryRegistry()
  for (const tag of tags) registry.current.set(`team/app ${tag}`, digest)
  for (const name of names) {
    const manifest = { digest, mediaType: 'application/json', content: Buffer.from('{}') }
    registry.revisions.set(`${parseRepoName(name)} ${digest}`, manifest)
  }
  const front = await startEmbedded(registry)
  return { ...front, registry }
}

const list = '/v2/team/app/tags/list'

for (const n of ['-1', 'a', '', '1.5', '1e3', '+1', '0x1', '%31%00', '１']) {
  test(`listings: n=${n} is no number of entries`, async (t) => {
    await using front = await start(['a'])
    for (const path of [list, '/v2/_catalog']) {
      const answer = await ask(front, `GET ${path}?n=${encodeURI(n).replaceAll('%25', '%')}`)
      t.is(answer.status, 400)
      t.is(errorIn(answer).code, 'PAGINATION_NUMBER_INVALID')
    }
  })
}

test('listings: more of the catalog at once than there may be is refused, as registry:2 does', async (t) => {
  await using front = await start([], ['a'])
  const answer = await ask(front, 'GET /v2/_catalog?n=1001')
  t.is(answer.status, 400)
  t.is(errorIn(answer).code, 'PAGINATION_NUMBER_INVALID')
  t.deepEqual(errorIn(answer).detail, { n: 1001 })
  t.is((await ask(front, 'GET /v2/_catalog?n=1000')).status, 200)
})

test('listings: tags of an unknown repository are NAME_UNKNOWN', async (t) => {
  await using front = await start([])
  for (const query of ['', '?n=0', '?n=3&last=a']) {
    const answer = await ask(front, `GET ${list}${query}`)
    t.is(answer.status, 404)
    t.is(errorIn(answer).code, 'NAME_UNKNOWN')
  }
})

test('listings: without a number all tags are listed, in ASCII order', async (t) => {
  await using front = await start(['b', 'a', 'B', 'a-1', 'a.1', '1', 'z', 'y', 'x'])
  const answer = await ask(front, `GET ${list}`)
  t.is(answer.status, 200)
  t.is(headerOf(answer, 'content-type'), 'application/json')
  t.is(headerOf(answer, 'link'), undefined)
  t.deepEqual(JSON.parse(answer.body), {
    name: 'team/app',
    tags: ['1', 'B', 'a', 'a-1', 'a.1', 'b', 'x', 'y', 'z'],
  })
  const head = await ask(front, `HEAD ${list}`)
  t.is(head.body, '')
  t.is(headerOf(head, 'content-length'), headerOf(answer, 'content-length'))
})

test('listings: a page has a link to the next one, the last page has none', async (t) => {
  await using front = await start(['a', 'b', 'c'])
  const first = await ask(front, `GET ${list}?n=2`)
  t.deepEqual(JSON.parse(first.body).tags, ['a', 'b'])
  t.is(headerOf(first, 'link'), `<${list}?last=b&n=2>; rel="next"`)
  const second = await ask(front, `GET ${list}?last=b&n=2`)
  t.deepEqual(JSON.parse(second.body).tags, ['c'])
  t.is(headerOf(second, 'link'), undefined)
  t.is(headerOf(await ask(front, `GET ${list}?n=3`), 'link'), undefined)
})

test('listings: a page of nothing has no link', async (t) => {
  await using front = await start(['a', 'b'], ['a', 'b'])
  for (const [path, key] of [
    [list, 'tags'],
    ['/v2/_catalog', 'repositories'],
  ] as const) {
    for (const query of ['?n=0', '?n=0&last=a', '?n=5&last=zzz']) {
      const answer = await ask(front, `GET ${path}${query}`)
      t.deepEqual(JSON.parse(answer.body)[key], [], query)
      t.is(headerOf(answer, 'link'), undefined)
    }
  }
})

test('listings: more tags at once than there may be are cut to what may be', async (t) => {
  await using front = await start(['a', 'b', 'c', 'd', 'e', 'f'])
  for (const n of ['6', '100', '9'.repeat(400)]) {
    const answer = await ask(front, `GET ${list}?n=${n}`)
    t.is(JSON.parse(answer.body).tags.length, 5)
    t.is(headerOf(answer, 'link'), `<${list}?last=e&n=5>; rel="next"`)
  }
})

test('listings: the catalog comes in pages of a hundred if nothing else is asked for', async (t) => {
  const names = Array.from({ length: 150 }, (_, at) => `app/r${String(at).padStart(3, '0')}`)
  await using front = await start([], names)
  const first = await ask(front, 'GET /v2/_catalog')
  t.deepEqual(JSON.parse(first.body), { repositories: names.slice(0, 100) })
  t.is(headerOf(first, 'link'), '</v2/_catalog?last=app%2Fr099&n=100>; rel="next"')
  const second = await ask(front, 'GET /v2/_catalog?last=app%2Fr099&n=100')
  t.deepEqual(JSON.parse(second.body), { repositories: names.slice(100) })
})

test('listings: whoever follows the links sees every tag once', async (t) => {
  const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}$/)
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(tag, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 7 }),
      async (tags, n) => {
        await using front = await start(tags)
        const seen: string[] = []
        for (let path: string | undefined = `${list}?n=${n}`; path !== undefined; ) {
          const answer = await ask(front, `GET ${path}`)
          seen.push(...JSON.parse(answer.body).tags)
          path = /^<(.*)>; rel="next"$/.exec(headerOf(answer, 'link') ?? '')?.[1]
        }
        t.deepEqual(seen, tags.toSorted())
      },
    ),
    { numRuns: 15 },
  )
})

test('listings: the entry to go on after may be any text', async (t) => {
  await using front = await start(['a', 'b'])
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 100 }), async (last) => {
      const answer = await ask(front, `GET ${list}?last=${encodeURIComponent(last)}`)
      t.is(answer.status, 200)
      t.is(front.registry.pages.at(-1)?.after, last)
    }),
    { numRuns: 30 },
  )
})

const referrers = `/v2/team/app/referrers/${digest}`
const index = 'application/vnd.oci.image.index.v1+json'

test('listings: what nobody refers to has an empty index', async (t) => {
  await using front = await start([])
  const answer = await ask(front, `GET ${referrers}`)
  t.is(answer.status, 200)
  t.is(headerOf(answer, 'content-type'), index)
  t.deepEqual(JSON.parse(answer.body), { schemaVersion: 2, mediaType: index, manifests: [] })
  t.is(headerOf(answer, 'oci-filters-applied'), undefined)
  t.is(headerOf(answer, 'link'), undefined)
  const head = await ask(front, `HEAD ${referrers}`)
  t.is(head.body, '')
  t.is(headerOf(head, 'content-length'), String(answer.body.length))
})

const entry = (artifactType: string) => ({
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  digest: digestOf(artifactType),
  size: 10,
  artifactType,
  annotations: { note: 'é' },
})

test('listings: a filter by type is passed on, named, and kept in the link to the next page', async (t) => {
  await using front = await start([])
  front.registry.referring = { entries: [entry('a/b')], more: true }
  const answer = await ask(front, `GET ${referrers}?artifactType=a%2Fb&last=sha256:0`)
  t.deepEqual(front.registry.referrersAsked, [{ artifactType: 'a/b', after: 'sha256:0' }])
  t.deepEqual(JSON.parse(Buffer.from(answer.body, 'latin1').toString()).manifests, [entry('a/b')])
  t.is(headerOf(answer, 'oci-filters-applied'), 'artifactType')
  const last = encodeURIComponent(digestOf('a/b'))
  t.is(headerOf(answer, 'link'), `<${referrers}?last=${last}&artifactType=a%2Fb>; rel="next"`)
})

test('listings: of several types any may match, and pages go on after what was looked at', async (t) => {
  await using front = await start([])
  const entries = ['a', 'b', 'c'].map(entry)
  front.registry.referring = { entries, more: true }
  const answer = await ask(front, `GET ${referrers}?artifactType=a&artifactType=b`)
  t.deepEqual(front.registry.referrersAsked, [{ artifactType: undefined, after: undefined }])
  t.deepEqual(
    JSON.parse(answer.body).manifests.map(
      ({ artifactType }: { artifactType: string }) => artifactType,
    ),
    ['a', 'b'],
  )
  t.is(headerOf(answer, 'oci-filters-applied'), 'artifactType')
  t.true(headerOf(answer, 'link')?.includes(encodeURIComponent(digestOf('c'))))
})

test('listings: an empty type is no filter', async (t) => {
  await using front = await start([])
  const answer = await ask(front, `GET ${referrers}?artifactType=`)
  t.deepEqual(front.registry.referrersAsked, [{ artifactType: undefined, after: undefined }])
  t.is(headerOf(answer, 'oci-filters-applied'), undefined)
})
