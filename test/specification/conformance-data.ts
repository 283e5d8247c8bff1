import { gzipSync } from 'node:zlib'
import {
  type Algorithm,
  anyDigest,
  blob,
  type Content,
  type Descriptor,
  descriptor,
  digestOf,
  emptyJson,
  image,
  index,
  manifest,
  types,
} from './content.ts'

/** What is pushed to a repository, tried and deleted again. */
export type DataSet = {
  readonly blobs: readonly Content[]
  /** In the order of their push: what is referred to comes first. */
  readonly manifests: readonly Content[]
  readonly tags: Readonly<Record<string, Content>>
  /** Whether tags are set by parameters of the push by digest. */
  readonly tagParameters: boolean
}

type Fields = Readonly<Record<string, unknown>>
type Entry = {
  readonly layers?: readonly Content[]
  readonly config?: Content
  readonly fields?: Fields
}

/** Gathers what a manifest needs while it is put together. */
function gather(algorithm: Algorithm = 'sha256') {
  const blobs = new Map<string, Content>()
  const manifests: Content[] = []
  const add = (content: Content): Content => {
    blobs.set(content.digest, content)
    return content
  }
  const push = (content: Content): Content => {
    manifests.push(content)
    return content
  }
  const layer = (mediaType: string = types.zippedLayer): Content => {
    const bytes = blob(700).bytes
    return blob(mediaType === types.zippedLayer ? gzipSync(bytes) : bytes, { mediaType, algorithm })
  }
  const config = (diffs: readonly Content[]): Content => {
    const rootfs = { type: 'layers', diff_ids: diffs.map(({ bytes }) => digestOf(bytes)) }
    const text = JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs })
    return blob(text, { mediaType: types.config, algorithm })
  }
  const addImage = ({
    layers = [layer(), layer()],
    config: own,
    fields = {},
  }: Entry = {}): Content => {
    const chosen = own ?? config(layers)
    for (const one of [chosen, ...layers]) add(one)
    return push(image({ ...fields, config: chosen, layers }, algorithm))
  }
  return {
    layer,
    addImage,
    addBlob: add,
    addManifest: push,
    addIndex: (children: readonly Content[], fields: Fields = {}): Content =>
      push(index(children, fields, algorithm)),
    addArtifact: (artifactType: string, fields: Fields = {}): Content =>
      addImage({
        config: blob('{}', { mediaType: types.empty, algorithm }),
        layers: [layer(artifactType)],
        fields: { artifactType, ...fields },
      }),
    done: (tags: Readonly<Record<string, Content>>, tagParameters = false): DataSet => ({
      ...{ blobs: [...blobs.values()], manifests, tags, tagParameters },
    }),
  }
}

const longAnnotations = () =>
  Object.fromEntries(Array.from({ length: 390 }, (_, i) => [`long-${i}`, 'A'.repeat(10_000)]))

function indexSet(fields: Fields = {}): DataSet {
  const set = gather()
  return set.done({ index: set.addIndex([set.addImage(), set.addImage()], fields) })
}

function nestedSet(): DataSet {
  const set = gather()
  const inner = [0, 1].map(() => set.addIndex([set.addImage(), set.addImage()]))
  return set.done({ nested: set.addIndex(inner) })
}

function artifactIndexSet(): DataSet {
  const set = gather()
  const children = [set.addArtifact(types.artifactOne), set.addArtifact(types.artifactOne)]
  return set.done({ artifacts: set.addIndex(children, { artifactType: types.artifactOne }) })
}

function subjectSet(): DataSet {
  const set = gather()
  const made = set.addImage()
  const subject = descriptor(made)
  set.addImage({ fields: { subject } })
  const annotations = { 'org.example.greeting': 'hello' }
  const one = set.addArtifact(types.artifactOne, { subject, annotations })
  const two = set.addArtifact(types.artifactTwo, { subject, annotations })
  return set.done({ image: made, one, two })
}

function indexSubjectSet(): DataSet {
  const set = gather()
  const made = set.addIndex([set.addImage(), set.addImage()])
  const fields = { subject: descriptor(made), annotations: { 'org.example.greeting': 'hello' } }
  const artifacts = [set.addArtifact(types.artifactOne, fields)]
  const artifactType = types.artifactOne
  return set.done({ index: made, artifacts: set.addIndex(artifacts, { ...fields, artifactType }) })
}

function missingSubjectSet(): DataSet {
  const set = gather()
  const subject = { mediaType: types.image, digest: anyDigest(), size: 123 }
  return set.done({ orphan: set.addArtifact(types.artifactOne, { subject }) })
}

