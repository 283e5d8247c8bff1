import test from 'ava'
import fc from 'fast-check'
import { anyRepo } from './content.ts'
import {
  errorCodes,
  expect,
  nextPage,
  openRegistry,
  pushArtifact,
  putManifest,
  registryOfFile,
  tagsOf,
} from './support.ts'

const registry = registryOfFile()
const listOf = (repo: string, query = '') =>
  registry.request('GET', `/v2/${repo}/tags/list${query}`)

/** In ASCII order: digits, capitals, underscore, small letters. */
const sorted = ['0', '10', '2', 'A', 'Z', '_x', 'a', 'a-1', 'a.1', 'a1', 'a_1', 'aa', 'b', 'z']

/** A repository with these tags, which were not pushed in their order. */
async function pushTags(tags: readonly string[]): Promise<string> {
  const repo = anyRepo()
  const made = await pushArtifact(registry, repo)
  for (const reference of tags.toReversed()) {
    expect(await putManifest(registry, repo, { ...made, reference }), 201)
  }
  return repo
}

test('D1: tags of an unknown repository are 404', async (t) => {
  const answer = await listOf(anyRepo())
  t.is(answer.status, 404)
  t.deepEqual(errorCodes(answer), ['NAME_UNKNOWN'])
})

test('D1: the list names the repository and its tags, in ASCII order', async (t) => {
  const repo = await pushTags(sorted.toSorted())
  const answer = await listOf(repo)
  t.is(answer.status, 200)
  t.regex(answer.header('content-type') ?? '', /^application\/json\b/)
  t.deepEqual(JSON.parse(answer.body.toString()), { name: repo, tags: sorted.toSorted() })
  t.is(answer.header('link'), undefined)
})

test('D1: a repository whose manifests have no tag has an empty list, or is unknown', async (t) => {
  const repo = anyRepo()
  await pushArtifact(registry, repo)
  const answer = await listOf(repo)
  if (answer.status === 200) t.deepEqual(tagsOf(answer), [])
  else t.is(answer.status, 404)
})

test('D1: a tag that moves is listed once', async (t) => {
  const repo = anyRepo()
  for (let i = 0; i < 3; i++) await pushArtifact(registry, repo, { reference: 'latest' })
  t.deepEqual(tagsOf(await listOf(repo)), ['latest'])
})

test('D2: n and last cut the same piece out of the list, whatever they are', async (t) => {
  const all = sorted.toSorted()
  const repo = await pushTags(all)
  const last = fc.oneof(fc.constantFrom(...all), fc.stringMatching(/^[a-zA-Z0-9_][\w.-]{0,5}$/))
  const property = fc.asyncProperty(fc.integer({ min: 1, max: 20 }), last, async (n, after) => {
    const answer = expect(await listOf(repo, `?n=${n}&last=${after}`), 200)
    const rest = all.filter((tag) => tag > after)
    const got = tagsOf(answer)
    const whole = got.length === Math.min(n, rest.length)
    const more = nextPage(registry, answer) !== undefined
    return (
      rest.slice(0, got.length).join() === got.join() &&
      (whole || more) &&
      (!more || got.length < rest.length)
    )
  })
  await t.notThrowsAsync(fc.assert(property, { numRuns: 60 }))
})

test('D2: last without n is the rest of the list', async (t) => {
  const repo = await pushTags(['a', 'b', 'c'])
  t.deepEqual(tagsOf(await listOf(repo, '?last=a')), ['b', 'c'])
  t.deepEqual(tagsOf(await listOf(repo, '?last=bb')), ['c'])
  t.deepEqual(tagsOf(await listOf(repo, '?last=c')), [])
})

test('D2: last is a name and never a position', async (t) => {
  const repo = await pushTags(['3', 'a', 'b'])
  t.deepEqual(tagsOf(await listOf(repo, '?last=2')), ['3', 'a', 'b'])
})

test('D2: an n that is no number of tags is refused', async (t) => {
  const repo = await pushTags(['a'])
  for (const n of ['-1', 'a', '1.5', '1e3', '%00']) {
    const answer = await listOf(repo, `?n=${n}`)
    t.is(answer.status, 400, n)
    t.deepEqual(errorCodes(answer), ['PAGINATION_NUMBER_INVALID'])
  }
})

test('D2: an n that no list reaches is no mistake', async (t) => {
  const repo = await pushTags(['a', 'b'])
  for (const n of ['1000000', '9'.repeat(400)]) {
    t.deepEqual(tagsOf(await listOf(repo, `?n=${n}`)), ['a', 'b'])
  }
})

test('D2: a list cut shorter than n has a Link to the rest', async (t) => {
  await using narrow = await openRegistry({ 'tags.maxtags': '3' })
  const repo = anyRepo()
  const made = await pushArtifact(narrow, repo)
  for (const reference of ['a', 'b', 'c', 'd', 'e']) {
    expect(await putManifest(narrow, repo, { ...made, reference }), 201)
  }
  const first = await narrow.request('GET', `/v2/${repo}/tags/list?n=4`)
  t.deepEqual(tagsOf(first), ['a', 'b', 'c'])
  const rest = await narrow.request('GET', nextPage(narrow, first) ?? '')
  t.deepEqual(tagsOf(rest), ['d', 'e'])
  t.is(nextPage(narrow, rest), undefined)
})

test('D3: n=0 is an empty list without a Link', async (t) => {
  const repo = await pushTags(['a', 'b'])
  for (const query of ['?n=0', '?n=0&last=a']) {
    const answer = await listOf(repo, query)
    t.is(answer.status, 200)
    t.deepEqual(tagsOf(answer), [])
    t.is(answer.header('link'), undefined)
  }
})

test('D4: Links of relation next lead through every tag once, and end', async (t) => {
  const all = sorted.toSorted()
  const repo = await pushTags(all)
  for (const n of [1, 5, 13]) {
    const seen: string[] = []
    let page: string | undefined = `/v2/${repo}/tags/list?n=${n}`
    for (let i = 0; page !== undefined && i < 20; i++) {
      const answer = expect(await registry.request('GET', page), 200)
      seen.push(...tagsOf(answer))
      page = nextPage(registry, answer)
    }
    t.is(page, undefined)
    t.deepEqual(seen, all)
  }
})

test('D4: there is no Link where nothing follows', async (t) => {
  const repo = await pushTags(['a', 'b', 'c'])
  for (const query of ['', '?n=3', '?n=1000', '?n=5000', '?n=1&last=b', '?n=1&last=z']) {
    t.is((await listOf(repo, query)).header('link'), undefined, query)
  }
})
