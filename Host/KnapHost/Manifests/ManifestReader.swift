import KnapJSON

extension Manifest {
    /// Reads a manifest strictly; `file` is what problems name.
    package init(_ bytes: [UInt8], file: String) throws(ManifestError) {
        let json: JSON
        do throws(JSONParseError) {
            json = try JSON.parse(bytes, limits: JSONLimits(duplicateNames: .reject))
        } catch {
            throw ManifestError(problems: [
                ManifestError.Problem(
                    code: .notJSON, file: file, position: error.position, pointer: JSONPointer(),
                    message: error.message)
            ])
        }
        let problems = ProblemList()
        let manifest = FieldReader.read(json, at: JSONPointer(), problems) { Manifest(&$0) }
        guard let manifest, problems.count == 0 else {
            let source = JSONSource(bytes)
            throw ManifestError(
                problems: problems.found.map { problem in
                    ManifestError.Problem(
                        code: problem.code, file: file, position: source.position(of: problem.pointer),
                        pointer: problem.pointer, message: problem.message)
                })
        }
        self = manifest
    }

    private init(_ fields: inout FieldReader) {
        _ = fields["$schema"].optionalString()
        _ = fields["manifest"].integer(in: Self.format...Self.format)
        name = fields["name"].string(.pluginName)
        version = fields["version"].version()
        abi = fields["abi"].requiredText(of: ABI.self)
        description = fields["description"].string(default: "")
        license = fields["license"].optionalString(.nonEmpty)
        authors = fields["authors"].strings(.nonEmpty)
        requires = fields["requires"].objects(unique: \.service) { Requirement(&$0) }
        optional = fields["optional"].objects(unique: \.service) { Requirement(&$0) }
        conflicts = fields["conflicts"].strings(.pluginName)
        provides = fields["provides"].objects(unique: \.service) { ProvidedService(&$0) }
        points = fields["points"].objects(unique: \.name) { ContributionPoint(&$0) }
        contributes = fields["contributes"].contributions()
        hooks = fields["hooks"].object(default: HookTimeouts()) { HookTimeouts(&$0) }
        restart = fields["restart"].object(default: RestartPolicy()) { RestartPolicy(&$0) }
        health = fields["health"].optionalObject { HealthCheck(&$0) }
        pool = fields["pool"].object(default: Pool()) { Pool(&$0) }
        isolations = fields["isolations"].isolations()
        reload = fields["reload"].oneOf(ReloadStrategy.self, default: .exclusive)
        drainTimeout = fields["drain_timeout_ms"].milliseconds(in: 0...600_000, default: .seconds(30))
        probation = fields["probation_ms"].optionalMilliseconds(in: 0...86_400_000)
        permissions = fields["permissions"].object(default: Permissions()) { Permissions(&$0) }
        limits = fields["limits"].object(default: Limits()) { Limits(&$0) }
        configuration = fields["configuration"].object(default: Configuration()) { Configuration(&$0) }
        extensions = fields["extensions"].strings(.extensionID)
        toolchain = fields["toolchain"].optionalObject { Toolchain(&$0) }
        stateSchema = fields["state_schema"].integer(in: 0...1_000_000, default: 0)
        checkTogether(fields)
    }
}

/// The ABIs that a manifest of this format may name.
enum ABI: String, CaseIterable { case draft }

extension Field {
    func version() -> Version {
        parsed(placeholder: Version(0, 0, 0)) { text throws(VersionError) in try Version(text) }
    }

    func versionRange() -> VersionRange {
        parsed(placeholder: VersionRange(compatibleWith: Version(0, 0, 0))) { text throws(VersionError) in
            try VersionRange(text)
        }
    }

    fileprivate func isolations() -> [Isolation] {
        guard json != nil else { return Isolation.allCases }
        let isolations: [Isolation] = set { $0.oneOf(Isolation.self) }
        if isolations.isEmpty, json?.arrayValue?.isEmpty == true {
            problems.add(.outOfRange, at: pointer, "it must name at least one of in-process, worker")
        }
        return isolations
    }

    fileprivate func contributions() -> [Contribution] {
        members().members.compactMap { name, items in
            let at = pointer.appending(name)
            guard TextRule.point.accepts(name) else {
                return problems.add(
                    .malformed, at: at, "'\(name)' is not \(TextRule.point.name): \(TextRule.point.explanation)")
            }
            guard let items = items.arrayValue else { return problems.wrongType("an array of items", items, at: at) }
            return Contribution(point: name, items: items)
        }
    }
}

extension Requirement {
    fileprivate init(_ fields: inout FieldReader) {
        service = fields["service"].string(.service)
        versions = fields["version"].versionRange()
    }
}

extension ContributionPoint {
    fileprivate init(_ fields: inout FieldReader) {
        name = fields["name"].string(.point)
        schema = fields["schema"].requiredSchema()
    }
}

extension ProvidedService {
    fileprivate init(_ fields: inout FieldReader) {
        service = fields["service"].string(.service)
        version = fields["version"].version()
        isFallback = fields["fallback"].boolean(default: false)
        methods = fields["methods"].objects(unique: \.name) { Method(&$0) }
        if service == "host" { fields.refuse("service", "the service 'host' is the host's own; choose another name") }
    }
}

