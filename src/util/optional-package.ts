/** Loads packages that an installation may leave out. */
import { BackupUnsupportedError } from '../errors/errors.ts'

/** Loads code that needs an optional package. If the package is not installed, the error names it and the hint says how to install it. */
export async function loadWith<T>(packageName: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (cause) {
    const { code, message } = cause as { readonly code?: unknown; readonly message?: unknown }
    if (code !== 'ERR_MODULE_NOT_FOUND' || !String(message).includes(`'${packageName}'`)) throw cause
    throw new BackupUnsupportedError(`The package "${packageName}" is not installed`, {
      cause,
      hint: `Install it next to Holdfast: npm install ${packageName}`,
      details: { package: packageName },
    })
  }
}
