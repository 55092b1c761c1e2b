import Glibc
import KnapJSON

/// What `app.json` in the vault's configuration folder says; an absent key means the application's default.
struct AppSettings: Decodable, Sendable {
    /// Parts of the vault that searches and graphs leave out: the beginnings of paths, or `/regular expressions/`.
    var userIgnoreFilters: [String]?
    /// system, local or none: where deleted files go.
    var trashOption: String?
    /// shortest, relative or absolute: how links are written.
    var newLinkFormat: String?
    /// Whether new links are written as Markdown's.
    var useMarkdownLinks: Bool?
}

extension Vault {
    /// Read anew each time: the application and people change it. The defaults where it cannot be read.
    var appSettings: AppSettings {
        guard let bytes = try? files.read(VaultPath(trusted: configurationFolder + "/app.json")).bytes,
            let settings = try? JSON.parse(bytes).decoded(as: AppSettings.self)
        else { return AppSettings() }
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
    var excludedFiles: ExcludedFiles { ExcludedFiles(appSettings.userIgnoreFilters ?? []) }
}
