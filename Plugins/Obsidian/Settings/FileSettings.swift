import Glibc
import KnapJSON

/// What `app.json` in the vault's configuration folder says of files; an absent key means the application's default.
struct FileSettings: Decodable, Sendable {
    /// Parts of the vault that searches and graphs leave out: the beginnings of paths, or `/regular expressions/`.
    var userIgnoreFilters: [String]?
    /// system, local or none: where deleted files go.
    var trashOption: String?
}

extension Vault {
    /// Read anew each time: the application and people change it. The defaults where it cannot be read.
    var fileSettings: FileSettings {
        guard let bytes = try? files.read(VaultPath(trusted: configurationFolder + "/app.json")).bytes,
            let settings = try? JSON.parse(bytes).decoded(as: FileSettings.self)
        else { return FileSettings() }
        return settings
    }

    /// `.obsidian`, or the other hidden folder that the application was told to keep its settings in.
    var configurationFolder: String {
        func isOne(_ name: String) -> Bool { files.stamp(VaultPath(trusted: name + "/app.json")) != nil }
        let standard = ".obsidian"
        if isOne(standard) { return standard }
        guard let stream = opendir(files.root) else { return standard }
        defer { closedir(stream) }
        var found: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name.hasPrefix("."), name != ".", name != "..", isOne(name) { found.append(name) }
        }
        return found.min() ?? standard
    }

    /// The files that searches and graphs leave out; links to them lead there all the same.
    var excludedFiles: ExcludedFiles { ExcludedFiles(fileSettings.userIgnoreFilters ?? []) }
}

/// Files that the application's user has excluded.
struct ExcludedFiles: Sendable {
    private var beginnings: [String] = []
    private var expressions: [RegularExpression] = []

    static let none = ExcludedFiles([])

    /// A filter that cannot be read excludes nothing, as in the application.
    init(_ filters: [String]) {
        for filter in filters where !filter.isEmpty {
            if filter.count > 2, filter.hasPrefix("/"), filter.hasSuffix("/") {
                if let expression = try? RegularExpression(String(filter.dropFirst().dropLast())) { expressions.append(expression) }
            } else {
                beginnings.append(folded(filter))
            }
        }
    }

    var isEmpty: Bool { beginnings.isEmpty && expressions.isEmpty }

    func contains(_ path: String) -> Bool {
        if beginnings.contains(where: folded(path).hasPrefix) { return true }
        return expressions.contains { expression in
            let matcher = RegularExpressionMatcher(expression, ignoresCase: true) {}
            return (try? matcher.firstEnd(in: Array(path.utf8))) != nil
        }
    }

    /// What notes must fulfil to be shown; nil for nothing.
    ///
    /// - Parameter paths: Every path of the vault.
    func condition(among paths: @autoclosure () -> Set<String>) -> SQLCondition? {
        if isEmpty { return nil }
        let excluded = JSON.array(paths().filter(contains).map(JSON.string)).serialized()
        return SQLCondition("note.path NOT IN (SELECT value FROM json_each(?))", [excluded])
    }
}
