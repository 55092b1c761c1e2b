import Glibc
import KnapJSON
import Synchronization

/// The configuration of all plugins: defaults of the manifest, then those of the installation, then STATE/config.json,
/// then what this start was told (command-line options), then the environment (`KNAP_<PLUGIN>_<KEY>`).
///
/// The file is an object with one member for each plugin. Settings marked secret are kept beside it in
/// STATE/secrets.json, mode 0600, and never shown.
package final class ConfigurationStore: Sendable {
    private struct State {
        var settings: JSONObject
        var secrets: JSONObject
    }

    private let directory: String
    private let defaults: [String: JSONObject]
    private let overrides: [String: JSONObject]
    private let environment: [String: String]
    private let state: Mutex<State>

    package init(
        directory: String, defaults: [String: JSONObject] = [:], overrides: [String: JSONObject], environment: [String: String]
    ) throws(ConfigurationError) {
        self.directory = directory
        self.defaults = defaults
        self.overrides = overrides
        self.environment = environment
        state = Mutex(
            State(
                settings: try Self.read(directory + "/config.json"), secrets: try Self.read(directory + "/secrets.json")
            ))
    }

    /// The configuration of a plugin, checked against its manifest's schema.
    func configuration(for manifest: Manifest) throws(ConfigurationError) -> JSONObject {
        try configuration(for: manifest, state.withLock { $0 })
    }

    private func configuration(for manifest: Manifest, _ state: State) throws(ConfigurationError) -> JSONObject {
        var merged = manifest.configuration.defaults
        let known = Self.keys(of: manifest)
        // A plugin of another version may not know all of them.
        for (key, value) in defaults[manifest.name]?.members ?? [] where known.contains(key) { merged[key] = value }
        let (settings, secrets) = (state.settings[manifest.name], state.secrets[manifest.name])
        for layer in [settings?.objectValue, secrets?.objectValue, overrides[manifest.name]] {
            for (key, value) in layer?.members ?? [] { merged[key] = value }
        }
        for key in known {
            guard let text = environment[Self.variable(manifest.name, key)] else { continue }
            // A value that reads as JSON is JSON; anything else is the text itself.
            merged[key] = (try? JSON.parse(text)) ?? .string(text)
        }
        try check(merged, manifest)
        return merged
    }

    /// What of a plugin's configuration the operator set as a secret.
    func secrets(of plugin: String) -> [String] { state.withLock { $0.secrets[plugin]?.objectValue?.names ?? [] } }

    /// What the operator set, without secrets' values.
    package var listing: JSON {
        state.withLock { state in
            var shown = state.settings
            for (plugin, values) in state.secrets.members {
                var object = shown[plugin]?.objectValue ?? JSONObject()
                for (key, _) in values.objectValue?.members ?? [] { object[key] = "(secret)" }
                shown[plugin] = .object(object)
            }
            return .object(shown)
        }
    }

    /// Sets one value durably; nil removes it. With a manifest, only if its configuration is then what its schema says.
    package func set(
        _ plugin: String, _ key: String, _ value: JSON?, secret: Bool, checkedBy manifest: Manifest? = nil
    ) throws(ConfigurationError) {
        let failure: ConfigurationError? = state.withLock { state in
            var changed = state
            for isSecret in [false, true] {
                var file = isSecret ? changed.secrets : changed.settings
                var values = file[plugin]?.objectValue ?? JSONObject()
                values[key] = isSecret == secret ? value : nil
                file[plugin] = values.isEmpty ? nil : .object(values)
                if isSecret { changed.secrets = file } else { changed.settings = file }
            }
            do throws(ConfigurationError) {
                if let manifest { _ = try configuration(for: manifest, changed) }
                try Self.write(changed.settings, directory + "/config.json")
                try Self.write(changed.secrets, directory + "/secrets.json")
                state = changed
                return nil
            } catch { return error }
        }
        if let failure { throw failure }
    }

    /// The settings that a manifest knows: those of its schema and its defaults.
    private static func keys(of manifest: Manifest) -> [String] {
        let declared = manifest.configuration.schema?["properties"]?.objectValue?.names ?? []
        return Array(Set(declared).union(manifest.configuration.defaults.names)).sorted()
    }

    private static func variable(_ plugin: String, _ key: String) -> String {
        "KNAP_\(plugin)_\(key)".uppercased().replacing(["-", "."], with: "_")
    }

    private func check(_ configuration: JSONObject, _ manifest: Manifest) throws(ConfigurationError) {
        guard let document = manifest.configuration.schema else { return }
        let violations: [String]
        do {
            violations = try Schema.compile(document).validate(.object(configuration)).map(\.message)
        } catch {
            throw ConfigurationError(
                code: .invalidSchema, message: "the configuration schema of \(manifest.name) is not one: \(error)")
        }
        if violations.isEmpty { return }
        throw ConfigurationError(
            code: .invalidValue,
            message: "the configuration of \(manifest.name) does not fit: \(violations.joined(separator: "; ")); "
                + "see `knap config list` and `knap plugins info \(manifest.name)`")
    }

    // MARK: Files

    private static func read(_ path: String) throws(ConfigurationError) -> JSONObject {
        guard let bytes = readFile(path) else {
            if errno == ENOENT { return JSONObject() }
            throw ConfigurationError(code: .unreadable, message: "\(path) cannot be read: \(errorText(errno))")
        }
        do {
            if let object = try JSON.parse(bytes).objectValue { return object }
        } catch {
            throw ConfigurationError(code: .malformed, message: "\(path): \(error)")
        }
        throw ConfigurationError(
            code: .malformed, message: "\(path): an object with one member for each plugin is expected")
    }

    /// Replaces the file as a whole: a crash leaves the old or the new one.
    private static func write(_ object: JSONObject, _ path: String) throws(ConfigurationError) {
        let text = JSON.object(object).serialized(.pretty) + "\n"
        guard replaceFile(path, with: Array(text.utf8), mode: 0o600) else {
            throw ConfigurationError(
                code: .unwritable, message: "\(path) cannot be written: \(errorText(errno)); nothing was changed")
        }
    }
}

/// Why a configuration cannot be used or changed.
package struct ConfigurationError: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable { case unreadable, malformed, unwritable, invalidSchema, invalidValue }
    package let code: Code
    package let message: String
    package var description: String { message }
}

extension String {
    /// The text with each of these characters replaced.
    func replacing(_ characters: Set<Character>, with other: Character) -> String {
        String(map { characters.contains($0) ? other : $0 })
    }
}
