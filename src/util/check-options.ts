/**
 * Checks of what callers give: every option is of its kind, none is missing, and none has an unknown name. A caller in plain JavaScript
 * has no other check.
 */
import { types } from 'node:util'
import { isTimeMs } from './check-number.ts'

/** What a value must be. */
export interface Kind {
  /** The end of "must be …". */
  readonly what: string
  readonly fits: (value: unknown) => boolean
  /** What an error calls a value that does not fit. @default what it is, without its content */
  readonly given?: (value: unknown) => string
  /** What each item of an array must be. */
  readonly item?: Kind
  /** Whether an error may repeat a string that does not fit. Other strings may be secrets. @default false */
  readonly shows?: boolean
}

/** The kinds of all options of a function. The compiler refuses a table that lacks one. */
export type OptionKinds<Options> = { readonly [Name in keyof Options]-?: Kind }

export const STRING: Kind = { what: 'a string', fits: (value) => typeof value === 'string' }
/** Its range is checked elsewhere: see `check-number.ts`. */
export const NUMBER: Kind = { what: 'a number', fits: (value) => typeof value === 'number' }
export const BOOLEAN: Kind = { what: 'true or false', fits: (value) => typeof value === 'boolean' }
export const FUNCTION: Kind = { what: 'a function', fits: (value) => typeof value === 'function' }
export const OBJECT: Kind = { what: 'an object', fits: (value) => isObject(value) && !Array.isArray(value) && !isPromise(value) }
/** A function whose result is used at once. */
export const SYNC_FUNCTION: Kind = { what: 'a function that is not async', fits: (value) => typeof value === 'function' && !types.isAsyncFunction(value) }
/** Calls the clock once, before anything is done: a later look would find events that cannot be dated. */
export const CLOCK: Kind = {
  what: 'a function that gives whole milliseconds since 1970',
  fits: (value) => SYNC_FUNCTION.fits(value) && isTimeMs((value as () => unknown)()),
  given: (value) => (SYNC_FUNCTION.fits(value) ? `one that gives ${shownNumber((value as () => unknown)())}` : nameOf(value)),
}
export const SIGNAL: Kind = has<AbortSignal>('an AbortSignal', 'addEventListener', 'throwIfAborted')

/** A kind that may be left out. */
export function optional(kind: Kind): Kind {
  return { ...kind, fits: (value) => value === undefined || kind.fits(value) }
}

/** An array of one kind. */
export function listOf(item: Kind, what: string): Kind {
  return { what: `an array of ${what}`, fits: Array.isArray, item }
}

/** One of some strings. */
export function oneOf(values: readonly string[]): Kind {
  return { what: values.map((value) => `"${value}"`).join(' or '), fits: (value) => values.includes(value as string), shows: true }
}

/** Either of two kinds. */
export function either(one: Kind, other: Kind): Kind {
  return { what: `${one.what} or ${other.what}`, fits: (value) => one.fits(value) || other.fits(value) }
}

/** An object, known by some of its methods: it may be of another copy of the package, or of another maker. */
// eslint-disable-next-line typescript/no-unnecessary-type-parameters -- it ties the names to the methods that there are
export function has<Thing>(what: string, ...methods: readonly (keyof Thing & string)[]): Kind {
  return { what, fits: (value) => (isObject(value) || typeof value === 'function') && methods.every((name) => typeof (value as Readonly<Record<string, unknown>>)[name] === 'function') }
}

/** An object with at least these fields. */
export function shapedAs<Shape extends object>(what: string, fields: Partial<OptionKinds<Shape>>): Kind {
  const wanted = Object.entries<Kind | undefined>(fields)
  const words = `${what}, { ${wanted.map(([name, kind]) => `${name}: ${kind?.what}`).join(', ')} }`
  return { what: words, fits: (value) => isObject(value) && wanted.every(([name, kind]) => kind?.fits((value as Readonly<Record<string, unknown>>)[name])) }
}

/**
 * Throws a `TypeError` that names the call and the option, unless every option is of its kind. An option that is `undefined` is not given.
 */
export function checkOptions<Options extends object>(call: string, options: Options, kinds: OptionKinds<Options>): void {
  checkArgument(call, options, { name: 'options', kind: OBJECT })
  for (const name of Object.keys(kinds) as (keyof Options & string)[]) checkArgument(call, options[name], { name, kind: kinds[name] })
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(kinds, name) && options[name as keyof Options] !== undefined)
  if (unknown !== undefined) throw unknownOption(call, unknown, kinds)
}

/** An object that a caller gives: the argument's name, and the names of all its fields. The compiler refuses a table that lacks one. */
export interface Fields<Shape extends object> {
  readonly name: string
  readonly fields: { readonly [Name in keyof Shape]-?: true }
}

/**
 * Throws a `TypeError` unless an argument is an object with known fields only; a field that is `undefined` is not given. Their values are
 * not checked. Allocates nothing, for calls that are made often.
 */
export function checkFields<Shape extends object>(call: string, value: Shape, { name, fields }: Fields<Shape>): void {
  if (!OBJECT.fits(value)) checkArgument(call, value, { name, kind: OBJECT })
  for (const field in value) if (!Object.hasOwn(fields, field) && value[field] !== undefined) throw unknownOption(call, field, fields)
}

/** Throws a `TypeError` that names the call and the argument, unless it is of its kind. */
export function checkArgument(call: string, value: unknown, { name, kind }: { readonly name: string; readonly kind: Kind }): void {
  if (kind.fits(value)) {
    if (kind.item !== undefined && Array.isArray(value)) for (const [index, item] of value.entries()) checkArgument(call, item, { name: `${name}[${index}]`, kind: kind.item })
    return
  }
  const wrong = value === undefined ? 'is missing; it must be' : 'must be'
  const given = value === undefined ? '' : `, not ${kind.shows === true && typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : (kind.given ?? nameOf)(value)}`
  throw new TypeError(`Cannot call ${call}(): ${JSON.stringify(name)} ${wrong} ${kind.what}${given}`)
}

/** A value that is not the text it must be: the beginning of a text, or what else it is. */
export function shownText(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 64)) : nameOf(value)
}

/** What a value is, without its content. */
export function nameOf(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (isPromise(value)) return 'a promise (is an "await" missing?)'
  if (Array.isArray(value)) return 'an array'
  if (types.isAsyncFunction(value)) return 'an async function'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

function shownNumber(value: unknown): string {
  return typeof value === 'number' ? String(value) : nameOf(value)
}

function unknownOption(call: string, name: string, known: object): TypeError {
  return new TypeError(`Cannot call ${call}(): it has no option ${JSON.stringify(name)}; known are ${Object.keys(known).toSorted().join(', ')}`)
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function isPromise(value: unknown): boolean {
  return isObject(value) && 'then' in value && typeof value.then === 'function'
}
