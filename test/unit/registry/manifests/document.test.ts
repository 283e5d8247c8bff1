import test from 'ava'
import fc from 'fast-check'
import { RegistryError } from '../../../../src/lib/errors.ts'
import {
  parseManifest,
  readManifest,
  readMediaType,
  referencesOf,
} from '../../../../src/registry/manifests/document.ts'
import { describe, digestOf, image, index, json, types } from './support.ts'

const config = describe('{}', types.config)
const child = describe('child', types.image)
const schema1 = 'application/vnd.docker.distribution.manifest.v1+prettyjws'

const refused: readonly [why: string, content: Buffer, declared?: string][] = [
  ['nothing', Buffer.alloc(0)],
  ['broken JSON', Buffer.from('{"schemaVersion":2')],
  ['a list', json([])],
  ['null', json(null)],
  ['a text', json('x')],
  ['bytes that are no UTF-8', Buffer.from('{"a":"\xff"}', 'latin1')],
  ['a byte order mark', Buffer.from('\ufeff{}')],
  ['a mediaType that is no text', image([], { mediaType: 7 })],
  ['a mediaType that is zero', image([], { mediaType: 0 })],
  ['a mediaType that would break a header', image([], { mediaType: 'a/b\r\nx: y' })],
  ['a mediaType with parameters', image([], { mediaType: `${types.image}; charset=utf-8` })],
  ['a Content-Type that is none', json({}), 'manifest'],
  ['another Content-Type than mediaType', image(), types.dockerImage],
  ['schema 1', json({ schemaVersion: 1 }), schema1],
  ['schema 1 in mediaType', json({ schemaVersion: 1, mediaType: schema1 })],
  ['schema 1 as plain JSON', json({ schemaVersion: 1, fsLayers: [] }), 'application/json'],
  ['an empty object', json({})],
  ['schemaVersion 1', image([], { schemaVersion: 1 })],
  ['schemaVersion in quotes', image([], { schemaVersion: '2' })],
  ['an image without config', json({ schemaVersion: 2, mediaType: types.image, layers: [] })],
  ['an image whose config is null', image([], { config: null })],
  ['layers that are no list', image([], { layers: {} })],
  ['a layer that is null', image([], { layers: [null] })],
  ['a layer without digest', image([], { layers: [{ size: 1 }] })],
  ['a layer with half a digest', image([], { layers: [{ ...config, digest: 'sha256:abc' }] })],
  ['a layer without size', image([], { layers: [{ digest: config.digest }] })],
  ['a negative size', image([], { layers: [{ ...config, size: -1 }] })],
  ['a fractional size', image([], { layers: [{ ...config, size: 1.5 }] })],
  ['a size beyond all integers', image([], { layers: [{ ...config, size: 2 ** 60 }] })],
  ['a size in quotes', image([], { layers: [{ ...config, size: '1' }] })],
  ['a layer with a media type of 1', image([], { layers: [{ ...config, mediaType: 1 }] })],
  ['urls that are no list', image([], { layers: [{ ...config, urls: 'http://x' }] })],
  ['a subject that is a text', image([], { subject: config.digest })],
  ['a subject without digest', image([], { subject: { mediaType: types.image, size: 1 } })],
  ['annotations that are a list', image([], { annotations: [] })],
  ['an annotation that is a number', image([], { annotations: { a: 1 } })],
  ['an artifactType that is a number', image([], { artifactType: 1 })],
  ['an index without manifests', json({ schemaVersion: 2, mediaType: types.index })],
  ['an index whose manifests are an object', index([], { manifests: {} })],
  ['an index with a bad child', index([{ ...child, size: -1 }])],
  ['an artifact with a bad blob', json({ mediaType: types.artifact, blobs: [{}] })],
  // CVE-2021-41190
  ['an image that is an index too', image([], { manifests: [child] })],
  ['an image that is an empty index too', image([], { manifests: [] })],
  ['an index that has layers', index([child], { layers: [] })],
  ['an index that has a config', index([child], { config })],
  ['both without a media type', json({ schemaVersion: 2, config, manifests: [] })],
  ['both under a type unknown to us', json({ layers: [], manifests: [] }), 'application/x+json'],
  ...['text/html', 'image/svg+xml', 'application/xhtml+xml', 'application/x', 'x/y+json'].flatMap(
    (type): [string, Buffer, string?][] => [
      [`a Content-Type of ${type}, which is no JSON,`, json({}), type],
      [`a mediaType of ${type}, which is no JSON,`, json({ mediaType: type })],
    ],
  ),
]

for (const [why, content, declared] of refused) {
  test(`manifest-document: ${why} is refused`, (t) => {
    const error = t.throws(() => parseManifest(content, declared), { instanceOf: RegistryError })
    t.is(error?.code, 'MANIFEST_INVALID')
    t.regex(String(Object(error?.detail).reason), /\w/)
  })
}

