// Run after `npm install` against a registry that lacks some platforms' packages: npm then leaves their
// optional entries out of package-lock.json, and `npm ci` refuses the file everywhere else. Puts in what
// the dependents ask for, with the platform that a package's name ends in: `@scope/name-linux-x64-musl`.
import { readFileSync, writeFileSync } from 'node:fs'

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'))
const wanted = Object.entries(lock.packages).flatMap(([path, { optionalDependencies }]) =>
  Object.entries(optionalDependencies ?? {}).map(([name, version]) => ({ path, name, version })),
)
const missing = wanted.filter(
  ({ path, name }) =>
    !(`${path}/node_modules/${name}` in lock.packages) &&
    !(`node_modules/${name}` in lock.packages),
)
for (const { name, version } of missing) {
  const [os, cpu, abi = ''] = name.split('/').at(-1).split('-').slice(1)
  const libc = os === 'linux' ? { libc: [abi.includes('musl') ? 'musl' : 'glibc'] } : {}
  const entry = {
    version,
    cpu: [cpu],
    dev: true,
    ...libc,
    license: 'MIT',
    optional: true,
    os: [os],
  }
  lock.packages[`node_modules/${name}`] = entry
}
const sorted = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'))
writeFileSync(
  'package-lock.json',
  `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, null, 2)}\n`,
)
console.log(`${missing.length} entries added`)
