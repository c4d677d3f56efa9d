/** Directory trees of this machine: into a metadata store, out of it again, and compared. */
export { chooseShare } from './choose-share.ts'
export { compareTrees, type TreeComparison } from './compare-trees.ts'
export { type ExportCounts, type ExportOptions, exportTree } from './export-tree.ts'
export { checkImport, type ImportCounts, type ImportOptions, importTree } from './import-tree.ts'
