import KnapJSON

/// Reads one object field by field and complains of the fields nobody asked for.
///
/// Reading goes on after a problem, with the field's default in place, so that an author sees all problems at once. What
/// was read counts only when `problems` is empty in the end.
struct FieldReader {
    private let object: JSONObject
    private let pointer: JSONPointer
    let problems: ProblemList
    private var asked: [String] = []

    /// Reads the fields of `json` with `body`, then checks that no others are there.
    static func read<Value>(
        _ json: JSON, at pointer: JSONPointer, _ problems: ProblemList, _ body: (inout FieldReader) -> Value
    ) -> Value? {
        guard case .object(let object) = json else {
            problems.add(.wrongType, at: pointer, "expected an object, found \(json.kind)")
            return nil
        }
        var reader = FieldReader(object: object, pointer: pointer, problems: problems)
        let value = body(&reader)
        reader.refuseUnknown()
        return value
    }

    private init(object: JSONObject, pointer: JSONPointer, problems: ProblemList) {
        self.object = object
        self.pointer = pointer
        self.problems = problems
    }

    /// The field of that name, which may be absent.
    subscript(name: String) -> Field {
        mutating get {
            asked.append(name)
            return Field(name: name, json: object[name], parent: pointer, problems: problems)
        }
    }

    /// For rules that tie several fields of this object together.
    func refuse(_ name: String, _ message: String) {
        problems.add(.contradiction, at: pointer.appending(name), message)
    }

    private func refuseUnknown() {
        for name in object.names where !asked.contains(name) {
            let hint = NearestMatch.find(name, among: asked).map { "did you mean '\($0)'?" }
            let allowed = hint ?? "known are \(asked.joined(separator: ", "))"
            problems.add(.unknownField, at: pointer.appending(name), "unknown field '\(name)': \(allowed)")
        }
    }
}

/// One field that may be absent, and the ways to read it.
///
/// A field without a default is required.
struct Field {
    let name: String
    let json: JSON?
    let parent: JSONPointer
    let problems: ProblemList

    var pointer: JSONPointer { parent.appending(name) }

    func string(_ rule: TextRule = .text, default fallback: String? = nil) -> String {
        value(default: fallback, placeholder: "") {
            Element(json: $0, pointer: pointer, problems: problems).string(rule)
        }
    }

    func optionalString(_ rule: TextRule = .text) -> String? {
        json == nil ? nil : string(rule)
    }

    func boolean(default fallback: Bool) -> Bool {
        value(default: fallback, placeholder: fallback) { json in
            json.boolValue ?? problems.wrongType("true or false", json, at: pointer)
        }
    }

    func integer(in range: ClosedRange<Int>, default fallback: Int? = nil) -> Int {
        value(default: fallback, placeholder: range.lowerBound) {
            Element(json: $0, pointer: pointer, problems: problems).integer(in: range)
        }
    }

    func optionalInteger(in range: ClosedRange<Int>) -> Int? {
        json == nil ? nil : integer(in: range)
    }

    /// A field whose name ends in `_ms`.
    func milliseconds(in range: ClosedRange<Int>, default fallback: Duration? = nil) -> Duration {
        value(default: fallback, placeholder: .zero) { json in
            Element(json: json, pointer: pointer, problems: problems).integer(in: range).map { .milliseconds($0) }
        }
    }

    func optionalMilliseconds(in range: ClosedRange<Int>) -> Duration? {
        json == nil ? nil : milliseconds(in: range)
    }

    func oneOf<Choice>(_ type: Choice.Type, default fallback: Choice) -> Choice
    where Choice: RawRepresentable<String> & CaseIterable {
        value(default: fallback, placeholder: fallback) {
            Element(json: $0, pointer: pointer, problems: problems).oneOf(type)
        }
    }

    func requiredText<Choice>(of type: Choice.Type) -> String where Choice: RawRepresentable<String> & CaseIterable {
        value(default: nil, placeholder: "") {
            Element(json: $0, pointer: pointer, problems: problems).oneOf(type)?.rawValue
        }
    }

    /// Text that `parse` turns into a value or refuses with a `VersionError`.
    func parsed<Value>(placeholder: Value, _ parse: (String) throws(VersionError) -> Value) -> Value {
        value(default: nil, placeholder: placeholder) { json in
            guard let text = json.stringValue else { return problems.wrongType("a string", json, at: pointer) }
            do throws(VersionError) { return try parse(text) } catch {
                return problems.add(.malformed, at: pointer, error.message)
            }
        }
    }

