import KnapJSON

/// The rules that tie several parts of a manifest together.
extension Manifest {
    func checkTogether(_ fields: FieldReader) {
        checkDependencies(fields)
        checkConcurrency(fields)
        checkGenerations(fields)
        checkSettings(fields)
        if health != nil, !extensions.contains("knap.health/1") {
            fields.refuse("health", "only a plugin that implements knap.health/1 can be asked; add it to \"extensions\"")
        }
        if toolchain?.language == "go", isolations.contains(.inProcess) {
            fields.refuse(
                "isolations", "a process holds one Go runtime only, so a Go plugin runs in a worker; write [\"worker\"]"
            )
        }
    }

    private func checkDependencies(_ fields: FieldReader) {
        if conflicts.contains(name) { fields.refuse("conflicts", "the plugin conflicts with itself") }
        let own = Set(provides.map(\.service))
        for requirement in requires where own.contains(requirement.service) {
            fields.refuse("requires", "it requires '\(requirement.service)', which it provides itself")
        }
        let required = Set(requires.map(\.service))
        for requirement in optional where required.contains(requirement.service) || own.contains(requirement.service) {
            let other = own.contains(requirement.service) ? "provided by the plugin itself" : "required already"
            fields.refuse("optional", "'\(requirement.service)' is \(other); remove it from one of them")
        }
    }

    private func checkConcurrency(_ fields: FieldReader) {
        for service in provides {
            for method in service.methods {
                guard let concurrency = method.concurrency, concurrency > limits.inFlight else { continue }
                fields.refuse(
                    "provides",
                    "the limit of \(service.service).\(method.name) can never trip: concurrency is \(concurrency), but "
                        + "limits.in_flight lets \(limits.inFlight) calls of the whole plugin run at once")
            }
        }
    }

    /// Two generations, or two instances of one, at once need a plugin that holds nothing exclusively.
    private func checkGenerations(_ fields: FieldReader) {
        let reason: String
        if extensions.contains("knap.state/1") {
            reason = "its state is handed over by knap.state/1"
        } else if permissions.listen.contains(where: { $0 != 0 }) {
            reason = "it listens on a port of its own"
        } else {
            return
        }
        if reload == .overlap {
            fields.refuse("reload", "two generations cannot overlap, because \(reason); write \"exclusive\"")
        }
        if pool.maximum > 1 {
            fields.refuse("pool", "there can be one instance only, because \(reason); write \"max\": 1")
        }
    }

    /// `config:KEY` must name a setting, or a grant for it would allow nothing.
    private func checkSettings(_ fields: FieldReader) {
        let properties = configuration.schema?["properties"]?.objectValue
        let known = properties?.names.map { "\($0)" } ?? []
        for path in permissions.readPaths + permissions.writePaths where path.hasPrefix("config:") {
            let key = String(path.dropFirst(7))
            guard !known.contains(key) else { continue }
            let hint = NearestMatch.hint(key, among: known)
            fields.refuse("permissions", "'\(path)' names no property of configuration.schema\(hint)")
        }
        guard configuration.schema?["additionalProperties"] == .bool(false) else { return }
        for name in configuration.defaults.names where !known.contains(name) {
            let hint = NearestMatch.hint(name, among: known)
            fields.refuse("configuration", "the default '\(name)' is no property of configuration.schema\(hint)")
        }
    }
}

extension Duration {
    /// Whole milliseconds, for the fields that end in `_ms`.
    package var inMilliseconds: Int {
        let (seconds, attoseconds) = components
        return Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
    }
}
