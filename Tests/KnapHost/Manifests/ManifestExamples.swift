import KnapJSON
import Testing

@testable import KnapHost

/// Manifests that tests start from.
enum ManifestExamples {
    static let minimal = #"{"manifest": 1, "name": "a", "version": "1.0.0", "abi": "draft"}"#

    /// Every field that there is, none with its default.
    static let full = #"""
        {
          "$schema": "manifest.schema.json",
          "manifest": 1,
          "name": "org.example.notes",
          "version": "1.2.3-rc.1+build.5",
          "abi": "draft",
          "description": "Notes",
          "license": "Apache-2.0",
          "authors": ["A <a@example.org>", "B"],
          "requires": [{ "service": "vault", "version": "^1.2" }],
          "optional": [{ "service": "events", "version": ">=1 <3 || 4.x" }],
          "conflicts": ["org.example.other"],
          "provides": [
            {
              "service": "org.example.notes",
              "version": "2.0.0",
              "fallback": true,
              "methods": [
                {
                  "name": "search_notes", "description": "Search", "input": { "type": "object" },
                  "output": { "type": "object" }, "content_type": "application/cbor",
                  "output_content_type": "application/vnd.knap.mcp-result+json", "blocking": false, "idempotent": true,
                  "mutating": false, "streams": "out", "deadline_ms": 0, "retries": 3, "concurrency": 4
                }
              ]
            }
          ],
          "points": [{ "name": "pages", "schema": { "type": "object", "required": ["title"] } }],
          "contributes": { "mcp": [{ "tool": "search_notes" }], "org.example.menu": [1, "two", null] },
          "hooks": { "prepare_timeout_ms": 1, "activate_timeout_ms": 2, "suspend_timeout_ms": 3 },
          "restart": {
            "policy": "transient", "scope": "dependants", "max_restarts": 3, "period_ms": 1000,
            "backoff_initial_ms": 10, "backoff_max_ms": 20
          },
          "health": { "period_ms": 1000, "failures": 2 },
          "pool": { "min": 2, "max": 4, "concurrency": 8, "grow_after_ms": 50, "shrink_after_ms": 500 },
          "isolations": ["worker"],
          "reload": "overlap",
          "drain_timeout_ms": 5,
          "probation_ms": 6,
          "permissions": {
            "files": { "read": ["/etc/hosts", "config:folder"], "write": ["~/notes"] },
            "network": { "connect": ["*.example.org:443", "[::1]:*"], "listen": [0] },
            "environment": ["HOME"], "services": ["vault", "events.append"], "host": ["reload"],
            "assert_principal": true, "observe": true, "intercept": true
          },
          "limits": {
            "memory_bytes": 2097152, "in_flight": 8, "queue": 0,
            "breaker": { "failures": 5, "period_ms": 1000, "open_ms": 500 }
          },
          "configuration": {
            "schema": { "type": "object", "properties": { "folder": { "type": "string" } } },
            "defaults": { "folder": "/srv/notes" }
          },
          "extensions": ["knap.drain/1", "knap.health/1"],
          "toolchain": { "language": "rust", "compiler_version": "1.80.0" },
          "state_schema": 7
        }
        """#

    /// A text that is no valid manifest, and what is wrong with it.
    struct Bad: Sendable, CustomTestStringConvertible {
        let field: String
        let pointer: String
        let code: ManifestError.Problem.Code
        let says: String
        /// The JSON Schema sees it too; the others are rules across fields or within lists.
        let isInSchema: Bool

        var testDescription: String { field }
        /// The minimal manifest with this field added, or put in place of its own.
        var text: String { ManifestExamples.minimal(with: field) }

        init(
            _ field: String, _ pointer: String, _ code: ManifestError.Problem.Code, _ says: String,
            inSchema: Bool = true
        ) {
            self.field = field
            self.pointer = pointer
            self.code = code
            self.says = says
            isInSchema = inSchema
        }
    }

    static func minimal(with field: String) -> String {
        var fields = [
            (#""manifest""#, "1"), (#""name""#, #""a""#), (#""version""#, #""1.0.0""#), (#""abi""#, #""draft""#),
        ]
        fields.removeAll { field.hasPrefix($0.0 + ":") }
        return "{" + (fields.map { "\($0.0): \($0.1)" } + [field]).joined(separator: ",\n ") + "}"
    }

    private static func method(_ fields: String) -> String {
        #""provides": [{"service": "s", "version": "1.0.0", "methods": [{"name": "m", \#(fields)}]}]"#
    }

    static let bad: [Bad] = [
        Bad(#""manifest": 2"#, "/manifest", .outOfRange, "2 is out of range: 1 to 1"),
        Bad(#""manifest": "1""#, "/manifest", .wrongType, "expected an integer, found the string '1'"),
        Bad(#""manifest": 1.5"#, "/manifest", .wrongType, "expected an integer, found 1.5"),
        Bad(#""name": "A""#, "/name", .malformed, "'A' is not a plugin name"),
        Bad(#""name": """#, "/name", .malformed, "is not a plugin name"),
        Bad(#""name": "1a""#, "/name", .malformed, "is not a plugin name"),
        Bad(#""name": "a_b""#, "/name", .malformed, "is not a plugin name"),
        Bad(#""name": "org..x""#, "/name", .malformed, "is not a plugin name"),
        Bad(#""name": "org.-x""#, "/name", .malformed, "is not a plugin name"),
        Bad(#""name": "../x""#, "/name", .malformed, "is not a plugin name"),
        Bad(#""name": "\#(String(repeating: "a", count: 64))""#, "/name", .malformed, "is not a plugin name"),
        Bad(#""name": null"#, "/name", .wrongType, "expected a plugin name, found null"),
        Bad(#""version": "1.0""#, "/version", .malformed, "'1.0' is not a version"),
        Bad(#""version": 1"#, "/version", .wrongType, "expected a string, found the number 1"),
        Bad(#""abi": "v9""#, "/abi", .outOfRange, "'v9' is not one of draft"),
        Bad(#""abi": "draf""#, "/abi", .outOfRange, "did you mean 'draft'?"),
        Bad(
            #""descripton": "x""#, "/descripton", .unknownField,
            "unknown field 'descripton': did you mean 'description'?"),
        Bad(#""zzz": 1"#, "/zzz", .unknownField, "known are $schema, manifest, name"),
        Bad(#""description": 1"#, "/description", .wrongType, "expected a string, found the number 1"),
        Bad(#""license": """#, "/license", .malformed, "must not be empty"),
        Bad(#""authors": "me""#, "/authors", .wrongType, "expected an array, found the string 'me'"),
        Bad(#""authors": ["a", 1]"#, "/authors/1", .wrongType, "found the number 1"),
        Bad(#""authors": ["a", "a"]"#, "/authors/1", .duplicate, #""a" is here twice"#),
        Bad(#""requires": [{"service": "vault"}]"#, "/requires/0", .missingField, "the field 'version' is missing"),
        Bad(
            #""requires": [{"service": "Vault", "version": "*"}]"#, "/requires/0/service", .malformed,
            "is not a service id"),
        Bad(
            #""requires": [{"service": "vault", "version": "latest"}]"#, "/requires/0/version", .malformed,
            "not a range"),
        Bad(#""requires": ["vault"]"#, "/requires/0", .wrongType, "expected an object, found the string 'vault'"),
        Bad(
            #""requires": [{"service": "v", "version": "*"}, {"service": "v", "version": "^1"}]"#, "/requires/1",
            .duplicate,
            "'v' is here twice", inSchema: false),
        Bad(
            #""requires": [{"service": "v", "version": "*"}], "optional": [{"service": "v", "version": "*"}]"#,
            "/optional",
            .contradiction, "'v' is required already", inSchema: false),
        Bad(
            #""requires": [{"service": "v", "version": "*"}], "provides": [{"service": "v", "version": "1.0.0"}]"#,
            "/requires", .contradiction, "which it provides itself", inSchema: false),
        Bad(#""conflicts": ["a"]"#, "/conflicts", .contradiction, "conflicts with itself", inSchema: false),
        Bad(
            #""provides": [{"service": "host", "version": "1.0.0"}]"#, "/provides/0/service", .contradiction,
            "the host's own"),
        Bad(
            #""provides": [{"service": "s", "version": "1.0.0", "fallback": "yes"}]"#, "/provides/0/fallback", .wrongType,
            "expected true or false"),
        Bad(#""provides": [{"service": "s"}]"#, "/provides/0", .missingField, "'version' is missing"),
        Bad(
            #""provides": [{"service": "s", "version": "1.0.0", "methods": [{"name": "m"}, {"name": "m"}]}]"#,
            "/provides/0/methods/1", .duplicate, "'m' is here twice", inSchema: false),
        Bad(
            #""provides": [{"service": "s", "version": "1.0.0", "methods": [{}]}]"#, "/provides/0/methods/0",
            .missingField, "'name'"),
        Bad(method(#""name": "x""#), "", .notJSON, "", inSchema: false),
        Bad(method(#""input": []"#), "/provides/0/methods/0/input", .wrongType, "expected a JSON Schema object"),
        Bad(method(#""content_type": "json""#), "/provides/0/methods/0/content_type", .malformed, "not a media type"),
        Bad(method(#""blocking": "no""#), "/provides/0/methods/0/blocking", .wrongType, "expected true or false"),
        Bad(method(#""streams": "output""#), "/provides/0/methods/0/streams", .outOfRange, "none, in, out, both"),
        Bad(method(#""deadline_ms": -1"#), "/provides/0/methods/0/deadline_ms", .outOfRange, "0 to 86400000"),
        Bad(method(#""deadline": 5"#), "/provides/0/methods/0/deadline", .unknownField, "did you mean 'deadline_ms'?"),
        Bad(method(#""retries": 1"#), "/provides/0/methods/0/retries", .contradiction, "only an idempotent method"),
        Bad(method(#""concurrency": 0"#), "/provides/0/methods/0/concurrency", .outOfRange, "1 to 1000000"),
        Bad(
            method(#""concurrency": 300"#), "/provides", .contradiction, "can never trip: concurrency is 300",
            inSchema: false),
        Bad(#""points": [{"name": "p"}]"#, "/points/0", .missingField, "'schema' is missing"),
        Bad(#""contributes": {"MCP": []}"#, "/contributes/MCP", .malformed, "not a contribution point"),
        Bad(
            #""contributes": {"mcp": {}}"#, "/contributes/mcp", .wrongType,
            "expected an array of items, found an object"),
        Bad(#""contributes": []"#, "/contributes", .wrongType, "expected an object, found an array"),
        Bad(#""hooks": {"prepare_timeout_ms": 0}"#, "/hooks/prepare_timeout_ms", .outOfRange, "1 to 600000"),
        Bad(#""restart": {"policy": "always"}"#, "/restart/policy", .outOfRange, "permanent, transient, temporary"),
        Bad(
            #""restart": {"max_restarts": 5, "period_ms": 10000, "backoff_initial_ms": 5000}"#, "/restart/max_restarts",
            .contradiction, "needs 65000 ms of waits for 5 restarts", inSchema: false),
        Bad(
            #""restart": {"backoff_initial_ms": 10, "backoff_max_ms": 5}"#, "/restart/backoff_initial_ms",
            .contradiction,
            "it is 10, more than backoff_max_ms (5)", inSchema: false),
        Bad(
            #""health": {"period_ms": 50}, "extensions": ["knap.health/1"]"#, "/health/period_ms", .outOfRange,
            "100 to 86400000"),
        Bad(#""health": {"period_ms": 1000}"#, "/health", .contradiction, "knap.health/1", inSchema: false),
        Bad(
            #""pool": {"min": 3, "max": 2}"#, "/pool/min", .contradiction, "it is 3, more than max (2)", inSchema: false
        ),
        Bad(#""pool": {"max": 33}"#, "/pool/max", .outOfRange, "1 to 32"),
        Bad(#""pool": {"concurrency": 0}"#, "/pool/concurrency", .outOfRange, "1 to 4096"),
        Bad(#""pool": {"grow_after_ms": 5}"#, "/pool/grow_after_ms", .outOfRange, "10 to 3600000"),
        Bad(#""pool": {"shrink_after_ms": 99}"#, "/pool/shrink_after_ms", .outOfRange, "100 to 3600000"),
        Bad(#""isolations": []"#, "/isolations", .outOfRange, "at least one"),
        Bad(#""isolations": ["workers"]"#, "/isolations/0", .outOfRange, "did you mean 'worker'?"),
        Bad(#""reload": "both""#, "/reload", .outOfRange, "exclusive, overlap"),
        Bad(
            #""reload": "overlap", "extensions": ["knap.state/1"]"#, "/reload", .contradiction,
            "handed over by knap.state/1",
            inSchema: false),
        Bad(
            #""pool": {"max": 2}, "permissions": {"network": {"listen": [80]}}"#, "/pool", .contradiction,
            "it listens on a port of its own", inSchema: false),
        Bad(#""permissions": {"files": {"read": ["notes"]}}"#, "/permissions/files/read/0", .malformed, "not a path"),
        Bad(
            #""permissions": {"files": {"read": ["/a/../b"]}}"#, "/permissions/files/read/0", .malformed, "without '..'"
        ),
        Bad(
            #""permissions": {"files": {"read": ["config:folder"]}}"#, "/permissions", .contradiction,
            "names no property of configuration.schema", inSchema: false),
        Bad(
            #""permissions": {"network": {"connect": ["example.org"]}}"#, "/permissions/network/connect/0", .malformed,
            "HOST:PORT"),
        Bad(
            #""permissions": {"network": {"connect": ["a:65536"]}}"#, "/permissions/network/connect/0", .malformed,
            "an endpoint"),
        Bad(
            #""permissions": {"network": {"listen": [70000]}}"#, "/permissions/network/listen/0", .outOfRange,
            "0 to 65535"),
        Bad(
            #""permissions": {"environment": ["1X"]}"#, "/permissions/environment/0", .malformed, "environment variable"
        ),
        Bad(#""permissions": {"services": ["a.B"]}"#, "/permissions/services/0", .malformed, "SERVICE.METHOD"),
        Bad(#""permissions": {"shell": true}"#, "/permissions/shell", .unknownField, "unknown field 'shell'"),
        Bad(#""limits": {"memory_bytes": 1024}"#, "/limits/memory_bytes", .outOfRange, "1048576 to"),
        Bad(#""limits": {"in_flight": 0}"#, "/limits/in_flight", .outOfRange, "1 to 1000000"),
        Bad(
            #""limits": {"breaker": {"failures": 1, "open_ms": 1}}"#, "/limits/breaker", .missingField,
            "'period_ms' is missing"),
        Bad(#""configuration": {"defaults": {"a": 1}}"#, "/configuration/defaults", .contradiction, "no schema"),
        Bad(
            #""configuration": {"schema": {"properties": {"abc": {}}, "additionalProperties": false}, "defaults": {"abd": 1}}"#,
            "/configuration", .contradiction, "did you mean 'abc'?", inSchema: false),
        Bad(#""extensions": ["knap.state"]"#, "/extensions/0", .malformed, "such as knap.state/1"),
        Bad(#""extensions": ["knap.state/0"]"#, "/extensions/0", .malformed, "such as knap.state/1"),
        Bad(#""toolchain": {}"#, "/toolchain", .missingField, "'language' is missing"),
        Bad(#""toolchain": {"language": "go"}"#, "/isolations", .contradiction, "one Go runtime only", inSchema: false),
        Bad(#""probation_ms": -1"#, "/probation_ms", .outOfRange, "0 to 86400000"),
        Bad(#""state_schema": -1"#, "/state_schema", .outOfRange, "0 to 1000000"),
    ]

    /// Single fields that are right.
    static let good: [String] = [
        #""name": "a-b-1""#, #""name": "\#(String(repeating: "a", count: 63))""#, #""name": "org.example.a-b""#,
        #""version": "0.0.0""#, #""version": "1.0.0-0A.is.legal+001""#, #""$schema": "x""#,
        #""requires": [{"service": "org.example.x", "version": ">= 1.0.0 < 2.0.0 || ~3.1 || 4.x || *"}]"#,
        #""requires": [{"service": "v", "version": "^1.2.3-beta.1"}]"#, #""requires": []"#,
        method(#""retries": 1, "idempotent": true"#), method(#""concurrency": 256"#),
        method(#""content_type": "text/plain; charset=utf-8""#), method(#""deadline_ms": 86400000"#),
        #""contributes": {"mcp": []}"#, #""contributes": {}"#, #""hooks": {}"#, #""restart": {"max_restarts": 0}"#,
        #""restart": {"policy": "temporary", "backoff_initial_ms": 30000}"#, #""pool": {"min": 2, "max": 2}"#,
        #""pool": {"min": 2}"#, #""isolations": ["in-process"]"#, #""drain_timeout_ms": 0"#, #""probation_ms": 0"#,
        #""permissions": {"files": {"read": ["/", "~/a b/ü", "/..a/b.."]}}"#,
        #""permissions": {"network": {"connect": ["*:*", "a:1", "*.b-c.d:65535", "[2001:db8::1]:80"], "listen": [0, 65535]}}"#,
        #""permissions": {"services": ["vault", "vault.read_note", "org.example.x", "org.example.x.do_it"]}"#,
        #""limits": {"queue": 0}"#, #""configuration": {"schema": {"type": "object"}, "defaults": {"a": 1}}"#,
        #""configuration": {"defaults": {}}"#, #""extensions": ["knap.state/1", "org.example-x.y/12"]"#,
        #""toolchain": {"language": "go"}, "isolations": ["worker"]"#, #""manifest": 1.0"#,
    ]
}
