import KnapJSON

/// The HTTP headers that repeat what the body says, so that proxies can route without reading it (2026-07-28).
///
/// A body and headers that disagree could be routed by one and served by the other, so every difference is refused.
package struct RoutingHeaders: Sendable {
    /// All values of each header, in order: a duplicate is an error, not a choice.
    package var version: [String]
    package var method: [String]
    package var name: [String]
    /// The values of `Mcp-Param-` and the given end.
    package var parameter: @Sendable (String) -> [String]

    package init(
        version: [String], method: [String], name: [String],
        parameter: @escaping @Sendable (String) -> [String] = { _ in [] }
    ) {
        self.version = version
        self.method = method
        self.name = name
        self.parameter = parameter
    }

    /// Checks the headers that repeat arguments of a tool, as its input schema says with `x-mcp-header`.
    package func check(_ arguments: JSON?, _ headers: HeaderArguments) throws(RPCError) {
        for (header, path) in headers.paths.sorted(by: { $0.key < $1.key }) {
            let values = parameter(header)
            let name = "Mcp-Param-\(header)"
            switch path.reduce(arguments, { $0?[$1] }) {
            case nil, .null?:
                guard values.isEmpty else {
                    let argument = path.joined(separator: ".")
                    throw RPCError(.headerMismatch, "The header \(name) is there and the argument \(argument) is not.")
                }
            case .number(let number)?:
                let isEqual = values.count == 1 && Self.number(values[0]) == number
                guard isEqual else {
                    throw RPCError(.headerMismatch, "The header \(name) must be \(number.text), as the argument is.")
                }
            case .bool(let value)?: try Self.check(values.map(Self.decoded), name, equals: value ? "true" : "false")
            case .string(let text)?: try Self.check(values.map(Self.decoded), name, equals: text)
            case .array?, .object?: continue
            }
        }
    }

    private static func number(_ text: String) -> JSONNumber? {
        (try? JSON.parse(Array(text.trimmingSpaces.utf8)))?.numberValue
    }

    package func check(against request: Request, version expected: String) throws(RPCError) {
        try Self.check(version, "MCP-Protocol-Version", equals: expected)
        try Self.check(method, "Mcp-Method", equals: request.method)
        guard let key = RequestMethod(rawValue: request.method)?.namedBy,
            let expected = request.params[key]?.stringValue
        else { return }
        try Self.check(name.map(Self.decoded), "Mcp-Name", equals: expected)
    }

    private static func check(_ values: [String?], _ name: String, equals expected: String) throws(RPCError) {
        guard let value = values.first else {
            throw RPCError(.headerMismatch, "The header \(name) is missing.")
        }
        guard values.count == 1 else {
            throw RPCError(.headerMismatch, "The header \(name) is there \(values.count) times.")
        }
        guard let value else { throw RPCError(.headerMismatch, "The header \(name) is not valid base64.") }
        let trimmed = value.trimmingSpaces
        // Byte by byte: Swift's strings are also equal where only their normal forms are.
        guard trimmed.utf8.elementsEqual(expected.utf8) else {
            let (header, body) = (trimmed.cut(to: 200), expected.cut(to: 200))
            throw RPCError(.headerMismatch, "Header mismatch: \(name) is '\(header)' where the body says '\(body)'.")
        }
    }

    /// Undoes `=?base64?…?=`, in which clients write names that a header cannot carry; nil if it is malformed.
    static func decoded(_ value: String) -> String? {
        let value = value.trimmingSpaces
        guard value.hasPrefix("=?base64?"), value.hasSuffix("?="), value.utf8.count >= 11 else { return value }
        guard let bytes = Base64.decode(value.utf8.dropFirst(9).dropLast(2)) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }
}

extension String {
    /// Without the optional white space that HTTP allows around a field's value (RFC 9110, section 5.5).
    var trimmingSpaces: String {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        var rest = self[...].drop(while: isSpace)
        while let last = rest.last, isSpace(last) { rest.removeLast() }
        return String(rest)
    }
}
