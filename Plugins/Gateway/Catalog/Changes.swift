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

/// Something that a client subscribes to by its name.
package enum Subject: Sendable, Hashable {
    /// A resource's contents, by its address.
    case resource(String)
    /// A task's state, by its id.
    case task(String)
}
