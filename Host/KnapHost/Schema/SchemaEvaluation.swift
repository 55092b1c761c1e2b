import KnapJSON

/// One run of a schema over a value.
struct SchemaEvaluation {
    let schema: Schema
    /// Whether reasons are wanted; without them the first failure ends the run.
    let explains: Bool
    private(set) var violations: [Violation] = []
    /// The schema resources entered on the way here, outermost first.
    private var scope: [Int] = []
    private var path: [String] = []
    private var depth = 0
    /// Failures inside `anyOf`, `not` and the like are no violations of the whole.
    private var tries = 0

    /// A value and a schema in one another this deep are refused: no stack is endless.
    static let maximumDepth = 700

    /// What a schema has evaluated of one value.
    struct Evaluated {
        var properties: Set<String> = []
        var items: Set<Int> = []

        mutating func merge(_ other: Evaluated) {
            properties.formUnion(other.properties)
            items.formUnion(other.items)
        }
    }

    init(schema: Schema, explains: Bool) {
        self.schema = schema
        self.explains = explains
    }

    mutating func run(_ instance: JSON) -> Bool {
        var evaluated = Evaluated()
        return evaluate(schema.root, instance, &evaluated)
    }

    private mutating func evaluate(_ place: Int, _ value: JSON, _ evaluated: inout Evaluated) -> Bool {
        let node = schema.nodes[place]
        if let constant = node.constant {
            return constant || fail("false", "nothing is allowed here")
        }
        guard depth < Self.maximumDepth else {
            return fail("$ref", "the schema and the value lie too deep in one another")
        }
        depth += 1
        if schema.tracksScope { scope.append(node.resource) }
        defer {
            depth -= 1
            if schema.tracksScope { scope.removeLast() }
        }
        var own = Evaluated()
        var holds = true
        for check in node.checks where !apply(check, value, &own) {
            if !explains || tries > 0 { return false }
            holds = false
        }
        for check in node.unevaluated where !apply(check, value, &own) {
            if !explains || tries > 0 { return false }
            holds = false
        }
        if holds, schema.tracksEvaluation { evaluated.merge(own) }
        return holds
    }

    /// Evaluates a schema on a part of the value; what it evaluates there is that part's business.
    private mutating func part(_ place: Int, _ value: JSON, _ name: @autoclosure () -> String) -> Bool {
        var inner = Evaluated()
        if explains { path.append(name()) }
        defer { if explains { path.removeLast() } }
        return evaluate(place, value, &inner)
    }

    /// Evaluates without noting reasons.
    private mutating func attempt(_ place: Int, _ value: JSON, _ evaluated: inout Evaluated) -> Bool {
        tries += 1
        defer { tries -= 1 }
        return evaluate(place, value, &evaluated)
    }

    private mutating func fail(_ keyword: String, _ message: @autoclosure () -> String) -> Bool {
        if explains, tries == 0 {
            violations.append(
                Violation(instance: JSONPointer(path), keyword: keyword, message: "\(subject) \(message())"))
        }
        return false
    }

    /// The part of the value that is meant, as a person names it: `where[0].op`.
    private var subject: String {
        if path.isEmpty { return "the input" }
        let name = path.reduce("") { text, token in
            Int(token) != nil ? "\(text)[\(token)]" : text.isEmpty ? token : "\(text).\(token)"
        }
        return "'\(name)'"
    }

    // MARK: Keywords

    private mutating func apply(_ check: SchemaCheck, _ value: JSON, _ evaluated: inout Evaluated) -> Bool {
        switch check {
        case .type(let types):
            return types.contains(value) || fail("type", "must be \(types.description), not \(value.kind)")
        case .enum(let values):
            return values.contains(value) || fail("enum", ViolationText.notOneOf(values, value))
        case .const(let constant):
            return constant == value || fail("const", "must be \(constant)")
        case .required(let names): return required(names, value)
        case .dependentRequired(let dependent):
            guard case .object(let object) = value else { return true }
            return all(dependent.filter { object[$0.key] != nil }.sorted { $0.key < $1.key }) { run, entry in
                run.all(entry.value) { run, name in
                    object[name] != nil
                        || run.fail("dependentRequired", "has '\(entry.key)', so it needs '\(name)' too")
                }
            }
        case .multipleOf, .bound: return number(check, value)
        case .length(let minimum, let maximum):
            guard case .string(let text) = value else { return true }
            // No scalar takes more than four bytes, so most texts need not be counted.
            if maximum == nil, text.utf8.count >= 4 * (minimum ?? 0) { return true }
            return count(text.unicodeScalars.count, minimum, maximum, "Length", "characters")
        case .pattern(let pattern):
            guard case .string(let text) = value else { return true }
            return pattern.matches(text) || fail("pattern", "must match \(pattern.text)")
        case .itemCount(let minimum, let maximum):
            guard case .array(let elements) = value else { return true }
            return count(elements.count, minimum, maximum, "Items", "elements")
        case .propertyCount(let minimum, let maximum):
            guard case .object(let object) = value else { return true }
            return count(object.count, minimum, maximum, "Properties", "members")
        case .uniqueItems:
            guard case .array(let elements) = value else { return true }
            return Set(elements).count == elements.count || fail("uniqueItems", "must not hold the same element twice")
        case .properties, .propertyNames, .dependentSchemas, .unevaluatedProperties:
            return object(check, value, &evaluated)
        case .items, .contains, .unevaluatedItems: return array(check, value, &evaluated)
        case .allOf, .anyOf, .oneOf, .not, .condition, .reference, .dynamicReference:
            return combined(check, value, &evaluated)
        }
    }

