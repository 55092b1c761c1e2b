import CKnap
import Glibc
import KnapPlugin

/// A plugin's shared object in this process, and the table it hands out.
struct LoadedLibrary: Sendable {
    // The library's own constant, mapped until `close`.
    nonisolated(unsafe) let table: UnsafePointer<knap_plugin_t>
    /// Nil for a library that is part of this program.
    private let image: LoadedImage?

    init(table: UnsafePointer<knap_plugin_t>) {
        self.table = table
        image = nil
    }

    private init(_ table: UnsafePointer<knap_plugin_t>, _ image: LoadedImage) {
        self.table = table
        self.image = image
    }

    /// Loads what was checked before; this runs the library's constructors.
    static func load(_ path: String, _ artifact: Artifact, _ code: PluginImage) throws(PluginError) -> LoadedLibrary {
        let image = try LoadedImage.open(path, artifact)
        code.loaded(image.handle)
        do throws(PluginError) { return LoadedLibrary(try table(of: image, artifact.manifest), image) } catch {
            _ = image.close()
            throw error
        }
    }

    /// Unmaps it, if that is safe, and says what became of it. Nothing may call it any more and no thread be in it.
    func close() -> Residence { image?.close() ?? .retained("it is part of the host") }

    private static func table(of image: LoadedImage, _ manifest: Manifest) throws(PluginError) -> UnsafePointer<knap_plugin_t> {
        let handle = image.handle
        guard let symbol = dlsym(handle, KNAP_PLUGIN_SYMBOL) else {
            throw PluginError(
                code: .failedPrecondition, message: "\(manifest.name) does not export \(KNAP_PLUGIN_SYMBOL)")
        }
        let entry = unsafeBitCast(symbol, to: (@convention(c) () -> UnsafePointer<knap_plugin_t>?).self)
        guard let table = entry() else {
            throw PluginError(
                code: .failedPrecondition, message: "\(manifest.name): \(KNAP_PLUGIN_SYMBOL) returned null")
        }
        try check(table, manifest)
        return table
    }

    /// Whether the library is what its manifest says.
    static func check(_ table: UnsafePointer<knap_plugin_t>, _ manifest: Manifest) throws(PluginError) {
        func lie(_ what: String) -> PluginError {
            PluginError(
                code: .failedPrecondition, message: "\(manifest.name): the library disagrees with its manifest: \(what)"
            )
        }
        let plugin = table.pointee
        guard plugin.size >= size(of: knap_plugin_t.self) else {
            throw lie("its table has \(plugin.size) bytes, this ABI needs \(MemoryLayout<knap_plugin_t>.size)")
        }
        let functions: [(String, Bool)] = [
            ("create", plugin.create != nil), ("prepare", plugin.prepare != nil), ("activate", plugin.activate != nil),
            ("suspend", plugin.suspend != nil), ("destroy", plugin.destroy != nil),
            ("extension", plugin.`extension` != nil),
        ]
        if let missing = functions.first(where: { !$0.1 }) { throw lie("the function \(missing.0) is null") }
        guard plugin.method_count == 0 || plugin.methods != nil else { throw lie("its table of methods is null") }
        try checkClaims(
            name: plugin.name.map { String(cString: $0) } ?? "", version: plugin.version.map { String(cString: $0) } ?? "",
            methods: try methods(of: plugin, lie).map(\.name), against: manifest)
    }

    /// Whether what a library says of itself is what its manifest says of it.
    static func checkClaims(
        name: String, version: String, methods: [String], against manifest: Manifest
    ) throws(PluginError) {
        func lie(_ what: String) -> PluginError {
            PluginError(
                code: .failedPrecondition, message: "\(manifest.name): the library disagrees with its manifest: \(what)"
            )
        }
        guard name == manifest.name else { throw lie("it calls itself '\(name)', the manifest '\(manifest.name)'") }
        guard version == "\(manifest.version)" else {
            throw lie("it is version '\(version)', the manifest says \(manifest.version)")
        }
        let offered = Set(methods)
        let promised = Set(
            manifest.provides.flatMap { service in service.methods.map { "\(service.service).\($0.name)" } })
        if let missing = promised.subtracting(offered).sorted().first { throw lie("it has no method \(missing)") }
        if let extra = offered.subtracting(promised).sorted().first {
            throw lie("it has a method \(extra) that is not promised")
        }
    }

    /// The library's methods with their places in its table.
    func methods() -> [(name: String, index: Int, method: UnsafePointer<knap_method_t>)] {
        // Checked when it was loaded, and constant since.
        (try? Self.methods(of: table.pointee) { PluginError(code: .internal, message: $0) }) ?? []
    }

    private static func methods(
        of plugin: knap_plugin_t, _ lie: (String) -> PluginError
    ) throws(PluginError) -> [(name: String, index: Int, method: UnsafePointer<knap_method_t>)] {
        var methods: [(String, Int, UnsafePointer<knap_method_t>)] = []
        for index in 0..<Int(plugin.method_count) {
            guard let method = plugin.methods[index], method.pointee.size >= size(of: knap_method_t.self),
                let name = method.pointee.name, method.pointee.call != nil
            else { throw lie("method \(index) of its table is incomplete") }
            methods.append((String(cString: name), index, method))
        }
        return methods
    }
}
