import KnapPlugin

/// edit_notes.
extension ObsidianPlugin {
    struct BatchInput: Codable, Sendable {
        struct Operation: Codable, Sendable {
            /// write, edit or delete; each with the arguments of the tool of its name.
            var operation: String
            var path: String
            var content: String?
            var overwrite: Bool?
            var action: String?
            var find: String?
            var heading: String?
            var block: String?
            var lines: JSON?
            var property: String?
            var value: JSON?
            var version: String?
        }
        var operations: [Operation]
        var preview: Bool?
        var vault: String?
    }

    struct BatchOutput: Codable, Sendable {
        struct File: Codable, Sendable {
            var path: String
            /// created, edited or deleted.
            var what: String
            /// Of what it is now.
            var version: String?
            var trashed: String?
        }
        var files: [File]
        /// The number of all of it in the history; none in a preview, or where nothing changed.
        var change: Int64?
        /// Of a preview: the unified format.
        var diff: String?
        var warning: String?
    }

    private static let mostOperations = 1_000

    /// Writes, edits and deletes notes: all of it, as one change of the history, or nothing.
    func editNotes(_ input: BatchInput, _ call: Call) throws -> BatchOutput {
        let vault = try vaults.vault(input.vault, call)
        guard (1...Self.mostOperations).contains(input.operations.count) else {
            throw VaultError(
                .invalidArgument, "operations must be 1 to \(Self.mostOperations), not \(input.operations.count)")
        }
        let isOfAnyVersion = input.operations.allSatisfy { $0.version == nil }
        return try Self.patiently(retrying: isOfAnyVersion) {
            try vault.change { try Self.batch(input.operations, isPreview: input.preview == true, in: vault) }
        }
    }

    static func batch(
        _ operations: [BatchInput.Operation], isPreview: Bool, in vault: Vault
    ) throws -> BatchOutput {
        var draft = ChangeDraft(vault)
        for (place, operation) in operations.enumerated() {
            do throws(VaultError) {
                try apply(operation, to: &draft)
            } catch {
                var details = error.details?.objectValue ?? JSONObject()
                details["operation"] = .number(JSONNumber(place + 1))
                throw VaultError(
                    error.code,
                    "operation \(place + 1) of \(operations.count) (\(operation.operation) '\(operation.path)'): \(error.message); "
                        + "nothing of the batch was done",
                    details: .object(details))
            }
        }
        let changes = draft.changes
        if isPreview {
            return BatchOutput(files: shown(changes, nil, in: vault), diff: Difference.bounded(diff(of: changes)))
        }
        guard !changes.isEmpty else { return BatchOutput(files: []) }
        let done = try vault.apply("batch", changes)
        return BatchOutput(files: shown(changes, done, in: vault), change: done.id, warning: vault.warning)
    }

    private static func apply(_ operation: BatchInput.Operation, to draft: inout ChangeDraft) throws(VaultError) {
        switch operation.operation {
        case "write":
            let path = try draft.place(try notePath(operation.path))
            if let version = operation.version { try draft.check(path, isOf: version) }
            guard let content = operation.content else {
                throw VaultError(.invalidArgument, "the argument 'content' is required")
            }
            if try draft.content(path) != nil, operation.overwrite != true, operation.version == nil {
                throw alreadyExists(path)
            }
            try draft.set(path, Array(content.utf8))
        case "edit":
            let path = try draft.find(operation.path)
            guard path.isNote else { throw VaultError(.invalidArgument, "'\(path)' is not a note") }
            let request = try EditRequest(operation.edit)
            let text = try Vault.text(try draft.content(path) ?? [], of: path)
            if let version = operation.version { try draft.check(path, isOf: version) }
            try draft.set(path, Array(try NoteEdit(request, text: text, path: path).applied().utf8))
        case "delete":
            let path = try draft.find(operation.path)
            guard path.isLinking else {
                throw VaultError(.invalidArgument, "'\(path)' is not a note; delete_note moves it to the trash")
            }
            if let version = operation.version { try draft.check(path, isOf: version) }
            try draft.set(path, nil)
        case "move":
            throw VaultError(.invalidArgument, "a batch does not move notes, because that rewrites the links of others; move_note does")
        case let other:
            let names = ["write", "edit", "delete"]
            let hint = nearest(to: other, among: names).map { "; did you mean '\($0)'?" } ?? ""
            throw VaultError(.invalidArgument, "operation '\(other)' is unknown\(hint); it is one of \(names.joined(separator: ", "))")
        }
    }

    private static func shown(_ changes: [FileChange], _ done: Vault.Done?, in vault: Vault) -> [BatchOutput.File] {
        changes.enumerated().map { place, change in
            let (before, after) = change.contents
            return BatchOutput.File(
                path: change.path.text, what: before == nil ? "created" : after == nil ? "deleted" : "edited",
                version: after.map(ContentVersion.of), trashed: done == nil || after != nil ? nil : vault.dispose(done?.files[place].trashed, of: change.path))
        }
    }
}

extension ObsidianPlugin.BatchInput.Operation {
    fileprivate var edit: ObsidianPlugin.EditInput {
        .init(
            path: path, action: action, find: find, content: content, heading: heading, block: block, lines: lines,
            property: property, value: value, preview: nil, version: version, vault: nil)
    }
}
