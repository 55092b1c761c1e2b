import KnapPlugin

/// An RFC 6570 template that addresses can be matched against: literal text, `{name}` and `{+name}`.
///
/// `{name}` stands for anything without a slash, `{+name}` for anything. The other operators describe expansions that
/// cannot be undone without guessing, so templates that have them are refused.
package struct URITemplate: Sendable, Hashable {
    private enum Part: Sendable, Hashable {
        case literal([UInt8])
        case variable(name: String, crossesSlashes: Bool)
    }

    package let text: String
    private let parts: [Part]

    package init?(_ text: String) {
        self.text = text
        var parts: [Part] = []
        var rest = text[...]
        while let open = rest.firstIndex(of: "{") {
            if open > rest.startIndex { parts.append(.literal(Array(rest[..<open].utf8))) }
            guard let close = rest[open...].firstIndex(of: "}") else { return nil }
            var name = rest[rest.index(after: open)..<close]
            let crossesSlashes = name.first == "+"
            if crossesSlashes { name.removeFirst() }
            let isPlain = name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
            guard !name.isEmpty, isPlain else { return nil }
            // Two variables side by side could be split anywhere.
            if case .variable = parts.last { return nil }
            parts.append(.variable(name: String(name), crossesSlashes: crossesSlashes))
            rest = rest[rest.index(after: close)...]
        }
        guard !rest.contains("}") else { return nil }
        if !rest.isEmpty { parts.append(.literal(Array(rest.utf8))) }
        self.parts = parts
    }

    /// What the variables stand for in an address, percent-decoded; nil if the address is not of this family.
    package func match(_ uri: String) -> [(name: String, value: String)]? {
        Self.match(parts[...], Array(uri.utf8)[...])?.reversed()
    }

    /// Answers the bindings in reverse. A variable takes as little as lets the rest match.
    private static func match(_ parts: ArraySlice<Part>, _ text: ArraySlice<UInt8>) -> [(name: String, value: String)]?
    {
        guard let part = parts.first else { return text.isEmpty ? [] : nil }
        switch part {
        case .literal(let literal):
            return text.starts(with: literal) ? match(parts.dropFirst(), text.dropFirst(literal.count)) : nil
        case .variable(let name, let crossesSlashes):
            let longest = crossesSlashes ? text : text.prefix { $0 != UInt8(ascii: "/") }
            guard !longest.isEmpty else { return nil }
            // The last variable takes everything: no need to try.
            let shortest = parts.count == 1 ? longest.count : 1
            guard shortest <= longest.count, parts.count > 1 || longest.count == text.count else { return nil }
            for length in shortest...longest.count {
                guard var bindings = match(parts.dropFirst(), text.dropFirst(length)) else { continue }
                guard let value = PercentEncoding.decode(longest.prefix(length)) else { return nil }
                bindings.append((name, value))
                return bindings
            }
            return nil
        }
    }
}
