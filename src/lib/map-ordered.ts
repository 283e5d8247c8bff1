/**
 * What `work` makes of each item, in the order of the items, while it is at work on at most `width`
 * of them. Items are taken only as they are needed. Whoever stops reading waits for what is under way.
 */
export async function* mapOrdered<T, R>(
  items: Iterable<T>,
  width: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R, void, undefined> {
  const underWay: Promise<R>[] = []
  try {
    for (const item of items) {
      const result = work(item)
      // A failure is met when its turn comes, which Node would call too late.
      result.catch(() => {})
      underWay.push(result)
      if (underWay.length >= width) yield await next(underWay)
    }
    while (underWay.length > 0) yield await next(underWay)
  } finally {
    await Promise.allSettled(underWay)
  }
}

function next<R>(queue: Promise<R>[]): Promise<R> {
  return queue.shift() ?? Promise.reject(new TypeError('nothing is under way'))
}
