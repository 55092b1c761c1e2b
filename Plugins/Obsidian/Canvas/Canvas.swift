import KnapJSON

/// What a canvas (JSON Canvas 1.0) says to notes: its file nodes, and the text of its text nodes.
struct Canvas: Sendable {
    struct Node: Sendable {
        enum Content: Sendable {
            case file(path: String, subpath: String)
            case text(String)
        }

        var content: Content
        /// The JSON string of the path or text with its quotes, in bytes of the canvas.
        var range: Range<Int>
        /// The same of a file node's subpath, if it has one.
        var subpathRange: Range<Int>?
        /// From 0.
        var line: Int
    }

    var nodes: [Node] = []

    /// Nil when it is not JSON.
    static func read(_ text: String) -> Canvas? {
        guard (try? JSON.parse(text)) != nil else { return nil }
        let lines = TextLines(text)
        var canvas = Canvas()
        var walker = JSONWalker(lines.bytes)
        walker.members { name, walker in
            guard name == "nodes" else { return }
            canvas.nodes = []
            walker.elements { walker in
                var strings: [String: (text: String, range: Range<Int>)] = [:]
                walker.members { name, walker in strings[name] = walker.string() }
                if let node = node(strings, lines) { canvas.nodes.append(node) }
            }
        }
        return canvas
    }

    private static func node(_ strings: [String: (text: String, range: Range<Int>)], _ lines: TextLines) -> Node? {
        switch strings["type"]?.text {
        case "file":
            return strings["file"].map {
                let content = Node.Content.file(path: $0.text, subpath: strings["subpath"]?.text ?? "")
                return Node(
                    content: content, range: $0.range, subpathRange: strings["subpath"]?.range,
                    line: lines.line(at: $0.range.lowerBound))
            }
        case "text":
            return strings["text"].map {
                Node(content: .text($0.text), range: $0.range, line: lines.line(at: $0.range.lowerBound))
            }
        default: return nil
        }
    }

    /// A file node leads to that path and no other, so it is a link from the vault's root.
    var links: [NoteLink] {
        nodes.flatMap { node -> [NoteLink] in
            switch node.content {
            case .file(let path, let subpath):
                return [
                    NoteLink(
                        kind: .file, target: "/" + path, subpath: subpath, display: nil, original: path,
                        range: node.range, line: node.line)
                ]
            case .text(let text):
                return NoteParser.parse(text).links.map { link in
                    var link = link
                    link.range = node.range
                    link.line = node.line
                    return link
                }
            }
        }
    }
}

/// Goes over a JSON text that is known to be one, and says where its strings are.
private struct JSONWalker {
    private let bytes: [UInt8]
    private var place = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The members of the object here. What `visit` leaves of a value is passed over, as is a value that is no object.
    mutating func members(_ visit: (String, inout JSONWalker) -> Void) {
        each(UInt8(ascii: "{")) { walker in
            guard let name = walker.string() else { return }
            walker.pass(UInt8(ascii: ":"))
            walker.value { visit(name.text, &$0) }
        }
    }

    mutating func elements(_ visit: (inout JSONWalker) -> Void) {
        each(UInt8(ascii: "[")) { walker in walker.value(visit) }
    }

    /// The string here and its place with the quotes; nil for another value.
    mutating func string() -> (text: String, range: Range<Int>)? {
        skipBlanks()
        guard place < bytes.count, bytes[place] == UInt8(ascii: "\"") else { return nil }
        let start = place
        passString()
        guard let text = try? JSON.parse(Array(bytes[start..<place])).stringValue else { return nil }
        return (text, start..<place)
    }

    private mutating func each(_ open: UInt8, _ visit: (inout JSONWalker) -> Void) {
        skipBlanks()
        guard place < bytes.count, bytes[place] == open else { return }
        pass(open)
        // The closing brackets of ASCII stand two behind the opening ones.
        while place < bytes.count, bytes[place] != open + 2 {
            visit(&self)
            pass(UInt8(ascii: ","))
        }
        pass(open + 2)
    }

    private mutating func value(_ visit: (inout JSONWalker) -> Void) {
        skipBlanks()
        let start = place
        visit(&self)
        if place == start { passValue() }
    }

    private mutating func pass(_ byte: UInt8) {
        skipBlanks()
        if place < bytes.count, bytes[place] == byte { place += 1 }
        skipBlanks()
    }

    private mutating func skipBlanks() {
        while place < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[place]) { place += 1 }
    }

    private mutating func passString() {
        place += 1
        while place < bytes.count, bytes[place] != UInt8(ascii: "\"") {
            place += bytes[place] == UInt8(ascii: "\\") ? 2 : 1
        }
        place += 1
    }

    private mutating func passValue() {
        var depth = 0
        while place < bytes.count {
            switch bytes[place] {
            case UInt8(ascii: "\""): passString()
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                place += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if depth == 0 { return }
                depth -= 1
                place += 1
            case UInt8(ascii: ","):
                if depth == 0 { return }
                place += 1
            default: place += 1
            }
        }
    }
}
