import Glibc
import KnapControl
import KnapHost
import KnapJSON
import KnapPlugin
import Logging

/// Starts the host that `options` describe: the one place where the command line meets `KnapHost.Host`.
func startHost(_ options: ServeOptions, token: String, lastEnd: HostEnd) async throws -> any RunningHost {
    let installation = Installation(program: Banner.program)
    let host = try Host(
        HostConfiguration(
            state: options.state, builtInPlugins: installation.plugins, worker: installation.worker,
            makesControlGroups: true, pluginDirectories: options.pluginDirectories,
            wanted: try installation.profile(options.profile), defaults: installation.defaults,
            overrides: options.overrides(token: token), environment: environmentVariables(), logLevel: options.isRelayStarted ? .info : .warning, lastEnd: lastEnd,
            joining: [Banner.program] + Banner.relayArguments(options)))
    try await host.start()
    return ControlledHost(host: host, entrance: try host.entrance(named: "control"), own: try host.ownEntrance())
}

/// Where the parts of Knap are, seen from its program PREFIX/bin/knap: PREFIX/lib/knap and PREFIX/share/knap.
struct Installation {
    private let library: String
    private let shared: String
    /// Nil when it has none.
    let worker: String?
    /// The program that `knap check` runs; nil when it has none.
    let checker: String?

    init(program: String) {
        let prefix = program.split(separator: "/").dropLast(2).joined(separator: "/")
        library = "/\(prefix)/lib/knap"
        shared = "/\(prefix)/share/knap"
        let worker = "/\(prefix)/bin/knap-worker"
        self.worker = access(worker, X_OK) == 0 ? worker : nil
        let checker = "/\(prefix)/bin/knap-checker"
        self.checker = access(checker, X_OK) == 0 ? checker : nil
    }

    /// Nil when it has none, as in a build that was not assembled.
    var plugins: String? { isDirectory(library + "/plugins") ? library + "/plugins" : nil }

    /// Projects to start from, one folder a language.
    var templates: String { shared + "/templates" }

    /// Where what belongs to it is, by plugin.
    var defaults: [String: JSONObject] { ["obsidian": ["meaning": .string("\(shared)/WordLlama")]] }

    /// The plugins of a profile; nil, all of them, when none is named.
    func profile(_ name: String?) throws -> Set<String>? {
        guard let name else { return nil }
        let path = "\(shared)/Profiles/\(name).json"
        guard !name.contains("/"), let file = fopen(path, "r") else {
            throw CommandFailure(ExitStatus.configuration, "NOT_FOUND", "there is no profile '\(name)' (\(path))")
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        bytes.removeSubrange(fread(&bytes, 1, bytes.count, file)...)
        guard let names = try JSON.parse(bytes)["plugins"]?.arrayValue else {
            throw CommandFailure(ExitStatus.configuration, "INVALID", "the profile '\(name)' names no plugins")
        }
        return Set(names.compactMap(\.stringValue))
    }
}

private func environmentVariables() -> [String: String] {
    var variables: [String: String] = [:]
    var entry = environ
    while let text = entry.pointee {
        let pair = String(cString: text).split(separator: "=", maxSplits: 1)
        if pair.count == 2 { variables[String(pair[0])] = String(pair[1]) }
        entry += 1
    }
    return variables
}

/// A host behind its control socket: what comes in becomes calls like any other.
private struct ControlledHost: RunningHost {
    let host: Host
    /// For those who come from outside.
    let entrance: PluginHost
    /// For what the host wants to know.
    let own: PluginHost

    func stop() async { await host.stop() }

    func ask(_ method: String) async -> JSON? {
        do {
            let call = try await own.services.bind(method).open(
                Reply(json: .object([:])).body, parent: nil, deadline: Deadline.after(.seconds(5)), sends: false)
            return try JSON.parse(try await call.result().body)
        } catch { return nil }
    }

    func call(
        _ method: String, input: JSON, deadlineMS: Int?, onItem: @escaping @Sendable (ControlItem) async -> Void
    ) async -> ControlReply {
        do {
            let deadline = deadlineMS.map { Deadline.after(.milliseconds($0)) }
            let call = try await open(method, input, deadline, sends: false)
            for try await item in call.items { await onItem(ControlItem(item)) }
            return .result(try await call.result())
        } catch {
            return .failure(ControlFailure(error))
        }
    }

    func attach(_ method: String, input: JSON) async throws(ControlFailure) -> any ByteDuplex {
        do throws(PluginError) {
            // An attachment lasts as long as its client.
            let call = try await open(method, input)
            // Refused at once: whoever attaches can still be told so.
            if let failure = call.failure { throw failure }
            return AttachedCall(call) { moved throws(PluginError) in try await open(method, moved) }
        } catch {
            throw ControlFailure(error)
        }
    }

    private func open(
        _ method: String, _ input: JSON, _ deadline: Deadline? = nil, sends: Bool = true
    ) async throws(PluginError) -> OutgoingCall {
        try host.requireKnown(method)
        return try await entrance.services.bind(method).open(
            Reply(json: input).body, parent: nil, principal: "local", deadline: deadline, sends: sends)
    }
}

extension ControlItem {
    fileprivate init(_ item: Item) {
        let kind: Kind =
            switch item.kind {
            case .progress: .progress
            case .log: .log
            default: .data
            }
        self.init(kind: kind, value: (try? JSON.parse(item.body)) ?? .string(item.text))
    }
}

extension ControlFailure {
    fileprivate init(_ error: PluginError) {
        self.init(
            status: Int(error.code.rawValue), code: error.code.description, message: error.message, details: error.details)
    }
}

extension ControlReply {
    fileprivate static func result(_ reply: Reply) -> ControlReply {
        // What is not JSON is shown as text.
        let value = reply.body.isEmpty ? JSON.null : (try? JSON.parse(reply.body)) ?? .string(reply.text)
        return .result(value, contentType: reply.contentType)
    }
}
