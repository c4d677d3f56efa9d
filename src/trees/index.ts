/** Imports local directory trees into a metadata store, exports them, and compares them. */
export { chooseShare } from './choose-share.ts'
export { compareTrees, type TreeComparison } from './compare-trees.ts'
export { type ExportCounts, type ExportOptions, exportTree } from './export-tree.ts'
export { checkImport, type ImportCounts, type ImportOptions, importTree } from './import-tree.ts'
