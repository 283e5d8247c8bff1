/** A key of registry:2 or registry:3 that this version does not implement. */
export type Unimplemented = {
  readonly key: string
  /** What is different without it; for plain errors also the remedy. */
  readonly effect: string
  /** What to do about an error that `upstream` makes a warning. */
  readonly remedy?: string
  /** A value that says the same as no key. */
  readonly none?: string
  /**
   * An error where ignoring the key would leave the registry open or unreachable, with `upstream` or
   * only as a registry of our own.
   */
  readonly severity: 'warning' | 'error' | 'error without upstream'
  /** Every key below, relative to `key`; `a[].b` is in a list, `*` stands for anything. */
  readonly below: readonly string[]
}

const warning = (key: string, effect: string, ...below: string[]): Unimplemented => ({
  key,
  effect,
  severity: 'warning',
  below,
})
const error = (key: string, effect: string, ...below: string[]): Unimplemented => ({
  key,
  effect,
  severity: 'error',
  below,
})

const ownError = (
  key: string,
  effect: string,
  more: Required<Pick<Unimplemented, 'remedy'>> & Pick<Unimplemented, 'none'>,
): Unimplemented => ({
  key,
  effect,
  ...more,
  severity: 'error without upstream',
  below: [],
})

const redisOptions = [
  'addr,addrs,clientname,db,protocol,username,password,sentinelusername,sentinelpassword',
  'maxretries,minretrybackoff,maxretrybackoff,dialtimeout,readtimeout,writetimeout,poolsize',
  'poolfifo,pooltimeout,contexttimeoutenabled,minidleconns,maxidleconns,maxactiveconns',
  'connmaxidletime,connmaxlifetime,mastername,maxredirects,readonly,routebylatency,routerandomly',
  'disableindentity,identitysuffix,unstableresp3',
].flatMap((names) => names.split(','))

/** The rest of registry:2's and registry:3's configuration, so that their files can be used as they are. */
export const unimplemented: readonly Unimplemented[] = [
  warning('loglevel', 'the deprecated form of log.level; it is honoured'),
  warning('log.reportcaller', 'log lines do not name the place in the source'),
  warning(
    'log.hooks',
    'no mail is sent for log lines',
    '[].type',
    '[].disabled',
    '[].levels',
    '[].options.smtp.addr',
    '[].options.smtp.username',
    '[].options.smtp.password',
    '[].options.smtp.insecure',
    '[].options.from',
    '[].options.to',
  ),
  ...['s3', 'azure', 'gcs', 'inmemory', 'swift', 'oss'].map((driver) =>
    error(
      `storage.${driver}`,
      'not in this version: use storage.filesystem, or forward to a registry with this storage by `upstream`',
      '*',
    ),
  ),
  warning(
    'storage.filesystem.maxthreads',
    '16 threads use the disk; the environment variable UV_THREADPOOL_SIZE has another number',
  ),
  warning('storage.tag', 'look-ups are bounded without it', 'concurrencylimit'),
  warning('storage.redirect', 'blobs are always served from here', 'disable'),
  warning(
    'storage.cache',
    'what is remembered is checked against the folder each time, and needs no setting',
    'blobdescriptor',
    'blobdescriptorsize',
    'layerinfo',
  ),
  error('auth.silly', 'not in this version: use auth.htpasswd', 'realm', 'service'),
  error(
    'auth.token',
    'not in this version, and ignoring it would open the registry: use auth.htpasswd, or leave the tokens to the backend with `auth: none` and `upstream: {authorization: pass}`',
    'realm',
    'service',
    'issuer',
    'rootcertbundle',
    'jwks',
    'autoredirect',
    'autoredirectpath',
    'signingalgorithms',
  ),
  warning(
    'middleware',
    'no middleware is loaded',
    ...['registry', 'repository', 'storage'].flatMap((kind) => [
      `${kind}[].name`,
      `${kind}[].disabled`,
      `${kind}[].options.*`,
    ]),
  ),
  ownError(
    'http.prefix',
    'the API is served at /v2/, without a prefix, and clients of the prefix get 404',
    {
      remedy: 'remove the key, and serve the registry under a host name or port of its own',
      none: '/',
    },
  ),
  error(
    'http.tls.letsencrypt',
    'not in this version: use certificate files, http.tls.certificate and http.tls.key (renewed files are picked up while running)',
    'cachefile',
    'email',
    'hosts',
    'directoryurl',
  ),
  warning('http.http2', 'HTTP/1.1 is served, never HTTP/2', 'disabled'),
  warning('http.h2c', 'HTTP/1.1 is served, never HTTP/2', 'enabled'),
  warning(
    'notifications',
    'no events are sent; an upstream may send its own',
    'events.includereferences',
    'endpoints[].name',
    'endpoints[].disabled',
    'endpoints[].url',
    'endpoints[].headers.*',
    'endpoints[].timeout',
    'endpoints[].threshold',
    'endpoints[].backoff',
    'endpoints[].ignoredmediatypes',
    'endpoints[].ignore.mediatypes',
    'endpoints[].ignore.actions',
  ),
  warning(
    'redis',
    'no Redis is used',
    ...redisOptions,
    'tls.certificate',
    'tls.key',
    'tls.rootcas',
    'tls.clientcas',
    'pool.maxidle',
    'pool.maxactive',
    'pool.idletimeout',
  ),
  warning(
    'health',
    'these checks are not run: /healthz and /readyz report the server and its store or upstream',
    ...['storagedriver.enabled', 'storagedriver.interval', 'storagedriver.threshold'],
    ...['file[].file', 'file[].interval', 'file[].threshold'],
    ...['uri', 'headers.*', 'statuscode', 'timeout', 'interval', 'threshold'].map(
      (name) => `http[].${name}`,
    ),
    ...['addr', 'timeout', 'interval', 'threshold'].map((name) => `tcp[].${name}`),
  ),
  warning(
    'proxy',
    'there is no pull-through cache',
    'username',
    'password',
    'exec.command',
    'exec.lifetime',
    'ttl',
    'cachewritetimeout',
  ),
  ownError('proxy.remoteurl', 'there is no pull-through cache', {
    remedy:
      'without it this would be an empty registry that takes pushes; leave such a configuration to registry:2, and name that in `upstream`',
  }),
  warning(
    'validation',
    'every manifest is checked, layers with URLs are accepted, and the children of an index must exist; an upstream decides for itself',
    'disabled',
    'enabled',
    'manifests.urls.allow',
    'manifests.urls.deny',
    'manifests.indexes.platforms',
    'manifests.indexes.platformlist[].os',
    'manifests.indexes.platformlist[].architecture',
  ),
  warning('policy', 'no repository classes are enforced', 'repository.classes'),
  warning(
    'compatibility',
    'schema 1 manifests are refused; an upstream decides for itself',
    'schema1.signingkeyfile',
    'schema1.enabled',
    'schema1.trustkey',
  ),
  warning(
    'reporting',
    'nothing is reported to others',
    'bugsnag.apikey',
    'bugsnag.releasestage',
    'bugsnag.endpoint',
    'newrelic.licensekey',
    'newrelic.name',
    'newrelic.verbose',
  ),
]

/** Keys whose part of a variable's name is registry:2's Go field name instead of the key. */
export const goFieldNames: ReadonlyMap<string, string> = new Map([
  ['notifications.events', 'EVENTCONFIG'],
  ['health.file', 'FILECHECKERS'],
  ['health.http', 'HTTPCHECKERS'],
  ['health.tcp', 'TCPCHECKERS'],
  ['log.hooks.[].options', 'MAILOPTIONS'],
])
