import CKnap
import KnapCallEngine
import Logging
import Synchronization

/// What the host's extension tables know of the instance that calls them.
final class InstanceContext: Sendable {
    let plugin: String
    let generation: Int
    let logger: Logger
    /// The plugin's configuration as JSON; see `knap.config/1`.
    let configuration: [UInt8]
    /// Absolute.
    let stateDirectory: String
    let grants: Grants
    let services: ServiceDirectory
    let registry: ContributionRegistry
    let descriptors: DescriptorStore
    private let bindings = Mutex(Bindings())

    struct Bindings {
        var byMethod: [String: UInt64] = [:]
        var methods: [UInt64: String] = [:]
    }

    init(
        plugin: String, generation: Int, logger: Logger, configuration: [UInt8], stateDirectory: String, grants: Grants,
        services: ServiceDirectory, registry: ContributionRegistry, descriptors: DescriptorStore
    ) {
        self.plugin = plugin
        self.generation = generation
        self.logger = logger
        self.configuration = configuration
        self.stateDirectory = stateDirectory
        self.grants = grants
        self.services = services
        self.registry = registry
        self.descriptors = descriptors
    }

    /// The context of the instance that a host pointer stands for.
    static func of(_ host: UnsafePointer<knap_host_t>) -> InstanceContext {
        Unmanaged<InstanceContext>.fromOpaque(knap_party_context(host)).takeUnretainedValue()
    }

    /// The binding of a method, made at the first use: a party has few places for them.
    func binding(of method: String, party: Party, route: Route) -> UInt64 {
        bindings.withLock { bindings in
            if let known = bindings.byMethod[method] { return known }
            let made = party.bind(route)
            if made != 0 {
                bindings.byMethod[method] = made
                bindings.methods[made] = method
            }
            return made
        }
    }

    func method(of binding: UInt64) -> String? { bindings.withLock { $0.methods[binding] } }
}

/// What an instance may do beyond the defaults.
struct Grants: Sendable {
    /// Ships with Knap: trusted with what its manifest asks for.
    var isFirstParty: Bool
    /// Services it may call: those it requires or uses, and those granted by name; nil: all.
    var services: Set<String>?
    /// Contribution points that are its own: it may call the methods contributed to them.
    var points: Set<String> = []
    /// Where it may connect to, through `knap.net/1`.
    var connect: [String] = []
    /// May say for whom a call is made; its calls enter from outside and are therefore validated.
    var assertsPrincipal: Bool
    /// Mutating methods of the service `host` it may call.
    var hostMethods: Set<String>
}