    /// All must hold; with reasons wanted all are tried, else the first failure ends it.
    private mutating func all<T>(_ parts: some Sequence<T>, _ holds: (inout SchemaEvaluation, T) -> Bool) -> Bool {
        var result = true
        for part in parts where !holds(&self, part) {
            if !explains || tries > 0 { return false }
            result = false
        }
        return result
    }

    private mutating func required(_ names: [String], _ value: JSON) -> Bool {
        guard case .object(let object) = value else { return true }
        return all(names) { run, name in
            if object[name] != nil { return true }
            guard run.explains, run.tries == 0 else { return false }
            run.violations.append(
                Violation(
                    instance: JSONPointer(run.path), keyword: "required",
                    message: run.path.isEmpty ? "the argument '\(name)' is required" : "\(run.subject) needs '\(name)'")
            )
            return false
        }
    }

    private mutating func number(_ check: SchemaCheck, _ value: JSON) -> Bool {
        guard case .number(let number) = value else { return true }
        switch check {
        case .multipleOf(let unit):
            return number.isMultiple(of: unit) || fail("multipleOf", "must be a multiple of \(unit), not \(number)")
        case .bound("minimum", let bound):
            return number >= bound || fail("minimum", "must be at least \(bound), not \(number)")
        case .bound("maximum", let bound):
            return number <= bound || fail("maximum", "must be at most \(bound), not \(number)")
        case .bound("exclusiveMinimum", let bound):
            return number > bound || fail("exclusiveMinimum", "must be more than \(bound), not \(number)")
        case .bound(_, let bound):
            return number < bound || fail("exclusiveMaximum", "must be less than \(bound), not \(number)")
        default: return true
        }
    }

    private mutating func count(_ count: Int, _ minimum: Int?, _ maximum: Int?, _ keyword: String, _ what: String)
        -> Bool
    {
        if let minimum, count < minimum {
            return fail("min\(keyword)", "must have at least \(minimum) \(what), not \(count)")
        }
        if let maximum, count > maximum {
            return fail("max\(keyword)", "must have at most \(maximum) \(what), not \(count)")
        }
        return true
    }

    private mutating func object(_ check: SchemaCheck, _ value: JSON, _ evaluated: inout Evaluated) -> Bool {
        guard case .object(let object) = value else { return true }
        switch check {
        case .properties(let named, let patterns, let additional):
            return properties(object, named, patterns, additional, &evaluated)
        case .propertyNames(let place):
            return all(object.names) { run, name in run.part(place, .string(name), name) }
        case .dependentSchemas(let dependent):
            var merged = evaluated
            let holds = all(dependent.filter { object[$0.key] != nil }) { run, entry in
                run.evaluate(entry.value, value, &merged)
            }
            evaluated = merged
            return holds
        case .unevaluatedProperties(let place):
            let rest = object.members.filter { !evaluated.properties.contains($0.name) }
            let holds = all(rest) { run, member in
                if run.schema.nodes[place].constant == false {
                    return run.fail("unevaluatedProperties", "has an unknown member '\(member.name)'")
                }
                return run.part(place, member.value, member.name)
            }
            evaluated.properties.formUnion(object.names)
            return holds
        default: return true
        }
    }

