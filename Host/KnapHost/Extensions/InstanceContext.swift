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
    let watchdog: Watchdog
    /// Tells instances apart.
    let id: UInt
    /// The party's places for bindings, which the generations of a worker share.
    private let bindings: BindingTable
    /// What this instance bound.
    private let inputs = Mutex<[UInt64: MethodInput]>([:])

    private static let lastID = Atomic<UInt>(0)

    init(
        plugin: String, generation: Int, logger: Logger, configuration: [UInt8], stateDirectory: String, grants: Grants,
        services: ServiceDirectory, registry: ContributionRegistry, descriptors: DescriptorStore,
        watchdog: Watchdog, bindings: BindingTable = BindingTable()
    ) {
        id = Self.lastID.wrappingAdd(1, ordering: .relaxed).newValue
        self.bindings = bindings
        self.plugin = plugin
        self.generation = generation
        self.logger = logger
        self.configuration = configuration
        self.stateDirectory = stateDirectory
        self.grants = grants
        self.services = services
        self.registry = registry
        self.descriptors = descriptors
        self.watchdog = watchdog
    }

    /// The context of the instance that a host pointer stands for.
    static func of(_ host: UnsafePointer<knap_host_t>) -> InstanceContext {
        Unmanaged<InstanceContext>.fromOpaque(knap_party_context(host)).takeUnretainedValue()
    }

    /// The binding of a method, made at the first use: a party has few places for them.
    func binding(of input: MethodInput, party: Party, route: Route) -> UInt64 {
        let binding = bindings.binding(of: input.method) { party.bind(route) }
        if binding != 0 { inputs.withLock { $0[binding] = input } }
        return binding
    }

    /// What calls through a binding of this instance's may send; nil when there is none of that number.
    func input(of binding: UInt64) -> MethodInput? { inputs.withLock { $0[binding] } }
}

/// The bindings of one party, by method.
final class BindingTable: Sendable {
    private let byMethod = Mutex<[String: UInt64]>([:])

    func binding(of method: String, make: () -> UInt64) -> UInt64 {
        byMethod.withLock { byMethod in
            if let known = byMethod[method] { return known }
            let made = make()
            if made != 0 { byMethod[method] = made }
            return made
        }
    }
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