    func object<Value>(default fallback: Value, _ body: (inout FieldReader) -> Value) -> Value {
        value(default: fallback, placeholder: fallback) { FieldReader.read($0, at: pointer, problems, body) }
    }

    func optionalObject<Value>(_ body: (inout FieldReader) -> Value) -> Value? {
        json.flatMap { FieldReader.read($0, at: pointer, problems, body) }
    }

    /// A JSON Schema: an object, checked no further here.
    func schema() -> JSON? {
        guard let json else { return nil }
        guard case .object = json else {
            return problems.add(.wrongType, at: pointer, "expected a JSON Schema object, found \(json.kind)")
        }
        return json
    }

    func requiredSchema() -> JSON {
        if json == nil { problems.add(.missingField, at: parent, "the field '\(name)' is missing") }
        return schema() ?? .object(JSONObject())
    }

    /// The members of an object whose names are not known beforehand.
    func members() -> JSONObject {
        value(default: JSONObject(), placeholder: JSONObject()) { json in
            json.objectValue ?? problems.wrongType("an object", json, at: pointer)
        }
    }

    /// The elements of an array; absent is empty.
    func list<Value>(_ body: (Element) -> Value?) -> [Value] {
        guard let json else { return [] }
        guard case .array(let elements) = json else {
            let none: [Value]? = problems.wrongType("an array", json, at: pointer)
            return none ?? []
        }
        return elements.enumerated().compactMap { index, json in
            body(Element(json: json, pointer: pointer.appending(String(index)), problems: problems))
        }
    }

    /// A list of objects in which no two have the same `key`.
    func objects<Value>(unique key: (Value) -> String, _ body: (inout FieldReader) -> Value) -> [Value] {
        var seen: Set<String> = []
        return list { element in
            let before = problems.count
            let value = FieldReader.read(element.json, at: element.pointer, problems, body)
            if let value, problems.count == before, !seen.insert(key(value)).inserted {
                problems.add(.duplicate, at: element.pointer, "'\(key(value))' is here twice")
            }
            return value
        }
    }

    /// A list in which no value may be twice.
    func set<Value: Hashable>(_ body: (Element) -> Value?) -> [Value] {
        var seen: Set<Value> = []
        return list { element in
            guard let value = body(element) else { return nil }
            if !seen.insert(value).inserted {
                problems.add(.duplicate, at: element.pointer, "\(element.json.serialized()) is here twice")
            }
            return value
        }
    }

    func strings(_ rule: TextRule = .text) -> [String] { set { $0.string(rule) } }

    private func value<Value>(default fallback: Value?, placeholder: Value, _ read: (JSON) -> Value?) -> Value {
        if let json { return read(json) ?? fallback ?? placeholder }
        if let fallback { return fallback }
        problems.add(.missingField, at: parent, "the field '\(name)' is missing")
        return placeholder
    }
}

/// A value that is there.
struct Element {
    let json: JSON
    let pointer: JSONPointer
    let problems: ProblemList

    func string(_ rule: TextRule) -> String? {
        guard let text = json.stringValue else { return problems.wrongType(rule.name, json, at: pointer) }
        guard rule.accepts(text) else {
            return problems.add(.malformed, at: pointer, "'\(text)' is not \(rule.name): \(rule.explanation)")
        }
        return text
    }

    func integer(in range: ClosedRange<Int>) -> Int? {
        guard let number = json.numberValue else { return problems.wrongType("an integer", json, at: pointer) }
        guard let value = number.int else {
            return problems.add(.wrongType, at: pointer, "expected an integer, found \(number.text)")
        }
        guard range.contains(value) else {
            return problems.add(
                .outOfRange, at: pointer,
                "\(value) is out of range: \(range.lowerBound) to \(range.upperBound) are allowed")
        }
        return value
    }

    func oneOf<Choice>(_ type: Choice.Type) -> Choice? where Choice: RawRepresentable<String> & CaseIterable {
        let choices = Choice.allCases.map(\.rawValue)
        guard let text = json.stringValue else {
            return problems.wrongType("one of \(choices.joined(separator: ", "))", json, at: pointer)
        }
        if let choice = Choice(rawValue: text) { return choice }
        let hint = NearestMatch.hint(text, among: choices)
        return problems.add(
            .outOfRange, at: pointer, "'\(text)' is not one of \(choices.joined(separator: ", "))\(hint)")
    }
}
