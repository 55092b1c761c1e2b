/// A place in a JSON value (RFC 6901).
public struct JSONPointer: Sendable, Hashable, CustomStringConvertible {
    public var tokens: [String]

    public init(_ tokens: [String] = []) { self.tokens = tokens }

    /// Nil when the text is neither empty nor begins with '/', or has a '~' that escapes nothing.
    public init?(_ text: String) {
        if text.isEmpty {
            tokens = []
            return
        }
        guard text.first == "/" else { return nil }
        var tokens: [String] = []
        for part in text.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            guard let token = Self.unescape(part) else { return nil }
            tokens.append(token)
        }
        self.tokens = tokens
    }

    private static func unescape(_ part: Substring) -> String? {
        guard part.contains("~") else { return String(part) }
        var token = ""
        var rest = part[...]
        while let character = rest.popFirst() {
            guard character == "~" else {
                token.append(character)
                continue
            }
            switch rest.popFirst() {
            case "0": token.append("~")
            case "1": token.append("/")
            default: return nil
            }
        }
        return token
    }

    public func appending(_ token: String) -> JSONPointer { JSONPointer(tokens + [token]) }
    public func appending(_ index: Int) -> JSONPointer { appending(String(index)) }

    public var description: String {
        tokens.map { token in
            "/" + token.map { $0 == "~" ? "~0" : $0 == "/" ? "~1" : String($0) }.joined()
        }.joined()
    }

    /// The token as an array's index: decimal digits without a leading zero.
    static func index(_ token: String) -> Int? {
        guard token == "0" || token.first != "0", token.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int(token)
    }
}

extension JSON {
    /// The value at a place; nil when there is none.
    public subscript(pointer: JSONPointer) -> JSON? {
        var value = self
        for token in pointer.tokens {
            let next: JSON?
            switch value {
            case .object(let object): next = object[token]
            case .array: next = JSONPointer.index(token).flatMap { value[$0] }
            default: next = nil
            }
            guard let next else { return nil }
            value = next
        }
        return value
    }
}

/// A JSON text that can say where in it a value stands. It reads the text again for each answer: errors are rare.
public struct JSONSource: Sendable {
    public let bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Where the value at `pointer` begins, or the nearest value around it; nil when the text is not JSON.
    public func position(of pointer: JSONPointer) -> JSONPosition? {
        bytes.withUnsafeBytes { buffer in
            var parser = JSONParser(bytes: buffer, limits: .standard)
            guard let offset = try? Self.locate(pointer.tokens[...], &parser) else { return nil }
            return JSONPosition(offset: offset, in: buffer)
        }
    }

    private static func locate(_ tokens: ArraySlice<String>, _ parser: inout JSONParser) throws(JSONParseError) -> Int {
        parser.skipSpace()
        let start = parser.offset
        guard let token = tokens.first, start < parser.bytes.count else { return start }
        if parser.take(UInt8(ascii: "{")) {
            parser.skipSpace()
            while parser.offset < parser.bytes.count, parser.bytes[parser.offset] == UInt8(ascii: "\"") {
                let name = try parser.parseString()
                parser.skipSpace()
                _ = parser.take(UInt8(ascii: ":"))
                if name == token { return try locate(tokens.dropFirst(), &parser) }
                _ = try parser.parseValue()
                parser.skipSpace()
                _ = parser.take(UInt8(ascii: ","))
                parser.skipSpace()
            }
        } else if let index = JSONPointer.index(token), parser.take(UInt8(ascii: "[")) {
            for place in 0... {
                parser.skipSpace()
                if place == index { return try locate(tokens.dropFirst(), &parser) }
                if parser.take(UInt8(ascii: "]")) { break }
                _ = try parser.parseValue()
                parser.skipSpace()
                if !parser.take(UInt8(ascii: ",")) { break }
            }
        }
        return start
    }
}
