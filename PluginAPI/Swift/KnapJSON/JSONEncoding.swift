extension JSON {
    /// A value of any type as JSON. Nil members of a type are left out; `JSON` itself passes unchanged.
    public static func encoding(_ value: some Encodable) throws -> JSON {
        if let json = value as? JSON { return json }
        let encoder = ValueEncoder(codingPath: [])
        try value.encode(to: encoder)
        return encoder.slot.json
    }
}

// Through this module's own coders a JSON value passes as it is; others see it as the values it is made of.
extension JSON: Codable {
    public init(from decoder: any Decoder) throws {
        if let decoder = decoder as? ValueDecoder {
            self = decoder.value
            return
        }
        let single = try decoder.singleValueContainer()
        if single.decodeNil() {
            self = .null
        } else if let value = try? single.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? single.decode(Int.self) {
            self = .number(JSONNumber(value))
        } else if let value = try? single.decode(Double.self), let number = JSONNumber(value) {
            self = .number(number)
        } else if let value = try? single.decode(String.self) {
            self = .string(value)
        } else if let value = try? single.decode([JSON].self) {
            self = .array(value)
        } else {
            self = .object(
                JSONObject(try single.decode([String: JSON].self).sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
            )
        }
    }

    public func encode(to encoder: any Encoder) throws {
        if let encoder = encoder as? ValueEncoder {
            encoder.slot.json = self
            return
        }
        var single = encoder.singleValueContainer()
        switch self {
        case .null: try single.encodeNil()
        case .bool(let value): try single.encode(value)
        case .number(let number):
            if let value = number.int { try single.encode(value) } else { try single.encode(number.double) }
        case .string(let value): try single.encode(value)
        case .array(let value): try single.encode(value)
        case .object(let object): try single.encode(Dictionary(object.members.map { ($0.name, $0.value) }) { $1 })
        }
    }
}

/// Where an encoder leaves its value. Containers are written to in any order and as often as a type likes, so they
/// share it.
private final class Slot {
    private var value: JSON?
    private var members: [(String, Slot)] = []
    private var elements: [Slot]?

    var json: JSON {
        get {
            if let value { return value }
            if let elements { return .array(elements.map(\.json)) }
            return .object(JSONObject(members.map { ($0.0, $0.1.json) }))
        }
        set { value = newValue }
    }

    func member(_ name: String) -> Slot {
        let slot = Slot()
        members.append((name, slot))
        return slot
    }

    func element() -> Slot {
        let slot = Slot()
        elements?.append(slot)
        return slot
    }

    func becomeElements() { elements = elements ?? [] }
}

/// One value being encoded.
private struct ValueEncoder: Encoder, SingleValueEncodingContainer {
    let slot: Slot
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    init(slot: Slot = Slot(), codingPath: [any CodingKey]) {
        self.slot = slot
        self.codingPath = codingPath
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        KeyedEncodingContainer(MemberEncoder(slot: slot, codingPath: codingPath))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        slot.becomeElements()
        return ElementEncoder(slot: slot, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { self }

    func encodeNil() throws { slot.json = .null }
    func encode(_ value: Bool) throws { slot.json = .bool(value) }
    func encode(_ value: String) throws { slot.json = .string(value) }
    func encode(_ value: Double) throws { try floating(value) }
    func encode(_ value: Float) throws { try floating(Double(value)) }
    func encode(_ value: Int) throws { integer(value) }
    func encode(_ value: Int8) throws { integer(value) }
    func encode(_ value: Int16) throws { integer(value) }
    func encode(_ value: Int32) throws { integer(value) }
    func encode(_ value: Int64) throws { integer(value) }
    func encode(_ value: UInt) throws { integer(value) }
    func encode(_ value: UInt8) throws { integer(value) }
    func encode(_ value: UInt16) throws { integer(value) }
    func encode(_ value: UInt32) throws { integer(value) }
    func encode(_ value: UInt64) throws { integer(value) }
    func encode<T: Encodable>(_ value: T) throws { try value.encode(to: self) }

    private func integer(_ value: some BinaryInteger) { slot.json = .number(JSONNumber(value)) }

    private func floating(_ value: Double) throws {
        guard let number = JSONNumber(value) else {
            throw EncodingError.invalidValue(
                value, EncodingError.Context(codingPath: codingPath, debugDescription: "JSON has no number \(value)"))
        }
        slot.json = .number(number)
    }
}

private struct MemberEncoder<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let slot: Slot
    let codingPath: [any CodingKey]

    func encodeNil(forKey key: Key) throws { slot.member(key.stringValue).json = .null }
    func encode<T: Encodable>(_ value: T, forKey key: Key) throws { try value.encode(to: encoder(key)) }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> { encoder(key).container(keyedBy: type) }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { encoder(key).unkeyedContainer() }
    func superEncoder() -> any Encoder { ValueEncoder(slot: slot.member("super"), codingPath: codingPath) }
    func superEncoder(forKey key: Key) -> any Encoder { encoder(key) }

    private func encoder(_ key: Key) -> ValueEncoder {
        ValueEncoder(slot: slot.member(key.stringValue), codingPath: codingPath + [key])
    }
}

private struct ElementEncoder: UnkeyedEncodingContainer {
    let slot: Slot
    let codingPath: [any CodingKey]
    var count = 0

    init(slot: Slot, codingPath: [any CodingKey]) {
        self.slot = slot
        self.codingPath = codingPath
    }

    mutating func encodeNil() throws { next().slot.json = .null }
    mutating func encode<T: Encodable>(_ value: T) throws { try value.encode(to: next()) }

    mutating func nestedContainer<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        next().container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { next().unkeyedContainer() }
    mutating func superEncoder() -> any Encoder { next() }

    private mutating func next() -> ValueEncoder {
        count += 1
        return ValueEncoder(slot: slot.element(), codingPath: codingPath + [IndexKey(count - 1)])
    }
}
