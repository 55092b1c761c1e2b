import KnapJSON

/// What has changed: lists, and what clients subscribed to by name.
package struct Changes: Sendable, Hashable {
    package var lists: ListKinds
    package var subjects: Set<Subject>

    package init(lists: ListKinds = [], subjects: Set<Subject> = []) {
        self.lists = lists
        self.subjects = subjects
    }

    package var isEmpty: Bool { lists.isEmpty && subjects.isEmpty }
}

extension Changes {
    /// For the generation that goes on with the client. Tasks are told of anew.
    var json: JSON {
        let resources = subjects.compactMap { if case .resource(let uri) = $0 { uri } else { nil } }
        return [
            "lists": .number(JSONNumber(Int(lists.rawValue))), "resources": .array(resources.sorted().map(JSON.string)),
        ]
    }

    init(_ json: JSON?) {
        lists = ListKinds(rawValue: json?["lists"]?.intValue.flatMap(UInt8.init(exactly:)) ?? 0)
        subjects = Set((json?["resources"]?.arrayValue ?? []).compactMap(\.stringValue).map(Subject.resource))
    }
}

/// Something that a client subscribes to by its name.
package enum Subject: Sendable, Hashable {
    /// A resource's contents, by its address.
    case resource(String)
    /// A task's state, by its id.
    case task(String)
}
