import KnapHost
import KnapJSON

/// What a plugin's file alone shows, without running any of it.
enum FileChecks {
    struct Check {
        let name: String
        let sentence: String
        let run: @Sendable (InspectedLibrary) -> (faults: [String], warnings: [String])
    }

    static let all = [
        Check(name: "file", sentence: "The library exports its entry and nothing else, and can be loaded anywhere.") {
            ([], $0.warnings)
        },
        Check(name: "needs", sentence: "It uses of the system what its manifest asks for.", run: needs),
        Check(name: "schemas", sentence: "Every method says what it takes, and its schemas are right.", run: schemas),
        Check(name: "tools", sentence: "Clients of MCP, the strict ones too, take its tools.", run: tools),
    ]

    /// What the sandbox of a worker refuses without a permission, by the functions that the library wants.
    private static func needs(_ library: InspectedLibrary) -> (faults: [String], warnings: [String]) {
        let (imports, permissions) = (library.imports, library.manifest.permissions)
        var warnings: [String] = []
        func warn(_ symbols: Set<String>, _ isAllowed: Bool, _ permission: String) {
            guard !isAllowed, let used = imports.intersection(symbols).sorted().first else { return }
            warnings.append("it uses \(used), which the sandbox refuses \(permission)")
        }
        warn(["connect", "getaddrinfo", "gethostbyname"], !permissions.connect.isEmpty, "without the permission network.connect")
        warn(["listen", "accept", "accept4"], !permissions.listen.isEmpty, "without the permission network.listen")
        let programs: Set = [
            "fork", "vfork", "execl", "execle", "execlp", "execv", "execve", "execvp", "execvpe", "fexecve", "posix_spawn", "posix_spawnp",
            "system", "popen",
        ]
        warn(programs, false, "to every plugin")
        warn(["ptrace", "mount", "setuid", "setgid", "chroot", "unshare"], false, "to every plugin")
        return ([], warnings)
    }

    private static func schemas(_ library: InspectedLibrary) -> (faults: [String], warnings: [String]) {
        var (faults, warnings) = ([String](), [String]())
        for service in library.manifest.provides {
            for method in service.methods {
                let name = "\(service.service).\(method.name)"
                if method.description.isEmpty { warnings.append("\(name) has no description") }
                if method.input == nil, method.inputContentType == Method.json {
                    warnings.append("\(name) has no input schema, so that anything reaches it")
                }
                for (kind, document) in [("input", method.input), ("output", method.output)] {
                    guard let document else { continue }
                    do throws(SchemaError) { _ = try Schema.compile(document) } catch {
                        faults.append("\(name): the \(kind) schema: \(error)")
                    }
                }
            }
        }
        return (faults, warnings)
    }

    /// Names of clients' own: letters, digits, `_` and `-`, at most 64 (what the strictest of them take).
    private static func tools(_ library: InspectedLibrary) -> (faults: [String], warnings: [String]) {
        var (faults, warnings) = ([String](), [String]())
        for tool in library.manifest.contributes.filter({ $0.point == "mcp" }).flatMap(\.items) where tool["kind"]?.stringValue == "tool" {
            let name = tool["name"]?.stringValue ?? ""
            let isPlain = !name.isEmpty && name.utf8.count <= 64 && name.allSatisfy {
                $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == "-")
            }
            if !isPlain { faults.append("the tool '\(name)': its name has 1 to 64 letters, digits, '_' and '-'") }
            let description = tool["description"]?.stringValue ?? ""
            if description.isEmpty { faults.append("the tool '\(name)' has no description, which is all that a model knows of it") }
            if description.utf8.count > 1_024 {
                warnings.append("the tool '\(name)' has a description of \(description.utf8.count) bytes, which every conversation pays for")
            }
            if tool["annotations"]?["readOnlyHint"] == nil {
                warnings.append("the tool '\(name)' does not say readOnlyHint, so that clients ask before every call")
            }
            guard let method = tool["method"]?.stringValue, let found = library.manifest.provided(method) else {
                faults.append("the tool '\(name)' names the method '\(tool["method"]?.stringValue ?? "")', which the plugin does not provide")
                continue
            }
            let input = tool["inputSchema"] ?? found.input
            if let input, input["type"]?.stringValue != "object" {
                faults.append("the tool '\(name)': its input schema must have \"type\": \"object\"")
            }
            for (argument, schema) in input?["properties"]?.objectValue?.members ?? [] {
                let isTyped = ["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"].contains { schema[$0] != nil }
                if !isTyped { warnings.append("the tool '\(name)': the argument '\(argument)' has no type, which strict clients refuse") }
            }
        }
        return (faults, warnings)
    }
}

extension Manifest {
    /// The method that "service.method" names.
    fileprivate func provided(_ name: String) -> Method? {
        guard let dot = name.lastIndex(of: ".") else { return nil }
        return provides(String(name[..<dot]))?.method(String(name[name.index(after: dot)...]))
    }
}
