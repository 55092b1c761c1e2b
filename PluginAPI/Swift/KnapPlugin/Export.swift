import CKnap
import Synchronization

/// Makes the table through which the host loads a plugin. The same answer every time.
///
/// The only ABI that a plugin's author sees is this one file, in a target of its own:
///
///     import CKnap
///     import GreeterPlugin
///     import KnapPlugin
///
///     @c(knap_plugin_draft) public func entry() -> UnsafePointer<knap_plugin_t>? { exportPlugin(Greeter.self) }
///
/// That target is the dynamic library's root and is linked with these settings:
///
///     linkerSettings: [.unsafeFlags([
///         "-Xlinker", "--version-script=\(Context.packageDirectory)/PluginAPI/C/exports.map",
///         "-Xlinker", "-Bsymbolic", "-Xlinker", "-z", "-Xlinker", "nodelete",
///     ])]
///
/// - The version script exports the entry and hides everything else, so two plugins that carry the same library never
///   see each other's.
/// - `-Bsymbolic` binds the library's references to itself when it is linked, not to whatever was loaded before.
/// - `-z nodelete` makes `dlclose` keep the library. The Swift runtime remembers every image it has seen; unmapping one
///   crashes the next protocol cast anywhere in the process.
public func exportPlugin<P: Plugin>(_ type: P.Type) -> UnsafePointer<knap_plugin_t> {
    Exports.table(for: type)
}

/// What is exported of one plugin type.
struct Export: @unchecked Sendable {  // Written once before anyone sees it, and never changed or freed.
    let type: any Plugin.Type
    let entries: UnsafePointer<Unmanaged<Instance.Entry>>
    let extensions: ExtensionTables
    let table: UnsafePointer<knap_plugin_t>
}

/// The exports of this library's plugins, made once and kept for ever.
///
/// A C function pointer cannot capture which plugin type it is for, and `create` is passed nothing that says so.
/// Therefore each type takes a slot, and each slot has a `create` of its own. A library has one plugin; a test has
/// some more.
private enum Exports {
    private static let exports = Mutex<[Export]>([])

    typealias Create =
        @convention(c) (UnsafePointer<knap_host_t>?, UnsafeMutablePointer<UnsafeMutableRawPointer?>?)
        -> knap_status_t

    private static let creates: [Create] = [
        { create(0, $0, $1) }, { create(1, $0, $1) }, { create(2, $0, $1) }, { create(3, $0, $1) },
        { create(4, $0, $1) }, { create(5, $0, $1) }, { create(6, $0, $1) }, { create(7, $0, $1) },
    ]

    static func table<P: Plugin>(for type: P.Type) -> UnsafePointer<knap_plugin_t> {
        exports.withLock { exports in
            if let export = exports.first(where: { $0.type == type }) { return export.table }
            precondition(exports.count < creates.count, "A library exports at most \(creates.count) plugins.")
            let export = make(type, create: creates[exports.count])
            exports.append(export)
            return export.table
        }
    }

    private static func create(
        _ slot: Int, _ host: UnsafePointer<knap_host_t>?, _ instance: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) -> knap_status_t {
        guard let host, let instance else { return StatusCode.invalidArgument.rawValue }
        let export = exports.withLock { $0[slot] }
        do {
            instance.pointee = try Instance(export, host: host).retainedPointer()
            return 0
        } catch {
            return PluginError(mapping: error, cancellation: nil).code.rawValue
        }
    }

    private static func make<P: Plugin>(_ type: P.Type, create: @escaping Create) -> Export {
        let methods = P.methods
        let entries = UnsafeMutablePointer<Unmanaged<Instance.Entry>>.allocate(capacity: max(1, methods.count))
        let records = UnsafeMutablePointer<knap_method_t>.allocate(capacity: max(1, methods.count))
        let pointers = UnsafeMutablePointer<UnsafePointer<knap_method_t>?>.allocate(capacity: max(1, methods.count))
        for (index, method) in methods.enumerated() {
            (entries + index).initialize(to: .passRetained(Instance.Entry(serve: method.serve)))
            (records + index).initialize(
                to: knap_method_t(
                    size: UInt32(MemoryLayout<knap_method_t>.size), reserved: 0, name: staticText(method.name),
                    call: { instance, request in
                        guard let request else { return }
                        Instance.with(instance) { $0.serve(request) }
                    }))
            (pointers + index).initialize(to: UnsafePointer(records + index))
        }
        let table = UnsafeMutablePointer<knap_plugin_t>.allocate(capacity: 1)
        table.initialize(
            to: knap_plugin_t(
                size: UInt32(MemoryLayout<knap_plugin_t>.size), method_count: UInt32(methods.count),
                name: staticText(P.name), version: staticText(P.version), methods: pointers, create: create,
                prepare: { instance, call in
                    Instance.with(instance) { $0.runHook(call) { try await $0.prepare($1) } }
                },
                activate: { instance, call in
                    Instance.with(instance) { $0.runHook(call) { try await $0.activate($1) } }
                },
                suspend: { instance, call in Instance.with(instance) { $0.suspend(call) } },
                destroy: { instance in Instance.destroy(instance) },
                extension: { instance, id in
                    guard let id else { return nil }
                    return Instance.with(instance) { $0.extensions.table(String(cString: id)) }
                }))
        return Export(type: type, entries: entries, extensions: ExtensionTables(type), table: table)
    }

    /// A NUL-terminated copy that lives as long as the library.
    private static func staticText(_ string: String) -> UnsafePointer<CChar> {
        let bytes = string.utf8CString
        let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
        for (index, byte) in bytes.enumerated() { (copy + index).initialize(to: byte) }
        return UnsafePointer(copy)
    }
}