const plainImage = json({ schemaVersion: 2, config, layers: [] })
const plainIndex = json({ schemaVersion: 2, manifests: [] })
const accepted: readonly [what: string, content: Buffer, declared: string | undefined, string][] = [
  ['an image', image(['a']), types.image, types.image],
  ['an image without Content-Type', image(['a']), undefined, types.image],
  ['an image with an empty Content-Type', plainImage, ' ', types.image],
  ['a Content-Type in capitals', image(), types.image.toUpperCase(), types.image],
  ['an empty mediaType', image([], { mediaType: '' }), types.dockerImage, types.dockerImage],
  ['an image that has no mediaType', plainImage, undefined, types.image],
  ['an index that has no mediaType', plainIndex, undefined, types.index],
  ['an index of nothing, written as null', index([], { manifests: null }), undefined, types.index],
  ['no layers, written as null', image([], { layers: null, manifests: null }), '', types.image],
  ['a docker image', image([], { mediaType: types.dockerImage }), undefined, types.dockerImage],
  ['a docker list', index([child], { mediaType: types.dockerList }), undefined, types.dockerList],
  ['an artifact', json({ mediaType: types.artifact, blobs: [config] }), undefined, types.artifact],
  [
    'a type unknown to us',
    json({ anything: [{}] }),
    'application/vnd.x+json',
    'application/vnd.x+json',
  ],
  [
    'a type unknown to us that says both',
    json({ mediaType: 'application/x+json', layers: [], manifests: [] }),
    undefined,
    'application/x+json',
  ],
  ['any JSON, in any case', json({}), 'Application/JSON', 'Application/JSON'],
  [
    'fields of their own',
    image([], { 'org.x': { y: [1] }, subject: null }),
    undefined,
    types.image,
  ],
  [
    'descriptors with data, urls and without media type',
    image([], { layers: [{ digest: config.digest, size: 2, data: 'e30=', urls: ['http://x'] }] }),
    undefined,
    types.image,
  ],
]

for (const [what, content, declared, mediaType] of accepted) {
  test(`manifest-document: ${what} is accepted as ${mediaType}`, (t) => {
    t.is(parseManifest(content, declared).mediaType, mediaType)
  })
}

test('manifest-document: a media type is self-describing only if every registry would find it', (t) => {
  const isSelfDescribing = (content: Buffer, declared?: string): boolean =>
    parseManifest(content, declared).isSelfDescribing
  t.true(isSelfDescribing(image()))
  t.true(isSelfDescribing(plainImage, types.image))
  t.true(isSelfDescribing(plainIndex))
  t.false(isSelfDescribing(plainImage, types.dockerImage))
  t.false(isSelfDescribing(json({ schemaVersion: 2, manifests: null }), types.index))
  t.false(isSelfDescribing(json({}), 'application/x+json'))
})