    private mutating func properties(
        _ object: JSONObject, _ named: SchemaProperties, _ patterns: [(SchemaPattern, Int)], _ additional: Int?,
        _ evaluated: inout Evaluated
    ) -> Bool {
        let tracks = schema.tracksEvaluation
        var seen: [String] = []
        let holds = all(object.members) { run, member in
            var isKnown = false, holds = true
            if let place = named[member.name] {
                isKnown = true
                holds = run.part(place, member.value, member.name)
            }
            for (pattern, place) in patterns where pattern.matches(member.name) {
                isKnown = true
                if (holds || run.explains), !run.part(place, member.value, member.name) { holds = false }
            }
            if !isKnown, let additional {
                if run.schema.nodes[additional].constant == false {
                    return run.fail("additionalProperties", ViolationText.unknown(member.name, known: named.names.sorted()))
                }
                isKnown = true
                holds = run.part(additional, member.value, member.name)
            }
            if tracks, isKnown { seen.append(member.name) }
            return holds
        }
        if tracks { evaluated.properties.formUnion(seen) }
        return holds
    }

    private mutating func array(_ check: SchemaCheck, _ value: JSON, _ evaluated: inout Evaluated) -> Bool {
        guard case .array(let elements) = value else { return true }
        switch check {
        case .items(let prefix, let rest):
            let holds = all(elements.indices) { run, index in
                let place = index < prefix.count ? prefix[index] : rest
                return place.map { run.part($0, elements[index], String(index)) } ?? true
            }
            if schema.tracksEvaluation {
                evaluated.items.formUnion(rest != nil ? 0..<elements.count : 0..<min(prefix.count, elements.count))
            }
            return holds
        case .contains(let place, let minimum, let maximum):
            var found: [Int] = []
            for index in elements.indices {
                var inner = Evaluated()
                if attempt(place, elements[index], &inner) { found.append(index) }
            }
            evaluated.items.formUnion(found)
            if found.count < minimum {
                return fail(
                    "contains", "must hold at least \(minimum) elements of the kind asked for, not \(found.count)")
            }
            if let maximum, found.count > maximum {
                return fail(
                    "maxContains", "must hold at most \(maximum) elements of the kind asked for, not \(found.count)")
            }
            return true
        case .unevaluatedItems(let place):
            let rest = elements.indices.filter { !evaluated.items.contains($0) }
            let holds = all(rest) { run, index in run.part(place, elements[index], String(index)) }
            evaluated.items.formUnion(elements.indices)
            return holds
        default: return true
        }
    }

    private mutating func combined(_ check: SchemaCheck, _ value: JSON, _ evaluated: inout Evaluated) -> Bool {
        switch check {
        case .allOf(let places):
            var merged = evaluated
            let holds = all(places) { run, place in run.evaluate(place, value, &merged) }
            evaluated = merged
            return holds
        case .anyOf(let places):
            var holds = false
            for place in places where attempt(place, value, &evaluated) {
                holds = true
                if !schema.tracksEvaluation { break }
            }
            return holds || fail("anyOf", "fits none of the \(places.count) alternatives that are allowed")
        case .oneOf(let places):
            var fitting = 0
            var merged = evaluated
            for place in places {
                if attempt(place, value, &merged) { fitting += 1 }
                if fitting > 1 { break }
            }
            if fitting == 1 {
                evaluated = merged
                return true
            }
            return fail(
                "oneOf",
                "must fit exactly one of the \(places.count) alternatives, not \(fitting == 0 ? "none" : "several")")
        case .not(let place):
            var inner = Evaluated()
            return !attempt(place, value, &inner) || fail("not", "is of a kind that is not allowed")
        case .condition(let condition, let then, let otherwise):
            let branch = attempt(condition, value, &evaluated) ? then : otherwise
            return branch.map { evaluate($0, value, &evaluated) } ?? true
        case .reference(let place): return evaluate(place, value, &evaluated)
        case .dynamicReference(let place, let anchor):
            // The outermost resource on the way here that has the anchor decides (core §8.2.3.2).
            let outermost = scope.lazy.compactMap { [schema] in schema.dynamicAnchors[$0][anchor] }.first
            return evaluate(outermost ?? place, value, &evaluated)
        default: return true
        }
    }
}

/// Reasons with what was probably meant.
enum ViolationText {
    static func notOneOf(_ values: [JSON], _ value: JSON) -> String {
        let names = values.compactMap(\.stringValue)
        let near = value.stringValue.map { NearestMatch.hint($0, among: names) } ?? ""
        let shown = values.prefix(20).map { $0.stringValue ?? $0.serialized() }.joined(separator: ", ")
        return "must be one of \(shown), not \(value.stringValue.map { "'\($0)'" } ?? value.serialized())\(near)"
    }

    static func unknown(_ name: String, known: [String]) -> String {
        let allowed = known.isEmpty ? "none is allowed" : "allowed are \(known.joined(separator: ", "))"
        return "has an unknown argument '\(name)'\(NearestMatch.hint(name, among: known)); \(allowed)"
    }
}
