import Glibc
import KnapPlugin

/// The libraries that plugins bring along, in the host's process.
///
/// The loader knows libraries by their names (`DT_SONAME`), one for the whole process: who needs `libx.so` gets the one that
/// is there, whoever brought it. That is right for the same content, and for any other a crash to come.
enum PrivateLibraries {
    /// Why this plugin would get another library than its own; nil when it would not.
    static func conflict(of artifact: Artifact) -> PluginError? {
        guard let folder = artifact.folder else { return nil }
        let needed = Set(artifact.images.flatMap(\.needed))
        for library in folder.libraries where needed.contains(library.name) {
            let own = "\(folder.path)/\(library.path)"
            guard let loaded = loadedPath(of: library.name), loaded != own, digest(loaded) != digest(own) else { continue }
            let name = artifact.manifest.name
            return PluginError(
                code: .failedPrecondition,
                message: "\(name) brings its own \(library.name), but the host's process has another one already (\(loaded)), and "
                    + "can have only one of a name; 'knap plugins isolate \(name) worker', or restart the host")
        }
        return nil
    }

    private static func digest(_ path: String) -> Digest? { try? StoredFile(reading: path).digest() }
}
