import KnapPlugin

/// The addresses of a route: literal segments, `{name}` for one segment, and `{+name}` at the end for all that follow.
package struct RouteTemplate: Sendable, Hashable {
    enum Segment: Sendable, Hashable {
        case literal(String)
        case variable(String)
        /// One or more segments, with the slashes between them.
        case rest(String)
    }

    let segments: [Segment]

    /// The names of the variables, in order.
    package var variables: [String] { segments.compactMap(\.variable) }

    package init(_ text: String) throws(Unservable) {
        guard text.hasPrefix("/"), text.utf8.count <= Self.maximumLength else {
            throw Unservable("its path must begin with / and have at most \(Self.maximumLength) bytes")
        }
        let parts = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        var segments: [Segment] = []
        for (index, part) in parts.enumerated() {
            segments.append(try Self.segment(part, isLast: index + 1 == parts.count))
        }
        self.segments = segments
        guard Set(variables).count == variables.count else { throw Unservable("its path has a variable twice") }
    }

    private static let maximumLength = 1024

    private static func segment(_ text: Substring, isLast: Bool) throws(Unservable) -> Segment {
        guard text.hasPrefix("{"), text.hasSuffix("}") else {
            // A slash at the end is a part of the address; two together are a slip.
            guard isLast || !text.isEmpty else { throw Unservable("its path has // in it") }
            guard text.utf8.allSatisfy(isPathByte) else {
                throw Unservable("the part \(text) of its path is neither plain text nor {name}")
            }
            return .literal(String(text))
        }
        let name = text.dropFirst().dropLast()
        let isRest = name.hasPrefix("+")
        let plain = String(isRest ? name.dropFirst() : name)
        guard !plain.isEmpty, plain.utf8.allSatisfy(isNameByte) else {
            throw Unservable("the variable \(text) of its path must have letters, digits, _ and - only")
        }
        guard isRest else { return .variable(plain) }
        guard isLast else {
            throw Unservable("\(text) stands for all that follows, so it must be the last of its path")
        }
        return .rest(plain)
    }

    /// What stands for itself in a path (RFC 3986, section 3.3, without percent-encoding).
    private static func isPathByte(_ byte: UInt8) -> Bool {
        PercentEncoding.isUnreserved(byte) || "!$&'()*+,;=:@".utf8.contains(byte)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        PercentEncoding.isUnreserved(byte) && byte != UInt8(ascii: "~") && byte != UInt8(ascii: ".")
    }

    /// What the variables stand for in an address; nil if it is another's.
    package func match(_ path: PathSegments) -> [(name: String, value: String)]? {
        var bindings: [(name: String, value: String)] = []
        var given = path.segments[...]
        for segment in segments {
            guard let next = given.popFirst() else { return nil }
            switch segment {
            case .literal(let literal):
                guard literal == next else { return nil }
            case .variable(let name):
                guard !next.isEmpty else { return nil }
                bindings.append((name, next))
            case .rest(let name):
                let value = ([next] + given).joined(separator: "/")
                guard !value.isEmpty else { return nil }
                bindings.append((name, value))
                given = []
            }
        }
        return given.isEmpty ? bindings : nil
    }

    /// Whether an address could be of both.
    package func overlaps(_ other: RouteTemplate) -> Bool {
        for index in 0..<max(segments.count, other.segments.count) {
            guard index < segments.count, index < other.segments.count else { return false }
            switch (segments[index], other.segments[index]) {
            case (.rest, _), (_, .rest): return true
            case (.literal(let a), .literal(let b)): if a != b { return false }
            case (.literal(let literal), .variable), (.variable, .literal(let literal)):
                if literal.isEmpty { return false }
            case (.variable, .variable): break
            }
        }
        return true
    }

    /// As OpenAPI writes it, which knows no `+` (3.1, "Path Templating").
    package var openAPI: String { text { "{\($0)}" } }
    /// The same for all templates with the same addresses, whatever their variables are called.
    var shape: String { text { _ in "{}" } }

    private func text(_ variable: (String) -> String) -> String {
        segments.map { segment in
            switch segment {
            case .literal(let literal): "/" + literal
            case .variable(let name), .rest(let name): "/" + variable(name)
            }
        }.joined()
    }
}

extension RouteTemplate: Comparable {
    /// The more specific first: at the first difference a literal, then a variable, then the rest. What the variables
    /// are called counts only between templates of one shape.
    package static func < (a: RouteTemplate, b: RouteTemplate) -> Bool {
        for (x, y) in zip(a.segments, b.segments) where x.order != y.order { return x.order < y.order }
        if a.segments.count != b.segments.count { return a.segments.count < b.segments.count }
        return a.description < b.description
    }
}

extension RouteTemplate: CustomStringConvertible {
    /// As the manifest writes it.
    package var description: String {
        segments.map { segment in
            switch segment {
            case .literal(let literal): "/" + literal
            case .variable(let name): "/{\(name)}"
            case .rest(let name): "/{+\(name)}"
            }
        }.joined()
    }
}

extension RouteTemplate.Segment {
    fileprivate var order: (Int, String) {
        switch self {
        case .literal(let text): (0, text)
        case .variable: (1, "")
        case .rest: (2, "")
        }
    }

    var variable: String? {
        switch self {
        case .literal: nil
        case .variable(let name), .rest(let name): name
        }
    }
}

/// The path of a request, cut at its slashes and then decoded, so that an encoded slash is a part of its segment.
package struct PathSegments: Sendable, Hashable {
    package let segments: [String]

    /// Nil where the path is not one, or what it encodes is not text.
    package init?(_ path: String) {
        guard path.hasPrefix("/") else { return nil }
        var segments: [String] = []
        for part in path.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            guard let segment = PercentEncoding.decode(part) else { return nil }
            segments.append(segment)
        }
        self.segments = segments
    }
}
