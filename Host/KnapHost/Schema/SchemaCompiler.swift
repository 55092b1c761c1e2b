import KnapJSON

/// Turns documents into a graph of nodes, resolving every reference.
struct SchemaCompiler {
    private var index = SchemaIndex()
    private let registry: SchemaRegistry
    private(set) var nodes: [SchemaNode] = []
    private(set) var resources: [String] = []
    private(set) var dynamicAnchors: [[String: Int]] = []
    private(set) var tracksEvaluation = false
    /// Nodes by base URI and the schema itself: the same text under the same base means the same.
    private var known: [Place: Int] = [:]
    private var pending: [(Int, JSON, String)] = []

    private struct Place: Hashable {
        var base: String
        var schema: JSON
    }

    init(registry: SchemaRegistry) { self.registry = registry }

    mutating func compile(_ document: JSON, base: String) throws(SchemaError) -> Int {
        let own = document["$id"]?.stringValue.map { URIReference.resolve($0, against: base).withoutFragment } ?? base
        load(document, base: own)
        let root = node(document, at: own)
        while let (place, schema, base) = pending.popLast() { nodes[place] = try compileNode(schema, base: base) }
        return root
    }

    // MARK: Documents

    private mutating func load(_ document: JSON, base: String) {
        if index.resources[base] != nil { return }
        let before = Set(index.resources.keys)
        index.add(document, base: base)
        for uri in index.resources.keys where !before.contains(uri) {
            index.setValidates(validates(index.resources[uri]?.root ?? .null, inheriting: document), of: uri)
        }
    }

    /// Whether validation keywords count, by the `$vocabulary` of the schema's metaschema.
    private func validates(_ schema: JSON, inheriting document: JSON) -> Bool {
        guard let uri = (schema["$schema"] ?? document["$schema"])?.stringValue,
            let vocabulary = registry.documents[URIReference(uri).withoutFragment]?["$vocabulary"]?.objectValue
        else { return true }
        return vocabulary["https://json-schema.org/draft/2020-12/vocab/validation"] != nil
    }

    private mutating func resource(_ base: String) -> Int {
        if let place = resources.firstIndex(of: base) { return place }
        resources.append(base)
        dynamicAnchors.append([:])
        let place = resources.count - 1
        for (name, schema) in index.resources[base]?.dynamicAnchors ?? [:] {
            dynamicAnchors[place][name] = node(schema, at: base)
        }
        return place
    }

    /// The node of a schema, compiled later: it may be its own descendant.
    private mutating func node(_ schema: JSON, base: String) -> Int {
        let id = schema["$id"]?.stringValue
        return node(schema, at: id.map { URIReference.resolve($0, against: base).withoutFragment } ?? base)
    }

    /// The node of a schema whose own base URI is known.
    private mutating func node(_ schema: JSON, at base: String) -> Int {
        let place = Place(base: base, schema: schema)
        if let found = known[place] { return found }
        nodes.append(SchemaNode())
        known[place] = nodes.count - 1
        pending.append((nodes.count - 1, schema, base))
        return nodes.count - 1
    }

    // MARK: References

    private mutating func resolve(_ reference: String, base: String) throws(SchemaError) -> (
        schema: JSON, base: String, anchor: String?
    ) {
        func unresolved() -> SchemaError {
            SchemaError(
                code: .unresolvedReference, pointer: base,
                message: "'\(reference)' names no schema that is known here; documents are not fetched")
        }
        let target = URIReference.resolve(reference, against: base)
        let uri = target.withoutFragment
        if index.resources[uri] == nil, let document = registry.documents[uri] { load(document, base: uri) }
        guard let resource = index.resources[uri] else { throw unresolved() }
        guard let fragment = target.decodedFragment, !fragment.isEmpty else { return (resource.root, uri, nil) }
        guard fragment.hasPrefix("/") else {
            guard let schema = resource.anchors[fragment] else { throw unresolved() }
            return (schema, uri, fragment)
        }
        guard let pointer = JSONPointer(fragment) else { throw unresolved() }
        // Schemas on the way may have base URIs of their own.
        var schema = resource.root
        var inner = uri
        for token in pointer.tokens {
            guard let next = schema[JSONPointer([token])] else { throw unresolved() }
            schema = next
            if let id = schema["$id"]?.stringValue { inner = URIReference.resolve(id, against: inner).withoutFragment }
        }
        return (schema, inner, nil)
    }

