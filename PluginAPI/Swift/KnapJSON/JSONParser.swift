/// What a parser accepts beyond the grammar.
public struct JSONLimits: Sendable {
    public enum DuplicateNames: Sendable { case reject, keepLast }

    /// How many arrays and objects may lie in one another.
    public var depth: Int
    public var duplicateNames: DuplicateNames
    public var maximumBytes: Int
    /// How many values there may be, those in others counted too. A value takes much more memory than the two bytes that it
    /// can be written with.
    public var maximumValues: Int

    public init(
        depth: Int = 512, duplicateNames: DuplicateNames = .keepLast, maximumBytes: Int = .max, maximumValues: Int = .max
    ) {
        self.depth = depth
        self.duplicateNames = duplicateNames
        self.maximumBytes = maximumBytes
        self.maximumValues = maximumValues
    }

    public static let standard = JSONLimits()
}

/// A place in a JSON text.
public struct JSONPosition: Sendable, Hashable {
    /// In bytes, from 0.
    public var offset: Int
    /// From 1.
    public var line: Int
    /// In Unicode scalars, from 1.
    public var column: Int

    /// The line and column of an offset.
    public init(offset: Int, in bytes: UnsafeRawBufferPointer) {
        self.offset = offset
        line = 1
        column = 1
        for byte in bytes.prefix(offset) {
            if byte == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
    }
}

/// Why a text is not JSON, and where.
public struct JSONParseError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Code: Sendable, Hashable {
        case unexpectedEnd, unexpectedCharacter, invalidNumber, invalidString, invalidUTF8, invalidEscape
        case tooDeep, tooLong, tooManyValues, duplicateName, trailingCharacters
    }

    public var code: Code
    public var message: String
    public var position: JSONPosition

    public var description: String { "line \(position.line), column \(position.column): \(message)" }
}

extension JSON {
    /// Parses one JSON text (RFC 8259), with nothing but white space around it.
    public static func parse(
        _ bytes: UnsafeRawBufferPointer, limits: JSONLimits = .standard
    ) throws(JSONParseError) -> JSON {
        var parser = JSONParser(bytes: bytes, limits: limits)
        return try parser.parseDocument()
    }

    public static func parse(_ bytes: [UInt8], limits: JSONLimits = .standard) throws(JSONParseError) -> JSON {
        let result: Result<JSON, JSONParseError> = bytes.withUnsafeBytes { buffer in
            Result { () throws(JSONParseError) in try parse(buffer, limits: limits) }
        }
        return try result.get()
    }

    public static func parse(_ text: String, limits: JSONLimits = .standard) throws(JSONParseError) -> JSON {
        var text = text
        let result: Result<JSON, JSONParseError> = text.withUTF8 { buffer in
            Result { () throws(JSONParseError) in try parse(UnsafeRawBufferPointer(buffer), limits: limits) }
        }
        return try result.get()
    }
}

/// A recursive parser whose depth is limited, over bytes that stay where they are.
struct JSONParser {
    let bytes: UnsafeRawBufferPointer
    let limits: JSONLimits
    var offset = 0
    private var depth = 0
    private var values = 0

    init(bytes: UnsafeRawBufferPointer, limits: JSONLimits) {
        self.bytes = bytes
        self.limits = limits
    }

    func error(_ code: JSONParseError.Code, _ message: String, at place: Int? = nil) -> JSONParseError {
        JSONParseError(code: code, message: message, position: JSONPosition(offset: place ?? offset, in: bytes))
    }

    mutating func parseDocument() throws(JSONParseError) -> JSON {
        guard bytes.count <= limits.maximumBytes else {
            throw error(
                .tooLong, "the text has \(bytes.count) bytes, at most \(limits.maximumBytes) are allowed", at: 0)
        }
        let value = try parseValue()
        skipSpace()
        guard offset == bytes.count else {
            throw error(.trailingCharacters, "nothing may follow the value, but \(found) does")
        }
        return value
    }

