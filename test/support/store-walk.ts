import { expectStatus, pullContent, pullImage, type RegistryClient } from './registry-client.ts'

/** Every tag that a registry shows, as `<repo> <tag>`, page by page. */
export async function visibleTags(client: RegistryClient): Promise<string[]> {
  const found: string[] = []
  for (const repo of await listAll<string>(client, '/v2/_catalog?n=7', 'repositories')) {
    for (const tag of await listAll<string>(client, `/v2/${repo}/tags/list?n=9`, 'tags')) {
      found.push(`${repo} ${tag}`)
    }
  }
  return found
}

async function listAll<T>(client: RegistryClient, path: string, key: string): Promise<T[]> {
  const all: T[] = []
  for (let next: string | undefined = path; next !== undefined; ) {
    const { headers, body } = expectStatus(await client.request('GET', next), 200)
    all.push(...(JSON.parse(body.toString())[key] as T[]))
    next = /^<([^>]+)>; *rel="?next"?$/.exec(String(headers['link'] ?? ''))?.[1]
  }
  return all
}

/** Pulls all that is visible. Returns what is torn, wrong or missing. */
export async function faultsOnView(client: RegistryClient): Promise<string[]> {
  const faults: string[] = []
  const images = new Map<string, Promise<unknown>>()
  for (const key of await visibleTags(client)) {
    const [repo = '', tag = ''] = key.split(' ')
    const look = async (): Promise<void> => {
      const bytes = await pullContent(client, repo, { kind: 'manifests', reference: tag })
      const image = `${repo} ${bytes}`
      const pulled = images.get(image) ?? pullImage(client, repo, tag)
      images.set(image, pulled)
      await pulled
    }
    await look().catch((error: unknown) => void faults.push(`${key}: ${error}`))
  }
  return faults
}
