import test from 'ava'
import { type LocationContext, rewriteLink, rewriteRealm } from '../../../src/relay/location.ts'

const publicOrigin = 'https://registry.example:8443'
const context: LocationContext = {
  publicOrigin,
  requestTarget: '/v2/_catalog?n=2',
  isOurs: (place) => ['registry', 'registry:5000', 'registry.example'].includes(place),
}

for (const [what, link, expected] of [
  [
    'a path',
    '</v2/_catalog?last=a%2Fb&n=2>; rel="next"',
    `<${publicOrigin}/v2/_catalog?last=a%2Fb&n=2>; rel="next"`,
  ],
  [
    "the upstream's name",
    '<http://registry:5000/v2/_catalog?last=b>; rel="next"',
    `<${publicOrigin}/v2/_catalog?last=b>; rel="next"`,
  ],
  [
    'our name without its port',
    '<https://registry.example/v2/a/tags/list?last=b>; rel=next',
    `<${publicOrigin}/v2/a/tags/list?last=b>; rel=next`,
  ],
  ['a query alone', '<?last=b>; rel="next"', `<${publicOrigin}/v2/_catalog?last=b>; rel="next"`],
  [
    'two targets',
    '</v2/a>; rel="next", <http://registry:5000/v2/b>; rel="prev"',
    `<${publicOrigin}/v2/a>; rel="next", <${publicOrigin}/v2/b>; rel="prev"`,
  ],
  ['no target', 'rel="next"', 'rel="next"'],
  ['an open bracket', '</v2/a; rel="next"', '</v2/a; rel="next"'],
  ['$ in a target', '</v2/$&?a=$1>; rel="next"', `<${publicOrigin}/v2/$&?a=$1>; rel="next"`],
] as const) {
  test(`link: ${what} leads to where the client is`, (t) => {
    t.is(rewriteLink(link, context), expected)
    t.is(rewriteLink(expected, context), expected)
  })
}

test('link: without an origin, targets are paths', (t) => {
  const relative = { ...context, publicOrigin: undefined }
  t.is(
    rewriteLink('<http://registry:5000/v2/a?b=c>; rel="next"', relative),
    '</v2/a?b=c>; rel="next"',
  )
})

test('link: a page about something else is not touched', (t) => {
  const link = '<https://docs.example/errors>; rel="help"'
  t.is(rewriteLink(link, context), link)
})

const isUpstream = (place: string) => place === 'registry:5000'

for (const realm of [
  'Basic realm="Registry"',
  'Bearer realm="https://auth.example/token",service="registry:5000",scope="repository:a:pull"',
  'Bearer realm="https://registry:5001/token",service="x"',
  'Bearer realm="http://registry/token",service="x"',
  'Bearer realm="https://auth.example/token?next=http://registry:5000/",service="x"',
  'Bearer realm="http://registry:5000.evil.example/token"',
  'Bearer service="http://registry:5000/",realm="https://auth.example/token"',
]) {
  test(`realm: ${realm} is not touched`, (t) => {
    t.is(rewriteRealm(realm, isUpstream, publicOrigin), realm)
  })
}

for (const [what, realm, expected] of [
  [
    'the upstream',
    'Bearer realm="http://registry:5000/token?a=b%2Fc",service="s",scope="a:b:c,d"',
    `Bearer realm="${publicOrigin}/token?a=b%2Fc",service="s",scope="a:b:c,d"`,
  ],
  [
    'the upstream in other letters',
    'bearer Realm="HTTP://Registry:5000/token"',
    `bearer Realm="${publicOrigin}/token"`,
  ],
  [
    'the upstream without a path',
    'Bearer realm="http://registry:5000"',
    `Bearer realm="${publicOrigin}"`,
  ],
  [
    'the upstream in the second challenge',
    'Basic realm="x", Bearer realm="http://registry:5000/t"',
    `Basic realm="x", Bearer realm="${publicOrigin}/t"`,
  ],
] as const) {
  test(`realm: one that names ${what} leads to where the client is`, (t) => {
    t.is(rewriteRealm(realm, isUpstream, publicOrigin), expected)
    t.is(rewriteRealm(expected, isUpstream, publicOrigin), expected)
  })
}