    mutating func parseValue() throws(JSONParseError) -> JSON {
        skipSpace()
        guard offset < bytes.count else { throw error(.unexpectedEnd, "the text ends where a value is expected") }
        values += 1
        guard values <= limits.maximumValues else {
            throw error(.tooManyValues, "there are more than \(limits.maximumValues) values")
        }
        switch bytes[offset] {
        case UInt8(ascii: "{"): return .object(try parseObject())
        case UInt8(ascii: "["): return .array(try parseArray())
        case UInt8(ascii: "\""): return .string(try parseString())
        case UInt8(ascii: "t"): return try parseWord("true", .bool(true))
        case UInt8(ascii: "f"): return try parseWord("false", .bool(false))
        case UInt8(ascii: "n"): return try parseWord("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try parseNumber())
        default: throw error(.unexpectedCharacter, "a value is expected, not \(found)")
        }
    }

    private mutating func parseObject() throws(JSONParseError) -> JSONObject {
        try enter()
        var object = JSONObject()
        offset += 1
        skipSpace()
        if take(UInt8(ascii: "}")) { return leave(object) }
        object.members.reserveCapacity(4)
        while true {
            skipSpace()
            guard offset < bytes.count, bytes[offset] == UInt8(ascii: "\"") else {
                throw error(
                    offset < bytes.count ? .unexpectedCharacter : .unexpectedEnd,
                    "a member's name in quotes is expected, not \(found)")
            }
            let start = offset
            let name = try parseString()
            skipSpace()
            guard take(UInt8(ascii: ":")) else {
                throw error(
                    offset < bytes.count ? .unexpectedCharacter : .unexpectedEnd,
                    "':' is expected after \"\(name.prefix(100))\", not \(found)")
            }
            let value = try parseValue()
            if let place = object.place(of: name) {
                if limits.duplicateNames == .reject {
                    throw error(.duplicateName, "\"\(name.prefix(100))\" appears twice in one object", at: start)
                }
                object.members[place].value = value
            } else {
                object.append(name, value)
            }
            skipSpace()
            if take(UInt8(ascii: ",")) { continue }
            if take(UInt8(ascii: "}")) { return leave(object) }
            throw error(
                offset < bytes.count ? .unexpectedCharacter : .unexpectedEnd, "',' or '}' is expected, not \(found)")
        }
    }

    private mutating func parseArray() throws(JSONParseError) -> [JSON] {
        try enter()
        var array: [JSON] = []
        offset += 1
        skipSpace()
        if take(UInt8(ascii: "]")) { return leave(array) }
        while true {
            array.append(try parseValue())
            skipSpace()
            if take(UInt8(ascii: ",")) { continue }
            if take(UInt8(ascii: "]")) { return leave(array) }
            throw error(
                offset < bytes.count ? .unexpectedCharacter : .unexpectedEnd, "',' or ']' is expected, not \(found)")
        }
    }

    private mutating func parseWord(_ word: StaticString, _ value: JSON) throws(JSONParseError) -> JSON {
        let count = word.utf8CodeUnitCount
        guard offset + count <= bytes.count,
            (0..<count).allSatisfy({ bytes[offset + $0] == word.utf8Start[$0] })
        else { throw error(.unexpectedCharacter, "a value is expected, not \(found)") }
        offset += count
        return value
    }

    private mutating func parseNumber() throws(JSONParseError) -> JSONNumber {
        let start = offset
        _ = take(UInt8(ascii: "-"))
        if take(UInt8(ascii: "0")) {
            if offset < bytes.count, isDigit(bytes[offset]) {
                throw error(.invalidNumber, "a number may not begin with 0", at: start)
            }
        } else if takeDigits() == 0 {
            throw error(.invalidNumber, "a digit is expected after '-'")
        }
        if take(UInt8(ascii: ".")), takeDigits() == 0 { throw error(.invalidNumber, "a digit is expected after '.'") }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "-")) { _ = take(UInt8(ascii: "+")) }
            if takeDigits() == 0 { throw error(.invalidNumber, "a digit is expected in the exponent") }
        }
        return JSONNumber(uncheckedText: plain(start..<offset))
    }

    // MARK: Small steps

    private mutating func enter() throws(JSONParseError) {
        depth += 1
        if depth > limits.depth {
            throw error(.tooDeep, "more than \(limits.depth) arrays and objects lie in one another")
        }
    }

    private mutating func leave<T>(_ value: T) -> T {
        depth -= 1
        return value
    }

    mutating func skipSpace() {
        while offset < bytes.count {
            switch bytes[offset] {
            case 0x20, 0x09, 0x0A, 0x0D: offset += 1
            default: return
            }
        }
    }

    mutating func take(_ byte: UInt8) -> Bool {
        guard offset < bytes.count, bytes[offset] == byte else { return false }
        offset += 1
        return true
    }

    private mutating func takeDigits() -> Int {
        let start = offset
        while offset < bytes.count, isDigit(bytes[offset]) { offset += 1 }
        return offset - start
    }

    private func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    /// What is at the current place, for messages.
    private var found: String {
        guard offset < bytes.count else { return "the end of the text" }
        let byte = bytes[offset]
        return byte > 0x20 && byte < 0x7F
            ? "'\(Character(Unicode.Scalar(byte)))'" : "the byte 0x\(String(byte, radix: 16))"
    }
}
