import KnapJSON

extension JSON {
    /// About how many bytes a text takes once it is read: each value takes some besides its text, however short that is.
    static func approximateMemory(of text: [UInt8]) -> Int {
        // Where nothing can be much.
        guard text.count > 1024 else { return text.count }
        return text.reduce(text.count) { size, byte in
            switch byte {
            case UInt8(ascii: ","), UInt8(ascii: ":"), UInt8(ascii: "{"), UInt8(ascii: "["): size + 100
            default: size
            }
        }
    }

    /// About how many bytes it has as text, found without writing it.
    var approximateSize: Int {
        switch self {
        case .null, .bool: 4
        case .number(let number): number.text.utf8.count
        case .string(let text): text.utf8.count + 2
        case .array(let elements): elements.reduce(2) { $0 + $1.approximateSize + 1 }
        case .object(let object): object.members.reduce(2) { $0 + $1.name.utf8.count + $1.value.approximateSize + 4 }
        }
    }
}
