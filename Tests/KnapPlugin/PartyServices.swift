import CKnap
import Glibc
import KnapCallEngine
import Synchronization

@testable import KnapPlugin

struct LogRecord: Sendable, Equatable {
    let level: Int32
    let message: String
    let fields: [String: String]
    let call: knap_call_t
}

/// What the test host offers to one plugin instance: the host's side of the extensions.
final class PartyServices: Sendable {
    let host: TestHost
    let configuration: [UInt8]
    private let log = Mutex<[LogRecord]>([])
    private let descriptors = Mutex<[String: Int32]>([:])

    init(_ host: TestHost, configuration: String) {
        self.host = host
        self.configuration = Array(configuration.utf8)
    }

    var records: [LogRecord] { log.withLock { $0 } }

    private static func of(_ host: UnsafePointer<knap_host_t>?) -> PartyServices {
        Unmanaged<PartyServices>.fromOpaque(knap_party_context(host)).takeUnretainedValue()
    }

    static func table(_ host: UnsafePointer<knap_host_t>?, _ id: UnsafePointer<CChar>?) -> UnsafeRawPointer? {
        id.flatMap { tables[String(cString: $0)]?.pointer }
    }

    private struct Table: @unchecked Sendable {  // Written once and never freed.
        let pointer: UnsafeRawPointer

        init<T>(_ table: T) {
            let memory = UnsafeMutablePointer<T>.allocate(capacity: 1)
            memory.initialize(to: table)
            pointer = UnsafeRawPointer(memory)
        }
    }

    private static func size<T>(_ type: T.Type) -> UInt32 { UInt32(MemoryLayout<T>.size) }

    private static let tables: [String: Table] = [
        KNAP_EXT_CONFIG: Table(
            knap_host_config_t(size: size(knap_host_config_t.self), reserved: 0) { host, out in
                out?.write(of(host).configuration)
                return 0
            }),
        KNAP_EXT_LOG: Table(
            knap_host_log_t(
                size: size(knap_host_log_t.self), reserved: 0, enabled: { _, level in level >= 2 ? 1 : 0 },
                write: { host, level, call, message, fields, count in
                    let fields = UnsafeBufferPointer(start: fields, count: Int(count))
                    let record = LogRecord(
                        level: level, message: String(message),
                        fields: Dictionary(uniqueKeysWithValues: fields.map { (String($0.key), String($0.value)) }),
                        call: call)
                    of(host).log.withLock { $0.append(record) }
                })),
        KNAP_EXT_SERVICES: Table(
            knap_host_services_t(
                size: size(knap_host_services_t.self), reserved: 0,
                bind: { host, method, _, binding in
                    let route = knap_route_named(of(host).host.engine, String(method))
                    binding?.pointee = knap_party_bind(knap_party_of(host), route)
                    return 0
                },
                unbind: { host, binding in knap_party_unbind(knap_party_of(host), binding) },
                call: { knap_engine_call($0, $1, $2, $3) },
                describe: { _, service, out in
                    out?.write(Array("[{\"service\": \"\(String(service))\"}]".utf8))
                    return 0
                })),
        KNAP_EXT_TIMERS: Table(
            knap_host_timers_t(
                size: size(knap_host_timers_t.self), reserved: 0, start: { knap_engine_timer($0, $1, $2, $3, $4) },
                stop: { knap_engine_timer_stop($0, $1) })),
        KNAP_EXT_REGISTRY: Table(
            knap_host_registry_t(
                size: size(knap_host_registry_t.self), reserved: 0,
                read: { host, point, out in
                    out?.write(of(host).host.registry.read(String(point)))
                    return 0
                },
                watch: { host, point, watch, context, id in
                    guard let watch else { return 3 }
                    id?.pointee = of(host).host.registry.watch(String(point), watch, context)
                    return 0
                },
                unwatch: { host, id in of(host).host.registry.unwatch(id) })),
        KNAP_EXT_DESCRIPTORS: Table(
            knap_host_descriptors_t(
                size: size(knap_host_descriptors_t.self), reserved: 0,
                keep: { host, name, descriptor in
                    let copy = dup(descriptor)
                    let old = of(host).descriptors.withLock { $0.updateValue(copy, forKey: String(name)) }
                    if let old { close(old) }
                    return 0
                },
                take: { host, name, descriptor in
                    guard let kept = of(host).descriptors.withLock({ $0[String(name)] }) else { return 5 }
                    descriptor?.pointee = dup(kept)
                    return 0
                },
                drop: { host, name in
                    if let kept = of(host).descriptors.withLock({ $0.removeValue(forKey: String(name)) }) {
                        close(kept)
                    }
                    return 0
                })),
        KNAP_EXT_STATE_DIRECTORY: Table(
            knap_host_state_directory_t(size: size(knap_host_state_directory_t.self), reserved: 0) { _, out in
                out?.write(Array("/state/greeter".utf8))
                return 0
            }),
    ]
}

/// The contributions of a test, and who watches them.
final class TestRegistry: Sendable {
    private struct State {
        var epoch = 0
        var items: [String] = []
        var watches: [UInt64: Watch] = [:]
        var next: UInt64 = 0
    }

    private struct Watch: @unchecked Sendable {  // The watcher keeps both alive until `unwatch` has returned.
        let table: UnsafePointer<knap_registry_watch_t>
        let context: UnsafeMutableRawPointer?
    }

    private let state = Mutex(State())

    var watchers: Int { state.withLock { $0.watches.count } }

    /// Replaces the contributions and tells the watchers, as the host does.
    func publish(_ items: [String]) {
        let epoch = state.withLock { state in
            state.epoch += 1
            state.items = items
            return state.epoch
        }
        // Under the lock, so that `unwatch` waits for a `changed` under way.
        state.withLock { state in
            for watch in state.watches.values { watch.table.pointee.changed(watch.context, UInt64(epoch)) }
        }
    }

    func read(_ point: String) -> [UInt8] {
        let (epoch, items) = state.withLock { ($0.epoch, $0.items) }
        let contributions = items.map {
            "{\"plugin\": \"p\", \"version\": \"1.0.0\", \"first_party\": true, \"item\": {\"name\": \"\($0)\"}}"
        }
        return Array("{\"epoch\": \(epoch), \"contributions\": [\(contributions.joined(separator: ", "))]}".utf8)
    }

    func watch(
        _ point: String, _ watch: UnsafePointer<knap_registry_watch_t>, _ context: UnsafeMutableRawPointer?
    ) -> UInt64 {
        let watch = Watch(table: watch, context: context)
        return state.withLock { state in
            state.next += 1
            state.watches[state.next] = watch
            return state.next
        }
    }

    func unwatch(_ id: UInt64) { state.withLock { _ = $0.watches.removeValue(forKey: id) } }
}
