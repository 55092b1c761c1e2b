import KnapJSON

/// What a plugin says of itself, read and checked before any of its code runs.
///
/// Everything in it is a statement or a request: what the operator grants and which isolation is used is decided
/// elsewhere. `Manifests/manifest.schema.json` is the same as a JSON Schema, for editors.
package struct Manifest: Sendable, Hashable {
    /// The only format there is; the manifest's field `manifest`.
    package static let format = 1

    package var name: String
    package var version: Version
    package var abi = "draft"
    package var description = ""
    package var license: String?
    package var authors: [String] = []

    /// Services without which the plugin cannot start.
    package var requires: [Requirement] = []
    /// Services it uses when they are there; they start before it.
    package var optional: [Requirement] = []
    /// Plugins that must not run beside it.
    package var conflicts: [String] = []
    package var provides: [ProvidedService] = []
    /// Contribution points that this plugin owns.
    package var points: [ContributionPoint] = []
    /// What it contributes to points, its own or another plugin's; opaque here.
    package var contributes: [Contribution] = []

    package var hooks = HookTimeouts()
    package var restart = RestartPolicy()
    /// How often it is asked for its health; nil: only when somebody wants to know.
    package var health: HealthCheck?
    package var pool = Pool()
    /// Where it can run; the operator chooses among them.
    package var isolations: [Isolation] = Isolation.allCases
    package var reload = ReloadStrategy.exclusive
    /// How long a reload or a stop waits for the calls in flight.
    package var drainTimeout = Duration.seconds(30)
    /// How long a new version has to prove itself before the host stops being ready to return to the one before; nil:
    /// the operator's default.
    package var probation: Duration?
    package var permissions = Permissions()
    package var limits = Limits()
    package var configuration = Configuration()
    /// ABI extensions that the plugin implements, such as `knap.state/1`.
    package var extensions: [String] = []
    package var toolchain: Toolchain?
    /// The revision of its durable state's format; before a higher one is activated the state is copied.
    package var stateSchema = 0

    package init(name: String, version: Version) {
        self.name = name
        self.version = version
    }

    package static func isName(_ text: String) -> Bool { TextRule.pluginName.accepts(text) }

    package func provides(_ service: String) -> ProvidedService? { provides.first { $0.service == service } }
}

/// A service that a plugin calls, and the versions of it that suit.
package struct Requirement: Sendable, Hashable, CustomStringConvertible {
    package var service: String
    package var versions: VersionRange

    package init(service: String, versions: VersionRange) {
        self.service = service
        self.versions = versions
    }

    package var description: String { "\(service) \(versions)" }
}

/// A named place where other plugins put items that the owner understands, such as `mcp` or `http`.
package struct ContributionPoint: Sendable, Hashable {
    package var name: String
    /// The JSON Schema of one item.
    package var schema: JSON
}

/// Items for one contribution point, in the order the manifest has them.
package struct Contribution: Sendable, Hashable {
    package var point: String
    package var items: [JSON]
}

/// Where the code of a plugin runs.
package enum Isolation: String, Sendable, Hashable, CaseIterable {
    case inProcess = "in-process"
    case worker
}

/// Whether two generations of a plugin may serve at once while one replaces the other.
package enum ReloadStrategy: String, Sendable, Hashable, CaseIterable { case exclusive, overlap }

/// How long each lifecycle hook may take.
package struct HookTimeouts: Sendable, Hashable {
    package var prepare = Duration.seconds(10)
    package var activate = Duration.seconds(10)
    package var suspend = Duration.seconds(10)
}

/// A question that is asked again and again through `knap.health/1`.
package struct HealthCheck: Sendable, Hashable {
    package var period: Duration
    /// Answers in a row that it is unhealthy, or none, which end its process.
    package var failures: Int
}

/// How many workers of a plugin serve together. See ``PoolSizing`` for when there are more or fewer.
package struct Pool: Sendable, Hashable {
    package var minimum = 1
    package var maximum = 1
    /// Calls that one worker works on at a time; more wait.
    package var concurrency = 1
    /// How long calls must have waited at every worker before there is one more.
    package var growAfter = Duration.milliseconds(100)
    /// How long one fewer must have been enough before there is one fewer.
    package var shrinkAfter = Duration.seconds(30)
}

/// The settings that a plugin has.
package struct Configuration: Sendable, Hashable {
    /// The JSON Schema of the whole configuration; none means that there is nothing to set.
    package var schema: JSON?
    package var defaults = JSONObject()
}

/// What built the library; in one process Swift code of two compilers does not mix.
package struct Toolchain: Sendable, Hashable {
    package var language: String
    package var compilerVersion: String?
}
