/** The functions that the package exports, with their parameters and options, as the compiler reads them from the declarations. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { API, type Checker, type Signature, type Symbol as TypeSymbol, SignatureKind, SymbolFlags, type Type, type TypeReference } from 'typescript/unstable/sync'
import { ROOT } from './sources.ts'

/** A value that a caller gives: an argument, or an option. */
export interface Given {
  readonly name: string
  readonly isOptional: boolean
  /** The type, as text. */
  readonly type: string
  readonly accepts: ReadonlySet<Sort>
  /** The options in it; none for other arguments. */
  readonly options: readonly Given[]
}

export const SORTS = ['string', 'number', 'boolean', 'array', 'object', 'empty object', 'function', 'async function'] as const
export type Sort = (typeof SORTS)[number]

export interface PublicCall {
  /** Of the module in `dist`. */
  readonly path: string
  /** `openStore`, `PayloadDirectory.open`, `new SnapshotWriter`, or `openRepository().list` for a method of what a call gives. */
  readonly name: string
  readonly parameters: readonly Given[]
}

/** Calls whose results, one of each contract, have methods that callers give options to. */
const RETURNS_METHODS: ReadonlySet<string> = new Set([
  'openRepository', 'openRepository().open', 'openHolds', 'levelBackupable', 'postgresBackupable', 'openMemoryStore', 'levelCatalog', 'PayloadDirectory.open',
  'fsDestination', 's3Destination',
])

/** All functions, static methods and constructors by every subpath of package.json, but those of errors and of the suites. */
export function publicCalls(): readonly PublicCall[] {
  const api = new API({ cwd: ROOT })
  try {
    const project = api.updateSnapshot({ openProject: join(ROOT, 'tsconfig.json') }).getProjects()[0]
    if (project === undefined) throw new Error('no project')
    return modules().flatMap((path) => {
      const file = project.program.getSourceFile(join(ROOT, path.replace(/^dist\//, '').replace(/\.js$/, '.ts')))
      const module = file && project.checker.getSymbolAtLocation(file)
      if (module === undefined) throw new Error(`${path} is not a module`)
      return project.checker.getExportsOfModule(module).flatMap((symbol) => callsOf(project.checker, symbol, path))
    })
  } finally {
    api.close()
  }
}

/** What the exports map names, without the suites. */
function modules(): readonly string[] {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { readonly exports: Readonly<Record<string, string>> }
  return Object.values(exports).filter((target) => target.endsWith('.js') && !target.includes('/test/')).flatMap((target) => {
    const [before = '', after] = target.slice(2).split('*')
    return after === undefined ? [before] : readdirSync(join(ROOT, before)).map((name) => `${before}${name}${after}`).filter((path) => existsSync(join(ROOT, path)))
  })
}

function callsOf(checker: Checker, exported: TypeSymbol, path: string): readonly PublicCall[] {
  const symbol = (exported.flags & SymbolFlags.Alias) === 0 ? exported : checker.getAliasedSymbol(exported)
  const type = checker.getTypeOfSymbol(symbol)
  if (type === undefined || (symbol.flags & SymbolFlags.Value) === 0 || exported.name.endsWith('Error')) return []
  const found: PublicCall[] = []
  const add = (name: string, of: Type, kind: SignatureKind): void => {
    for (const signature of checker.getSignaturesOfType(of, kind)) {
      const parameters = signature.getParameters().map((parameter, index) => givenOf(checker, parameter, checker.getParameterType(signature, index)))
      if (!name.includes('()') || parameters.some(({ options }) => options.length > 0)) found.push({ path, name, parameters })
      if (RETURNS_METHODS.has(name)) addMethods(`${name}()`, resultOf(checker, signature))
    }
  }
  const addMethods = (prefix: string, of: Type): void => {
    for (const property of checker.getPropertiesOfType(of)) {
      if (property.name.startsWith('__')) continue
      const method = checker.getTypeOfSymbol(property)
      if (method !== undefined) add(`${prefix}.${property.name}`, method, SignatureKind.Call)
    }
  }
  add(exported.name, type, SignatureKind.Call)
  if ((symbol.flags & SymbolFlags.Class) === 0) return found
  add(`new ${exported.name}`, type, SignatureKind.Construct)
  addMethods(exported.name, type)
  return found
}

/** What a call gives, or its promise. */
function resultOf(checker: Checker, signature: Signature): Type {
  const type = checker.getReturnTypeOfSignature(signature)
  if (type === undefined) throw new Error('a call has no result')
  return checker.typeToString(type).startsWith('Promise<') ? (checker.getTypeArguments(type as TypeReference)[0] ?? type) : type
}

function givenOf(checker: Checker, symbol: TypeSymbol, type: Type | undefined = checker.getTypeOfSymbol(symbol)): Given {
  if (type === undefined) throw new Error(`${symbol.name} has no type`)
  const text = checker.typeToString(type)
  const inner = checker.getNonNullableType(type) ?? type
  const options = /Options\b/.test(text) || symbol.name === 'options' ? checker.getPropertiesOfType(inner).map((option) => givenOf(checker, option)) : []
  return { name: symbol.name, isOptional: checker.isTypeAssignableTo(checker.getUndefinedType(), type), type: text, accepts: sortsOf(checker, inner), options }
}

/** The sorts of values that a type takes. */
function sortsOf(checker: Checker, type: Type): ReadonlySet<Sort> {
  const parts = (type as { getTypes?: () => readonly Type[] | undefined }).getTypes?.() ?? [type]
  const sorts = new Set<Sort>()
  for (const part of parts) {
    const text = checker.typeToString(part)
    const returns = checker.getSignaturesOfType(part, SignatureKind.Call).map((signature) => checker.typeToString(checker.getReturnTypeOfSignature(signature) ?? part))
    if (returns.length > 0) {
      sorts.add('function')
      if (returns.some((text) => /Promise|void|unknown/.test(text))) sorts.add('async function')
    } else if (checker.isArrayLikeType(part)) sorts.add('array')
    else if (text.startsWith('string &')) sorts.add('string')
    else if (text === 'string' || text === 'number' || text === 'boolean') sorts.add(text)
    else if (text === 'true' || text === 'false') sorts.add('boolean')
    else if (!text.startsWith('"')) {
      sorts.add('object')
      if (checker.getPropertiesOfType(part).every((property) => checker.isTypeAssignableTo(checker.getUndefinedType(), checker.getTypeOfSymbol(property) ?? part))) sorts.add('empty object')
    }
  }
  return sorts
}
