@_exported import KnapJSON

/// A plugin: a final class with a name, a version and a list of methods.
///
///     public final class Greeter: Plugin {
///         public static let name = "greeter", version = "1.0.0"
///         public static let methods: [Method<Greeter>] = [.call("greeter.hello", hello)]
///
///         public init(host: PluginHost) {}
///
///         func hello(_ input: Person, _ call: Call) async throws -> Greeting {
///             Greeting(text: "Hello, \(input.name)")
///         }
///     }
///
/// Names, version and methods must agree with the manifest, which the host has read before any of this code runs.
/// The life of an instance is `init → prepare → activate ⇄ suspend → deinit`. Two instances of one plugin may live at
/// the same time, during a reload, so state belongs in the instance and not in globals.
///
/// What else a plugin can do it says by conforming to ``Stateful``, ``HealthReporting``, ``Draining``, ``Committing``, ``Observing`` or
/// ``Intercepting``.
public protocol Plugin: AnyObject, Sendable {
    static var name: String { get }
    static var version: String { get }
    static var methods: [Method<Self>] { get }

    /// Allocates, and nothing more. An error here ends up in the host's log and as the reason why the plugin failed.
    init(host: PluginHost) throws

    /// Does the slow work that needs no exclusive resource; another instance may still hold those.
    func prepare(_ hook: Call) async throws
    /// Takes locks, listeners, watchers and writable stores. The hook can be the parent of calls to required services.
    func activate(_ hook: Call) async throws
    /// Releases what `activate` took. No call is in flight. Sleeps and registry streams of the instance have ended.
    func suspend(_ hook: Call) async throws
}

extension Plugin {
    public func prepare(_ hook: Call) async throws {}
    public func activate(_ hook: Call) async throws {}
    public func suspend(_ hook: Call) async throws {}
}
