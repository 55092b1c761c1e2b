import CKnap
import KnapCallEngine
import KnapJSON
import KnapPlugin
import Synchronization

/// Which methods there are, who provides them, and what their callers must know.
///
/// A method's route is made at its first mention and stays; only who serves it changes. So a binding outlives every
/// reload and restart of the provider.
package final class ServiceDirectory: Sendable {
    /// One method that an active plugin provides.
    struct Provided: Sendable {
        var plugin: String
        var service: String
        var version: Version
        var method: Method
        /// Of the input; nil: any body goes.
        var schema: InputSchema?
        /// It serves only what the main provider cannot.
        var isFallback = false

        var name: String { "\(service).\(method.name)" }
    }

    /// A method, and how the instance that serves it is called.
    struct Offer: Sendable {
        var provided: Provided
        nonisolated(unsafe) var provision: knap_provision_t  // its pointers are good for as long as the engine routes calls by them
    }

    private let engine: CallEngine
    private let routings = Mutex<[String: Routing]>([:])

    init(engine: CallEngine) { self.engine = engine }

    /// What callers of the method must know: of its main provider, else of the one that stands in.
    func find(_ method: String) -> Provided? { routings.withLock { $0[method]?.first?.provided } }

    func all() -> [Provided] {
        routings.withLock { $0.values.compactMap { $0.first?.provided } }.sorted { $0.name < $1.name }
    }

    /// Routes calls of these methods to an instance of the plugin; of what it served before nothing else is left.
    func publish(_ offers: [Offer], of plugin: String) {
        routings.withLock { routings in
            let names = Set(offers.map(\.provided.name))
            remove(plugin, from: &routings) { !names.contains($0) }
            for offer in offers {
                let name = offer.provided.name
                routings[name, default: Routing(name)].put(offer, engine.route(named: name), engine)
            }
        }
    }

    /// From now on the plugin serves nothing of what it served.
    func withdraw(plugin: String) {
        routings.withLock { routings in remove(plugin, from: &routings) { _ in true } }
    }

    private func remove(_ plugin: String, from routings: inout [String: Routing], where isGone: (String) -> Bool) {
        for name in routings.keys.filter(isGone) {
            routings[name]?.remove(plugin, engine.route(named: name), engine)
        }
    }

    /// For a name that a person typed: fails when nobody provides the method and another one was probably meant.
    func requireKnown(_ name: String) throws(PluginError) {
        let known = routings.withLock { routings in routings[name] == nil ? Array(routings.keys) : [] }
        let service = name.split(separator: ".").dropLast().joined(separator: ".")
        if known.contains(where: { $0.hasPrefix(service + ".") }), !service.isEmpty {
            let methods = known.filter { $0.hasPrefix(service + ".") }
            throw PluginError(
                code: .unimplemented,
                message: "\(service) has no method '\(name.dropFirst(service.count + 1))'\(NearestMatch.hint(name, among: methods.sorted()))")
        }
        let hint = NearestMatch.hint(name, among: known.sorted())
        guard hint.isEmpty else {
            throw PluginError(code: .unavailable, message: "no active plugin provides \(name)\(hint)")
        }
    }

    /// Lets the instance call a method, now or when somebody provides it.
    func bind(_ name: String, range: String, by context: InstanceContext, party: Party) throws(PluginError) -> UInt64 {
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex, name.index(after: dot) != name.endIndex else {
            throw PluginError(code: .invalidArgument, message: "'\(name)' is not of the form service.method")
        }
        let service = String(name[..<dot])
        try check(name, service: service, for: context)
        if !range.isEmpty {
            guard let wanted = try? VersionRange(range) else {
                throw PluginError(code: .invalidArgument, message: "'\(range)' is not a version range")
            }
            if let found = find(name), !wanted.contains(found.version) {
                throw PluginError(
                    code: .failedPrecondition,
                    message:
                        "\(context.plugin) needs \(service) \(range), but \(found.plugin) provides \(found.version)")
            }
        }
        let input = routings.withLock { $0[name, default: Routing(name)].input }
        let binding = context.binding(of: input, party: party, route: engine.route(named: name))
        guard binding != 0 else {
            throw PluginError(code: .resourceExhausted, message: "\(context.plugin) has too many bindings")
        }
        return binding
    }

    private func check(_ name: String, service: String, for context: InstanceContext) throws(PluginError) {
        if service == "host", find(name)?.method.isMutating == true, !context.grants.isFirstParty,
            !context.grants.hostMethods.contains(name)
        {
            throw PluginError(
                code: .permissionDenied,
                message: "\(context.plugin) may not call \(name), which changes the host; the operator can grant it")
        }
        guard let allowed = context.grants.services else { return }
        if allowed.contains(service) || allowed.contains(name) || service == "host" { return }
        // Contributing a method to a point means offering it to the point's owner.
        if context.registry.offers(name, to: context.grants.points) { return }
        throw PluginError(
            code: .permissionDenied,
            message:
                "\(context.plugin) may not call \(name): its manifest neither requires '\(service)' nor was it granted, and nobody contributes the method to it")
    }

    /// What `knap.services/1` describes: the providers of a service, or of all for an empty name.
    func describe(_ service: String) -> JSON {
        let offered = routings.withLock { $0.values.flatMap(\.offers).map(\.provided) }.sorted { $0.name < $1.name }
        let byService = Dictionary(grouping: offered.filter { service.isEmpty || $0.service == service }) {
            "\($0.service)\u{0}\($0.plugin)"
        }
        return .array(
            byService.sorted { $0.key < $1.key }.map { _, methods in
                [
                    "service": .string(methods[0].service), "version": .string("\(methods[0].version)"),
                    "plugin": .string(methods[0].plugin), "state": methods[0].isFallback ? "fallback" : "active",
                    "methods": .array(methods.map(\.json)),
                ]
            })
    }
}

extension ServiceDirectory.Provided {
    /// The manifest's entry of the method, under its full name.
    var json: JSON { method.json(fullName: name) }
}

extension Method {
    /// As the manifest has it, with `name` in full.
    func json(fullName: String) -> JSON {
        var object: JSONObject = [
            "name": .string(fullName), "description": .string(description), "blocking": .bool(isBlocking),
            "idempotent": .bool(isIdempotent), "mutating": .bool(isMutating), "streams": .string(streams.rawValue),
            "content_type": .string(inputContentType), "output_content_type": .string(outputContentType),
        ]
        object["input"] = input
        object["output"] = output
        if let deadline { object["deadline_ms"] = .number(JSONNumber(deadline.wholeNanoseconds / 1_000_000)) }
        return .object(object)
    }
}