function dataFieldSet(): DataSet {
  const set = gather()
  const withData = (one: Content): Descriptor =>
    descriptor(set.addBlob(one), { data: one.bytes.toString('base64') })
  const [config, layers] = [withData(emptyJson), [withData(set.layer()), withData(set.layer())]]
  return set.done({ data: set.addManifest(manifest(types.image, { config, layers })) })
}

function urlSet(): DataSet {
  const set = gather()
  const foreign = [types.foreignLayer, `${types.foreignLayer}+gzip`].map((mediaType) => {
    const one = set.layer(mediaType)
    return descriptor(one, { urls: [`https://store.example/blobs/${one.digest}`] })
  })
  const layers = [...foreign, descriptor(set.addBlob(set.layer()))]
  const config = descriptor(set.addBlob(emptyJson))
  return set.done({ foreign: set.addManifest(manifest(types.image, { config, layers })) })
}

function sha512Set(): DataSet {
  const set = gather('sha512')
  set.addIndex([set.addImage(), set.addImage()])
  return set.done({})
}

function tagParameterSet(algorithm: Algorithm): DataSet {
  const set = gather(algorithm)
  const [first, second] = [set.addImage(), set.addImage()]
  const all = set.addIndex([first, second])
  return set.done({ first, second, third: all, all }, true)
}

function dockerSet(): DataSet {
  const set = gather()
  const config = set.addBlob(blob('{"os":"linux"}', { mediaType: types.dockerConfig }))
  const layers = [descriptor(set.addBlob(set.layer(types.dockerLayer)))]
  const made = set.addManifest(manifest(types.dockerImage, { config: descriptor(config), layers }))
  const platform = { architecture: 'amd64', os: 'linux' }
  const list = manifest(types.dockerList, { manifests: [descriptor(made, { platform })] })
  return set.done({ list: set.addManifest(list) })
}

function imageSet(entry: Entry = {}): DataSet {
  const set = gather()
  return set.done({ image: set.addImage(entry) })
}

function artifactSet(): DataSet {
  const set = gather()
  return set.done({ artifact: set.addArtifact(types.artifactOne) })
}

const plainLayers = () => [0, 1].map(() => blob(700, { mediaType: types.layer }))
const oddFields = { 'org.example.custom': { nested: [1, 'two', null] }, extra: true }

/** Every kind of content that the conformance program of the specification pushes, and Docker's. */
export const kinds: Readonly<Record<string, () => DataSet>> = {
  'an image': imageSet,
  'an image of uncompressed layers': () => imageSet({ layers: plainLayers() }),
  'an image with 3.9 MB of annotations': () =>
    imageSet({ fields: { annotations: longAnnotations() } }),
  'an image without layers': () => imageSet({ layers: [] }),
  'an image whose layers are elsewhere': urlSet,
  'an image with data in its descriptors': dataFieldSet,
  'an index': indexSet,
  'an index of indexes': nestedSet,
  'an index of nothing': () => {
    const set = gather()
    return set.done({ empty: set.addIndex([]) })
  },
  'an index with fields of nobody': () => indexSet(oddFields),
  'an artifact': artifactSet,
  'an artifact without content': () =>
    imageSet({
      config: emptyJson,
      layers: [emptyJson],
      fields: { artifactType: types.artifactOne },
    }),
  'an index of artifacts': artifactIndexSet,
  'an image with referrers': subjectSet,
  'an index with referrers': indexSubjectSet,
  'a referrer whose subject is missing': missingSubjectSet,
  'an index by sha512, without a tag': sha512Set,
  'tags by parameters with sha256': () => tagParameterSet('sha256'),
  'tags by parameters with sha512': () => tagParameterSet('sha512'),
  'a Docker image and its list': dockerSet,
}

/** Descriptors that the referrers API must list, by the digest of their subject. */
export function expectedReferrers({ manifests }: DataSet): Map<string, Descriptor[]> {
  const expected = new Map<string, Descriptor[]>()
  for (const made of manifests) {
    const { subject, artifactType, config, annotations } = JSON.parse(made.bytes.toString())
    if (subject === undefined) continue
    const type: string | undefined = artifactType ?? config?.mediaType
    const entry = descriptor(made, {
      ...(type !== undefined && { artifactType: type }),
      ...(annotations !== undefined && { annotations }),
    })
    expected.set(subject.digest, [...(expected.get(subject.digest) ?? []), entry])
  }
  return expected
}
