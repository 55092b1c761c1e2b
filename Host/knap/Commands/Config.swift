import ArgumentParser
import KnapJSON

/// `knap config`.
struct Config: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read and change settings of plugins.",
        discussion: """
            EXAMPLES
              knap config list                              what you have set
              knap config get gateway                       all settings of a plugin, with defaults
              knap config get gateway.port
              knap config set gateway.port 8800
              knap config set host.signatures signed        run only what a trusted key signed (any, signed, pinned)
              knap config set --secret agents.key - < key   a secret, from stdin: stored apart, never shown
            """,
        subcommands: [Get.self, Set.self, List.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "What you have set.")
        @OptionGroup var host: HostOptions

        func run() throws {
            host.show(try host.call("host.config_list")) { settings in
                let text = Render.text(settings)
                return text.isEmpty ? "Nothing is set; `knap config get PLUGIN` shows what can be, with its defaults." : text
            }
        }
    }

    struct Get: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "One setting, or all of a plugin.")
        @Argument(help: ArgumentHelp("For instance gateway.port.", valueName: "plugin.key")) var setting: String
        @OptionGroup var host: HostOptions

        func run() throws {
            let name = SettingName(setting)
            let values = try host.call("host.config_get", ["name": .string(name.plugin)])
            guard let key = name.key else { return host.show(values) }
            guard let value = values[key] else {
                let known = values.objectValue?.names.joined(separator: ", ") ?? ""
                var failure = CommandFailure(
                    ExitStatus.notFound, "NOT_FOUND", "\(name.plugin) has no setting '\(key)'; it has: \(known)")
                failure.asJSON = host.json
                throw failure
            }
            host.show(value)
        }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Change a setting.")
        @Argument(help: ArgumentHelp("For instance gateway.port.", valueName: "plugin.key")) var setting: String
        @Argument(help: "JSON, or else text; '-' reads it from stdin, as text.") var value: String
        @Flag(help: "Store it where only this plugin can read it, and never show it.") var secret = false
        @OptionGroup var change: ChangeOptions

        func validate() throws {
            if SettingName(setting).key == nil {
                throw ValidationError("'\(setting)' is not PLUGIN.KEY, for instance gateway.port.")
            }
        }

        func run() throws {
            let name = SettingName(setting)
            guard let key = name.key else { return }
            var input: JSONObject = ["name": .string(name.plugin), "key": .string(key), "value": parsed]
            if secret { input["secret"] = true }
            try change.run("host.config_set", .object(input))
        }

        private var parsed: JSON {
            if value == "-" {
                let text = StandardInput.all()
                return .string(text.last == "\n" ? String(text.dropLast()) : text)
            }
            // A secret of digits alone is still text.
            return secret ? .string(value) : (try? JSON.parse(value)) ?? .string(value)
        }
    }
}

/// `PLUGIN.KEY`; a key may hold dots itself.
struct SettingName {
    let plugin: String
    let key: String?

    init(_ text: String) {
        let parts = text.split(separator: ".", maxSplits: 1).map(String.init)
        plugin = parts.first ?? ""
        key = parts.count == 2 ? parts[1] : nil
    }
}
