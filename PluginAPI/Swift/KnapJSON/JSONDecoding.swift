/// Why a JSON value does not fit a type: where, what was expected and what was found.
public struct JSONDecodingError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Code: Sendable, Hashable { case typeMismatch, missingMember, outOfRange, invalidValue }

    public var code: Code
    public var pointer: JSONPointer
    public var message: String

    public var description: String { pointer.tokens.isEmpty ? message : "\(pointer): \(message)" }
}

extension JSON {
    /// The value as a type. `JSON` itself comes out unchanged, also inside other types.
    public func decoded<T: Decodable>(as type: T.Type) throws(JSONDecodingError) -> T {
        do {
            return try ValueDecoder(value: self, codingPath: []).decode(type)
        } catch let error as JSONDecodingError {
            throw error
        } catch let error as DecodingError {
            throw JSONDecodingError(error)
        } catch {
            throw JSONDecodingError(code: .invalidValue, pointer: JSONPointer(), message: "\(error)")
        }
    }
}

extension JSONDecodingError {
    /// What a type's own decoding threw.
    init(_ error: DecodingError) {
        let (code, context): (Code, DecodingError.Context) =
            switch error {
            case .typeMismatch(_, let context): (.typeMismatch, context)
            case .valueNotFound(_, let context): (.typeMismatch, context)
            case .keyNotFound(_, let context): (.missingMember, context)
            case .dataCorrupted(let context): (.invalidValue, context)
            @unknown default: (.invalidValue, DecodingError.Context(codingPath: [], debugDescription: "\(error)"))
            }
        self.init(code: code, pointer: JSONPointer(context.codingPath), message: context.debugDescription)
    }
}

extension JSONPointer {
    init(_ path: [any CodingKey]) { self.init(path.map { $0.intValue.map(String.init) ?? $0.stringValue }) }
}

struct IndexKey: CodingKey {
    let index: Int
    var stringValue: String { String(index) }
    var intValue: Int? { index }
    init(_ index: Int) { self.index = index }
    init?(stringValue: String) { nil }
    init?(intValue: Int) { index = intValue }
}

/// One value being decoded.
struct ValueDecoder: Decoder, SingleValueDecodingContainer {
    let value: JSON
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .object(let object) = value else { throw mismatch("an object") }
        return KeyedDecodingContainer(MemberDecoder(object: object, codingPath: codingPath))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard case .array(let elements) = value else { throw mismatch("an array") }
        return ElementDecoder(elements: elements, codingPath: codingPath)
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer { self }

    func decodeNil() -> Bool { value.isNull }
    func decode(_ type: Bool.Type) throws -> Bool { try read(value.boolValue, "true or false") }
    func decode(_ type: String.Type) throws -> String { try read(value.stringValue, "a string") }
    func decode(_ type: Double.Type) throws -> Double { try read(value.doubleValue, "a number") }
    func decode(_ type: Float.Type) throws -> Float { Float(try read(value.doubleValue, "a number")) }
    func decode(_ type: Int.Type) throws -> Int { try integer(type) }
    func decode(_ type: Int8.Type) throws -> Int8 { try integer(type) }
    func decode(_ type: Int16.Type) throws -> Int16 { try integer(type) }
    func decode(_ type: Int32.Type) throws -> Int32 { try integer(type) }
    func decode(_ type: Int64.Type) throws -> Int64 { try integer(type) }
    func decode(_ type: UInt.Type) throws -> UInt { try integer(type) }
    func decode(_ type: UInt8.Type) throws -> UInt8 { try integer(type) }
    func decode(_ type: UInt16.Type) throws -> UInt16 { try integer(type) }
    func decode(_ type: UInt32.Type) throws -> UInt32 { try integer(type) }
    func decode(_ type: UInt64.Type) throws -> UInt64 { try integer(type) }

    func decode<T: Decodable>(_ type: T.Type) throws -> T {
        if T.self == JSON.self, let value = value as? T { return value }
        return try T(from: self)
    }

    private func integer<T: FixedWidthInteger>(_ type: T.Type) throws -> T {
        guard case .number(let number) = value, number.isInteger else { throw mismatch("a whole number") }
        if let value = T(number.text) ?? number.int.flatMap({ T(exactly: $0) }) { return value }
        throw JSONDecodingError(
            code: .outOfRange, pointer: JSONPointer(codingPath),
            message: "\(number.text) is not between \(T.min) and \(T.max)")
    }

    private func read<T>(_ found: T?, _ expected: String) throws -> T {
        guard let found else { throw mismatch(expected) }
        return found
    }

    func mismatch(_ expected: String) -> JSONDecodingError {
        JSONDecodingError(
            code: .typeMismatch, pointer: JSONPointer(codingPath), message: "\(expected) is expected, not \(value.kind)"
        )
    }
}

extension JSON {
    /// What kind of value it is, for messages.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

private struct MemberDecoder<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let object: JSONObject
    let codingPath: [any CodingKey]

    var allKeys: [Key] { object.names.compactMap(Key.init(stringValue:)) }
    func contains(_ key: Key) -> Bool { object[key.stringValue] != nil }
    func decodeNil(forKey key: Key) throws -> Bool { try member(key).value.isNull }
    func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T { try member(key).decode(type) }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> { try member(key).container(keyedBy: type) }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try member(key).unkeyedContainer()
    }

    func superDecoder() throws -> any Decoder {
        ValueDecoder(value: object["super"] ?? .null, codingPath: codingPath)
    }

    func superDecoder(forKey key: Key) throws -> any Decoder { try member(key) }

    private func member(_ key: Key) throws -> ValueDecoder {
        guard let value = object[key.stringValue] else {
            throw JSONDecodingError(
                code: .missingMember, pointer: JSONPointer(codingPath),
                message: "the member \"\(key.stringValue)\" is missing")
        }
        return ValueDecoder(value: value, codingPath: codingPath + [key])
    }
}

private struct ElementDecoder: UnkeyedDecodingContainer {
    let elements: [JSON]
    let codingPath: [any CodingKey]
    var currentIndex = 0

    init(elements: [JSON], codingPath: [any CodingKey]) {
        self.elements = elements
        self.codingPath = codingPath
    }

    var count: Int? { elements.count }
    var isAtEnd: Bool { currentIndex >= elements.count }

    mutating func decodeNil() throws -> Bool {
        guard try element().value.isNull else { return false }
        currentIndex += 1
        return true
    }

    mutating func decode<T: Decodable>(_ type: T.Type) throws -> T { try advance { try $0.decode(type) } }

    mutating func nestedContainer<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        try advance { try $0.container(keyedBy: type) }
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        try advance { try $0.unkeyedContainer() }
    }

    mutating func superDecoder() throws -> any Decoder { try advance { $0 } }

    private func element() throws -> ValueDecoder {
        guard !isAtEnd else {
            throw JSONDecodingError(
                code: .missingMember, pointer: JSONPointer(codingPath),
                message: "the array has only \(elements.count) elements")
        }
        return ValueDecoder(value: elements[currentIndex], codingPath: codingPath + [IndexKey(currentIndex)])
    }

    private mutating func advance<T>(_ read: (ValueDecoder) throws -> T) throws -> T {
        let result = try read(try element())
        currentIndex += 1
        return result
    }
}
