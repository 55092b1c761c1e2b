import Glibc
import KnapPlugin

/// A hidden name beside a file, which nobody takes for a plugin.
func partPath(of target: String) -> String {
    let slash = target.lastIndex(of: "/").map { target.index(after: $0) } ?? target.startIndex
    return target[..<slash] + ".part-" + target[slash...]
}

/// Copies a file so that nobody sees half of it: by a hidden name and a rename, on disk before it is there.
func copyFile(_ path: String, to target: String) throws(PluginError) {
    func failure(_ file: String) -> PluginError {
        PluginError(code: .failedPrecondition, message: "\(file): \(errorText(errno))")
    }
    let source = open(path, O_RDONLY | O_CLOEXEC)
    guard source >= 0 else { throw failure(path) }
    defer { close(source) }
    let part = partPath(of: target)
    let copy = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard copy >= 0 else { throw failure(part) }
    defer { close(copy) }
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    while true {
        let count = read(source, &chunk, chunk.count)
        if count == 0 { break }
        guard count > 0, write(copy, chunk, count) == count else {
            let reason = failure(target)
            unlink(part)
            throw reason
        }
    }
    DeathPoint.reached("copy-written")
    guard fsync(copy) == 0, rename(part, target) == 0 else { throw failure(target) }
    DeathPoint.reached("copy-renamed")
}
