import KnapPlugin

/// resource_changes: MCP clients hear of notes that they subscribed to.
extension ObsidianPlugin: Draining {
    /// Tells of every change while it lasts, which is until this plugin is replaced or stopped.
    func resourceChanges(_ input: Empty, _ call: DuplexCall) async throws {
        let feed = feeds.open()
        defer { feeds.close(feed) }
        try await feed.run { try await call.send(encoding: ["updated": $0]) }
        try Task.checkCancellation()
        throw PluginError(.unavailable, "the plugin stops")
    }

    struct CheckInput: Codable, Sendable {
        var uri: String
    }

    struct CheckOutput: Codable, Sendable {
        var allowed: Bool
    }

    /// The same answer for a note that there is and for one that there is not: only the rules for paths decide.
    func checkResource(_ input: CheckInput, _ call: Call) throws -> CheckOutput {
        guard let (name, path) = NoteAddress.read(input.uri), let vault = try? vaults.vault(name, call) else {
            return CheckOutput(allowed: true)
        }
        let trimmed = path.hasPrefix("/") ? String(path.dropFirst()) : path
        let access = vault.files.access
        return CheckOutput(allowed: access.sees(trimmed) && access.sees(VaultPath(trusted: trimmed).asNote.text))
    }

    public func beginDrain(deadline: Deadline) { feeds.endAll() }

    /// Whoever listened opens a feed again.
    public func abandonDrain() {}
}

/// Changes that were seen while nobody listened are told by the generation that follows.
extension ObsidianPlugin: Stateful {
    public static let stateSchema: UInt32 = 1

    public func save() throws -> [UInt8] { Array(JSON.array(feeds.unheard.map(JSON.string)).serialized().utf8) }

    public func load(_ state: [UInt8], schema: UInt32) throws {
        guard schema == Self.stateSchema else { return }
        feeds.add(Set((try JSON.parse(state).arrayValue ?? []).compactMap(\.stringValue)))
    }
}
