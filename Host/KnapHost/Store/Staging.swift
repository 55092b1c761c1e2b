import Glibc
import KnapPlugin

/// A hidden name beside a file, which nobody takes for a plugin.
func partPath(of target: String) -> String {
    let slash = target.lastIndex(of: "/").map { target.index(after: $0) } ?? target.startIndex
    return target[..<slash] + ".part-" + target[slash...]
}

/// What the operator keeps of a plugin in a drop directory: a library, perhaps with a manifest beside it, or a folder.
enum PluginFile {
    /// Removes it, so that it goes at once; false with errno set when it stays. What is not there is removed.
    static func remove(_ path: String) -> Bool {
        guard PluginFolder.isOne(path) else {
            guard unlink(path) == 0 || errno == ENOENT else { return false }
            unlink(ManifestSource.sidecarPath(of: path))
            return true
        }
        let part = partPath(of: path)
        DirectoryTree.remove(part)
        guard rename(path, part) == 0 || errno == ENOENT else { return false }
        DirectoryTree.remove(part)
        return true
    }
}

/// A file or folder that is whole, on disk, under a hidden name: only a rename is left to do.
struct StagedFile: Sendable {
    /// None: nothing is to be there.
    var part: String?
    var target: String

    func place() throws(StoreError) {
        guard let part else {
            unlink(target)
            return
        }
        DeathPoint.reached("copy-written")
        try FolderReplacement.place(part, at: target)
        DeathPoint.reached("copy-renamed")
        try StoreDirectory.synchronize(directoryOf: target)
    }

    func discard() { if let part { DirectoryTree.remove(part) } }
}

extension Artifact {
    /// Writes the plugin as it was taken, with its signature and its manifest, beside the operator's file of that name.
    func stage(for target: String) throws(PluginError) -> [StagedFile] {
        do throws(StoreError) {
            let part = partPath(of: target)
            DirectoryTree.remove(part)
            if let folder {
                try stage(folder, at: part)
                return [StagedFile(part: part, target: target)]
            }
            let stored = ManifestSource.sidecarPath(of: path), sidecar = ManifestSource.sidecarPath(of: target)
            var manifest = StagedFile(target: sidecar)
            if access(stored, F_OK) == 0 {
                let copy = try StoredFileReplacement(partPath(of: sidecar), mode: 0o644)
                try copy.file.write(try StoredFile(reading: stored).content(limit: Int(ElfImage.maximumSection)))
                try copy.commit()
                manifest.part = partPath(of: sidecar)
            }
            try Signing.restore(path, signatures: signaturePath, to: part)
            return [manifest, StagedFile(part: part, target: target)]
        } catch {
            throw PluginError(code: .failedPrecondition, message: error.message)
        }
    }

    private func stage(_ stored: StoredFolder, at part: String) throws(StoreError) {
        let folder = try PluginFolder(stored.path, name: manifest.name)
        let copy = try FolderReplacement(part, part: part, isPrivate: false)
        for file in folder.companions {
            let source = try folder.open(file.path)
            try copy.copy(source, nil, to: file.path, isExecutable: file.isExecutable, try source.digest())
        }
        try Signing.restore(path, signatures: signaturePath, to: "\(part)/\(folder.libraryName)")
        try copy.keep()
    }

    /// Puts the plugin where the operator's file is to be.
    func place(at target: String) throws(PluginError) {
        for file in try stage(for: target) {
            do throws(StoreError) { try file.place() } catch {
                file.discard()
                throw PluginError(code: .failedPrecondition, message: error.message)
            }
        }
    }
}
