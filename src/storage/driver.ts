/**
 * A place below the root: components of letters, digits and `. _ - =`, a slash before each, such as
 * `/docker/registry/v2/blobs`. Only `layout.ts` makes them.
 */
export type StoragePath = string

export type StoredStat = {
  readonly kind: 'file' | 'folder'
  /** Bytes; 0 for a folder. */
  readonly size: number
  /** Milliseconds since 1970. */
  readonly modifiedAt: number
  /**
   * Differs whenever the content may differ, so that something read earlier can be trusted by
   * comparing. Undefined while the last change is so recent that another might leave no trace.
   */
  readonly version: string | undefined
}

export type StoredEntry = { readonly name: string; readonly kind: 'file' | 'folder' }

/** A file opened for reading. The caller closes it. It stays readable after its removal. */
export type StoredReader = AsyncDisposable & {
  readonly stat: StoredStat
  /** Fills `buffer` from `position` on; resolves with the bytes read, fewer only at the end. */
  read(buffer: Buffer, position: number): Promise<number>
}

/** A file opened for appending. The caller closes it; nothing is durable before `sync`. */
export type StoredWriter = AsyncDisposable & {
  /** Bytes in the file. */
  readonly size: number
  /** Appends all of `bytes`, whose memory may be used again afterwards. @throws STORAGE_FULL */
  write(bytes: Uint8Array): Promise<void>
  /**
   * Resolves when the content survives power loss, under its name or one that it had in the same folder
   * before. @throws STORAGE_FULL
   */
  sync(): Promise<void>
  /** As `sync`, for content that is moved durably to another name next. @throws STORAGE_FULL */
  syncContent(): Promise<void>
  /** Cuts the file to its first `size` bytes. */
  truncate(size: number): Promise<void>
}

export type Durability = {
  /** Whether it must survive power loss once it resolved, which costs a wait for the disk. */
  readonly durable: boolean
}

export type Removal = Durability & {
  /**
   * Is asked about a folder that nobody can reach by its name any more, with where it is meanwhile, and
   * may change what is in it. False, or a failure, puts it back durably, unless something else has the
   * name by then. Where a folder cannot be taken away in one step it is asked before, with `path`.
   */
  readonly confirm?: (folder: StoragePath) => Promise<boolean>
}

export type StorageSpace = {
  /** Bytes that may still be written, and bytes in all. */
  readonly free: number
  readonly total: number
  /** The same of files, or folders; undefined where nobody counts them. */
  readonly files: { readonly free: number; readonly total: number } | undefined
}

/**
 * Where the registry keeps its bytes. Any number of processes may use one folder at once, and any may
 * be killed at any moment: each operation is done whole or not at all. One that is called durable
 * survives power loss once it resolved. A path that is absent is `undefined` or `false`, never an
 * error; a full disk is STORAGE_FULL, one that takes no writes UNAVAILABLE; anything else rejects with
 * the system's own error.
 */
export interface StorageDriver {
  stat(path: StoragePath): Promise<StoredStat | undefined>
  /**
   * What is directly in a folder, in no order; undefined if there is no such folder. What no
   * `StoragePath` can lead to is left out. Rejects for a symbolic link to what is not there: it may be a
   * disk that is not mounted, and whoever does not find it listed may take it for deleted.
   */
  list(path: StoragePath): Promise<readonly StoredEntry[] | undefined>
  /** A small file, and the stat that belongs to exactly this content. */
  read(path: StoragePath): Promise<{ content: Buffer; stat: StoredStat } | undefined>
  /** Puts a small file in place of whatever was there; durable, and readers meet old or new whole. */
  write(path: StoragePath, content: string | Uint8Array): Promise<void>
  /** Opens a large file to read. */
  open(path: StoragePath): Promise<StoredReader | undefined>
  /** Makes an empty file and opens it to append; undefined if something has that name already. */
  create(path: StoragePath): Promise<StoredWriter | undefined>
  /** Opens an existing file to append. */
  append(path: StoragePath): Promise<StoredWriter | undefined>
  /** Renames a file, in place of any other: of several that move the same one, one gets true. */
  move(from: StoragePath, to: StoragePath, options: Durability): Promise<boolean>
  /**
   * Copies a file to a name that is free, as a file of its own. False if `from` is absent. The content
   * survives power loss, but its name may not until a durable `move` gives it another.
   */
  copy(from: StoragePath, to: StoragePath): Promise<boolean>
  /**
   * Removes a file, or a folder with all that is in it, at once for every onlooker. A folder goes by
   * way of `trashRoot`; what a killed process left there is for anybody to `remove` from there. On a
   * full disk, where that may be impossible, it goes piece by piece, files before folders.
   */
  remove(path: StoragePath, options: Removal): Promise<boolean>
  /** Removes a folder if nothing is in it; true if it was removed. */
  removeEmpty(path: StoragePath): Promise<boolean>
  /** Sets the modification time to now, or to `at` (milliseconds since 1970). */
  touch(path: StoragePath, at?: number): Promise<boolean>
  space(): Promise<StorageSpace>
}