    // MARK: Keywords

    private mutating func compileNode(_ schema: JSON, base: String) throws(SchemaError) -> SchemaNode {
        var node = SchemaNode()
        node.resource = resource(base)
        switch schema {
        case .bool(let value): node.constant = value
        case .object(let object):
            let reader = KeywordReader(object: object, base: base)
            if index.resources[base]?.validates ?? true { node.checks = try Self.assertions(reader) }
            node.checks += try applicators(reader)
            node.unevaluated = try unevaluated(reader)
            if node.checks.isEmpty, node.unevaluated.isEmpty { node.constant = true }
        default:
            throw SchemaError(
                code: .invalidKeyword, pointer: base, message: "a schema is an object or a boolean, not \(schema.kind)")
        }
        return node
    }

    private static func assertions(_ reader: KeywordReader) throws(SchemaError) -> [SchemaCheck] {
        var checks: [SchemaCheck] = []
        if let types = try reader.types() { checks.append(.type(types)) }
        if let required = try reader.strings("required") { checks.append(.required(required)) }
        if let values = try reader.array("enum") { checks.append(.enum(values)) }
        if let value = reader.object["const"] { checks.append(.const(value)) }
        if let number = try reader.number("multipleOf") { checks.append(.multipleOf(number)) }
        for keyword in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] {
            if let number = try reader.number(keyword) { checks.append(.bound(keyword: keyword, number)) }
        }
        if let pattern = try reader.string("pattern") { checks.append(.pattern(try SchemaPattern(pattern))) }
        let (shortest, longest) = (try reader.count("minLength"), try reader.count("maxLength"))
        if shortest != nil || longest != nil { checks.append(.length(minimum: shortest, maximum: longest)) }
        let (fewest, most) = (try reader.count("minItems"), try reader.count("maxItems"))
        if fewest != nil || most != nil { checks.append(.itemCount(minimum: fewest, maximum: most)) }
        if reader.object["uniqueItems"] == .bool(true) { checks.append(.uniqueItems) }
        let (least, greatest) = (try reader.count("minProperties"), try reader.count("maxProperties"))
        if least != nil || greatest != nil { checks.append(.propertyCount(minimum: least, maximum: greatest)) }
        if let dependent = try reader.map("dependentRequired") {
            checks.append(
                .dependentRequired(
                    Dictionary(
                        dependent.members.map { ($0.name, ($0.value.arrayValue ?? []).compactMap(\.stringValue)) }
                    ) { $1 }))
        }
        return checks
    }

    private mutating func applicators(_ reader: KeywordReader) throws(SchemaError) -> [SchemaCheck] {
        var checks: [SchemaCheck] = []
        if let reference = try reader.string("$ref") {
            let target = try resolve(reference, base: reader.base)
            checks.append(.reference(node(target.schema, at: target.base)))
        }
        if let reference = try reader.string("$dynamicRef") {
            checks.append(try dynamicReference(reference, reader.base))
        }
        let named = try schemas("properties", reader)
        let patterned = try schemas("patternProperties", reader)
        let additional = one("additionalProperties", reader)
        if named != nil || patterned != nil || additional != nil {
            var patterns: [(SchemaPattern, Int)] = []
            for (text, place) in (patterned ?? [:]).sorted(by: { $0.key < $1.key }) {
                patterns.append((try SchemaPattern(text), place))
            }
            checks.append(.properties(SchemaProperties(named ?? [:]), patterns: patterns, additional: additional))
        }
        if let names = one("propertyNames", reader) { checks.append(.propertyNames(names)) }
        let prefix = try list("prefixItems", reader)
        let rest = one("items", reader)
        if prefix != nil || rest != nil { checks.append(.items(prefix: prefix ?? [], rest: rest)) }
        if let contains = one("contains", reader) {
            checks.append(
                .contains(
                    contains, minimum: try reader.count("minContains") ?? 1, maximum: try reader.count("maxContains")))
        }
        if let all = try list("allOf", reader) { checks.append(.allOf(all)) }
        if let any = try list("anyOf", reader) { checks.append(.anyOf(any)) }
        if let one = try list("oneOf", reader) { checks.append(.oneOf(one)) }
        if let not = one("not", reader) { checks.append(.not(not)) }
        if let condition = one("if", reader) {
            checks.append(.condition(condition, then: one("then", reader), otherwise: one("else", reader)))
        }
        if let dependent = try schemas("dependentSchemas", reader) { checks.append(.dependentSchemas(dependent)) }
        return checks
    }

    private mutating func unevaluated(_ reader: KeywordReader) throws(SchemaError) -> [SchemaCheck] {
        var checks: [SchemaCheck] = []
        if let items = one("unevaluatedItems", reader) { checks.append(.unevaluatedItems(items)) }
        if let properties = one("unevaluatedProperties", reader) { checks.append(.unevaluatedProperties(properties)) }
        if !checks.isEmpty { tracksEvaluation = true }
        return checks
    }

    /// Dynamic only when the anchor it first resolves to is a dynamic one (core §8.2.3.2).
    private mutating func dynamicReference(_ reference: String, _ base: String) throws(SchemaError) -> SchemaCheck {
        let target = try resolve(reference, base: base)
        let place = node(target.schema, at: target.base)
        guard let anchor = target.anchor, index.resources[target.base]?.dynamicAnchors[anchor] != nil else {
            return .reference(place)
        }
        return .dynamicReference(place, anchor: anchor)
    }

    private mutating func one(_ keyword: String, _ reader: KeywordReader) -> Int? {
        reader.object[keyword].map { node($0, base: reader.base) }
    }

    private mutating func list(_ keyword: String, _ reader: KeywordReader) throws(SchemaError) -> [Int]? {
        guard let elements = try reader.array(keyword) else { return nil }
        return elements.map { node($0, base: reader.base) }
    }

    private mutating func schemas(_ keyword: String, _ reader: KeywordReader) throws(SchemaError) -> [String: Int]? {
        guard let members = try reader.map(keyword) else { return nil }
        var places: [String: Int] = [:]
        for (name, schema) in members.members { places[name] = node(schema, base: reader.base) }
        return places
    }
}

