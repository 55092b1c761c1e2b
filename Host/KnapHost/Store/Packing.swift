import Glibc

/// Putting a manifest into a library, so that a plugin is one file: its section `.knap`, which is not mapped.
package enum Packing {
    /// Writes the library with this manifest in place of one that it has, without the signatures that it had, and puts
    /// the file in place at once.
    ///
    /// - Parameter output: Where to; the library itself is allowed.
    /// - Returns: What is in the file now.
    package static func pack(
        _ library: String, manifest: String, into output: String
    ) throws(StoreError) -> InspectedLibrary {
        let content = try StoredFile(reading: manifest).content(limit: Int(ElfImage.maximumSection))
        do throws(ManifestError) { _ = try Manifest(content, file: manifest) } catch {
            throw StoreError(code: .badManifest, message: error.description)
        }
        // A link stays one; what it leads to is written.
        let output = realPath(output) ?? output
        let file = try StoredFile(reading: library)
        let status = try file.status()
        let layout = SignedLayout(FileSource(descriptor: file.descriptor, size: Int(status.st_size)))
        let packed: Packed
        do throws(ElfError) {
            if let problem = layout.problem { throw problem }
            let source = LibrarySource(FileSource(descriptor: file.descriptor, size: Int(status.st_size)), layout)
            _ = try ElfImage(source).checkEntry()
            packed = try Packed(source, content)
        } catch {
            throw StoreError(code: .notAPlugin, message: "\(library): \(error.message)")
        }
        let target = try StoredFileReplacement(output, mode: status.st_mode & 0o777)
        try file.forEachChunk(of: packed.layout) { (chunk) throws(StoreError) in try target.file.write(chunk) }
        try target.file.write(packed.bytes)
        try target.commit()
        return try InspectedLibrary(output)
    }

    /// A library's bytes up to its end, with another header, and what follows them.
    private struct Packed {
        let layout: SignedLayout
        let bytes: [UInt8]

        init(_ library: some ByteSource, _ manifest: [UInt8]) throws(ElfError) {
            let reader = ElfReader(source: library)
            let header = try ElfHeader(reader)
            let sections = try ElfSections(header, reader)
            var table = try ElfSectionTable(header, reader)
            if try sections.only(ElfImage.manifestSection) != nil,
                let index = sections.all.firstIndex(where: { $0.name == ElfImage.manifestSection })
            {
                table.move(index, offset: library.size, size: manifest.count)
            } else {
                try table.add(ElfImage.manifestSection, offset: library.size, size: manifest.count)
            }
            let written = table.written(at: library.size + manifest.count)
            layout = SignedLayout(librarySize: library.size, header: written.header, block: nil, problem: nil)
            bytes = manifest + written.bytes
        }
    }
}
