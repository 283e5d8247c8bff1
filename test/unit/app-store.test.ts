import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { pino } from 'pino'
import { checkApp } from '../../src/app-parts.ts'
import { loadConfig } from '../../src/config/load.ts'
import { startEmbedded } from '../support/embedded.ts'

const uploads = 'docker/registry/v2/repositories/a/_uploads'

/** An upload session that was left two days ago. */
async function leaveUpload(root: string): Promise<void> {
  const folder = join(root, uploads, '6f3a0e9c-1b2d-4c5e-8f70-123456789abc')
  const then = new Date(Date.now() - 48 * 3_600_000)
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'data'), 'left')
  for (const path of [join(folder, 'data'), folder]) await utimes(path, then, then)
}

test('store: a start purges uploads that were left behind, and says so', async (t) => {
  await using first = await startEmbedded()
  await leaveUpload(first.root)
  await using second = await startEmbedded({ 'storage.filesystem.rootdirectory': first.root })
  for (let left = 100; left > 0; left -= 1) {
    if (second.lines.some(({ msg }) => msg === 'uploads purged')) break
    await sleep(50)
  }
  t.true(second.lines.some(({ msg }) => msg === 'uploads purged'))
  t.deepEqual(await readdir(join(first.root, uploads)), [])
})

test('store: a check of the configuration changes nothing in the folder', async (t) => {
  await using front = await startEmbedded()
  await leaveUpload(front.root)
  const { config } = await loadConfig({
    env: {},
    overrides: { 'storage.filesystem.rootdirectory': front.root },
  })
  await checkApp(config, pino({ level: 'silent' }))
  await sleep(200)
  t.is((await readdir(join(front.root, uploads))).length, 1)
})

test('store: a folder that cannot be made or used is one problem, with its path', async (t) => {
  await using front = await startEmbedded()
  const file = join(front.root, 'file')
  await writeFile(file, '')
  const { config } = await loadConfig({
    env: {},
    overrides: { 'storage.filesystem.rootdirectory': join(file, 'below') },
  })
  await t.throwsAsync(checkApp(config, pino({ level: 'silent' })), {
    message: /^storage\.filesystem\.rootdirectory: .*\/file\b/,
  })
})

test('store: one that is read-only by configuration is served, and nothing is kept up', async (t) => {
  await using first = await startEmbedded({ 'storage.maintenance.uploadpurging.enabled': 'false' })
  await leaveUpload(first.root)
  await using second = await startEmbedded({
    'storage.filesystem.rootdirectory': first.root,
    'storage.maintenance.readonly.enabled': 'true',
    'storage.gc.interval': '1ms',
  })
  t.true(second.lines.some(({ msg }) => /^read-only by configuration/.test(String(msg))))
  await sleep(200)
  t.is((await readdir(join(first.root, uploads))).length, 1)
})
