import KnapPlugin

/// Something that reads a note and answers what it found: built in, or a method of another plugin.
struct NoteProcessor: Sendable {
    enum Work: Sendable {
        case builtIn(@Sendable (_ text: String, _ note: ParsedNote) -> JSON)
        /// The service.method that is called.
        case contributed(method: String)
    }

    let name: String
    /// What it answers may differ from what another version answered.
    let version: String
    /// Nil for one that is built in.
    let plugin: String?
    let work: Work
    /// Processors without whose results it does not run.
    var needs: [String] = []
    /// Processors that run before it where there are any, and whose results it gets.
    var after: [String] = []
    /// Only notes in one of these; empty for all.
    var folders: [String] = []
    /// Only notes with one of these tags, or one nested in it; empty for all.
    var tags: [String] = []
    var deadline = Duration.seconds(30)

    init(builtIn name: String, version: String, _ work: @escaping @Sendable (String, ParsedNote) -> JSON) {
        self.name = name
        self.version = version
        plugin = nil
        self.work = .builtIn(work)
    }

    /// The item has been checked against the point's schema.
    init?(_ contribution: Contribution) {
        let item = contribution.item
        guard let name = item["name"]?.stringValue, let method = item["method"]?.stringValue else { return nil }
        func texts(_ key: String) -> [String] { (item[key]?.arrayValue ?? []).compactMap(\.stringValue) }
        self.name = name
        version = item["version"]?.stringValue ?? contribution.version
        plugin = contribution.plugin
        work = .contributed(method: method)
        (needs, after, folders, tags) = (texts("needs"), texts("after"), texts("folders"), texts("tags"))
        if let milliseconds = item["deadline_ms"]?.intValue { deadline = .milliseconds(milliseconds) }
    }

    func applies(to path: String, tags noteTags: @autoclosure () -> [String]) -> Bool {
        let isInside = folders.isEmpty || folders.contains { folder in
            let prefix = folded(folder.hasSuffix("/") ? folder : folder + "/")
            return folded(path).hasPrefix(prefix)
        }
        guard isInside, !tags.isEmpty else { return isInside }
        let have = noteTags().map(folded)
        return tags.map { folded($0.hasPrefix("#") ? String($0.dropFirst()) : $0) }.contains { tag in
            have.contains { $0 == tag || $0.hasPrefix(tag + "/") }
        }
    }
}
