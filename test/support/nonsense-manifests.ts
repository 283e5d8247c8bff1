import fc from 'fast-check'
import { blob, digestOf, image, types } from '../specification/content.ts'
import { type NonsenseRequest, requestOf } from './nonsense-request.ts'

/** Where the nonsense goes, and an image that is there and stays whole. */
export const repo = 'fuzz/app'
export const config = blob('{}', { mediaType: types.config })
export const layer = blob('a layer')
export const good = image({ config, layers: [layer] })

const mediaTypes = fc.constantFrom<string | undefined>(
  types.image,
  types.index,
  types.dockerImage,
  types.dockerList,
  'application/vnd.oci.artifact.manifest.v1+json',
  'application/json',
  'text/plain; charset=utf-8',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
  'nonsense',
  '',
  undefined,
)
const strangeNumbers = fc.constantFrom(0, -1, 1.5, 1e308, 2 ** 53, 2 ** 63, -0, 1e-7)
/** What may stand where a digest belongs. */
export const digests = fc.oneof(
  fc.constantFrom(
    config.digest,
    layer.digest,
    good.digest,
    digestOf('nothing'),
    digestOf('x', 'sha512'),
    'sha256:short',
    'sha256:',
    ':',
    'md5:d41d8cd98f00b204e9800998ecf8427e',
    `sha256:${'A'.repeat(64)}`,
    `sha256:../../${'a'.repeat(58)}`,
    `sha512:${'a'.repeat(64)}`,
    'sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564',
  ),
  fc.string(),
)
const anything = fc.oneof(
  fc.anything({ maxDepth: 2 }),
  strangeNumbers,
  fc.string({ unit: 'binary' }),
)
const descriptors = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record(
      {
        mediaType: fc.oneof(mediaTypes, anything),
        digest: fc.oneof(digests, anything),
        size: fc.oneof(fc.constantFrom(2, 7), strangeNumbers, anything),
        urls: fc.oneof(fc.array(fc.webUrl()), anything),
        annotations: anything,
        data: anything,
        platform: anything,
        artifactType: anything,
      },
      { requiredKeys: [] },
    ),
  },
  { weight: 1, arbitrary: anything },
)
const documents = fc.record(
  {
    schemaVersion: fc.oneof({ weight: 4, arbitrary: fc.constant(2) }, anything),
    mediaType: fc.oneof(mediaTypes, anything),
    config: descriptors,
    layers: fc.oneof(fc.array(descriptors, { maxLength: 4 }), anything),
    manifests: fc.oneof(fc.array(descriptors, { maxLength: 4 }), anything),
    blobs: fc.oneof(fc.array(descriptors, { maxLength: 4 }), anything),
    subject: descriptors,
    artifactType: anything,
    annotations: fc.oneof(fc.dictionary(fc.string(), fc.string()), anything),
    fsLayers: anything,
    __proto__: anything,
  },
  { requiredKeys: [] },
)

/** As JSON, whatever it is. */
function encode(value: unknown): string {
  try {
    return (
      JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner)) ?? ''
    )
  } catch {
    return '{}'
  }
}

const text = JSON.stringify(JSON.parse(good.bytes.toString()))
const spoiled = fc.oneof(
  documents.map((document) => Buffer.from(encode(document))),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc.json().map((json) => Buffer.from(json)),
  // A byte of a good one replaced, removed or added.
  fc
    .tuple(fc.nat(text.length), fc.nat(2), fc.uint8Array({ maxLength: 3 }))
    .map(([at, cut, bytes]) =>
      Buffer.concat([
        Buffer.from(text.slice(0, at)),
        Buffer.from(bytes),
        Buffer.from(text.slice(at + cut)),
      ]),
    ),
  fc
    .constantFrom(
      `\uFEFF${text}`,
      '',
      ' ',
      'null',
      '[]',
      '0',
      '"',
      '{',
      `${text}{}`,
      `${text}\u0000`,
      `{"schemaVersion":2,"schemaVersion":1,"mediaType":"${types.image}","mediaType":"${types.index}"}`,
      text.replace('"size":2', '"size":1e999'),
      text.replace('"size":2', `"size":${'9'.repeat(400)}`),
      text.replace('"schemaVersion":2', '"schemaVersion":2.0'),
      text.replace('"config"', '"\\ud800"'),
      text.replace('"schemaVersion":2', '"schemaVersion":2,"annotations":{"\\ud800":"\\udfff"}'),
      `${'['.repeat(200_000)}${']'.repeat(200_000)}`,
      '{"a":'.repeat(100_000),
      `{"schemaVersion":2,"mediaType":"application/x-deep+json","a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
      `{"schemaVersion":2,"layers":[${Array(5000)
        .fill(JSON.stringify({ mediaType: 'a/b', digest: layer.digest, size: 7 }))
        .join()}],"config":{}}`,
      ' '.repeat(4_300_000),
    )
    .map((json) => Buffer.from(json)),
)
const references = fc.constantFrom(
  'fuzzed',
  good.digest,
  digestOf('nothing'),
  `${'t'.repeat(128)}`,
  `${'t'.repeat(129)}`,
  'sha256:x',
  'a?tag=b&tag=c&tag=-',
  `${digestOf('x')}?tag=v1`,
)

/** Pushes of manifests that are spoiled in some way, some so little that they are taken. */
export const nonsenseManifests: fc.Arbitrary<NonsenseRequest> = fc
  .record({ body: spoiled, reference: references, type: mediaTypes })
  .map(({ body, reference, type }) => {
    const headers = type === undefined ? [] : [`Content-Type: ${type}`]
    const path = `/v2/${repo}/manifests/${reference}`
    return { method: 'PUT', request: requestOf('PUT', path, { headers, body }), isWhole: true }
  })
