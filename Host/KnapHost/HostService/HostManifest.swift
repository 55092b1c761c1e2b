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
          "configuration": {
            "schema": { "type": "object", "additionalProperties": false, "properties": {
              "probation_ms": { "type": "integer", "minimum": 0, "maximum": 86400000,
                "description": "How long a new version has to prove itself where its manifest does not say." },
              "swift_conformances": { "type": "integer", "minimum": 0,
                "description": "Protocol conformances of Swift plugins in the host's process, those of replaced versions too; past it they are not replaced there." },
              "swift_megabytes": { "type": "integer", "minimum": 0,
                "description": "The same, of the memory that they are mapped to." },
              "watchdog_ms": { "type": "integer", "minimum": 100, "maximum": 86400000,
                "description": "How long a method may not return, past its deadline if it may block, before it counts as hanging." },
              "sandbox": { "enum": [\(SandboxDemand.allCases.map { #""\#($0.rawValue)""# }.joined(separator: ", "))],
                "description": "What a worker's sandbox must achieve for its plugin to start: best - what this machine offers; required - privileges, capabilities, files and system calls; strict - ports, signals and a user of its own as well." },
              "worker_users": { "type": "string", "pattern": "^([0-9]{1,9}-[0-9]{1,9})?$",
                "description": "Numbers of users that workers run as when the host is root, one for each plugin; empty: as the host's." },
              "interceptors": { "type": "array", "uniqueItems": true, "items": { "type": "string" },
                "description": "Plugins that must judge every call: while one of them does not run, calls from outside are refused." },
              "signatures": { "enum": [\(SignaturePolicy.allCases.map { #""\#($0.rawValue)""# }.joined(separator: ", "))],
                "description": "Which plugins may run, by who signed them." } } },
            "defaults": { "probation_ms": 30000, "swift_conformances": 50000, "swift_megabytes": 512, "watchdog_ms": 10000,
                          "sandbox": "best", "worker_users": "61184-65519",
                          "signatures": "any", "interceptors": [] } },
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
            { "name": "check_contributions",
              "description": "What is wrong with each item by the point's schema; null where it fits.",
              "blocking": false, "mutating": false, "idempotent": true,
              "input": { "type": "object", "additionalProperties": false, "required": ["point", "items"],
                         "properties": { "point": { "type": "string" }, "items": { "type": "array" } } } },
            { "name": "config_list", "description": "What the operator set; secrets are not shown.",
              "blocking": false, "mutating": false, "idempotent": true, "input": \(none) },
            { "name": "config_get", "description": "The effective configuration of one plugin.",
              "blocking": false, "mutating": false, "idempotent": true, "input": \(name) },
            { "name": "config_set", "description": "Sets a value and reloads the plugin with it.",
              "blocking": false, "idempotent": true,
              "input": { "type": "object", "additionalProperties": false, "required": ["name", "key"],
                         "properties": { "name": { "type": "string" }, "key": { "type": "string" }, "value": true,
                                         "secret": { "type": "boolean" } } } },
            { "name": "grant", "description": "Grants a plugin all that its manifest asks for, and starts it.",
              "blocking": false, "idempotent": true, "input": \(name) },
            { "name": "trust_list", "description": "Whose signatures the operator trusts, the policy, and who signed what runs.",
              "blocking": false, "mutating": false, "idempotent": true, "input": \(none) },
            { "name": "trust_add", "description": "Trusts a public key (PEM) under a name.",
              "blocking": false, "idempotent": true,
              "input": { "type": "object", "additionalProperties": false, "required": ["name", "key"],
                         "properties": { "name": { "type": "string" }, "key": { "type": "string" } } } },
            { "name": "trust_remove", "description": "Trusts a key no longer.",
              "blocking": false, "idempotent": true, "input": \(name) },
            { "name": "trust_unpin", "description": "Lets another trusted key sign the next version of a plugin.",
              "blocking": false, "idempotent": true, "input": \(name) },
            { "name": "enable", "description": "Lets a plugin run, now and at every start.",
              "blocking": false, "idempotent": true, "input": \(name) },
            { "name": "disable", "description": "Stops a plugin until it is enabled; what requires it stops first.",
              "blocking": false, "idempotent": true, "input": \(name) },
            { "name": "reload", "description": "Loads a plugin anew without failing a call.",
              "blocking": false, "idempotent": true, "input": \(name) },
            { "name": "rollback", "description": "Returns to the version that ran before, on its durable state.",
              "blocking": false, "input": \(name) },
            { "name": "release", "description": "Takes a plugin out of quarantine and tries it again; without a name, ends safe mode.",
              "blocking": false, "idempotent": true,
              "input": { "type": "object", "additionalProperties": false, "properties": { "name": { "type": "string" } } } },
            { "name": "isolate", "description": "Chooses where a plugin runs; without `isolation`, where it does by default.",
              "blocking": false, "idempotent": true,
              "input": { "type": "object", "additionalProperties": false, "required": ["name"],
                         "properties": { "name": { "type": "string" }, "isolation": { "enum": ["in-process", "worker"] } } } },
            { "name": "install", "description": "Copies a library into the drop directory and starts it.",
              "blocking": false, "idempotent": true,
              "input": { "type": "object", "additionalProperties": false, "required": ["path"],
                         "properties": { "path": { "type": "string" } } } },
            { "name": "upgrade", "description": "Takes all libraries of a folder as new versions: all of them run then, or none.",
              "blocking": false, "idempotent": true,
              "input": { "type": "object", "additionalProperties": false, "required": ["path"],
                         "properties": { "path": { "type": "string" } } } },
            { "name": "remove", "description": "Removes a plugin's file and stops it.",
              "blocking": false, "idempotent": true,
              "input": { "type": "object", "additionalProperties": false, "required": ["name"],
                         "properties": { "name": { "type": "string" }, "cascade": { "type": "boolean" } } } },
            { "name": "operation", "description": "What became of an operation; with `wait`, when it has ended.",
              "blocking": false, "mutating": false, "idempotent": true, "deadline_ms": 120000,
              "input": { "type": "object", "additionalProperties": false, "required": ["operation"],
                         "properties": { "operation": { "type": "integer" }, "wait": { "type": "boolean" } } } },
            { "name": "watch", "description": "Every change of a plugin's state, as it happens.",
              "blocking": false, "mutating": false, "streams": "out", "deadline_ms": 0, "input": \(none) },
            { "name": "history", "description": "What was done to plugins, newest last.",
              "blocking": false, "mutating": false, "idempotent": true,
              "input": { "type": "object", "additionalProperties": false,
                         "properties": { "count": { "type": "integer", "minimum": 1, "maximum": 1000 } } } }
          ] }]
        }
        """

    private static let none = #"{ "type": "object", "additionalProperties": false }"#
    private static let name =
        #"{ "type": "object", "additionalProperties": false, "required": ["name"], "properties": { "name": { "type": "string" } } }"#
}
