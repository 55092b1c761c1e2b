import KnapPlugin

/// What an edit of a note is asked to do, and to which part of it.
struct EditRequest: Sendable, Hashable {
    enum Action: String, Sendable, Hashable, CaseIterable {
        case replace, append, prepend, delete
        case insertBefore = "insert_before"
        case insertAfter = "insert_after"
        case setProperty = "set_property"
        case removeProperty = "remove_property"
    }

    var action: Action
    var find: String?
    var content: String?
    var heading: String?
    var block: String?
    /// From 0.
    var lines: Range<Int>?
    var property: String?
    var value: JSON?

    init(_ input: ObsidianPlugin.EditInput) throws(VaultError) {
        action = try Self.action(input)
        (find, content, heading, block) = (input.find, input.content, input.heading, input.block)
        lines = try input.lines.map(Self.lines)
        (property, value) = (input.property, input.value)
        try check()
    }

    private static func action(_ input: ObsidianPlugin.EditInput) throws(VaultError) -> Action {
        if let name = input.action {
            if let action = Action(rawValue: name) { return action }
            let names = Action.allCases.map(\.rawValue)
            let hint = nearest(to: name, among: names).map { "; did you mean '\($0)'?" } ?? ""
            throw VaultError(.invalidArgument, "action '\(name)' is unknown\(hint); it is one of \(names.joined(separator: ", "))")
        }
        if input.find != nil { return .replace }
        if input.property != nil, input.value != nil { return .setProperty }
        guard input.block == nil, input.lines == nil else {
            throw VaultError(.invalidArgument, "the argument 'action' is required with block or lines, for instance replace or insert_after")
        }
        return .append
    }

    /// `12`, `12-20` or `[12, 20]`, from 1.
    private static func lines(_ value: JSON) throws(VaultError) -> Range<Int> {
        let numbers =
            switch value {
            case .string(let text): text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0.trimmed) }
            case .array(let elements): elements.map(\.intValue)
            default: [value.intValue]
            }
        let known = numbers.compactMap(\.self)
        guard known.count == numbers.count, (1...2).contains(known.count), known[0] >= 1, known[known.count - 1] >= known[0],
            known[known.count - 1] < Int.max
        else {
            throw VaultError(
                .invalidArgument, "lines \(value.serialized()) are no lines; give the first and the last, from 1, such as 12-20")
        }
        return known[0] - 1..<known[known.count - 1]
    }

    /// An argument that would be ignored was meant to do something.
    private func check() throws(VaultError) {
        let places = [heading.map { _ in "heading" }, block.map { _ in "block" }, lines.map { _ in "lines" }].compactMap(\.self)
        guard places.count < 2 else {
            throw VaultError(.invalidArgument, "\(places.joined(separator: " and ")) are given; only one of them can say where")
        }
        func refuse(_ name: String, _ hint: String = "") -> VaultError {
            VaultError(.invalidArgument, "the argument '\(name)' has no meaning for action '\(action.rawValue)'\(hint)")
        }
        func required(_ name: String) -> VaultError {
            VaultError(.invalidArgument, "the argument '\(name)' is required for action '\(action.rawValue)'")
        }
        switch action {
        case .setProperty, .removeProperty:
            if find != nil { throw refuse("find") }
            if let place = places.first { throw refuse(place) }
            if content != nil { throw refuse("content", action == .setProperty ? "; give value" : "") }
            if property == nil { throw required("property") }
            if action == .setProperty, value == nil { throw required("value") }
            if action == .removeProperty, value != nil { throw refuse("value") }
        case .replace, .append, .prepend, .insertBefore, .insertAfter, .delete:
            if property != nil { throw refuse("property", "; set_property and remove_property change one") }
            if value != nil { throw refuse("value", "; give content") }
            if action == .delete {
                if content != nil { throw refuse("content", "; replace puts it in place of the old") }
            } else if content == nil {
                throw required("content")
            }
            if find == "" { throw VaultError(.invalidArgument, "find is empty; give the text to change") }
            switch action {
            case .append where find != nil: throw refuse("find", "; insert_after puts content behind the line with a text")
            case .prepend where find != nil: throw refuse("find", "; insert_before puts content before the line with a text")
            case .append, .prepend: break
            default:
                guard find != nil || !places.isEmpty else {
                    throw VaultError(
                        .invalidArgument,
                        "action '\(action.rawValue)' needs to know where: give find, heading, block or lines; "
                            + (action == .delete ? "delete_note deletes the whole note" : "write_note replaces the whole note"))
                }
            }
        }
    }
}
