import Testing

@testable import KnapHost

extension Scratch {
    static func manifest(_ name: String, _ version: String = "1.0.0") -> String {
        #"{"manifest": 1, "name": "\#(name)", "version": "\#(version)", "abi": "draft"}"#
    }

    /// A library with its manifest in it, or beside it.
    func plugin(
        _ file: String = "a.so", name: String = "a", version: String = "1.0.0", isSidecar: Bool = false, flags: [String] = []
    ) throws -> String {
        var source = Scratch.plugin
        let manifest = Scratch.manifest(name, version)
        if isSidecar {
            try write(manifest, to: String(file.dropLast(3)) + ".json")
        } else {
            let path = try write(manifest, to: file + ".embedded")
            source += "__asm__(\".section .knap,\\\"\\\",@progbits\\n.incbin \\\"\(path)\\\"\\n.previous\");\n"
        }
        return try library(file, source: source, flags: flags)
    }
}

/// How a store answers to a file: who signed it, or why it is refused.
func signers(_ store: PluginStore, _ path: String) -> Result<[PublicKey], StoreError> {
    Result { () throws(StoreError) in try store.take(path).signers }
}
