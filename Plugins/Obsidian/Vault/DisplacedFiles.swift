import Glibc

/// Files that lost their places, to which other programs may still be writing what belongs into those in their places.
final class DisplacedFiles {
    struct File {
        var descriptor: Int32
        var path: VaultPath
        var content: [UInt8]
    }

    /// As many as a process may well have open: a change of more files is no editor's rival.
    private static let maximum = 64

    private(set) var files: [File] = []

    func keep(_ descriptor: Int32, _ path: VaultPath, _ content: [UInt8]) {
        guard descriptor >= 0, files.count < Self.maximum else { return }
        let own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        if own >= 0 { files.append(File(descriptor: own, path: path, content: content)) }
    }

    deinit { for file in files { close(file.descriptor) } }
}