test('manifest-document: config and layers are required, except content that lives elsewhere', (t) => {
  const foreign = [
    'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  ]
  const layers = [
    describe('kept'),
    ...foreign.map((type) => describe(type, type)),
    { ...describe('linked'), urls: ['https://elsewhere.test/x'] },
    { ...describe('not linked'), urls: [] },
  ]
  t.deepEqual(parseManifest(image([], { layers }), undefined).blobs, [
    { digest: digestOf('{}'), required: true },
    { digest: digestOf('kept'), required: true },
    ...foreign.map((type) => ({ digest: digestOf(type), required: false })),
    { digest: digestOf('linked'), required: false },
    { digest: digestOf('not linked'), required: true },
  ])
})

test('manifest-document: an index tells manifests from what may be layers of a build cache', (t) => {
  const cached = describe('cached layer')
  const { manifests, others, blobs } = parseManifest(index([child, cached]), undefined)
  t.deepEqual(manifests, [child.digest])
  t.deepEqual(others, [cached.digest])
  t.deepEqual(blobs, [])
})

test('manifest-document: R3 the artifact type is that of the manifest, or of its config', (t) => {
  const typeOf = (content: Buffer) => parseManifest(content, undefined).artifactType
  t.is(typeOf(image([], { artifactType: 'application/sbom' })), 'application/sbom')
  t.is(typeOf(image([], { artifactType: '' })), types.config)
  t.is(typeOf(image()), types.config)
  t.is(typeOf(index([], { artifactType: 'application/sbom' })), 'application/sbom')
  t.is(typeOf(index([])), undefined)
})

test('manifest-document: subject and annotations are told', (t) => {
  const annotations = { 'org.opencontainers.image.created': 'now', __proto__x: 'y' }
  const document = parseManifest(image([], { subject: child, annotations }), undefined)
  t.is(document.subject, child.digest)
  t.deepEqual(document.annotations, annotations)
  t.is(parseManifest(image(), undefined).annotations, undefined)
})

test('manifest-document: what is stored is read even if it would not be accepted', (t) => {
  const stored = json({
    schemaVersion: 2,
    config: { digest: config.digest },
    annotations: { a: 1 },
  })
  const document = readManifest(stored)
  t.is(document?.mediaType, types.image)
  t.deepEqual(document?.blobs, [{ digest: config.digest, required: true }])
  t.is(document?.annotations, undefined)
  t.is(readManifest(Buffer.from('{"torn'), types.image), undefined)
})

test('manifest-document: the media type in the JSON is told apart from the conclusion', (t) => {
  t.deepEqual(readMediaType(image()), { stated: types.image, implied: types.image })
  t.deepEqual(readMediaType(plainIndex), { stated: undefined, implied: types.index })
  t.deepEqual(readMediaType(json({ mediaType: 'no type' })), {
    stated: undefined,
    implied: types.image,
  })
  t.is(readMediaType(Buffer.alloc(0)), undefined)
})

test('manifest-document: references of known types are told apart', (t) => {
  t.deepEqual(referencesOf(image(['a', 'a'], { subject: child })), {
    blobs: [digestOf('{}'), digestOf('a')],
    manifests: [],
    subject: child.digest,
  })
  const cached = describe('cached')
  t.deepEqual(referencesOf(index([child, cached])), {
    blobs: [cached.digest],
    manifests: [child.digest, cached.digest],
    subject: undefined,
  })
  t.deepEqual(referencesOf(json({ mediaType: types.artifact, blobs: [cached] })).blobs, [
    cached.digest,
  ])
})

test('manifest-document: a document that says image and index keeps both alive', (t) => {
  const both = json({ config, layers: [describe('a')], manifests: [child] })
  for (const mediaType of [undefined, types.image, types.index]) {
    const { blobs, manifests } = referencesOf(both, mediaType)
    t.deepEqual([blobs, manifests], [[config.digest, digestOf('a')], [child.digest]])
  }
})

test('manifest-document: of an unknown type every digest counts, wherever it is', (t) => {
  const stored = json({
    fsLayers: [{ blobSum: digestOf('a') }],
    deep: [[{ x: [digestOf('b'), 'no digest', 7, null] }]],
  })
  for (const mediaType of [undefined, schema1, 'application/x']) {
    const { blobs, manifests } = referencesOf(stored, mediaType)
    t.deepEqual(blobs.toSorted(), [digestOf('a'), digestOf('b')].toSorted())
    t.deepEqual(manifests, blobs)
  }
})

test('manifest-document: a document nested a million deep is no trouble', (t) => {
  const deep = `${'['.repeat(1_000_000)}"${digestOf('a')}"${']'.repeat(1_000_000)}`
  const content = Buffer.from(`{"mediaType":"application/x+json","a":${deep}}`)
  t.is(parseManifest(content, undefined).mediaType, 'application/x+json')
  t.deepEqual(referencesOf(content).blobs, [digestOf('a')])
})

const digest = fc.constantFrom<unknown>(digestOf('x'), digestOf('y', 'sha512'), 'a+b:c', 'sha256:')
const descriptor = fc.oneof(
  fc.record(
    {
      mediaType: fc.oneof(fc.constantFrom(...Object.values(types)), fc.anything()),
      digest,
      size: fc.oneof(fc.nat(), fc.anything()),
      urls: fc.anything(),
    },
    { requiredKeys: [] },
  ),
  fc.anything(),
)
const manifestLike = fc.record(
  {
    schemaVersion: fc.constantFrom<unknown>(1, 2, '2'),
    mediaType: fc.oneof(fc.constantFrom(...Object.values(types)), fc.anything()),
    config: descriptor,
    layers: fc.oneof(fc.array(descriptor), fc.anything()),
    manifests: fc.oneof(fc.array(descriptor), fc.anything()),
    blobs: fc.oneof(fc.array(descriptor), fc.anything()),
    subject: descriptor,
    annotations: fc.oneof(fc.dictionary(fc.string(), fc.string()), fc.anything()),
    artifactType: fc.oneof(fc.string(), fc.anything()),
  },
  { requiredKeys: [] },
)
const asJson = (value: unknown): Buffer =>
  Buffer.from(
    JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner)) ?? '',
  )
const contents = fc.oneof(
  manifestLike.map(asJson),
  fc.json().map((text) => Buffer.from(text)),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
)

test('manifest-document: whatever is pushed is read or is MANIFEST_INVALID', (t) => {
  fc.assert(
    fc.property(contents, fc.option(fc.string(), { nil: undefined }), (content, declared) => {
      referencesOf(content, declared)
      readManifest(content, declared)
      try {
        const document = parseManifest(content, declared)
        // Nothing that was accepted gets lost on the way to the collector.
        const { blobs, manifests } = referencesOf(content, document.mediaType)
        const required = document.blobs.map((blob) => blob.digest)
        return (
          required.every((one) => blobs.includes(one)) &&
          document.manifests.every((one) => manifests.includes(one)) &&
          document.others.every((one) => manifests.includes(one) && blobs.includes(one))
        )
      } catch (error) {
        return error instanceof RegistryError && error.code === 'MANIFEST_INVALID'
      }
    }),
    { numRuns: 1000 },
  )
  t.pass()
})
