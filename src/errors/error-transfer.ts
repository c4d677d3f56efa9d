/** Converts errors to plain data and back, to send them between threads. */
import * as errors from './errors.ts'

/** An error without its class; safe for the structured clone algorithm. */
export interface TransferredError {
  readonly name: string
  readonly message: string
  readonly stack: string | undefined
  readonly code: string | undefined
  /** What an error of a system call says beside its code. */
  readonly system: Pick<NodeJS.ErrnoException, 'errno' | 'syscall' | 'path'>
  readonly cause: TransferredError | undefined
  /** Present for Holdfast's errors only. */
  readonly traits: { readonly code: errors.ErrorCode; readonly hint: string; readonly retryable: boolean; readonly details: string } | undefined
}

/** The most causes of one error; deeper ones are left out. */
const MAX_CAUSES = 8

/** Converts anything thrown to data. Details that are not JSON become text. */
export function packError(error: unknown, depth = 0): TransferredError {
  if (!(error instanceof Error)) return { ...NO_ERROR, message: String(error) }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  return {
    name: error.name,
    message: error.message,
    stack: error.stack,
    code,
    system: systemFacts(error),
    cause: error.cause === undefined || depth === MAX_CAUSES ? undefined : packError(error.cause, depth + 1),
    traits: errors.isHoldfastError(error)
      ? { code: error.code, hint: error.hint, retryable: error.retryable, details: JSON.stringify(error.details, plainly) }
      : undefined,
  }
}

/** Rebuilds an error: a Holdfast error as the class of its code, any other as an `Error` of the same name, code and system call. */
export function unpackError(packed: TransferredError): Error {
  const cause = packed.cause === undefined ? undefined : unpackError(packed.cause)
  const error = packed.traits === undefined ? plainError(packed, cause) : ownError(packed.traits, packed.message, cause)
  if (packed.stack !== undefined) error.stack = packed.stack
  return error
}

const NO_ERROR: TransferredError = {
  name: 'Error',
  message: '',
  stack: undefined,
  code: undefined,
  system: {},
  cause: undefined,
  traits: undefined,
}

type ErrorClass = (new (message: string, options: errors.HoldfastErrorOptions) => errors.HoldfastError) & { readonly code: errors.ErrorCode }

/** The classes whose errors have one code. */
const CLASSES: ReadonlyMap<string, ErrorClass> = new Map((Object.values(errors) as unknown[]).filter(isErrorClass).map((one) => [one.code, one]))

function isErrorClass(value: unknown): value is ErrorClass {
  return typeof value === 'function' && 'code' in value && value.code !== undefined
}

function ownError({ code, ...traits }: NonNullable<TransferredError['traits']>, message: string, cause: Error | undefined): errors.HoldfastError {
  return errorOf(code, message, { ...traits, cause, details: JSON.parse(traits.details) as Record<string, unknown> })
}

/** An error of the class that has the code. */
export function errorOf(code: errors.ErrorCode, message: string, options: errors.HoldfastErrorOptions): errors.HoldfastError {
  const OneClass = CLASSES.get(code)
  return OneClass === undefined ? new errors.MetadataError(code as errors.MetadataErrorCode, message, options) : new OneClass(message, options)
}

function systemFacts({ errno, syscall, path }: NodeJS.ErrnoException): TransferredError['system'] {
  return {
    ...(typeof errno === 'number' ? { errno } : {}),
    ...(typeof syscall === 'string' ? { syscall } : {}),
    ...(typeof path === 'string' ? { path } : {}),
  }
}

function plainError({ name, message, code, system }: TransferredError, cause: Error | undefined): Error {
  const error = new Error(message, cause === undefined ? undefined : { cause })
  Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true, enumerable: false })
  return Object.assign(error, code === undefined ? {} : { code }, system)
}

function plainly(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' || typeof value === 'symbol' || typeof value === 'function' ? String(value) : value
}
