import KnapJSON

/// One compiled schema: its checks, cheapest first. References are indexes into the graph, so cycles are no trouble.
struct SchemaNode: Sendable {
    /// A boolean schema, or one without anything to check.
    var constant: Bool?
    /// The schema resource it belongs to, for the dynamic scope.
    var resource = 0
    var checks: [SchemaCheck] = []
    /// Checks that look at what the others evaluated; they come last.
    var unevaluated: [SchemaCheck] = []
}

/// What one keyword, or a group that belongs together, demands.
enum SchemaCheck: Sendable {
    case type(TypeSet)
    case `enum`([JSON])
    case const(JSON)
    case multipleOf(JSONNumber)
    case bound(keyword: String, JSONNumber)
    case length(minimum: Int?, maximum: Int?)
    case pattern(SchemaPattern)
    case itemCount(minimum: Int?, maximum: Int?)
    case uniqueItems
    case propertyCount(minimum: Int?, maximum: Int?)
    case required([String])
    case dependentRequired([String: [String]])
    case properties(SchemaProperties, patterns: [(SchemaPattern, Int)], additional: Int?)
    case propertyNames(Int)
    case items(prefix: [Int], rest: Int?)
    case contains(Int, minimum: Int, maximum: Int?)
    case allOf([Int])
    case anyOf([Int])
    case oneOf([Int])
    case not(Int)
    case condition(Int, then: Int?, otherwise: Int?)
    case dependentSchemas([String: Int])
    case reference(Int)
    case dynamicReference(Int, anchor: String)
    case unevaluatedItems(Int)
    case unevaluatedProperties(Int)
}

/// The schemas of the properties that have a name. Most objects have few, among which a look at each is quicker than a hash.
struct SchemaProperties: Sendable {
    let names: [String]
    private let places: [Int]
    /// Empty for few.
    private let byName: [String: Int]

    init(_ places: [String: Int]) {
        names = places.keys.sorted()
        self.places = names.compactMap { places[$0] }
        byName = names.count > 16 ? places : [:]
    }

    subscript(name: String) -> Int? {
        if !byName.isEmpty { return byName[name] }
        return names.firstIndex { $0 == name }.map { places[$0] }
    }
}

/// A set of JSON's types.
struct TypeSet: OptionSet, Sendable {
    let rawValue: UInt8

    static let names: [(String, TypeSet)] = [
        ("null", TypeSet(rawValue: 1)), ("boolean", TypeSet(rawValue: 2)), ("object", TypeSet(rawValue: 4)),
        ("array", TypeSet(rawValue: 8)), ("number", TypeSet(rawValue: 16)), ("string", TypeSet(rawValue: 32)),
        ("integer", TypeSet(rawValue: 64)),
    ]

    init(rawValue: UInt8) { self.rawValue = rawValue }

    init?(name: String) {
        guard let found = Self.names.first(where: { $0.0 == name }) else { return nil }
        self = found.1
    }

    func contains(_ value: JSON) -> Bool {
        switch value {
        case .null: rawValue & 1 != 0
        case .bool: rawValue & 2 != 0
        case .object: rawValue & 4 != 0
        case .array: rawValue & 8 != 0
        case .string: rawValue & 32 != 0
        case .number(let number): rawValue & 16 != 0 || (rawValue & 64 != 0 && number.isInteger)
        }
    }

    var description: String { Self.names.filter { contains($0.1) }.map(\.0).joined(separator: " or ") }
}
