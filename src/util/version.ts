/** The version of this package, as manifests name it. */
export const HOLDFAST_VERSION = '0.1.0'
