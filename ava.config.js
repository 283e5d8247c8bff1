export default {
  files: ['test/**/*.test.ts'],
  extensions: ['ts'],
  // Without a test ending. The image trial alone takes a minute or two.
  timeout: '5m',
}
