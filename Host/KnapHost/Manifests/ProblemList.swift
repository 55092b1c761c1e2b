import KnapJSON

/// The problems found so far in one document.
final class ProblemList {
    private(set) var found: [(code: ManifestError.Problem.Code, pointer: JSONPointer, message: String)] = []

    var count: Int { found.count }

    func add(_ code: ManifestError.Problem.Code, at pointer: JSONPointer, _ message: String) {
        found.append((code, pointer, message))
    }

    /// For use where a value is expected: records the problem and is nil.
    func add<Value>(_ code: ManifestError.Problem.Code, at pointer: JSONPointer, _ message: String) -> Value? {
        found.append((code, pointer, message))
        return nil
    }

    func wrongType<Value>(_ expected: String, _ json: JSON, at pointer: JSONPointer) -> Value? {
        add(.wrongType, at: pointer, "expected \(expected), found \(json.kind)")
    }
}

extension JSON {
    /// What a message calls this value.
    var kind: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .number(let number): "the number \(number.text)"
        case .string(let text): "the string '\(text.count > 40 ? text.prefix(40) + "…" : text)'"
        case .array: "an array"
        case .object: "an object"
        }
    }
}
