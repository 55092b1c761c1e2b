/// The one function a plugin exports, and what its library exports beside it.
extension ElfImage {
    /// The ABI's major is in the name of the function, so that a library for another ABI is known without loading it.
    package static let entryPrefix = "knap_plugin_"
    package static let entrySymbol = "knap_plugin_draft"

    /// Fails when the library has no entry for this host's ABI; returns what its author should mend.
    package func checkEntry() throws(ElfError) -> [String] {
        guard let entry = exports.first(where: { $0.name == Self.entrySymbol }) else { throw missingEntry() }
        guard entry.isFunction else {
            throw ElfError(
                code: .missingEntry, message: "its symbol \(Self.entrySymbol) is data; it must be a function")
        }
        return extraExportsWarning() + threadLocalsWarning() + uniqueSymbolsWarning()
    }

    private func missingEntry() -> ElfError {
        let others = exports.map(\.name).filter { $0.hasPrefix(Self.entryPrefix) }.sorted()
        guard !others.isEmpty else {
            return ElfError(
                code: .missingEntry,
                message: "it does not export \(Self.entrySymbol), so it is not a Knap plugin (or the symbol is hidden)")
        }
        let found = others.prefix(4).map { String($0.dropFirst(Self.entryPrefix.count)) }.joined(separator: ", ")
        return ElfError(
            code: .foreignABI, message: "it is built for the ABI \(found); this host speaks draft: build it again")
    }

    /// Linkers put these into every library that has no version script.
    private static let linkerSymbols: Set = ["_init", "_fini", "_edata", "_end", "__bss_start"]

    private func extraExportsWarning() -> [String] {
        let extra = exports.map(\.name)
            .filter { !$0.hasPrefix(Self.entryPrefix) && !Self.linkerSymbols.contains($0) }.sorted()
        guard !extra.isEmpty else { return [] }
        let names = extra.prefix(5).joined(separator: ", ") + (extra.count > 5 ? ", …" : "")
        return [
            "it exports \(extra.count) symbol\(extra.count == 1 ? "" : "s") beside its entry (\(names)): another library "
                + "could be given them instead of its own; hide them with a version script"
        ]
    }

    private func threadLocalsWarning() -> [String] {
        guard usesStaticThreadLocals else { return [] }
        return [
            "it wants static thread-local storage, of which a running process has little: loading it can fail; "
                + "build it without -ftls-model=initial-exec or run it in a worker"
        ]
    }

    private func uniqueSymbolsWarning() -> [String] {
        let unique = exports.filter(\.isUnique)
        guard let first = unique.first else { return [] }
        return [
            "it has \(unique.count) unique symbols (such as \(first.name)), which keep it loaded for ever; "
                + "build it with -fno-gnu-unique"
        ]
    }
}
