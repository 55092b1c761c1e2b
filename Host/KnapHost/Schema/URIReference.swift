/// A URI or a reference to one, taken apart (RFC 3986 §3), as far as schemas need it.
struct URIReference: Hashable {
    var scheme: String?
    var authority: String?
    var path: String
    var query: String?
    var fragment: String?

    init(_ text: String) {
        var rest = text[...]
        if let hash = rest.firstIndex(of: "#") {
            fragment = String(rest[rest.index(after: hash)...])
            rest = rest[..<hash]
        }
        if let mark = rest.firstIndex(of: "?") {
            query = String(rest[rest.index(after: mark)...])
            rest = rest[..<mark]
        }
        if let colon = rest.firstIndex(of: ":"), colon != rest.startIndex,
            rest[..<colon].allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "+-.".contains($0)) })
        {
            scheme = String(rest[..<colon])
            rest = rest[rest.index(after: colon)...]
        }
        if rest.hasPrefix("//") {
            let tail = rest.dropFirst(2)
            let end = tail.firstIndex(of: "/") ?? tail.endIndex
            authority = String(tail[..<end])
            rest = tail[end...]
        }
        path = String(rest)
    }

    var withoutFragment: String {
        (scheme.map { $0 + ":" } ?? "") + (authority.map { "//" + $0 } ?? "") + path + (query.map { "?" + $0 } ?? "")
    }

    /// RFC 3986 §5.2.
    static func resolve(_ reference: String, against base: String) -> URIReference {
        var target = URIReference(reference)
        if target.scheme != nil { return target }
        let base = URIReference(base)
        target.scheme = base.scheme
        if target.authority != nil { return target }
        target.authority = base.authority
        if target.path.isEmpty {
            target.path = base.path
            target.query = target.query ?? base.query
        } else if !target.path.hasPrefix("/") {
            let folder =
                base.path.lastIndex(of: "/").map { String(base.path[...$0]) } ?? (base.authority == nil ? "" : "/")
            target.path = removingDots(folder + target.path)
        } else {
            target.path = removingDots(target.path)
        }
        return target
    }

    private static func removingDots(_ path: String) -> String {
        var parts: [Substring] = []
        let all = path.split(separator: "/", omittingEmptySubsequences: false)
        for (place, part) in all.enumerated() {
            let isLast = place == all.count - 1
            switch part {
            case ".": if isLast { parts.append("") }
            case "..":
                if parts.count > 1 || (parts.count == 1 && parts[0] != "") { parts.removeLast() }
                if isLast { parts.append("") }
            default: parts.append(part)
            }
        }
        return parts.joined(separator: "/")
    }

    /// The fragment with its percent-escapes decoded.
    var decodedFragment: String? {
        guard let fragment else { return nil }
        var bytes: [UInt8] = []
        var rest = fragment.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
