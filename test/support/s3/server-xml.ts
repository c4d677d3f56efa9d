/** XML as S3 writes and reads it: elements and text, no more. */

export const XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
const NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


/** An element with text, or with elements that `element` made. */
export function element(name: string, content: string | number | boolean | Date | readonly string[]): string {
  const inside = Array.isArray(content) ? content.join('') : escape(content instanceof Date ? content.toISOString() : String(content))
  return `<${name}>${inside}</${name}>`
}

/** The same in one, or nothing where there is no content. */
export function optional(name: string, content: string | number | boolean | Date | undefined): string {
  return content === undefined ? '' : element(name, content)
}

/** A whole answer: its root is in the namespace of S3. */
export function document(name: string, content: readonly string[]): string {
  return `${XML_DECLARATION}<${name}${NAMESPACE}>${content.join('')}</${name}>`
}

/** An element that was read: its text, without white space around it, and its elements. */
export class XmlElement {
  readonly name: string
  readonly children: XmlElement[] = []
  text = ''

  constructor(name: string) {
    this.name = name
  }

  all(name: string): XmlElement[] {
    return this.children.filter((child) => child.name === name)
  }

  /** The text of the first child of that name. */
  get(name: string): string | undefined {
    return this.children.find((child) => child.name === name)?.text
  }
}

/** Reads a document; resolves to its root, or undefined where it is not well-formed. */
export function parseXml(source: string): XmlElement | undefined {
  const top = new XmlElement('')
  const open = [top]
  for (const [token] of source.matchAll(/<[^>]*>|[^<]+/g)) {
    const inner = open.at(-1)
    if (inner === undefined) return undefined
    if (token.startsWith('<?') || token.startsWith('<!')) continue
    if (token.startsWith('</')) {
      if (open.pop()?.name !== token.slice(2, -1).trim() || open.length === 0) return undefined
    } else if (token.startsWith('<')) {
      const name = /^<([^\s/>]+)/.exec(token)?.[1]
      if (name === undefined) return undefined
      const child = new XmlElement(name)
      inner.children.push(child)
      if (!token.endsWith('/>')) open.push(child)
    } else inner.text += unescape(token).trim()
  }
  return open.length === 1 && top.children.length === 1 ? top.children[0] : undefined
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

function escape(text: string): string {
  return text.replaceAll(/[&<>"\u0000-\u001f\u007f]/g, (char) => ENTITIES[char] ?? `&#x${char.charCodeAt(0).toString(16)};`)
}

function unescape(text: string): string {
  return text.replaceAll(/&(#x?)?([0-9a-zA-Z]+);/g, (_, number: string | undefined, name: string) => {
    if (number !== undefined) return String.fromCodePoint(Number.parseInt(name, number === '#x' ? 16 : 10))
    return { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }[name] ?? ''
  })
}
