import { peerTest } from './support/peers.ts'
import { run } from './support/process.ts'

peerTest(
  ['docker', 'docker-registry', 'openssl'],
  'image: built, run as user 1000 on 443 and on another port, pushed and pulled through, drained',
  async (t) => {
    t.timeout(900_000)
    const { code, stdout, stderr } = await run('bash', ['scripts/try-image.sh'], {
      limitMs: 900_000,
    })
    t.log(stdout)
    t.is(code, 0, stderr)
    t.notRegex(stdout, /^SKIP/m)
    t.regex(stdout, /the image works/)
  },
)
