import CKnap
import Glibc
import KnapJSON
import KnapPlugin

@testable import KnapHost

/// Measures calls into a worker and reloads under load, beside the same in this process. Arguments: the program
/// `knap-worker`, the folder with the plugin `bench` (or with those that are started), what to measure, and for reloads the folder with what is to be replaced
/// (Tests/Benchmarks/run makes both folders).
@main
enum Workers {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count >= 4 else {
            print("usage: WorkerBenchmark KNAP-WORKER FOLDER calls|one-processor|starts|manifests|reloads [CONTENTS [RELOADS]]")
            exit(64)
        }
        let bench = try await Bench(worker: arguments[1], folder: arguments[2])
        switch arguments[3] {
        case "calls": try await measureCalls(bench)
        case "one-processor": try await measureOnOneProcessor(bench)
        case "starts": try await measureStarts(bench)
        case "manifests": try measureManifests()
        default:
            guard arguments.count >= 5 else { fatalError("say where the contents are that bench-plugin.py made") }
            try await measureReloads(bench, contents: arguments[4], count: arguments.count > 5 ? Int(arguments[5]) ?? 1000 : 1000)
        }
        await bench.host.stop()
    }
}

/// A host with the plugin `bench` in it, and the ways in: the SDK's and bare calls as plugins make them, and bare calls that
/// come from outside and so are checked.
final class Bench: Sendable {
    let host: Host
    let entrance: PluginHost
    nonisolated(unsafe) let bare: UnsafePointer<knap_host_t>  // safe on any thread, lives as long as the host
    nonisolated(unsafe) let services: UnsafePointer<knap_host_services_t>
    nonisolated(unsafe) let checked: UnsafePointer<knap_host_t>  // likewise

    init(worker: String, folder: String) async throws {
        var template = Array("/tmp/knap-bench-XXXXXX".utf8CString)
        guard let state = mkdtemp(&template) else { throw PluginError(code: .internal, message: "no folder") }
        host = try Host(
            HostConfiguration(
                state: try StateDirectory(creating: String(cString: state)), builtInPlugins: nil, worker: worker,
                pluginDirectories: [folder], logLevel: .critical))
        try await host.start()
        entrance = try host.ownEntrance()
        bare = host.makeEntrance(named: "bench-bare", assertsPrincipal: false)
        services = Self.services(of: bare)
        checked = host.makeEntrance(named: "bench-checked", assertsPrincipal: true)
    }

    static func services(of host: UnsafePointer<knap_host_t>) -> UnsafePointer<knap_host_services_t> {
        guard let table = host.pointee.`extension`(host, KNAP_EXT_SERVICES) else { fatalError("no services") }
        return table.assumingMemoryBound(to: knap_host_services_t.self)
    }

    func isolate(_ isolation: Isolation) async throws {
        try await carryOut("isolate", ["name": "bench", "isolation": .string(isolation.rawValue)])
    }

    func carryOut(_ change: String, _ input: JSON = ["name": "bench"]) async throws {
        let begun = try await call(change, input)
        let ended = try await call("operation", ["operation": begun["operation"] ?? .null, "wait": true])
        if ended["state"] != "done" { throw PluginError(code: .internal, message: ended["message"]?.stringValue ?? "?") }
    }

    private func call(_ method: String, _ input: JSON) async throws -> JSON {
        let binding = try entrance.services.bind("host.\(method)")
        return try JSON.parse(try await binding.call(bytes: Array(input.serialized().utf8), parent: nil).body)
    }

    func bind(_ method: String, by host: UnsafePointer<knap_host_t>? = nil) -> UInt64 {
        var binding: UInt64 = 0
        let host = host ?? bare
        let status = method.utf8CString.withUnsafeBufferPointer {
            Self.services(of: host).pointee.bind(
                host, knap_text_t(data: $0.baseAddress, size: UInt64($0.count - 1)), knap_text_t(), &binding)
        }
        if status != 0 { fatalError("cannot bind \(method): \(status)") }
        return binding
    }
}

func nanoseconds() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
}

func percentile(_ sorted: [UInt64], _ part: Double) -> Double {
    sorted.isEmpty ? 0 : Double(sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))]) / 1000
}

func column(_ value: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - value.count)) + value }
func fixed(_ value: Double, _ digits: Int = 2) -> String {
    let scale = pow(10.0, Double(digits))
    let whole = (value * scale).rounded() / scale
    var text = "\(whole)"
    if digits == 0 { text = "\(Int(whole))" }
    return text
}
