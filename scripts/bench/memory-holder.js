// `node memory-holder.js BYTES`: holds so much memory, every page of it touched, until it is ended.
const pieceBytes = 1024 ** 3
const held = []
for (let left = Number(process.argv[2]); left > 0; left -= pieceBytes) {
  held.push(Buffer.allocUnsafeSlow(Math.min(left, pieceBytes)).fill(1))
}
console.log('held', held.length)
process.stdin.resume().on('end', () => process.exit())
