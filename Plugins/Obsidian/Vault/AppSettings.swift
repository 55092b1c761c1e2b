import KnapJSON

/// What `.obsidian/app.json` says; an absent key means the application's default.
struct AppSettings: Decodable, Sendable {
    /// shortest, relative or absolute: how links are written.
    var newLinkFormat: String?
    /// Whether new links are written as Markdown's.
    var useMarkdownLinks: Bool?
}

extension Vault {
    /// The defaults where there is no such file, or none that can be read.
    var appSettings: AppSettings {
        guard let bytes = try? files.read(VaultPath(trusted: ".obsidian/app.json")).bytes,
            let settings = try? JSON.parse(bytes).decoded(as: AppSettings.self)
        else { return AppSettings() }
        return settings
    }
}