/// The keywords of one schema object, by the type that each must have.
struct KeywordReader {
    let object: JSONObject
    let base: String

    private func wrong(_ keyword: String, _ expected: String) -> SchemaError {
        SchemaError(
            code: .invalidKeyword, pointer: base,
            message: "'\(keyword)' must be \(expected), not \(object[keyword]?.kind ?? "missing")")
    }

    private func read<T>(_ keyword: String, _ expected: String, _ get: (JSON) -> T?) throws(SchemaError) -> T? {
        guard let value = object[keyword] else { return nil }
        guard let read = get(value) else { throw wrong(keyword, expected) }
        return read
    }

    func string(_ keyword: String) throws(SchemaError) -> String? { try read(keyword, "a string") { $0.stringValue } }
    func number(_ keyword: String) throws(SchemaError) -> JSONNumber? {
        try read(keyword, "a number") { $0.numberValue }
    }
    func array(_ keyword: String) throws(SchemaError) -> [JSON]? { try read(keyword, "an array") { $0.arrayValue } }
    func map(_ keyword: String) throws(SchemaError) -> JSONObject? { try read(keyword, "an object") { $0.objectValue } }
    func count(_ keyword: String) throws(SchemaError) -> Int? {
        try read(keyword, "a whole number that is not negative") { value in
            value.intValue.flatMap { $0 >= 0 ? $0 : nil }
        }
    }

    func strings(_ keyword: String) throws(SchemaError) -> [String]? {
        try read(keyword, "an array of strings") { value in
            guard let elements = value.arrayValue else { return nil }
            let strings = elements.compactMap(\.stringValue)
            return strings.count == elements.count ? strings : nil
        }
    }

    func types() throws(SchemaError) -> TypeSet? {
        try read("type", "the name of a type or an array of such names") { value in
            let names = value.stringValue.map { [$0] } ?? (value.arrayValue ?? []).compactMap(\.stringValue)
            let types = names.compactMap(TypeSet.init(name:))
            return types.isEmpty || types.count != max(names.count, value.arrayValue?.count ?? 1)
                ? nil : types.reduce([]) { $0.union($1) }
        }
    }
}
