import KnapJSON

/// The manifest of the service `host`, which the host itself provides as if it were a plugin.
enum HostManifest {
    static func manifest() throws(ManifestError) -> Manifest {
        var manifest = try Manifest(Array(text.utf8), file: "the host's own manifest")
        // A name that the reader keeps all others from using.
        manifest.provides[0].service = "host"
        return manifest
    }

    private static let text = """
        {
          "manifest": 1, "name": "host", "version": "0.1.0", "abi": "draft",
          "description": "The host's own service: plugins, plan, health, configuration.",
          "provides": [{ "service": "own", "version": "1.0.0", "methods": [
            { "name": "info", "description": "What runs here: version, process, state directory, directories of plugins.",
              "blocking": false, "mutating": false, "idempotent": true, "input": \(none) },
            { "name": "plugins", "description": "All plugins, with state, reason and counts.",
              "blocking": false, "mutating": false, "idempotent": true, "input": \(none) },
            { "name": "plugin", "description": "One plugin, whole: manifest, history, what it asked for and was granted.",
              "blocking": false, "mutating": false, "idempotent": true, "input": \(name) },
            { "name": "plan", "description": "What a start now would do, and what would be left out and why.",
              "blocking": false, "mutating": false, "idempotent": true, "input": \(none) },
            { "name": "doctor", "description": "What is wrong and what to do about it.",
              "blocking": false, "mutating": false, "idempotent": true, "input": \(none) },
            { "name": "services", "description": "All methods of active plugins with their schemas.",
              "blocking": false, "mutating": false, "idempotent": true, "input": \(none) },
            { "name": "contributions", "description": "What active plugins contribute to a point.",
              "blocking": false, "mutating": false, "idempotent": true,
              "input": { "type": "object", "additionalProperties": false, "required": ["point"],
                         "properties": { "point": { "type": "string" } } } },
            { "name": "config_list", "description": "What the operator set; secrets are not shown.",
              "blocking": false, "mutating": false, "idempotent": true, "input": \(none) },
            { "name": "config_get", "description": "The effective configuration of one plugin.",
              "blocking": false, "mutating": false, "idempotent": true, "input": \(name) },
            { "name": "config_set", "description": "Sets a value; it applies at the plugin's next start.",
              "blocking": false, "idempotent": true,
              "input": { "type": "object", "additionalProperties": false, "required": ["name", "key"],
                         "properties": { "name": { "type": "string" }, "key": { "type": "string" }, "value": true,
                                         "secret": { "type": "boolean" } } } },
            { "name": "grant", "description": "Grants a plugin all that its manifest asks for; it applies at the next start.",
              "blocking": false, "idempotent": true, "input": \(name) }
          ] }]
        }
        """

    private static let none = #"{ "type": "object", "additionalProperties": false }"#
    private static let name =
        #"{ "type": "object", "additionalProperties": false, "required": ["name"], "properties": { "name": { "type": "string" } } }"#
}
