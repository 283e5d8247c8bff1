import test from 'ava'
import { createLog, type LogSettings } from '../../../src/observability/log.ts'

function capture(extra: Partial<LogSettings> = {}) {
  let text = ''
  const write = (line: string) => {
    text += line
  }
  const log = createLog({ level: 'info', formatter: 'json', fields: {}, ...extra }, { write })
  return { log, text: () => text, lines: () => text.split('\n').slice(0, -1) }
}

const formatters = ['json', 'text', 'logstash'] as const

for (const formatter of formatters) {
  test(`log, ${formatter}: secrets are masked, however deep they lie`, (t) => {
    const { log, text } = capture({ formatter })
    for (const key of ['authorization', 'password', 'secret', 'cookie', 'token', '_state']) {
      const hidden = { [key]: 'hunter2' }
      log.info({ ...hidden, req: { ...hidden, headers: hidden } }, 'hello')
    }
    t.notRegex(text(), /hunter2/)
    t.is(text().match(/\*\*\*/g)?.length, 18)
  })

  test(`log, ${formatter}: one event is one line, whatever it holds`, (t) => {
    const { log, lines } = capture({ formatter })
    const evil = 'a\nlevel=error msg=forged\r\n{"level":"error"}\u2028\u0085"\\ \t\x1b[2J\x9b'
    log.info({ evil, [`deep`]: { evil }, err: new Error(evil) }, evil)
    t.is(lines().length, 1)
    const [line = ''] = lines()
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    t.notRegex(line, /[\0-\x1f]/)
  })

  test(`log, ${formatter}: constant fields are in every line, levels below the limit in none`, (t) => {
    const { log, text, lines } = capture({
      formatter,
      level: 'warn',
      fields: { service: 'registry' },
    })
    log.info('hidden')
    log.debug('hidden')
    log.warn('shown')
    log.error('shown')
    t.is(lines().length, 2)
    t.notRegex(text(), /hidden|hostname|pid/)
    t.true(lines().every((line) => /service.{1,3}registry/.test(line)))
  })
}

test('log, json: a line has time, level by name, and message', (t) => {
  const { log, text } = capture()
  log.warn({ count: 3 }, 'hello')
  const { time, ...rest } = JSON.parse(text())
  t.regex(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  t.deepEqual(rest, { level: 'warn', count: 3, msg: 'hello' })
})

test("log, logstash: a line has the fields that registry:2's has", (t) => {
  const { log, text } = capture({ formatter: 'logstash', fields: { service: 'registry' } })
  log.error({ count: 3 }, 'hello')
  const { '@timestamp': time, ...rest } = JSON.parse(text())
  t.regex(time, /^\d{4}-\d\d-\d\dT/)
  t.deepEqual(rest, {
    level: 'error',
    '@version': '1',
    service: 'registry',
    count: 3,
    message: 'hello',
  })
})

test('log, text: a line is time, level, message and the rest, quoted where need be', (t) => {
  const { log, text } = capture({ formatter: 'text' })
  log.info(
    {
      path: '/v2/a:b',
      words: 'a b',
      empty: '',
      quote: 'a"b',
      equals: 'a=b',
      nested: { x: [1] },
      none: null,
      gone: undefined,
      yes: true,
    },
    'hello world',
  )
  const expected =
    'level=info msg="hello world" path=/v2/a:b words="a b" empty="" quote="a\\"b" equals="a=b" ' +
    'nested="{\\"x\\":[1]}" none=null yes=true\n'
  t.regex(text(), /^time=\S+ /)
  t.is(text().replace(/^time=\S+ /, ''), expected)
})

test('log, text: nothing in a line ends it for some reader, or commands a terminal', (t) => {
  const { log, text } = capture({ formatter: 'text' })
  log.info({ evil: 'a\u0085b\u2028c\u2029d\x7fe\x9b2Jf' }, 'a\u0085b')
  t.notRegex(text().trimEnd(), /[\x7f-\x9f\u2028\u2029]/)
  t.regex(text(), /a\\u0085b\\u2028c/)
})
