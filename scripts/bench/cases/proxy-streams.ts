import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startBulkBackend } from '../backend.ts'
import type { Bench, Case } from '../case.ts'
import { startCaddy } from '../fronts/caddy.ts'
import { startHaproxy } from '../fronts/haproxy.ts'
import { startHttpProxy } from '../fronts/http-proxy.ts'
import { startNginx } from '../fronts/nginx.ts'
import { startTidegate } from '../fronts/tidegate.ts'
import { curl, measureStream, urlOf, warmUpsOf } from '../load.ts'
import type { Server, Workspace } from '../workspace.ts'

const blob = `/v2/bench/blobs/sha256:${'a'.repeat(64)}`

/** One body at a time, from curl to a backend that discards it. */
export const proxyUpload: Case = {
  name: 'proxy-upload',
  title: 'Proxied upload, one stream, TLS in front, plain HTTP behind',
  programs: ['curl', 'nginx', 'haproxy', 'caddy'],
  goals: [
    {
      what: 'proxied upload, MB/s, vs nginx unbuffered',
      ...{ figure: 'MB/s', of: 'tidegate', than: 'nginx', target: 1, better: 'higher' },
    },
    {
      what: 'proxied upload, MB/s, vs nginx as in articles',
      ...{ figure: 'MB/s', of: 'tidegate', than: 'nginx as in articles' },
      ...{ target: 1.5, better: 'higher' },
    },
    {
      what: 'proxied upload, CPU per GiB, vs nginx unbuffered',
      ...{ figure: 'CPU s/GiB', of: 'tidegate', than: 'nginx', target: 1.1, better: 'lower' },
    },
  ],
  async run({ workspace, scale, alternate }) {
    const fronts = await startFronts(workspace, await startBulkBackend(workspace, scale))
    const file = makeSparseFile(workspace, scale.bytes)
    return await alternate(
      fronts,
      (front) => measureStream(front, scale.bytes, () => upload(workspace, front, file)),
      warmUpsOf(scale, scale.bytes),
    )
  },
}

/** One body at a time, from the backend to curl. */
export const proxyDownload: Case = {
  name: 'proxy-download',
  title: 'Proxied download, one stream, TLS in front, plain HTTP behind',
  programs: ['curl', 'nginx', 'haproxy', 'caddy'],
  goals: [
    {
      what: 'proxied download, MB/s, vs nginx',
      ...{ figure: 'MB/s', of: 'tidegate', than: 'nginx', target: 1.1, better: 'higher' },
    },
    {
      what: 'proxied download, CPU per GiB, vs nginx',
      ...{ figure: 'CPU s/GiB', of: 'tidegate', than: 'nginx', target: 0.9, better: 'lower' },
    },
  ],
  async run(bench) {
    const { workspace, scale } = bench
    const fronts = await startFronts(workspace, await startBulkBackend(workspace, scale))
    return await measureDownloads(bench, fronts)
  },
}

/** As `proxyDownload`, from a backend that speaks TLS. */
export const proxyDownloadTls: Case = {
  name: 'proxy-download-tls',
  title: 'Proxied download, one stream, TLS in front and behind',
  programs: ['curl', 'nginx', 'haproxy'],
  goals: [],
  async run(bench) {
    const { workspace, scale } = bench
    const upstream = await startBulkBackend(workspace, { ...scale, isTls: true })
    const fronts = [
      await startTidegate(workspace, { upstream }),
      await startNginx(workspace, { upstream }),
      await startHaproxy(workspace, { upstream }),
    ]
    return await measureDownloads(bench, fronts)
  },
}

async function startFronts(workspace: Workspace, upstream: string): Promise<Server[]> {
  return [
    await startTidegate(workspace, { upstream }),
    await startTidegate(workspace, { name: 'tidegate, 1 worker', upstream, workers: 1 }),
    await startNginx(workspace, { upstream }),
    await startNginx(workspace, { name: 'nginx as in articles', style: 'articles', upstream }),
    await startHaproxy(workspace, { upstream }),
    await startCaddy(workspace, { upstream }),
    await startHttpProxy(workspace, { upstream }),
  ]
}

function measureDownloads({ workspace, scale, alternate }: Bench, fronts: readonly Server[]) {
  return alternate(
    fronts,
    (front) => measureStream(front, scale.bytes, () => download(workspace, front)),
    warmUpsOf(scale, scale.bytes),
  )
}

/** A file of zeros that takes no space, for uploads of any size. */
export function makeSparseFile({ folder }: Workspace, bytes: number): string {
  const file = join(folder, `zeros-${bytes}`)
  writeFileSync(file, '')
  truncateSync(file, bytes)
  return file
}

/** Sends a file as docker sends a layer: all of it in one PATCH. */
export async function upload(workspace: Workspace, front: Server, file: string): Promise<void> {
  const url = urlOf(front, '/v2/bench/blobs/uploads/1')
  const headers = ['-H', 'Expect:', '-H', 'Content-Type: application/octet-stream']
  await curl(workspace, ['-X', 'PATCH', '-T', file, ...headers, url])
}

/** Receives a blob and drops it. */
export async function download(workspace: Workspace, front: Server): Promise<void> {
  await curl(workspace, ['-o', '/dev/null', urlOf(front, blob)])
}