extension Method {
    fileprivate init(_ fields: inout FieldReader) {
        name = fields["name"].string(.method)
        description = fields["description"].string(default: "")
        input = fields["input"].schema()
        output = fields["output"].schema()
        inputContentType = fields["content_type"].string(.mediaType, default: Self.json)
        outputContentType = fields["output_content_type"].string(.mediaType, default: Self.json)
        isBlocking = fields["blocking"].boolean(default: true)
        isIdempotent = fields["idempotent"].boolean(default: false)
        isMutating = fields["mutating"].boolean(default: true)
        streams = fields["streams"].oneOf(Streams.self, default: .none)
        let deadline = fields["deadline_ms"].milliseconds(in: 0...86_400_000, default: .seconds(30))
        self.deadline = deadline == .zero ? nil : deadline
        retries = fields["retries"].integer(in: 0...10, default: 0)
        concurrency = fields["concurrency"].optionalInteger(in: 1...1_000_000)
        if retries > 0 && !isIdempotent {
            fields.refuse("retries", "only an idempotent method can be tried again; add \"idempotent\": true if it is")
        }
    }
}

extension HookTimeouts {
    fileprivate init(_ fields: inout FieldReader) {
        let range = 1...600_000
        prepare = fields["prepare_timeout_ms"].milliseconds(in: range, default: .seconds(10))
        activate = fields["activate_timeout_ms"].milliseconds(in: range, default: .seconds(10))
        suspend = fields["suspend_timeout_ms"].milliseconds(in: range, default: .seconds(10))
    }
}

extension RestartPolicy {
    fileprivate init(_ fields: inout FieldReader) {
        let defaults = RestartPolicy()
        kind = fields["policy"].oneOf(Kind.self, default: defaults.kind)
        scope = fields["scope"].oneOf(Scope.self, default: defaults.scope)
        maximumRestarts = fields["max_restarts"].integer(in: 0...1000, default: defaults.maximumRestarts)
        period = fields["period_ms"].milliseconds(in: 1...86_400_000, default: defaults.period)
        backoffInitial = fields["backoff_initial_ms"].milliseconds(in: 0...3_600_000, default: defaults.backoffInitial)
        backoffMaximum = fields["backoff_max_ms"].milliseconds(in: 0...3_600_000, default: defaults.backoffMaximum)
        checkLimitCanTrip(fields)
    }

    private func checkLimitCanTrip(_ fields: FieldReader) {
        guard backoffInitial <= backoffMaximum else {
            return fields.refuse(
                "backoff_initial_ms",
                "it is \(backoffInitial.inMilliseconds), more than backoff_max_ms "
                    + "(\(backoffMaximum.inMilliseconds))")
        }
        guard kind != .temporary, fastestGiveUp >= period else { return }
        fields.refuse(
            "max_restarts",
            "the limit can never trip: a plugin that fails at once needs \(fastestGiveUp.inMilliseconds) ms of waits for "
                + "\(maximumRestarts) restarts (0 before the first, then from \(backoffInitial.inMilliseconds) ms doubling "
                + "up to \(backoffMaximum.inMilliseconds) ms), but only restarts within period_ms "
                + "(\(period.inMilliseconds)) count; lower max_restarts or the waits, or raise period_ms")
    }
}

extension HealthCheck {
    fileprivate init(_ fields: inout FieldReader) {
        period = fields["period_ms"].milliseconds(in: 100...86_400_000)
        failures = fields["failures"].integer(in: 1...100, default: 3)
    }
}

extension Pool {
    fileprivate init(_ fields: inout FieldReader) {
        minimum = fields["min"].integer(in: 1...32, default: 1)
        maximum = fields["max"].integer(in: 1...32, default: max(1, minimum))
        concurrency = fields["concurrency"].integer(in: 1...4096, default: 1)
        growAfter = fields["grow_after_ms"].milliseconds(in: 10...3_600_000, default: .milliseconds(100))
        shrinkAfter = fields["shrink_after_ms"].milliseconds(in: 100...3_600_000, default: .seconds(30))
        if minimum > maximum { fields.refuse("min", "it is \(minimum), more than max (\(maximum))") }
    }
}

extension Permissions {
    fileprivate init(_ fields: inout FieldReader) {
        (readPaths, writePaths) = fields["files"].object(default: ([], [])) {
            ($0["read"].strings(.path), $0["write"].strings(.path))
        }
        (connect, listen) = fields["network"].object(default: ([], [])) {
            ($0["connect"].strings(.endpoint), $0["listen"].set { $0.integer(in: 0...65535) })
        }
        environment = fields["environment"].strings(.environmentName)
        services = fields["services"].strings(.serviceOrMethod)
        hostMethods = fields["host"].strings(.method)
        assertsPrincipal = fields["assert_principal"].boolean(default: false)
        observes = fields["observe"].boolean(default: false)
        intercepts = fields["intercept"].boolean(default: false)
    }
}

extension Limits {
    fileprivate init(_ fields: inout FieldReader) {
        memoryBytes = fields["memory_bytes"].optionalInteger(in: 1_048_576...1_099_511_627_776)
        inFlight = fields["in_flight"].integer(in: 1...1_000_000, default: 256)
        queue = fields["queue"].integer(in: 0...1_000_000, default: 1024)
        breaker = fields["breaker"].optionalObject { Breaker(&$0) }
    }
}

extension Breaker {
    fileprivate init(_ fields: inout FieldReader) {
        failures = fields["failures"].integer(in: 1...1_000_000)
        period = fields["period_ms"].milliseconds(in: 1...86_400_000)
        open = fields["open_ms"].milliseconds(in: 1...3_600_000)
    }
}

extension Configuration {
    fileprivate init(_ fields: inout FieldReader) {
        schema = fields["schema"].schema()
        defaults = fields["defaults"].members()
        if schema == nil, !defaults.isEmpty {
            fields.refuse("defaults", "there are defaults but no schema that says what they mean; add \"schema\"")
        }
    }
}

extension Toolchain {
    fileprivate init(_ fields: inout FieldReader) {
        language = fields["language"].string(.language)
        compilerVersion = fields["compiler_version"].optionalString(.nonEmpty)
    }
}
