import { formatNumber } from './format.ts'
import type { Outcome } from './report.ts'

const width = 1060
const rowHeight = 26
const top = 40
const labelWidth = 540
const valueWidth = 150
const plotWidth = width - labelWidth - valueWidth

/** Doublings beyond which a bar ends: what is next to nothing would be next to infinite. */
const farthest = 8

/** Read on white and on black: GitHub shows one picture on both. */
const colours = { reached: '#2f9e6e', missed: '#d9634c', text: '#808890', line: '#8b949e' }

/** A goal's place on the chart: the logarithm (base 2) of how many times better than its target it is. */
type Bar = { readonly outcome: Outcome; readonly log: number }

/**
 * An SVG with a bar for each goal: right of the line by how many times it is better than its target, left
 * by how many times it is worse, on a logarithmic scale. Goals of zero have no such number.
 */
export function drawChart(outcomes: readonly Outcome[]): string {
  const bars = outcomes.filter(({ target }) => target > 0).map(barOf)
  const from = Math.floor(Math.min(-1, ...bars.map(({ log }) => log)))
  const to = Math.ceil(Math.max(1, ...bars.map(({ log }) => log)))
  const x = (log: number): number =>
    Math.round(labelWidth + ((log - from) / (to - from)) * plotWidth)
  const height = top + bars.length * rowHeight + 8
  const logs = Array.from({ length: to - from + 1 }, (_, index) => from + index)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img"`,
    `  font-family="system-ui, sans-serif" font-size="13" fill="${colours.text}">`,
    '<title>Each figure beside its target</title>',
    ...logs.flatMap((log) => drawTick(log, x(log), height)),
    ...bars.flatMap(({ outcome, log }, index) =>
      drawBar(outcome, { y: top + index * rowHeight, from: x(0), to: x(log) }),
    ),
    '</svg>\n',
  ].join('\n')
}

function barOf(outcome: Outcome): Bar {
  const { measured, target, better } = outcome
  const log = Math.log2(better === 'higher' ? measured / target : target / measured)
  return { outcome, log: Math.max(-farthest, Math.min(farthest, log)) }
}

function drawTick(log: number, x: number, height: number): string[] {
  const label = log < 0 ? `1/${2 ** -log}` : `${2 ** log}×`
  const stroke = log === 0 ? 'stroke-width="2"' : 'stroke-opacity="0.3"'
  return [
    `<line x1="${x}" y1="${top - 8}" x2="${x}" y2="${height - 8}" stroke="${colours.line}" ${stroke}/>`,
    // Every other one: beside each other they would overlap.
    log % 2 === 0
      ? `<text x="${x}" y="${top - 16}" text-anchor="middle">${log === 0 ? 'target' : label}</text>`
      : '',
  ]
}

type Place = { readonly y: number; readonly from: number; readonly to: number }

function drawBar({ what, better, than, measured, target, isReached }: Outcome, place: Place) {
  const { y, from, to } = place
  const unit = than === undefined ? '' : '×'
  const sign = better === 'higher' ? '≥' : '≤'
  const value = `${formatNumber(measured)}${unit} (${sign} ${formatNumber(target)}${unit})`
  const fill = isReached ? colours.reached : colours.missed
  const x = Math.min(from, to)
  const length = Math.max(2, Math.abs(to - from))
  return [
    `<text x="${labelWidth - 12}" y="${y + 15}" text-anchor="end">${what}</text>`,
    `<rect x="${x}" y="${y + 2}" width="${length}" height="17" rx="2" fill="${fill}"/>`,
    `<text x="${width - valueWidth + 12}" y="${y + 15}">${value}</text>`,
  ]
}
