import CKnap
import KnapCallEngine
import KnapJSON
import KnapPlugin

/// A loaded plugin's code and its one instance, wherever it runs. The host drives both kinds the same way.
///
/// The hooks are called one after the other by whoever owns the instance.
protocol PluginCode: Sendable {
    func create(timeout: Duration) async throws(PluginError)
    func prepare(timeout: Duration) async throws(PluginError)
    func activate(timeout: Duration) async throws(PluginError)
    func suspend(timeout: Duration) async throws(PluginError)
    /// What `knap.state/1` hands over; nil when the plugin does not offer it.
    func save(timeout: Duration) async throws(PluginError) -> SavedState?
    func load(_ state: SavedState, timeout: Duration) async throws(PluginError)
    /// Frees the instance and, where that is possible, its code and process. The last call.
    func end() async

    /// Tells it that a drain begins, or that it was given up.
    func drain(until deadline: Deadline?) async
    /// Tells it that the host will not return to the generation before it.
    func committed(timeout: Duration) async throws(PluginError)
    /// What the plugin says of its own health; nil when it does not offer `knap.health/1`.
    func health() async -> (status: Int32, report: String)?

    /// Who serves a method, for its route.
    func provision(of method: String, party: Party) -> knap_provision_t?
    /// How this instance takes part in every call; only code in the host's process can.
    func hooked(_ manifest: Manifest, party: Party) -> knap_hooked_t?

    /// Says whether calls are routed here: only then does the end of a worker hold back its party's calls.
    func serves(_ isServing: Bool)
    /// Why what it ran in ended; nil while it runs.
    var ended: String? { get }

    var isolation: Isolation { get }
    /// What runs in processes of its own: one, or a pool's.
    var inWorkers: [WorkerCode] { get }
    /// Processes that take calls.
    var workers: Int { get }
    /// What keeps it in; nil in the host's process, where nothing does.
    var sandbox: SandboxLayers? { get }
    /// What `knap plugins info` says of where it runs.
    var details: [(String, JSON)] { get }
}

/// What an instance saved, for the next generation.
struct SavedState: Sendable {
    var schema: UInt32
    var bytes: [UInt8]
}
